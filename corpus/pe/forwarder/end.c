#include "../common.h"

SILENT
EXPORT int forward_end(int a) { return a + 7; }
EXPORT int forward_seven(void) { return 77; }
