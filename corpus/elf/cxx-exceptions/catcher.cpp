// Catches what it throws itself and what the other library throws, also before its initialisers are done and while it
// leaves, and walks its own stack.
#include "trouble.h"
#include <dlfcn.h>
#include <unwind.h>

extern "C" HIDDEN const char __ehdr_start[], _end[]; // the linker's: where this library begins and ends

namespace {
// Through a pointer that the compiler does not see through: nothing is folded away.
void (*volatile throws)(int) = [](int number) { throw number; };

int caught(int number) {
    try {
        throws(number);
    } catch (int n) {
        return n;
    }
    return -1;
}

struct Life {
    Life() { if (caught(1) == 1) LOG("caught while entering"); }
    ~Life() { if (caught(2) == 2) LOG("caught while leaving"); }
} life;

_Unwind_Reason_Code count(_Unwind_Context *frame, void *into) {
    const char *pc = reinterpret_cast<const char *>(_Unwind_GetIP(frame));
    *static_cast<int *>(into) += pc >= __ehdr_start && pc < _end;
    return _URC_NO_REASON;
}

int (*volatile again)(int);

__attribute__((noinline)) int deeper(int depth) {
    int frames = 0;
    if (depth == 0) {
        _Unwind_Backtrace(count, &frames);
    } else {
        frames = again(depth - 1);
    }
    __asm__ volatile("" : : "r"(&frames) : "memory"); // a frame of its own for every call
    return frames;
}
}

extern "C" EXPORT int caught_inside(int number) { return caught(number); }

extern "C" EXPORT int caught_from_other(int number) {
    try {
        thrower(number);
    } catch (const Trouble &trouble) {
        return trouble.number;
    }
    return -1;
}

// Thrown here, through a frame of the other library, and caught here.
extern "C" EXPORT int caught_through_other(int number) {
    int unwound = 0;
    try {
        thrower_calls(throws, number, &unwound);
    } catch (int n) {
        return n * 10 + unwound;
    }
    return -1;
}

// For a caller who catches it, or who is asked to call back.
extern "C" EXPORT void throws_trouble(int number) { thrower(number); }

extern "C" EXPORT int caught_from_caller(void (*f)(int), int number) {
    try {
        f(number);
    } catch (const Trouble &trouble) {
        return trouble.number;
    } catch (int n) {
        return -n;
    }
    return 0;
}

// 1: what it throws while it enters comes out of dlopen, can be caught, and is whole; and it is not loaded then.
extern "C" EXPORT int caught_from_open(const char *path) {
    void *(*volatile open)(const char *, int) = dlopen; // the header promises that it throws nothing
    try {
        open(path, RTLD_NOW);
        return 0;
    } catch (...) {
    }
    return dlopen(path, RTLD_NOW | RTLD_NOLOAD) ? 2 : 1;
}

// So many calls of `deeper` are above the frame of this function.
extern "C" EXPORT int own_frames(int depth) {
    again = deeper;
    return deeper(depth) - depth;
}
