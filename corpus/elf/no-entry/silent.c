#include "../common.h"

EXPORT int no_entry_value(void) { return 5; }
EXPORT const int no_entry_data = 6;
