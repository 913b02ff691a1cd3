/* One source, four links: LINK is the number of this one, NEXT of the one that it imports from. */
#include "../common.h"

#define GLUE(a, b) a##b
#define NAME(number) GLUE(chain, number)
#define TEXT(number) TEXT2(number)
#define TEXT2(number) #number

LIFE(TEXT(LINK))
#ifdef NEXT
IMPORT int NAME(NEXT)(void);
EXPORT int NAME(LINK)(void) { return 10 * NAME(NEXT)() + LINK; }
#else
EXPORT int NAME(LINK)(void) { return LINK; }
#endif
