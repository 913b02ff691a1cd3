#include "../common.h"

extern __thread int tls_dep_level;

__thread int tls_zero;
EXPORT __thread int tls_start = 40;
static __thread char buffer[100] __attribute__((aligned(64)));

EXPORT int tls_next(void) { return ++tls_zero; }
EXPORT int tls_from_start(void) { return ++tls_start; }
EXPORT _Bool tls_aligned(void) { return (unsigned long)buffer % 64 == 0; }
EXPORT int tls_fill(int with)
{
    int sum = 0;
    for (unsigned i = 0; i < sizeof buffer; i++)
        sum += buffer[i], buffer[i] = (char)with;
    return sum;
}
EXPORT int tls_raise(void) { return tls_dep_level += 5; }
