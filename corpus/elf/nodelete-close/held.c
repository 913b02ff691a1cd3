#include "../common.h"

EXPORT int held(void) { return 3; }
__attribute__((destructor)) static void dies(void) { LOG("fini held"); }
