#include "../common.h"

EXPORT int base(void) { return 99; }
