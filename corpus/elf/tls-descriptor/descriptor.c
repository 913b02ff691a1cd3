#include "../common.h"

#include <cpuid.h>

EXPORT __thread int descriptor_start = 40;
extern __thread int descriptor_level;
extern __thread int missing __attribute__((weak));
extern __thread int errno_of_libc __asm__("errno");

/* Fills `before`, asks for the variable, and stores all registers in `after`: 0, or how many differ. */
struct registers {
    unsigned long general[16];
    unsigned char vectors[16][64] __attribute__((aligned(64)));
};
HIDDEN void registers_around(const struct registers *before, struct registers *after, int zmm);

/* 0 for xmm registers, 1 for ymm, 2 for zmm: what processor and system have. */
static int widest(void)
{
    unsigned a, b, c, d, low, high;
    __cpuid(1, a, b, c, d);
    if (!(c & bit_OSXSAVE))
        return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 0xe6) == 0xe6 ? 2 : (low & 6) == 6;
}

EXPORT int descriptor_keeps_registers(void)
{
    struct registers before, after;
    const int zmm = widest();
    const unsigned long width = 16ul << zmm;
    int differ = 0;
    for (int i = 0; i < 16; i++) {
        before.general[i] = 0x0101010101010101 * (i + 1);
        for (unsigned long b = 0; b < 64; b++)
            before.vectors[i][b] = (unsigned char)(i * 64 + b + 7);
    }
    registers_around(&before, &after, zmm);
    for (int i = 0; i < 16; i++) {
        differ += before.general[i] != after.general[i];
        for (unsigned long b = 0; b < width; b++)
            differ += before.vectors[i][b] != after.vectors[i][b];
    }
    return differ;
}

EXPORT int descriptor_next(void) { return ++descriptor_start; }
EXPORT int descriptor_dep_raise(void) { return descriptor_level += 5; }
EXPORT _Bool descriptor_missing(void) { return &missing == (int *)0; }

int *__errno_location(void);
EXPORT _Bool descriptor_host(void) { return &errno_of_libc == __errno_location(); }
