#include "../common.h"

IMPORT double demo_pi(void);
IMPORT const char *demo_word(int which);

static char *append(char *end, const char *text)
{
    while (*text)
        *end++ = *text++;
    return end;
}

SILENT
EXPORT int demo_add(int a, int b) { return a + b; }
EXPORT double demo_area(double radius) { return demo_pi() * radius * radius; }

/* The words are the dependency's; the sentence is made here. */
EXPORT const char *demo_greeting(void)
{
    static char sentence[64];
    char *end = sentence;
    for (int i = 0; demo_word(i); i++) {
        if (i)
            *end++ = ' ';
        end = append(end, demo_word(i));
    }
    *end = 0;
    return sentence;
}
