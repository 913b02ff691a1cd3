#include "../common.h"

void lazy_nowhere(void);

/* The address is wanted, not a call: that cannot wait. */
EXPORT void (*lazy_pointer)(void) = lazy_nowhere;
