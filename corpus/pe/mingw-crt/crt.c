/* A DLL as the compiler makes it when it is not told otherwise: the C runtime's entry point comes first, runs the
   constructors, then DllMain; on the way out the destructors. */
#include "../common.h"

int atexit(void (*function)(void));
void *malloc(unsigned long long size);
void free(void *memory);

static int constructed;

static void at_exit(void) { tlog("atexit"); }
__attribute__((constructor)) static void construct(void)
{
    constructed = 1;
    tlog("constructor");
    atexit(at_exit);
}
__attribute__((destructor)) static void destruct(void) { tlog("destructor"); }

LIFE("crt")

EXPORT int crt_constructed(void) { return constructed; }
EXPORT int crt_heap(int count)
{
    int *cells = malloc(count * sizeof *cells), sum = 0;
    if (!cells)
        return -1;
    for (int i = 0; i < count; i++)
        cells[i] = i;
    for (int i = 0; i < count; i++)
        sum += cells[i];
    free(cells);
    return sum;
}
