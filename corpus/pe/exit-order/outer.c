#include "../common.h"
#include "../tls.h"

IMPORT int exit_order_inner(void);

static void callback(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reserved;
    if (reason == PROCESS_DETACH)
        tlog("outer callback");
}
static tls_callback *const callbacks[] = {callback, 0};
TLS_DIRECTORY(callbacks, 0, 0)

/* What it needs is still there while it leaves. */
int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reserved;
    if (reason == PROCESS_DETACH)
        tlog(exit_order_inner() == 1 ? "outer DllMain" : "too late");
    return 1;
}
EXPORT int exit_order_outer(void) { return exit_order_inner() + 1; }
