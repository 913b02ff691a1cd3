#include "../common.h"

int dependency_leaf(void);

LIFE("root")
EXPORT int dependency_root(void) { return dependency_leaf() + 1; }
