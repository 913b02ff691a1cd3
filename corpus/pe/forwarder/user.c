#include "../common.h"

IMPORT int by_name(int a);
IMPORT int by_ordinal(void);
IMPORT int by_chain(int a);

SILENT
EXPORT int user_sum(void) { return by_name(100) + by_ordinal() + by_chain(1000); }
