#include "../common.h"

EXPORT int weak_in_dependency(void) { return 5; }
EXPORT __attribute__((weak)) int weak_defined_here(void) { return 6; }
EXPORT __attribute__((weak)) int weak_first_wins(void) { return 1; }
