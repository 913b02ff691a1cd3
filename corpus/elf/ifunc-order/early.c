/* Bound to a library that it does not name, and that is named after it. */
#include "../common.h"

int late(void);
static int seen;
/* Resolvers come before constructors. */
__attribute__((constructor)) static void construct(void) { seen = late(); }
EXPORT int early_calls(void) { return late(); }
EXPORT int constructed(void) { return seen; }
