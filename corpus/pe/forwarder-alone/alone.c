#include "../common.h"

SILENT
EXPORT int alone_own(void) { return 1; }
