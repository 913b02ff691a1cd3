#include "../common.h"
LIFE("user")

int lazy_value(void);

EXPORT int user_value(void) { return lazy_value(); }
