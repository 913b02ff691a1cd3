#include "../common.h"

HIDDEN int one(void) { return 1; }
static int three(void) { return 3; }
/* This very page is being written to while it runs. */
static int (*resolver(void))(void) { return one() == 1 ? three : 0; }
EXPORT int indirect(void) __attribute__((ifunc("resolver")));
