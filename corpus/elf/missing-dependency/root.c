#include "../common.h"

int missing_gone(void), missing_there(void);

LIFE("root")
EXPORT int missing_root(void) { return missing_gone() + missing_there(); }
