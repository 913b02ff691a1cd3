#include "../common.h"

int base(void);
EXPORT int versioned_base(void) { return base(); }
