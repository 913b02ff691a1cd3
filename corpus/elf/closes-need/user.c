#include "../common.h"
#include <dlfcn.h>

int need_is_there(void);

static void *need;

__attribute__((constructor)) static void born(void) { need = dlopen("libcloses-need.so", RTLD_NOW); }

/* It has no handle any more, but it was linked against it. */
__attribute__((destructor)) static void dies(void)
{
    LOG("fini user");
    if (!dlclose(need) && need_is_there())
        LOG("its need is there");
}

EXPORT int user_value(void) { return need != 0; }
