#include "../common.h"

int runpath_dep(void);

EXPORT int runpath_root(void) { return runpath_dep() + 1; }
