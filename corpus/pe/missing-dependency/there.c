#include "../common.h"

LIFE("there")
EXPORT int missing_there(void) { return 1; }
