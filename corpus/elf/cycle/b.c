#include "../common.h"

int cycle_a(int depth);

LIFE("b")
EXPORT int cycle_b(int depth) { return depth ? cycle_a(depth - 1) + 10 : 0; }
