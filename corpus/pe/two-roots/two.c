#include "../common.h"

IMPORT int two_roots_shared(void);

LIFE("two")
EXPORT int two_roots_two(void) { return two_roots_shared(); }
