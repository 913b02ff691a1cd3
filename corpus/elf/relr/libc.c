#include "../common.h"

unsigned long strlen(const char *text);

static const char *const words[] = {"one", "second", "three"};

EXPORT const char *points(void)
{
    for (int i = 0; i < 3; i++)
        if (strlen(((const char *const volatile *)words)[i]) == 6)
            return words[i];
    return "none";
}
