#include "../common.h"

IMPORT int diamond_bottom(void);

LIFE("right")
EXPORT int diamond_right(void) { return 10 * diamond_bottom(); }
