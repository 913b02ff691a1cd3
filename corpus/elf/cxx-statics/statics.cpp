// Objects with destructors, registered with __cxa_atexit while the library is initialised and run by __cxa_finalize
// from its finaliser. No C++ runtime library is needed for that.
extern "C" {
#include "../common.h"
}

namespace {
int built;

struct First {
    First() { ++built; LOG("construct first"); }
    ~First() { LOG("destroy first"); }
} first;

struct Second {
    int value;
    explicit Second(int start) : value(start) { ++built; LOG("construct second"); }
    ~Second() { LOG("destroy second"); }
} second(6);
}

extern "C" EXPORT int cxx_built() { return built; }
extern "C" EXPORT int cxx_value() { return ++second.value; }
