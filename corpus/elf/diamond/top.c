#include "../common.h"

int diamond_left(void), diamond_right(void);

LIFE("top")
EXPORT int diamond_top(void) { return diamond_left() + diamond_right(); }
