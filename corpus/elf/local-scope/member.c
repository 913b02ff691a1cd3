#include "../common.h"

int shared(void);
#ifdef RIGHT
EXPORT int shared(void) { return WHO; }
#endif
#ifdef NIECE
EXPORT int shared(void) { return WHO; }
EXPORT int niece_sees(void) { return shared(); }
EXPORT int only_niece(void) { return WHO; }
#endif
#if defined LEFT && !defined RIGHT
EXPORT int left_sees(void) { return shared(); }
EXPORT int only_left(void) { return WHO; }
#endif
