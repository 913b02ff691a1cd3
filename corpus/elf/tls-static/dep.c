#include "../common.h"

EXPORT __thread int dep_level = 100;
EXPORT int static_dep_read(void) { return dep_level; }
