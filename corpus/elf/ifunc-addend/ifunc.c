#include "../common.h"

static int quick(void) { return 7; }
__attribute__((used)) static int (*resolve(void))(void) { return quick; }

EXPORT int addend_target(void) __attribute__((ifunc("resolve")));
EXPORT char *addend_quick(void) { return (char *)quick; }
