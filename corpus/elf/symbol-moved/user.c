#include "../common.h"

int moved_value(void);
EXPORT int user_value(void) { return moved_value(); }
