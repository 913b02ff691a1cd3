#include "../common.h"

IMPORT void *LoadLibraryA(const char *name);
IMPORT int FreeLibrary(void *library);

static void *opened;

/* Whoever loads the DLL that needs this one is in the middle of it. */
int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reserved;
    if (reason == PROCESS_ATTACH) {
        tlog("need begins");
        opened = LoadLibraryA("outer-top.dll");
        tlog("need has loaded its user");
    }
    return 1;
}

EXPORT int need_value(void) { return opened ? 6 : 0; }
EXPORT int need_frees(void) { return FreeLibrary(opened); }
