#include "../common.h"

static __thread int early = 40;

static int answer(void) { return early; }

/* The first foreign code of an open: nothing of it is there for others yet. */
static int (*resolve(void))(void)
{
    early += 2;
    return answer;
}

EXPORT int resolved(void) __attribute__((ifunc("resolve")));

/* Asks for the answer while the library is being loaded. */
int (*volatile const asked)(void) = resolved;
EXPORT int called(void) { return asked(); }
