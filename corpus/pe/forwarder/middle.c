#include "../common.h"

IMPORT int forward_end(int a);

SILENT
EXPORT int middle_own(void) { return forward_end(0); }
