#include "../common.h"

EXPORT int interposed(void) { return 1; }
EXPORT int interposed_value = 10;
LIFE("first")
