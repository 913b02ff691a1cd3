#include "../common.h"

/* The linker is told to begin the segment eight bytes after a multiple of this alignment. */
static __thread int value __attribute__((aligned(32))) = 9;

EXPORT int skew(void)
{
    int *volatile at = &value; /* volatile: the compiler believes in the alignment */
    return (unsigned long)at % 32;
}
EXPORT int skew_value(void) { return value; }
