#include "../common.h"

IMPORT int WANTED(void);

LIFE("never")
EXPORT int undefined_user(void) { return WANTED(); }
