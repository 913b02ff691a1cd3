#include "../common.h"

int undefined_nobody_has_this(void);
EXPORT int undefined_call(void) { return undefined_nobody_has_this(); }
LIFE("never")
