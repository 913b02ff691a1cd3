#define _GNU_SOURCE
#include "../common.h"
#include <dlfcn.h>
#include <string.h>

/* Whether there is such a symbol; -1 if the answer and the error do not go together. */
EXPORT int finds(const char *name)
{
    dlerror();
    void *found = dlsym(RTLD_DEFAULT, name);
    const char *text = dlerror();
    if (found)
        return text ? -1 : 1;
    return text && strstr(text, name) ? 0 : -1;
}
