#include "../common.h"

IMPORT int cycle_b(int depth);

LIFE("a")
EXPORT int cycle_a(int depth) { return depth ? cycle_b(depth - 1) + 1 : 0; }
