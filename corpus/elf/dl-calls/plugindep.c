#include "../common.h"

LIFE("plugindep")

EXPORT int plugindep_only(void) { return 7; }
