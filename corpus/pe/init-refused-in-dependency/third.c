#include "../common.h"

LIFE("third")
EXPORT int refused_third(void) { return 3; }
