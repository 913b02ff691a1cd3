#include "../common.h"

EXPORT int dep_two(void) { return 2; }

static int four(void) { return 4; }
static int (*dep_resolver(void))(void) { return four; }
EXPORT int dep_four(void) __attribute__((ifunc("dep_resolver")));
