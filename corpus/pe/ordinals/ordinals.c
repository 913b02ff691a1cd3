#include "../common.h"

SILENT
EXPORT int ordinals_named(void) { return 1; }
EXPORT int ordinals_five(void) { return 5; }
EXPORT int ordinals_ninety(void) { return 90; }
