#define _GNU_SOURCE
#include "../common.h"
#include <dlfcn.h>

int above_value(void);

/* Whether its own code finds what only those have that need it. */
EXPORT int sees_above(void) { return dlsym(RTLD_DEFAULT, "above_value") != 0; }

/* A call that is bound when it is first made. */
EXPORT int calls_above(void) { return above_value(); }
