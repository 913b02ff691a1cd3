// Throws where nobody should: in its initialiser, or in its terminator. What it throws is a type of its own.
extern "C" {
#include "../common.h"
}

struct EXPORT Misfit {
    virtual ~Misfit() { LOG("misfit destroyed"); }
};

#ifdef AT_BIRTH
__attribute__((constructor)) static void born() { throw Misfit(); }
#else
__attribute__((destructor)) static void dies() { throw Misfit(); }
#endif
