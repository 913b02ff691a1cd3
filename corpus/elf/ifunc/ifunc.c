#include "../common.h"

static int quick(void) { return 7; }
static int private_quick(void) { return 8; }
static int (*resolve(void))(void) { return quick; }
static int (*private_resolve(void))(void) { return private_quick; }

EXPORT int ifunc_exported(void) __attribute__((ifunc("resolve")));
static int ifunc_private(void) __attribute__((ifunc("private_resolve")));

/* Pointers in data to both: filled with what the resolver answers. */
static int (*volatile exported)(void) = ifunc_exported;
static int (*volatile private)(void) = ifunc_private;

EXPORT int ifunc_call(void) { return 10 * ifunc_exported() + ifunc_private(); }
EXPORT int ifunc_point(void) { return 10 * exported() + private(); }
EXPORT _Bool ifunc_same(void) { return exported == ifunc_exported && exported != (int (*)(void))resolve; }
