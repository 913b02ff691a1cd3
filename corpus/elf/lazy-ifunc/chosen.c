#include "../common.h"

static int seven(void) { return 7; }
static int eight(void) { return 8; }

int choice(void);

/* The resolver itself makes a call that is not bound yet. */
__attribute__((used)) static int (*resolve(void))(void) { return choice() ? seven : eight; }
EXPORT int lazy_chosen(void) __attribute__((ifunc("resolve")));

#ifdef EARLY
/* The answer is wanted in data, before anything of the library can be used: glibc 2.36 does not survive it. */
static int (*volatile lazy_early)(void) = lazy_chosen;
EXPORT int lazy_call_early(void) { return lazy_early(); }
#endif
