#include "../common.h"
#include <dlfcn.h>

static void *holding;

EXPORT int holds(void)
{
    if (!holding)
        holding = dlopen("libnodelete-held.so", RTLD_NOW);
    int (*held)(void) = (int (*)(void))dlsym(holding, "held");
    return held();
}

__attribute__((destructor)) static void dies(void)
{
    LOG("fini closes");
    if (dlclose(holding))
        LOG("gone already");
    else
        LOG("closed");
}
