#include "../common.h"

EXPORT int interposed(void) { return 1; }
