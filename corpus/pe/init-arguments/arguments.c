/* DllMain receives the image's base, the reason and, in `reserved`, how the DLL came in: null for a dynamic load. */
#include "../common.h"

extern const char __ImageBase;
static void *base;

int DllMain(void *image, unsigned reason, void *reserved)
{
    if (image != &__ImageBase)
        tlog("not the base");
    base = image;
    switch (reason) {
    case PROCESS_ATTACH: tlog(reserved ? "1, reserved" : "1, null"); break;
    case PROCESS_DETACH: tlog(reserved ? "0, reserved" : "0, null"); break;
    }
    return 2; /* anything but 0 is yes */
}

EXPORT _Bool arguments_base(void) { return base == &__ImageBase && ((short *)base)[0] == 0x5a4d; }
