#include "../common.h"

SILENT
EXPORT int missing_gone(void) { return 1; }
