#include "../common.h"

int refused_first(void), refused_second(void);

LIFE("root")
EXPORT int refused_root(void) { return refused_first() + refused_second(); }
