#include "../common.h"

/* What compilers call for a thread_local object with a destructor, at its first use in a thread. */
int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *handle);

static int destroyed, handle;
static __thread int object = 7;

static void destroy(void *dying)
{
    /* The thread's own memory is still there, and as it was left. */
    destroyed += dying == &object && object == 8;
    LOG("destroyed");
}

EXPORT int thread_object(void)
{
    if (object == 7)
        __cxa_thread_atexit_impl(destroy, &object, &handle);
    return object = 8;
}
EXPORT int thread_objects_destroyed(void) { return destroyed; }

LIFE("objects")
