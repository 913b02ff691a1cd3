#include "../common.h"

/* The segments ask for 64 KiB: a base at any page would put this one wrong. */
EXPORT __attribute__((aligned(0x10000))) char here[16] = "aligned";
EXPORT int misaligned(void) { return (int)((unsigned long)here & 0xffff); }
EXPORT const char *text(void) { return here; }
