#include "../common.h"

EXPORT __thread int early_in_dep = 100;

__attribute__((constructor)) static void born(void) { early_in_dep++; }
