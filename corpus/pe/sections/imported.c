#include "../common.h"

SILENT
EXPORT int sections_imported(void) { return 8; }
