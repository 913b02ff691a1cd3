#include "../common.h"

LIFE("end")
EXPORT int alone_end(void) { return 5; }
