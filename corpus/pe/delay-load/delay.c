/* Imports that the system binds when they are first called: the helper that the compiler's stubs call does nothing but ask
   KERNEL32. Each function answers 0, or the line of the first thing that is not as Microsoft's reference says. */
#include <windows.h>
#include "../common.h"

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;

int later_add(int a, int b);
int later_number(void);
int later_gone(int);
int nowhere(int);

/* delayloadhandler.h, which MinGW does not have. */
typedef struct {
    ULONG size;
    const void *descriptor;
    void **slot;
    const char *library;
    ULONG by_name;
    const char *symbol;
    void *module;
    void *unused;
    ULONG error;
} Info;
typedef void *(WINAPI *Hook)(ULONG reason, Info *info);
typedef void *(WINAPI *SystemHook)(const char *library, const char *symbol);
#define DELAYLOAD_GPA_FAILURE 4
IMPORT void *WINAPI ResolveDelayLoadedAPI(void *base, const void *descriptor, Hook, SystemHook, void **slot, ULONG flags);
IMPORT void *WINAPI DelayLoadFailureHook(const char *library, const char *symbol);
extern char __ImageBase;

SILENT

/* What the helper passes on. */
static Hook hook;
static SystemHook system_hook;
static int asked;
static void **last;

void *__delayLoadHelper2(const void *descriptor, void **slot)
{
    asked++;
    last = slot;
    return ResolveDelayLoadedAPI(&__ImageBase, descriptor, hook, system_hook, slot, 0);
}

static BOOL same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

EXPORT int at_the_first_call(void)
{
    asked = 0;
    CHECK(!GetModuleHandleA("delay-later.dll"))
    CHECK(later_add(40, 2) == 42 && asked == 1)
    HMODULE later = GetModuleHandleA("delay-later.dll");
    CHECK(later && *last == (void *)GetProcAddress(later, "later_add"))
    CHECK(later_add(1, 2) == 3 && asked == 1) /* the slot has it now */
    CHECK(later_number() == 5 && asked == 2)
    return 0;
}

EXPORT int optional(void)
{
    CHECK(QueryOptionalDelayLoadedAPI((HMODULE)&__ImageBase, "delay-later.dll", "later_add", 0))
    CHECK(!QueryOptionalDelayLoadedAPI((HMODULE)&__ImageBase, "delay-later.dll", "later_gone", 0))
    CHECK(!QueryOptionalDelayLoadedAPI((HMODULE)&__ImageBase, "delay-nowhere.dll", "nowhere", 0))
    return 0;
}

/* Stand-ins for what is missing. */
static Info told;
static int instead(int n) { return -n; }
static void *WINAPI hears(ULONG reason, Info *info)
{
    told = *info;
    return reason == DELAYLOAD_GPA_FAILURE ? (void *)instead : NULL;
}
static const char *named[2];
static void *WINAPI hears_names(const char *library, const char *symbol)
{
    named[0] = library, named[1] = symbol;
    return (void *)instead;
}

EXPORT int hooks(void)
{
    hook = hears;
    CHECK(later_gone(7) == -7 && told.size == sizeof told && told.slot == last)
    CHECK(same(told.library, "delay-later.dll") && told.module == GetModuleHandleA("delay-later.dll"))
    CHECK(told.by_name == 1)
    CHECK(same(told.symbol, "later_gone") && told.error == ERROR_PROC_NOT_FOUND)
    CHECK(nowhere(8) == -8 && same(told.library, "delay-nowhere.dll") && told.module == NULL)
    CHECK(told.error == ERROR_MOD_NOT_FOUND)
    asked = 0;
    CHECK(later_gone(9) == -9 && asked == 1) /* what a hook answers is not kept */
    hook = NULL, system_hook = hears_names;
    CHECK(later_gone(7) == -7 && same(named[0], "delay-later.dll") && same(named[1], "later_gone"))
    return 0;
}

static EXCEPTION_RECORD raised;
static CONTEXT start;
static volatile int landed;
static LONG CALLBACK leave(EXCEPTION_POINTERS *exception)
{
    raised = *exception->ExceptionRecord;
    landed = 1;
    RtlRestoreContext(&start, NULL);
    return EXCEPTION_CONTINUE_SEARCH;
}
/* Calls what is missing; the exception that comes of it is in raised. */
static BOOL raises(int (*f)(int))
{
    void *handler = AddVectoredExceptionHandler(1, leave);
    landed = 0;
    RtlCaptureContext(&start);
    if (!landed)
        f(1);
    return RemoveVectoredExceptionHandler(handler) && landed;
}

EXPORT int exceptions(void)
{
    hook = NULL, system_hook = DelayLoadFailureHook;
    CHECK(raises(later_gone) && raised.ExceptionCode == 0xc06d007f && raised.NumberParameters == 2)
    CHECK(same((char *)raised.ExceptionInformation[0], "delay-later.dll"))
    CHECK(same((char *)raised.ExceptionInformation[1], "later_gone"))
    system_hook = NULL;
    CHECK(raises(nowhere) && raised.ExceptionCode == 0xc0000412 && raised.NumberParameters == 0)
    return 0;
}
