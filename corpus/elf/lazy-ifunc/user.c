#include "../common.h"

int lazy_chosen(void);

EXPORT int lazy_user(void) { return lazy_chosen() + 100; }
