// Throws where nobody should, in its initialiser or in its terminator, if there is somebody who wants it: whoever only
// opens and closes it is left alone. What it throws is a type of its own.
extern "C" {
#include "../common.h"
__attribute__((weak)) void misfit_wanted();
}

struct EXPORT Misfit {
    virtual ~Misfit() { LOG("misfit destroyed"); }
};

#ifdef AT_BIRTH
__attribute__((constructor))
#else
__attribute__((destructor))
#endif
static void misfit() {
    if (misfit_wanted) throw Misfit();
}
