#include "../common.h"

EXPORT int kept(void) { return 1; }
