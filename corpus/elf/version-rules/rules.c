/* Three versions of one name; names that only an old, a hidden or a new version has; a name without any. */
#include "../common.h"

#ifdef PLAIN
/* The library as it was before it had versions. */
EXPORT int three(void) { return 0; }
EXPORT int oldest(void) { return 0; }
EXPORT int hidden(void) { return 0; }
EXPORT int newer(void) { return 0; }
#else
__asm__(".symver three_1, three@V1");
__asm__(".symver three_2, three@V2");
__asm__(".symver three_3, three@@V3");
__asm__(".symver oldest_1, oldest@V1");
__asm__(".symver hidden_2, hidden@V2");
EXPORT int three_1(void) { return 1; }
EXPORT int three_2(void) { return 2; }
EXPORT int three_3(void) { return 3; }
EXPORT int oldest_1(void) { return 11; }
EXPORT int hidden_2(void) { return 12; }
EXPORT int newer(void) { return 13; }
#endif
EXPORT int base(void) { return 14; }
