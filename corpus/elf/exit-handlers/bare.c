#include "../common.h"

/* A library without the compiler's own finaliser: nothing in it calls __cxa_finalize. */
int __cxa_atexit(void (*handler)(void *), void *argument, void *handle);
int on_exit(void (*handler)(int, void *), void *argument);

static int handle;

static void handler(void *argument)
{
    if (argument == &handle)
        LOG("bare handler");
}

static void old_handler(int status, void *argument)
{
    if (status == 0 && argument == &handle)
        LOG("old handler");
}

EXPORT int leave_bare_handlers(void)
{
    int left = __cxa_atexit(handler, &handle, &handle);
    return left | on_exit(old_handler, &handle);
}
