#include "../common.h"

SILENT
EXPORT int runpath_dep(void) { return 6; }
