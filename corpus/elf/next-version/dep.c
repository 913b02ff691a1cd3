#include "../common.h"

__asm__(".symver chosen_first, chosen@FIRST");
__asm__(".symver chosen_second, chosen@@SECOND");
EXPORT int chosen_first(void) { return 1; }
EXPORT int chosen_second(void) { return 2; }
