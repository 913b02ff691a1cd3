#include "../common.h"

static int calls;

LIFE("shared")
EXPORT int two_roots_shared(void) { return ++calls; }
