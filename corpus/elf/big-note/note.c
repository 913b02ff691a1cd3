#include "../common.h"

/* A note longer than a page, before everything else that a loader reads. */
__asm__(".pushsection .note.big,\"a\",@note\n"
        ".balign 4\n.long 4, 0x2000, 1\n.asciz \"big\"\n.skip 0x2000\n"
        ".popsection");
static int number = 41;
static int *const pointer = &number;
EXPORT int answer(void) { return *pointer + 1; }
