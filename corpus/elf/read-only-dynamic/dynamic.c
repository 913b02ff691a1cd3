#include "../common.h"

static int number = 41;
EXPORT int *const pointer = &number;
EXPORT int answer(void) { return *pointer + 1; }
LIFE("read-only")
