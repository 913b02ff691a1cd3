#include "../common.h"

EXPORT int calls_back(int (*callback)(void)) { return callback() + 1; }
EXPORT int calls_nothing(int (*callback)(void)) { return callback ? callback() + 1 : 0; }
EXPORT void runs_until(volatile int *stop) { while (!*stop) {} }
