#include "../common.h"

IMPORT void *LoadLibraryA(const char *name);
IMPORT int FreeLibrary(void *library);
IMPORT int need_is_there(void);

static void *need;

/* It has no reference of its own any more, but it imports from it. */
int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reserved;
    if (reason == PROCESS_ATTACH)
        need = LoadLibraryA("closes-need.dll");
    if (reason == PROCESS_DETACH) {
        tlog("detach user");
        if (FreeLibrary(need) && need_is_there())
            tlog("its need is there");
    }
    return 1;
}

EXPORT int user_value(void) { return need != 0; }
