/* An indirect function at the end of every chain. */
#include "../common.h"

static int really(void) { return 6; }
static int (*base_resolver(void))(void) { return really; }
EXPORT int base(void) __attribute__((ifunc("base_resolver")));
