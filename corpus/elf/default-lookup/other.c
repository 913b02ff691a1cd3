#include "../common.h"

EXPORT int who(void) { return NUMBER; }
