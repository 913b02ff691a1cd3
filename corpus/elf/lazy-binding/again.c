#include "../common.h"
LIFE("again")

EXPORT int lazy_value(void) { return 70; }
