#include "../common.h"

extern char absolute_far[];
extern char absolute_null[] __attribute__((weak));
unsigned long absolute_own(void);
EXPORT unsigned long absolute_far_is(void) { return (unsigned long)absolute_far; }
EXPORT unsigned long absolute_null_is(void) { return (unsigned long)absolute_null; }
