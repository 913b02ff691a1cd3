#include "../common.h"

EXPORT __thread int early_dep_level = 20;
static __attribute__((constructor)) void born(void) { early_dep_level++; }
EXPORT int early_dep(void) { return early_dep_level; }
