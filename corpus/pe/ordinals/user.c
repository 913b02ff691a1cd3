#include "../common.h"

IMPORT int ordinals_named(void);
IMPORT int ordinals_five(void);
IMPORT int ordinals_ninety(void);

SILENT
EXPORT int ordinals_sum(void) { return ordinals_named() + ordinals_five() + ordinals_ninety(); }
