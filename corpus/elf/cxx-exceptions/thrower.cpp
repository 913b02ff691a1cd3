// Throws, and is thrown through.
#include "trouble.h"

Trouble::~Trouble() {}

// The C++ library keeps memory for exceptions that are thrown when there is none, and gives it back only if it is told to:
// by the last of this case's libraries to go.
namespace __gnu_cxx {
void __freeres();
}
__attribute__((destructor)) static void give_back() { __gnu_cxx::__freeres(); }

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
