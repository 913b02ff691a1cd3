#include "../common.h"

EXPORT int above_value(void) { return 5; }
