#include "../common.h"

int need_value(void), user_value(void);
void need_goodbye(void);

__attribute__((constructor)) static void comes(void) { if (need_value() == 3) LOG("init root"); }
__attribute__((destructor)) static void goes(void) { need_goodbye(); LOG("fini root"); }

EXPORT int root_value(void) { return user_value(); }
