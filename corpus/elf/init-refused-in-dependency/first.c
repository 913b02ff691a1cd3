#include "../common.h"

LIFE("first")
EXPORT int refused_first(void) { return 1; }
