#include "../common.h"

IMPORT int diamond_left(void);
IMPORT int diamond_right(void);

LIFE("top")
EXPORT int diamond_top(void) { return diamond_left() + diamond_right(); }
