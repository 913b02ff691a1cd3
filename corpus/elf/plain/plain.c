#include "../common.h"

static int kept;

EXPORT int plain_add(int a, int b) { return a + b; }
EXPORT double plain_scale(double a, float b) { return a * b; }
EXPORT float plain_half(float a) { return a / 2; }
EXPORT unsigned plain_length(const char *text)
{
    unsigned length = 0;
    while (text[length])
        length++;
    return length;
}
EXPORT const char *plain_name(void) { return "plain"; }
EXPORT const char *plain_after(const char *text) { return text + 1; }
EXPORT _Bool plain_even(long long a) { return a % 2 == 0; }
EXPORT unsigned long long plain_wide(unsigned long long a) { return a * 3; }
EXPORT void plain_keep(int a) { kept = a; }
EXPORT int plain_kept(void) { return kept; }

/* More arguments than there are registers for them, whole numbers and fractions mixed. */
EXPORT long long plain_weigh(int a, long long b, unsigned c, unsigned long long d, int e, long long f, int g, int h)
{
    return a + 2 * b + 3 * c + 4 * (long long)d + 5 * e + 6 * f + 7 * g + 8 * h;
}
EXPORT double plain_mix(int a, double b, int c, double d, int e, double f, int g, double h, int i, double j)
{
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j;
}
