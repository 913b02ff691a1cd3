#include "../common.h"

IMPORT int runpath_dep(void);

SILENT
EXPORT int runpath_root(void) { return runpath_dep() + 1; }
