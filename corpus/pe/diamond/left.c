#include "../common.h"

IMPORT int diamond_bottom(void);

LIFE("left")
EXPORT int diamond_left(void) { return diamond_bottom(); }
