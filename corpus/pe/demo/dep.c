#include "../common.h"

static const char *const words[] = {"hello", "from", "a", "Windows", "DLL", 0};

SILENT
EXPORT const char *demo_word(int which) { return words[which]; }
EXPORT double demo_pi(void) { return 3.141592653589793; }
