#include "../common.h"
LIFE("top")

IMPORT int need_value(void);
EXPORT int top_value(void) { return need_value() + 1; }
