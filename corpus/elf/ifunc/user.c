#include "../common.h"

int ifunc_exported(void);
EXPORT int ifunc_user(void) { return ifunc_exported() + 100; }
