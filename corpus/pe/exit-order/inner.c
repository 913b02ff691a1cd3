#include "../common.h"

static int gone;

int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reserved;
    if (reason == PROCESS_DETACH)
        gone = 1, tlog("inner DllMain");
    return 1;
}
EXPORT int exit_order_inner(void) { return 1 - gone; }
