#include "../common.h"

IMPORT int failing_helper(void);

int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image;
    if (reason == PROCESS_ATTACH)
        tlog("attach failing");
    if (reason == PROCESS_DETACH)
        tlog(reserved ? "detach failing, reserved" : "detach failing, null");
    return reason == PROCESS_ATTACH ? failing_helper() - 5 : 0; /* the result counts for this reason alone */
}
EXPORT int failing_value(void) { return 1; }
