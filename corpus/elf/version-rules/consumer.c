#include "../common.h"

int three(void);
int oldest(void);
int newer(void);
int base(void);
int hidden(void) __attribute__((weak));

EXPORT int plain_three(void) { return three(); }
EXPORT int plain_oldest(void) { return oldest(); }
EXPORT int plain_newer(void) { return newer(); }
EXPORT int plain_base(void) { return base(); }
EXPORT _Bool plain_hidden_is_null(void) { return !hidden; }
