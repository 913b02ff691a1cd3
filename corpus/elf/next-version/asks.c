#define _GNU_SOURCE
#include "../common.h"
#include <dlfcn.h>

typedef int Chosen(void);

EXPORT int chosen(void) { return 9; }

static int answer(void *found) { return found ? ((Chosen *)found)() : 0; }

EXPORT int next_default(void) { return answer(dlsym(RTLD_NEXT, "chosen")); }
EXPORT int next_of(const char *version) { return answer(dlvsym(RTLD_NEXT, "chosen", version)); }
