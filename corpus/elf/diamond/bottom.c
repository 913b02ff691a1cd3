#include "../common.h"

static int calls;

LIFE("bottom")
EXPORT int diamond_bottom(void) { return ++calls; }
