#include "../common.h"

EXPORT int runpath_dep(void) { return 6; }
