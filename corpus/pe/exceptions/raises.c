#include "../common.h"

IMPORT void RaiseException(unsigned code, unsigned flags, unsigned count, const void *information);

int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reserved;
    tlog(reason == PROCESS_ATTACH ? "attach raises" : "detach raises");
    RaiseException(0xc0000005, 0, 0, 0);
    return 1;
}
