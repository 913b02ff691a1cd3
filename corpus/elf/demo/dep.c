#include "../common.h"

static const char *const words[] = {"hello", "from", "an", "ELF", "shared", "object", 0};

EXPORT const char *demo_word(int which) { return words[which]; }
EXPORT double demo_pi(void) { return 3.141592653589793; }
