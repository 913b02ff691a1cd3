#include "../common.h"

#ifdef NEED
EXPORT int lookup_need(void) { return 1; }
#else
int lookup_need(void);
EXPORT int lookup_other(void) { return lookup_need(); }
#endif
