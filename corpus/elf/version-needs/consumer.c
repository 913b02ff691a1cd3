#include "../common.h"

/* Nobody minds that the function is missing; its version is another matter. */
int needs_one(void);
int needs_extra(void) __attribute__((weak));

EXPORT int needs_value(void) { return needs_one(); }
EXPORT _Bool needs_extra_is_null(void) { return !needs_extra; }
