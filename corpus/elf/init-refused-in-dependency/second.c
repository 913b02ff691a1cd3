#include "../common.h"

int refused_nobody_has_this(void);

LIFE("second")
EXPORT int refused_second(void) { return refused_nobody_has_this(); }
