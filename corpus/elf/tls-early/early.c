#include "../common.h"

static __thread int by_resolver = 7;
static __thread int by_constructor = 5;
static int answer(void) { return by_resolver; }
static int (*resolve(void))(void)
{
    by_resolver++;
    return answer;
}
static int resolved(void) __attribute__((ifunc("resolve")));
static int (*volatile pointer)(void) = resolved;

static __attribute__((constructor)) void born(void) { by_constructor += 6; }

EXPORT int early_resolved(void) { return pointer(); }
EXPORT int early_constructed(void) { return by_constructor; }

int early_dep(void);
EXPORT int early_both(void) { return early_constructed() + early_dep(); }
