#include "../common.h"

static int gone;

EXPORT int need_is_there(void) { return !gone; }

int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reserved;
    if (reason == PROCESS_DETACH)
        gone = 1, tlog("detach need");
    return 1;
}
