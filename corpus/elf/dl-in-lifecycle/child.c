#include "../common.h"
#include <dlfcn.h>
#include <stdlib.h>

__attribute__((constructor)) static void born(void)
{
    LOG("init child");
    /* Nobody's initialisers are run for this: not those of the library that needs this one. */
    dlclose(dlopen(0, RTLD_NOW));
    LOG("the program is open");
}

__attribute__((destructor)) static void dies(void) { LOG("fini child"); }

static void handler(void) { LOG("handler of child"); }

EXPORT int child_opens_parent(void)
{
    void *parent = dlopen("libdl-parent.so", RTLD_NOW);
    return !atexit(handler) && parent && !dlclose(parent);
}
