#include "../common.h"

IMPORT int two_roots_shared(void);

LIFE("one")
EXPORT int two_roots_one(void) { return two_roots_shared(); }
