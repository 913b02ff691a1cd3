#include "../common.h"
LIFE("need")

EXPORT int need_value(void) { return 3; }
EXPORT void need_goodbye(void) { LOG("goodbye"); }
