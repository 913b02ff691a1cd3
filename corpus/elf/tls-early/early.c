#include "../common.h"

extern __thread int early_in_dep;
EXPORT __thread int early = 40;
static __thread int zero;

__attribute__((constructor(200))) static void first(void)
{
    early++;
    zero++;
    early_in_dep++;
}

__attribute__((constructor(300))) static void second(void)
{
    early = early == 41 ? 42 : -1;
    zero++;
    early_in_dep++;
}

EXPORT int early_value(void) { return early; }
EXPORT int early_zero(void) { return zero; }
EXPORT int early_dep(void) { return early_in_dep; }
