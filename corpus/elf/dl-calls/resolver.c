#define _GNU_SOURCE
#include "../common.h"
#include <dlfcn.h>

static int one(void) { return 1; }
static int two(void) { return 2; }

/* Runs while the library is being loaded, and asks the loader. */
static int (*resolve(void))(void)
{
    void *program = dlopen(0, RTLD_NOW);
    int found = program && dlsym(program, "malloc") && dlsym(RTLD_DEFAULT, "free");
    dlclose(program);
    return found ? two : one;
}

EXPORT int resolved(void) __attribute__((ifunc("resolve")));
