#include "../common.h"

extern char absolute_far[];
extern char absolute_null[];
/* In data: relocations with a name, not offsets that the linker knows. */
void *const volatile own[] = { absolute_far, absolute_null };
EXPORT unsigned long absolute_own(void) { return (unsigned long)own[0]; }
