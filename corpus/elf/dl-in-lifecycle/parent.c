#include "../common.h"
#include <dlfcn.h>

int child_opens_parent(void);

static void *opened;

__attribute__((constructor)) static void born(void)
{
    LOG("init parent");
    opened = dlopen("libdl-opened.so", RTLD_NOW);
    LOG("opened in the initialiser");
    /* Itself, which is not initialised a second time. */
    dlclose(dlopen("libdl-parent.so", RTLD_NOW));
}

__attribute__((destructor)) static void dies(void)
{
    LOG("fini parent");
    dlclose(opened);
    LOG("closed in the finaliser");
}

EXPORT int parent_opens_and_closes(void)
{
    void *again = dlopen("libdl-opened.so", RTLD_NOW);
    return again == opened && !dlclose(again);
}
EXPORT int parent_calls_child(void) { return child_opens_parent(); }
