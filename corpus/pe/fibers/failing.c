/* Fibers that come to a bad end, each in its way. */
#include <windows.h>
#include "../common.h"

typedef LPFIBER_START_ROUTINE Start;

static void *home, *left;

static void WINAPI raises(void *code) { RaiseException((DWORD)(ULONG_PTR)code, 0, 0, NULL); }
static void WINAPI reads(void *at) { (void)*(volatile int *)at; }
static void WINAPI calls(void *at) { ((void (*)(void))at)(); }
static void WINAPI returns(void *unused) { (void)unused; }
static void WINAPI deletes(void *unused) { DeleteFiber(unused ? unused : GetCurrentFiber()); }
static void WINAPI switches(void *to) { SwitchToFiber(to); }
static __attribute__((optimize("O0"))) int deeper(int n)
{
    volatile char page[0x800];
    page[0] = (char)n;
    return deeper(n + 1) + page[0];
}
static void WINAPI recurses(void *unused) { deeper(!!unused); }
static volatile int back;
static void WINAPI comes_back(void *unused)
{
    (void)unused;
    SwitchToFiber(home);
    back++;
}
static const Start ways[] = {raises, reads, calls, returns, deletes, switches, recurses, comes_back};

/* Runs a fiber that ends, or comes back. */
EXPORT int fails(int way, ULONG_PTR with)
{
    home = IsThreadAFiber() ? GetCurrentFiber() : ConvertThreadToFiber(NULL);
    void *fiber = CreateFiber(0, ways[way], (void *)with);
    SwitchToFiber(fiber);
    DeleteFiber(fiber);
    return 1;
}

/* A fiber that begins nowhere. */
EXPORT int begins(ULONG_PTR at)
{
    home = IsThreadAFiber() ? GetCurrentFiber() : ConvertThreadToFiber(NULL);
    SwitchToFiber(CreateFiber(0, (Start)at, NULL));
    return 1;
}

/* Goes on in something, in a thread that is a fiber or is none. */
EXPORT int goes_on_in(void *what, int is_fiber)
{
    if (is_fiber && !IsThreadAFiber())
        ConvertThreadToFiber(NULL);
    if (!is_fiber && IsThreadAFiber())
        ConvertFiberToThread();
    SwitchToFiber(what);
    return 1;
}

/* A fiber that is left for the next call to go on in. */
EXPORT void *leaves(void)
{
    home = IsThreadAFiber() ? GetCurrentFiber() : ConvertThreadToFiber(NULL);
    SwitchToFiber(left = CreateFiber(0, comes_back, NULL));
    return left;
}
EXPORT void *first_of_thread(void) { return home = IsThreadAFiber() ? GetCurrentFiber() : ConvertThreadToFiber(NULL); }
EXPORT int deletes_left(void *fiber)
{
    DeleteFiber(fiber);
    return 1;
}

/* A thread of the library's own, whose fiber fails. */
static DWORD WINAPI fails_in_thread(void *way) { return (DWORD)fails((int)(ULONG_PTR)way, 0xe0000077); }
EXPORT unsigned in_thread(int way)
{
    DWORD code = 0;
    HANDLE thread = CreateThread(NULL, 0, fails_in_thread, (void *)(ULONG_PTR)way, 0, NULL);
    WaitForSingleObject(thread, INFINITE);
    GetExitCodeThread(thread, &code);
    CloseHandle(thread);
    return code;
}

/* Loads a library in a fiber, and is left in its entry point. */
static void WINAPI loads(void *path) { LoadLibraryA(path); }
EXPORT void came(unsigned reason)
{
    if (reason == PROCESS_ATTACH)
        SwitchToFiber(home);
}
EXPORT void *stays_in_entry(const char *path)
{
    static char name[MAX_PATH];
    for (char *c = name; (*c++ = *path++);)
        ;
    home = IsThreadAFiber() ? GetCurrentFiber() : ConvertThreadToFiber(NULL);
    SwitchToFiber(left = CreateFiber(0, loads, name));
    return left;
}

SILENT
