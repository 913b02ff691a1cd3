// What the two libraries throw at each other.
#ifndef TROUBLE_H
#define TROUBLE_H
extern "C" {
#include "../common.h"
}

struct EXPORT Trouble {
    int number;
    explicit Trouble(int n) : number(n) {}
    virtual ~Trouble(); // defined by the thrower, and so is the type's description
};

extern "C" void thrower(int number);
extern "C" void thrower_calls(void (*f)(int), int number, int *unwound);

#endif
