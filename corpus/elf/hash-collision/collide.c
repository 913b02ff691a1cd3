/* 33 * 'A' + 'z' = 33 * 'B' + 'Y' = 33 * 'C' + '8' (GNU); 16 * 'A' + 'P' = 16 * 'C' + '0' (System V, versions too). */
#include "../common.h"

EXPORT int gnu_Az(void) { return 1; }
EXPORT int gnu_BY(void) { return 2; }
EXPORT int sysv_AP(void) { return 3; }
EXPORT int sysv_C0(void) { return 4; }

__asm__(".symver versioned_ap, versioned@VER_AP");
__asm__(".symver versioned_c0, versioned@@VER_C0");
EXPORT int versioned_ap(void) { return 5; }
EXPORT int versioned_c0(void) { return 6; }
