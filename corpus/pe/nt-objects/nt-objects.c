/* NT's own functions below KERNEL32's threads and handles. Each function here tries some of them and answers 0, or the line of
   the first thing that is not as Microsoft's reference, or where that is silent Wine, has it. */
#include <windows.h>
#include "../common.h"
SILENT

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;
/* The call fails with this error. */
#define FAILS(call, error) CHECK((SetLastError(0), !(call)) && GetLastError() == (error))

#define MOMENT 30      /* milliseconds in which something could happen that must not */
#define PATIENCE 20000 /* for what must happen */

typedef unsigned Status;
typedef struct { USHORT length, room; WCHAR *units; } Text;
typedef struct { ULONG length; HANDLE root; Text *name; ULONG flags; void *descriptor, *quality; } Attributes;
enum {
    TIMEOUT = 0x102, PENDING = 0x103, NAME_EXISTS = 0x40000000, INFO_CLASS = 0xc0000003, INFO_LENGTH = 0xc0000004,
    BAD_HANDLE = 0xc0000008, BAD_PARAMETER = 0xc000000d, DENIED = 0xc0000022, TOO_SMALL = 0xc0000023, MISMATCH = 0xc0000024,
    NAME_INVALID = 0xc0000033, NAME_NOT_FOUND = 0xc0000034, COLLISION = 0xc0000035, PATH_NOT_FOUND = 0xc000003a,
    PATH_SYNTAX = 0xc000003b, NOT_OWNED = 0xc0000046, LIMIT = 0xc0000047, BAD_PARAMETER_1 = 0xc00000ef
};

static void *of(const char *name) { return GetProcAddress(GetModuleHandleA("ntdll.dll"), name); }
/* A function of ntdll. Its arguments have the sizes that they are written with. */
#define NT(name) ((Status(WINAPI *)())of(#name))
#define NONE ((void *)0)
/* Wine is otherwise in places, of which each says how. */
static BOOL on_wine(void) { return of("wine_get_version") != NULL; }

/* The attributes of a name, in a place that the next call uses again. */
static Attributes *named(const WCHAR *name, ULONG flags)
{
    static Text text;
    static Attributes attributes;
    text.units = (WCHAR *)name, text.length = lstrlenW(name) * 2, text.room = text.length + 2;
    attributes.length = sizeof attributes, attributes.name = &text, attributes.flags = flags;
    return &attributes;
}
static LARGE_INTEGER *after(int ms)
{
    static LARGE_INTEGER time;
    time.QuadPart = -10000LL * ms;
    return &time;
}
static HANDLE start(void *f, void *argument) { return CreateThread(NULL, 0, f, argument, 0, NULL); }
static BOOL ended(HANDLE thread, DWORD code)
{
    DWORD is = 0;
    return WaitForSingleObject(thread, PATIENCE) == 0 && GetExitCodeThread(thread, &is) && is == code && CloseHandle(thread);
}

EXPORT int states(void)
{
    HANDLE h;
    LONG before = 7, pair[2];
    struct { LONG count; BYTE mine, abandoned; } mutex;
    struct { LARGE_INTEGER left; BYTE set; } timer;
    ULONG len = 0;
    BOOLEAN was = 7;
    /* Events: 0 stays set, 1 is for one. */
    CHECK(NT(NtCreateEvent)(&h, EVENT_ALL_ACCESS, NONE, 2, 0) == BAD_PARAMETER)
    CHECK(NT(NtCreateEvent)(&h, EVENT_ALL_ACCESS, NONE, 1, 0) == 0)
    CHECK(NT(NtSetEvent)(h, &before) == 0 && before == 0 && NT(NtSetEvent)(h, &before) == 0 && before == 1)
    CHECK(NT(NtQueryEvent)(h, 0, pair, 8, &len) == 0 && pair[0] == 1 && pair[1] == 1 && len == 8)
    CHECK(NT(NtQueryEvent)(h, 0, pair, 7, NONE) == INFO_LENGTH && NT(NtQueryEvent)(h, 9, pair, 8, NONE) == INFO_CLASS)
    CHECK(NT(NtPulseEvent)(h, &before) == 0 && before == 1 && WaitForSingleObject(h, 0) == WAIT_TIMEOUT)
    CHECK(NT(NtResetEvent)(h, &before) == 0 && before == 0 && NT(NtReleaseMutant)(h, NONE) == MISMATCH)
    CHECK(NT(NtClose)(h) == 0 && NT(NtSetEvent)(h, NONE) == BAD_HANDLE)
    /* A mutex counts downwards from one. */
    CHECK(NT(NtCreateMutant)(&h, MUTEX_ALL_ACCESS, NONE, TRUE) == 0 && WaitForSingleObject(h, 0) == 0)
    CHECK(NT(NtQueryMutant)(h, 0, &mutex, 8, &len) == 0 && mutex.count == -1 && mutex.mine && !mutex.abandoned)
    CHECK(NT(NtReleaseMutant)(h, &before) == 0 && before == -1 && NT(NtReleaseMutant)(h, &before) == 0 && before == 0)
    CHECK(NT(NtReleaseMutant)(h, &before) == NOT_OWNED && NT(NtClose)(h) == 0)
    /* Semaphores. */
    CHECK(NT(NtCreateSemaphore)(&h, SEMAPHORE_ALL_ACCESS, NONE, 3, 2) == BAD_PARAMETER)
    CHECK(NT(NtCreateSemaphore)(&h, SEMAPHORE_ALL_ACCESS, NONE, 1, 2) == 0)
    before = 7;
    CHECK(NT(NtReleaseSemaphore)(h, 2, &before) == LIMIT && before == 7)
    CHECK(NT(NtReleaseSemaphore)(h, 1, &before) == 0 && before == 1)
    CHECK(NT(NtQuerySemaphore)(h, 0, pair, 8, NONE) == 0 && pair[0] == 2 && pair[1] == 2 && NT(NtClose)(h) == 0)
    /* Timers. */
    CHECK(NT(NtCreateTimer)(&h, TIMER_ALL_ACCESS, NONE, 0) == 0)
    CHECK(NT(NtSetTimer)(h, after(PATIENCE), NONE, NONE, FALSE, 0, &was) == 0 && was == FALSE)
    CHECK(NT(NtQueryTimer)(h, 0, &timer, 16, NONE) == 0 && timer.left.QuadPart > 0 && !timer.set)
    CHECK(NT(NtSetTimer)(h, after(0), NONE, NONE, FALSE, 0, NONE) == 0 && WaitForSingleObject(h, PATIENCE) == 0)
    CHECK(NT(NtCancelTimer)(h, &was) == 0 && was == TRUE && NT(NtClose)(h) == 0)
    return 0;
}

static HANDLE meeting;
static DWORD WINAPI meets(void *key) { return NT(NtReleaseKeyedEvent)(meeting, key, FALSE, NONE); }

EXPORT int keyed_events(void)
{
    CHECK(NT(NtCreateKeyedEvent)(&meeting, 0xf0003, NONE, 0) == 0)
    CHECK(NT(NtWaitForKeyedEvent)(meeting, (void *)7, FALSE, after(1)) == BAD_PARAMETER_1)
    CHECK(NT(NtWaitForKeyedEvent)(meeting, (void *)8, FALSE, after(1)) == TIMEOUT)
    HANDLE thread = start(meets, (void *)8);
    CHECK(NT(NtWaitForKeyedEvent)(meeting, (void *)16, FALSE, after(MOMENT)) == TIMEOUT)
    CHECK(NT(NtWaitForKeyedEvent)(meeting, (void *)8, FALSE, after(PATIENCE)) == 0 && ended(thread, 0))
    /* Without an event there is the process's own. */
    CHECK(NT(NtReleaseKeyedEvent)(NONE, (void *)8, FALSE, after(1)) == TIMEOUT)
    CHECK(NT(NtClose)(meeting) == 0 && NT(NtCreateKeyedEvent)(&meeting, 1, NONE, 0) == 0) /* only to wait */
    CHECK(NT(NtReleaseKeyedEvent)(meeting, (void *)8, FALSE, after(1)) == DENIED)
    CHECK(NT(NtSetEvent)(meeting, NONE) == MISMATCH && NT(NtClose)(meeting) == 0)
    /* Alerts are kept for a thread that does not wait yet, but only one. */
    void *me = (void *)(ULONG_PTR)GetCurrentThreadId();
    CHECK(NT(NtAlertThreadByThreadId)(me) == 0 && NT(NtAlertThreadByThreadId)(me) == 0)
    CHECK(NT(NtWaitForAlertByThreadId)(NONE, after(1)) == 0x101 && NT(NtWaitForAlertByThreadId)(NONE, after(1)) == TIMEOUT)
    CHECK(NT(NtAlertThreadByThreadId)(NONE) == 0xc000000b)
    return 0;
}

EXPORT int names(void)
{
    HANDLE a, b, dir;
    const WCHAR *name = L"\\BaseNamedObjects\\nt-objects";
    WCHAR units[200];
    Text text = { 0, sizeof units, units };
    ULONG len;
    CHECK(NT(NtCreateEvent)(&a, EVENT_ALL_ACCESS, named(name, 0), 0, 0) == 0)
    CHECK(NT(NtCreateEvent)(&b, EVENT_ALL_ACCESS, named(name, 0), 0, 0) == COLLISION && b == NULL)
    CHECK(NT(NtCreateEvent)(&b, EVENT_ALL_ACCESS, named(name, 0x80), 0, 0) == NAME_EXISTS && NT(NtClose)(b) == 0)
    CHECK(NT(NtOpenMutant)(&b, MUTEX_ALL_ACCESS, named(name, 0)) == MISMATCH)
    CHECK(NT(NtOpenEvent)(&b, EVENT_ALL_ACCESS, named(L"\\BaseNamedObjects\\NT-OBJECTS", 0)) == NAME_NOT_FOUND)
    CHECK(NT(NtOpenEvent)(&b, EVENT_ALL_ACCESS, named(L"\\BaseNamedObjects\\NT-OBJECTS", 0x40)) == 0 && NT(NtClose)(b) == 0)
    /* What KERNEL32 calls global is there; what it does not is the session's. */
    CHECK((b = OpenEventA(SYNCHRONIZE, FALSE, "Global\\nt-objects")) != NULL && CloseHandle(b))
    FAILS(OpenEventA(SYNCHRONIZE, FALSE, "nt-objects"), ERROR_FILE_NOT_FOUND)
    FAILS(OpenEventA(SYNCHRONIZE, FALSE, NULL), ERROR_INVALID_PARAMETER)
    FAILS(CreateEventA(NULL, FALSE, FALSE, "nt\\objects"), ERROR_PATH_NOT_FOUND)
    FAILS(OpenMutexA(SYNCHRONIZE, FALSE, "Global\\nt-objects"), ERROR_INVALID_HANDLE)
    CHECK((b = CreateEventA(NULL, FALSE, FALSE, "Local\\nt-objects")) != NULL && GetLastError() == 0)
    HANDLE c = CreateEventA(NULL, FALSE, FALSE, "nt-objects");
    CHECK(c != NULL && GetLastError() == ERROR_ALREADY_EXISTS && CloseHandle(b) && CloseHandle(c))
    CHECK(NT(NtClose)(a) == 0 && NT(NtOpenEvent)(&a, EVENT_ALL_ACCESS, named(name, 0)) == NAME_NOT_FOUND)
    /* How a name may look. */
    CHECK(NT(NtOpenEvent)(&a, EVENT_ALL_ACCESS, named(L"x", 0)) == PATH_SYNTAX)
    CHECK(NT(NtOpenEvent)(&a, EVENT_ALL_ACCESS, named(L"\\BaseNamedObjects\\\\x", 0)) == NAME_INVALID)
    CHECK(NT(NtOpenEvent)(&a, EVENT_ALL_ACCESS, named(L"\\BaseNamedObjects\\y\\x", 0)) == PATH_NOT_FOUND)
    CHECK(NT(NtOpenEvent)(&a, EVENT_ALL_ACCESS, NONE) == BAD_PARAMETER)
    /* Directories and links. */
    CHECK(NT(NtCreateDirectoryObject)(&dir, 0xf000f, named(L"\\BaseNamedObjects\\nt-directory", 0)) == 0)
    Attributes *inside = named(L"x", 0);
    inside->root = dir;
    CHECK(NT(NtCreateSemaphore)(&a, SEMAPHORE_ALL_ACCESS, inside, 0, 1) == 0)
    inside->root = a;
    CHECK(NT(NtOpenSemaphore)(&b, SEMAPHORE_ALL_ACCESS, inside) == MISMATCH)
    inside->root = NULL;
    CHECK(NT(NtOpenSemaphore)(&b, SEMAPHORE_ALL_ACCESS, named(L"\\BaseNamedObjects\\nt-directory\\x", 0)) == 0)
    CHECK(NT(NtClose)(a) == 0 && NT(NtClose)(b) == 0 && NT(NtClose)(dir) == 0)
    CHECK(NT(NtOpenSymbolicLinkObject)(&a, 1, named(L"\\BaseNamedObjects\\Global", 0)) == 0)
    CHECK(NT(NtQuerySymbolicLinkObject)(a, &text, &len) == 0 && text.length == 34 && len == 36)
    text.room = 34;
    CHECK(NT(NtQuerySymbolicLinkObject)(a, &text, &len) == TOO_SMALL && len == 36 && NT(NtClose)(a) == 0)
    return 0;
}

EXPORT int handles(void)
{
    HANDLE self = GetCurrentProcess(), a = CreateEventA(NULL, TRUE, TRUE, "nt-handles"), b;
    struct { ULONG attributes, access, handles, pointers, rest[10]; } basic;
    struct { Text text; WCHAR units[300]; } name;
    BYTE flags[2];
    ULONG len;
    CHECK(NT(NtDuplicateObject)(self, a, self, &b, SYNCHRONIZE, 2, 0) == 0) /* inherited, and only to be waited for */
    CHECK(NT(NtQueryObject)(b, 0, &basic, sizeof basic, &len) == 0 && len == sizeof basic)
    CHECK(basic.access == SYNCHRONIZE && basic.handles == 2 && (basic.attributes == 2 || on_wine())) /* which has none */
    CHECK(NT(NtQueryObject)(b, 0, &basic, sizeof basic - 1, NONE) == INFO_LENGTH)
    CHECK(NT(NtQueryObject)(b, 4, flags, 2, NONE) == 0 && flags[0] == 1 && flags[1] == 0)
    CHECK(NT(NtQueryObject)(b, 1, &name, sizeof name, &len) == 0 && len == sizeof(Text) + name.text.length + 2)
    CHECK(name.text.units == name.units && lstrcmpW(name.units + name.text.length / 2 - 11, L"\\nt-handles") == 0)
    CHECK(NT(NtQueryObject)(b, 2, &name, sizeof name, &len) == 0 && lstrcmpW(name.text.units, L"Event") == 0)
    FAILS(SetEvent(b), ERROR_ACCESS_DENIED)
    CHECK(WaitForSingleObject(b, 0) == 0 && WaitForSingleObject((HANDLE)((ULONG_PTR)b + 3), 0) == 0) /* two bits mean nothing */
    CHECK(NT(NtDuplicateObject)(self, b, self, &b, 0, 0, DUPLICATE_SAME_ACCESS | DUPLICATE_CLOSE_SOURCE) == 0)
    FAILS(ResetEvent(b), ERROR_ACCESS_DENIED)
    CHECK(CloseHandle(b) && NT(NtDuplicateObject)(self, b, self, &b, 0, 0, 2) == BAD_HANDLE && CloseHandle(a))
    HANDLE both[1] = { self };
    CHECK(on_wine() || WaitForMultipleObjects(1, both, FALSE, 0) == WAIT_FAILED && GetLastError() == ERROR_INVALID_HANDLE) /* which waits */
    SECURITY_ATTRIBUTES security = { sizeof security, NULL, TRUE };
    DWORD inherits = 0;
    CHECK((a = CreateMutexA(&security, FALSE, NULL)) != NULL && GetHandleInformation(a, &inherits) && inherits == 1)
    return CloseHandle(a) ? 0 : __LINE__;
}

EXPORT int rights(void)
{
    HANDLE a = CreateSemaphoreA(NULL, 0, 1, "nt-rights"), b;
    CHECK((b = OpenSemaphoreA(SEMAPHORE_MODIFY_STATE, FALSE, "nt-rights")) != NULL && ReleaseSemaphore(b, 1, NULL))
    CHECK(WaitForSingleObject(b, 0) == WAIT_FAILED && GetLastError() == ERROR_ACCESS_DENIED && CloseHandle(b))
    CHECK((b = OpenSemaphoreA(GENERIC_EXECUTE, FALSE, "nt-rights")) != NULL && WaitForSingleObject(b, 0) == 0)
    FAILS(ReleaseSemaphore(b, 1, NULL), ERROR_ACCESS_DENIED)
    CHECK(CloseHandle(b) && CloseHandle(a))
    CHECK((a = OpenThread(THREAD_QUERY_LIMITED_INFORMATION, FALSE, GetCurrentThreadId())) != NULL)
    CHECK(GetThreadId(a) == GetCurrentThreadId() && GetThreadPriority(a) == THREAD_PRIORITY_NORMAL)
    FAILS(SetThreadPriority(a, THREAD_PRIORITY_NORMAL), ERROR_ACCESS_DENIED)
    CHECK(SuspendThread(a) == (DWORD)-1 && GetLastError() == ERROR_ACCESS_DENIED && CloseHandle(a))
    FAILS(OpenThread(SYNCHRONIZE, FALSE, 0), ERROR_INVALID_PARAMETER)
    return 0;
}

static ULONG_PTR resource[16];
static DWORD WINAPI shares(void *waits)
{
    if (!(BYTE)NT(RtlAcquireResourceShared)(resource, (ULONG_PTR)waits))
        return 1;
    NT(RtlReleaseResource)(resource);
    return 2;
}

EXPORT int resources(void)
{
    NT(RtlInitializeResource)(resource);
    CHECK((BYTE)NT(RtlAcquireResourceShared)(resource, 0) && (BYTE)NT(RtlAcquireResourceShared)(resource, 0))
    CHECK(!(BYTE)NT(RtlAcquireResourceExclusive)(resource, 0) && ended(start(shares, 0), 2))
    NT(RtlReleaseResource)(resource), NT(RtlReleaseResource)(resource);
    /* Who has it alone has it as often as it likes, and shares it with itself. */
    CHECK((BYTE)NT(RtlAcquireResourceExclusive)(resource, 0) && (BYTE)NT(RtlAcquireResourceExclusive)(resource, 0))
    CHECK((BYTE)NT(RtlAcquireResourceShared)(resource, 0) && ended(start(shares, 0), 1))
    HANDLE thread = start(shares, (void *)1);
    NT(RtlReleaseResource)(resource), NT(RtlReleaseResource)(resource);
    CHECK(WaitForSingleObject(thread, MOMENT) == WAIT_TIMEOUT)
    NT(RtlReleaseResource)(resource);
    CHECK(ended(thread, 2))
    NT(RtlDeleteResource)(resource);
    return 0;
}

EXPORT int addresses(void)
{
    LONG64 a = 1, b = 1, c = 2;
    CHECK(NT(RtlWaitOnAddress)(&a, &b, (SIZE_T)5, NONE) == BAD_PARAMETER)
    CHECK(NT(RtlWaitOnAddress)(&a, &b, (SIZE_T)8, after(1)) == TIMEOUT && NT(RtlWaitOnAddress)(&a, &c, (SIZE_T)8, NONE) == 0)
    NT(RtlWakeAddressSingle)(&a), NT(RtlWakeAddressAll)(&a);
    return 0;
}

static LONG called;
static void WINAPI calls(void *a, void *b, void *c) { called += (LONG)(ULONG_PTR)a * 100 + (LONG)(ULONG_PTR)b * 10 + (LONG)(ULONG_PTR)c; }
static DWORD WINAPI gives(void *n) { return (DWORD)(ULONG_PTR)n; }

EXPORT int threads(void)
{
    HANDLE self = GetCurrentProcess(), me = GetCurrentThread(), a;
    struct { Status exit; void *block; HANDLE process, thread; ULONG_PTR mask; LONG priority, base; } basic;
    struct { Text text; WCHAR units[40]; } name;
    ULONG n, len;
    WCHAR *text;
    LARGE_INTEGER times[4];
    CHECK(NT(NtCreateThreadEx)(&a, THREAD_ALL_ACCESS, NONE, self, gives, (void *)7, 1, NONE, NONE, NONE, NONE) == 0)
    CHECK(NT(NtQueryInformationThread)(a, 0, &basic, sizeof basic, &len) == 0 && len == sizeof basic)
    CHECK(basic.exit == PENDING && basic.thread == (HANDLE)(ULONG_PTR)GetThreadId(a) && basic.process == (HANDLE)(ULONG_PTR)GetCurrentProcessId())
    CHECK(on_wine() || NT(NtQueryInformationThread)(a, 0, &basic, sizeof basic - 1, NONE) == INFO_LENGTH) /* which gives some */
    CHECK(NT(NtSuspendThread)(a, &n) == 0 && n == 1 && NT(NtResumeThread)(a, &n) == 0 && n == 2)
    CHECK(NT(NtResumeThread)(a, NONE) == 0 && WaitForSingleObject(a, PATIENCE) == 0)
    CHECK(NT(NtQueryInformationThread)(a, 1, times, sizeof times, NONE) == 0 && times[0].QuadPart && times[1].QuadPart >= times[0].QuadPart)
    CHECK(NT(NtQueueApcThread)(a, calls, NONE, NONE, NONE) != 0 && ended(a, 7)) /* it has ended */
    CHECK(NT(NtQueueApcThread)(me, calls, (void *)1, (void *)2, (void *)3) == 0 && called == 0)
    CHECK(NT(NtTestAlert)() == 0 && called == 123 && NT(NtTestAlert)() == 0 && called == 123)
    /* What it is called. */
    CHECK(SetThreadDescription(me, L"name") == 0x10000000 || SetThreadDescription(me, L"name") == 0)
    CHECK(GetThreadDescription(me, &text) >= 0 && lstrcmpW(text, L"name") == 0 && LocalFree(text) == NULL)
    CHECK(NT(NtQueryInformationThread)(me, 38, NONE, 0, &len) == TOO_SMALL && len == sizeof(Text) + 8)
    CHECK(NT(NtQueryInformationThread)(me, 38, &name, sizeof name, &len) == 0 && name.text.length == 8 && name.text.units == name.units)
    name.text.length = 0;
    CHECK(NT(NtSetInformationThread)(me, 38, &name, sizeof(Text)) == 0 && NT(NtSetInformationThread)(me, 38, &name, 3) == INFO_LENGTH)
    CHECK(GetThreadDescription(me, &text) >= 0 && *text == 0 && LocalFree(text) == NULL)
    DWORD mode = 7;
    CHECK(SetThreadErrorMode(SEM_FAILCRITICALERRORS, &mode) && GetThreadErrorMode() == SEM_FAILCRITICALERRORS)
    CHECK(SetThreadErrorMode(mode, NULL) && GetThreadErrorMode() == mode)
    FAILS(SetThreadErrorMode(0x1234, NULL), ERROR_INVALID_PARAMETER)
    CHECK((a = CreateRemoteThread(self, NULL, 0, gives, (void *)9, 0, NULL)) != NULL && ended(a, 9))
    return 0;
}

static LONG count;
static HANDLE go;
static void CALLBACK counts(void *instance, void *context) { InterlockedExchangeAdd(&count, (LONG)(ULONG_PTR)context); }
static void CALLBACK holds(void *instance, void *context, void *work)
{
    InterlockedIncrement(&count);
    WaitForSingleObject(go, PATIENCE);
}
static void CALLBACK lets_go(void *instance, void *context, void *work)
{
    NT(TpDisassociateCallback)(instance);
    WaitForSingleObject(go, PATIENCE);
    InterlockedIncrement(&count);
}
static DWORD WINAPI works(void *context)
{
    counts(NULL, context);
    SetEvent(go);
    return 0;
}
static BOOL comes(LONG n)
{
    for (int tries = 0; tries < PATIENCE && count != n; tries++)
        Sleep(1);
    return count == n;
}

EXPORT int pool(void)
{
    TP_CALLBACK_ENVIRON environment = { 1 };
    void *work, *single;
    go = CreateEventA(NULL, FALSE, FALSE, NULL);
    count = 0;
    CHECK(NT(RtlQueueWorkItem)(works, (void *)5, 0) == 0 && WaitForSingleObject(go, PATIENCE) == 0 && count == 5)
    environment.Version = 9999;
    CHECK(on_wine() || NT(TpSimpleTryPost)(counts, (void *)1, &environment) == BAD_PARAMETER) /* which takes any version */
    environment.Version = 1;
    /* A pool of one thread makes one call at a time. */
    CHECK(NT(TpAllocPool)(&single, NONE) == 0)
    NT(TpSetPoolMaxThreads)(single, 1);
    environment.Pool = single;
    count = 0;
    CHECK(NT(TpAllocWork)(&work, holds, NONE, &environment) == 0)
    NT(TpPostWork)(work), NT(TpPostWork)(work);
    CHECK(comes(1))
    Sleep(MOMENT);
    CHECK(count == 1 && SetEvent(go) && comes(2) && SetEvent(go))
    NT(TpWaitForWork)(work, FALSE), NT(TpReleaseWork)(work);
    /* Who lets its call go on by itself is not waited for. */
    count = 0;
    CHECK(NT(TpAllocWork)(&work, lets_go, NONE, &environment) == 0)
    NT(TpPostWork)(work), NT(TpWaitForWork)(work, FALSE);
    CHECK(count == 0 && SetEvent(go) && comes(1))
    NT(TpReleaseWork)(work), NT(TpReleasePool)(single);
    return CloseHandle(go) ? 0 : __LINE__;
}

static void *taken_back, *taken_for;
static void CALLBACK takes_back(void *context, void *cleanup) { taken_back = context, taken_for = cleanup; }

EXPORT int groups(void)
{
    TP_CALLBACK_ENVIRON environment = { 1 };
    void *group, *work;
    count = 0;
    CHECK(NT(TpAllocCleanupGroup)(&group) == 0)
    environment.CleanupGroup = group;
    environment.CleanupGroupCancelCallback = (void *)takes_back;
    CHECK(NT(TpSimpleTryPost)(counts, (void *)3, &environment) == 0)
    NT(TpReleaseCleanupGroupMembers)(group, FALSE, NONE);
    CHECK(count == 3 && taken_back == NULL)
    CHECK(NT(TpAllocWork)(&work, holds, (void *)4, &environment) == 0)
    NT(TpReleaseCleanupGroupMembers)(group, TRUE, (void *)5);
    CHECK(taken_back == (void *)4 && taken_for == (void *)5)
    NT(TpReleaseCleanupGroup)(group);
    return 0;
}

static HANDLE told, may_end;
static void CALLBACK waited(void *context, BOOLEAN late)
{
    InterlockedExchangeAdd(&count, late ? 100 : 1);
    SetEvent(told);
    WaitForSingleObject(may_end, PATIENCE);
}

EXPORT int waits(void)
{
    HANDLE a = CreateEventA(NULL, FALSE, FALSE, NULL);
    void *wait;
    told = CreateEventA(NULL, FALSE, FALSE, NULL);
    may_end = CreateEventA(NULL, TRUE, FALSE, NULL);
    count = 0;
    CHECK(NT(RtlRegisterWait)(&wait, a, waited, NONE, INFINITE, WT_EXECUTEONLYONCE) == 0 && SetEvent(a))
    CHECK(WaitForSingleObject(told, PATIENCE) == 0 && count == 1 && NT(RtlDeregisterWait)(wait) == PENDING && SetEvent(may_end))
    CHECK(NT(RtlRegisterWait)(&wait, a, waited, NONE, 1, WT_EXECUTEONLYONCE) == 0 && WaitForSingleObject(told, PATIENCE) == 0)
    CHECK(count == 101 && NT(RtlDeregisterWaitEx)(wait, INVALID_HANDLE_VALUE) == 0)
    CHECK(CloseHandle(a) && CloseHandle(told) && CloseHandle(may_end))
    return 0;
}

EXPORT int completions(void)
{
    HANDLE port;
    ULONG_PTR key, value;
    struct { ULONG_PTR status, information; } outcome;
    ULONG depth;
    CHECK(NT(NtCreateIoCompletion)(&port, 0x1f0003, NONE, 0) == 0)
    CHECK(NT(NtRemoveIoCompletion)(port, &key, &value, &outcome, after(1)) == TIMEOUT)
    CHECK(NT(NtSetIoCompletion)(port, (void *)1, (void *)2, DENIED, (SIZE_T)4) == 0)
    CHECK(NT(NtQueryIoCompletion)(port, 0, &depth, 4, NONE) == 0 && depth == 1)
    CHECK(NT(NtRemoveIoCompletion)(port, &key, &value, &outcome, NONE) == 0 && key == 1 && value == 2)
    CHECK((Status)outcome.status == DENIED && outcome.information == 4 && NT(NtClose)(port) == 0)
    return 0;
}

EXPORT int once(void)
{
    INIT_ONCE one = INIT_ONCE_STATIC_INIT;
    BOOL pending = 7;
    void *context = NULL;
    FAILS(InitOnceBeginInitialize(&one, INIT_ONCE_CHECK_ONLY, &pending, NULL), ERROR_GEN_FAILURE)
    FAILS(InitOnceBeginInitialize(&one, INIT_ONCE_CHECK_ONLY | INIT_ONCE_ASYNC, &pending, NULL), ERROR_INVALID_PARAMETER)
    CHECK(pending == 7 && InitOnceBeginInitialize(&one, 0, &pending, &context) && pending == TRUE)
    FAILS(InitOnceComplete(&one, INIT_ONCE_INIT_FAILED, &one), ERROR_INVALID_PARAMETER)
    FAILS(InitOnceComplete(&one, 0, (void *)0x1001), ERROR_INVALID_PARAMETER)
    CHECK(InitOnceComplete(&one, 0, (void *)0x1000) && InitOnceBeginInitialize(&one, 0, &pending, &context))
    CHECK(pending == FALSE && context == (void *)0x1000)
    FAILS(InitOnceComplete(&one, INIT_ONCE_INIT_FAILED, NULL), ERROR_GEN_FAILURE)
    return 0;
}

EXPORT int slots(void)
{
    /* The first slots are nobody's. One that nobody has can be used, and is nobody's value when it is given out. */
    DWORD slot = TlsAlloc(), local = FlsAlloc(NULL);
    CHECK(slot != 0 && local != 0 && TlsFree(slot))
    FAILS(FlsGetValue(0), ERROR_INVALID_PARAMETER)
    FAILS(FlsSetValue(0, NULL), ERROR_INVALID_PARAMETER)
    CHECK(FlsSetValue(local, &slot) && FlsGetValue(local) == &slot && FlsFree(local))
    CHECK(FlsGetValue(local) == NULL && GetLastError() == 0 && FlsSetValue(local, &slot) && FlsGetValue(local) == &slot)
    FAILS(FlsFree(local), ERROR_INVALID_PARAMETER)
    return FlsSetValue(local, NULL) ? 0 : __LINE__;
}
