// Everything that a library can leave behind, in one: static objects, thread-local ones with a destructor, exit
// handlers, blocks of thread-local memory. No C++ runtime library is needed.
extern "C" {
#include "../common.h"
int atexit(void (*)());
int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
extern void *__dso_handle;
// What the C++ runtime library does with it.
HIDDEN int __cxa_thread_atexit(void (*destroy)(void *), void *object, void *) {
    return __cxa_thread_atexit_impl(destroy, object, &__dso_handle);
}
}

namespace {
struct Static {
    Static() { LOG("static constructed"); }
    ~Static() { LOG("static destroyed"); }
} object;

struct PerThread {
    int value = 20;
    PerThread() { LOG("thread-local constructed"); }
    ~PerThread() { LOG("thread-local destroyed"); }
};

thread_local PerThread per_thread;
thread_local int plain = 3;
thread_local char block[3000];

void at_exit() { LOG("exit handler"); }
}

extern "C" EXPORT int everything_plain() { block[2999] = 1; return ++plain + block[2999]; }
extern "C" EXPORT int everything_per_thread() { return ++per_thread.value; }
extern "C" EXPORT int everything_at_exit() { return atexit(at_exit); }
