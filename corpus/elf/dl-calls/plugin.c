#define _GNU_SOURCE
#include "../common.h"
#include <dlfcn.h>

LIFE("plugin")

int plugindep_only(void);

EXPORT __thread int plugin_tls = 5;
EXPORT __attribute__((weak)) int plugin_weak(void) { return plugindep_only(); }
/* What came with this library is in sight of its own code, also after a LOCAL open. */
EXPORT int plugin_sees_its_group(void) { return dlsym(RTLD_DEFAULT, "plugindep_only") != 0; }
