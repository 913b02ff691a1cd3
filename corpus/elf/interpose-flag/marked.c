#include "../common.h"

EXPORT int interposed(void) { return 2; }
EXPORT int only_marked(void) { return 3; }
