#include "../common.h"
LIFE("provider")

EXPORT int lazy_value(void) { return 7; }
EXPORT int lazy_other(void) { return 8; }
