#include "../common.h"

int zero_value(void);
EXPORT int user_value(void) { return zero_value(); }
