#include "../common.h"

LIFE("helper")
EXPORT int failing_helper(void) { return 5; }
