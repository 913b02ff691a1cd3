#include "../common.h"

static _Bool ready;

/* What it wants is not there. It returns nothing, so all it can do is to remember. */
__attribute__((constructor)) static void born(void)
{
    LOG("init failing");
    ready = 0;
}
__attribute__((destructor)) static void dies(void) { LOG("fini failing"); }

EXPORT _Bool failing_ready(void) { return ready; }
