#include "../common.h"

EXPORT int choice(void) { return 1; }
