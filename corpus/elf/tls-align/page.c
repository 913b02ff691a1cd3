#include "../common.h"

static __thread char pages[3] __attribute__((aligned(65536)));

EXPORT int page(void)
{
    char *volatile at = pages; /* volatile: the compiler believes in the alignment */
    return (unsigned long)at % 65536;
}
