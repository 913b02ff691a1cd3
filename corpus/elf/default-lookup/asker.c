#define _GNU_SOURCE
#include "../common.h"
#include <dlfcn.h>

EXPORT int who(void) { return NUMBER; }

/* Whose function its own code finds by name in all that is loaded. */
EXPORT int default_finds(void)
{
    int (*found)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "who");
    return found ? found() : 0;
}
