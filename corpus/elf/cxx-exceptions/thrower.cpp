// Throws, and is thrown through.
#include "trouble.h"

Trouble::~Trouble() {}

extern "C" EXPORT void thrower(int number) { throw Trouble(number); }

namespace {
struct Counts {
    int *into;
    ~Counts() { ++*into; }
};
}

extern "C" EXPORT void thrower_calls(void (*f)(int), int number, int *unwound) {
    Counts one{unwound};
    f(number);
}
