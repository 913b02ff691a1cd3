#include "../common.h"

__asm__(".symver zero_first, zero_value@PPPPPPPPPPPP");
__asm__(".symver zero_later, zero_value@@LATER");
EXPORT int zero_first(void) { return 1; }
EXPORT int zero_later(void) { return 2; }
