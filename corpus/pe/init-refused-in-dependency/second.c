#include "../common.h"

int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reserved;
    if (reason == PROCESS_ATTACH)
        tlog("attach second");
    if (reason == PROCESS_DETACH)
        tlog("detach second");
    return 0;
}
EXPORT int refused_second(void) { return 2; }
