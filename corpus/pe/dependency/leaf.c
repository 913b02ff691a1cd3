#include "../common.h"

LIFE("leaf")
EXPORT int dependency_leaf(void) { return 41; }
