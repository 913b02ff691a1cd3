#include "../common.h"

IMPORT int refused_first(void);
IMPORT int refused_second(void);
IMPORT int refused_third(void);

LIFE("root")
EXPORT int refused_root(void) { return refused_first() + refused_second() + refused_third(); }
