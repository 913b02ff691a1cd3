#include "../common.h"
#include <dlfcn.h>

static void *opened;

/* Whoever opens the library that needs this one is in the middle of it. */
__attribute__((constructor)) static void born(void)
{
    LOG("need begins");
    opened = dlopen("libouter-top.so", RTLD_NOW);
    LOG("need has opened its user");
}

EXPORT int need_value(void) { return opened ? 6 : 0; }
EXPORT int need_closes(void) { return dlclose(opened); }
