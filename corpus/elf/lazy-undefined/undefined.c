#include "../common.h"

void lazy_nowhere(void);
void lazy_nowhere_either(void);
__attribute__((weak)) void lazy_weak(void);

EXPORT int lazy_idle(int call) {
    if (call) lazy_nowhere(), lazy_nowhere_either();
    return 7;
}
EXPORT int lazy_has_weak(void) { return lazy_weak != 0; }
