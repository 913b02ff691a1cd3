#include "../common.h"

/* What a C++ compiler makes of an inline variable or a template's static member. */
EXPORT int unique_value = 1;
__asm__(".type unique_value, @gnu_unique_object");

#define GLUE(a, b) a##b
#define CALL(prefix, name) GLUE(prefix, name)
EXPORT void CALL(PREFIX, _set)(int value) { unique_value = value; }
EXPORT int CALL(PREFIX, _get)(void) { return unique_value; }
