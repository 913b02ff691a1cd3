#include "../common.h"

int addend_target(void);
char *addend_quick(void);

/* A few bytes behind the answer, and before it. (ld makes such pointers in other libraries than the function's only.) */
static char *volatile behind = (char *)addend_target + 4;
static char *volatile before = (char *)addend_target - 3;

EXPORT long addend_behind(void) { return behind - addend_quick(); }
EXPORT long addend_before(void) { return before - addend_quick(); }
