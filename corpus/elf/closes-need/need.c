#include "../common.h"

static int gone;

EXPORT int need_is_there(void) { return !gone; }
__attribute__((destructor)) static void dies(void) { gone = 1, LOG("fini need"); }
