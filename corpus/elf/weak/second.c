#include "../common.h"

EXPORT int weak_first_wins(void) { return 2; }
