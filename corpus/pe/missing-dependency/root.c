#include "../common.h"

IMPORT int missing_gone(void);
IMPORT int missing_there(void);

LIFE("root")
EXPORT int missing_root(void) { return missing_gone() + missing_there(); }
