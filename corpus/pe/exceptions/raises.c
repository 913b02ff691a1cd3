#include "../common.h"

IMPORT void RaiseException(unsigned code, unsigned flags, unsigned count, const void *information);

#ifdef STUBBORN
/* A filter that always goes on, where that is not possible. */
int guarded(int (*)(int), int);
int filter(void *pointers, void *frame) { return (void)pointers, (void)frame, -1; }
void finally(int abnormal, void *frame) { (void)abnormal, (void)frame; }
int clobbered(int x) { return x; }
static int for_good(int code) { return RaiseException(code, 1, 0, 0), 0; }
#define RAISE guarded(for_good, 0x1234)
#else
#define RAISE RaiseException(0xc0000005, 0, 0, 0)
#endif

int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reserved;
    tlog(reason == PROCESS_ATTACH ? "attach raises" : "detach raises");
    RAISE;
    return 1;
}
