#include "../common.h"

IMPORT int alone(void);

SILENT
EXPORT int user_value(void) { return alone() + 1; }
