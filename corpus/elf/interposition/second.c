#include "../common.h"

EXPORT int interposed(void) { return 2; }
EXPORT int interposed_value = 20;
__attribute__((visibility("protected"))) int kept(void) { return 2; }

LIFE(NAME)
#define GLUE(a, b) a##b
#define CALL(prefix, name) GLUE(prefix, name)
EXPORT int CALL(PREFIX, _calls)(void) { return interposed(); }
EXPORT int CALL(PREFIX, _reads)(void) { return interposed_value; }
EXPORT int CALL(PREFIX, _kept)(void) { return kept(); }
