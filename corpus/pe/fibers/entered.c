/* Its entry point calls back. */
#include "../common.h"

IMPORT void came(unsigned reason);
int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reserved;
    if (reason == PROCESS_ATTACH || reason == PROCESS_DETACH)
        came(reason);
    return 1;
}
