#include "../common.h"

LIFE("never")
EXPORT int undefined_there(void) { return 1; }
