#include "../common.h"

/* Two versions of one name: the old one for those who were linked when it was the only one. */
__asm__(".symver value_one, versions_value@V1");
__asm__(".symver value_two, versions_value@@V2");

EXPORT int value_one(void) { return 1; }
EXPORT int value_two(void) { return 2; }
EXPORT int versions_only_one(void) { return 11; }
EXPORT int versions_only_two(void) { return 22; }
int versions_local(void) { return 99; }
