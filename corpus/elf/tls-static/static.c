#include "../common.h"

HIDDEN __thread int start = 40;
HIDDEN __thread int zero;
static __thread char buffer[100] __attribute__((aligned(64)));
extern __thread int dep_level;
extern __thread int missing __attribute__((weak));
HIDDEN int *asked_start(void);
HIDDEN int *asked_zero(void);

EXPORT int static_next(void) { return ++start; }
EXPORT int static_zero(void) { return ++zero; }
EXPORT _Bool static_aligned(void)
{
    char *volatile at = buffer; /* volatile: the compiler believes in the alignment */
    return (unsigned long)at % 64 == 0;
}
EXPORT _Bool static_same(void) { return asked_start() == &start && asked_zero() == &zero; }
EXPORT int static_dep_raise(void) { return dep_level += 5; }
EXPORT _Bool static_missing(void) { return (void *)&missing == __builtin_thread_pointer(); }
