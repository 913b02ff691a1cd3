/* Mischief before anybody calls anything: in DllMain. */
#define EXPORT static __attribute__((unused))
#define IMPORT __declspec(dllimport)
#include "../mischief.h"

IMPORT void ExitProcess(unsigned);

static inline void exits(void) { ExitProcess(7); }
static inline void faults(void) { calls_null(); }

int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reserved;
    if (reason == 1)
        BORN();
    return 1;
}
