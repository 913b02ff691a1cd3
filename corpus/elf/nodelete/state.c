#include "../common.h"

#define PASTE(a, b) a##b
#define NAME(a, b) PASTE(a, b)

static int state;
EXPORT void NAME(PREFIX, _set)(int value) { state = value; }
EXPORT int NAME(PREFIX, _get)(void) { return state; }
