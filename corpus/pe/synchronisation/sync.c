/* What threads of Windows code may expect of each other. Each function tries one part of it and answers 0, or the line of the
   first thing that is not as Microsoft's reference says. Nothing here depends on how long something takes, except that what
   must not happen is given a moment to happen. */
#include <windows.h>
#include "../common.h"
SILENT

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;
/* The call fails with this error. */
#define FAILS(call, error) CHECK((SetLastError(0), !(call)) && GetLastError() == (error))

#define MOMENT 30   /* milliseconds in which something could happen that must not */
#define PATIENCE 20000  /* for what must happen */

static HANDLE start(DWORD(WINAPI *f)(void *), void *argument) { return CreateThread(NULL, 0, f, argument, 0, NULL); }
static BOOL ended(HANDLE thread, DWORD code)
{
    DWORD is = 0;
    return WaitForSingleObject(thread, PATIENCE) == WAIT_OBJECT_0 && GetExitCodeThread(thread, &is) && is == code &&
           CloseHandle(thread);
}

/* How threads end. */
static HANDLE gate;
static DWORD WINAPI returns(void *n) { return (DWORD)(ULONG_PTR)n; }
static DWORD WINAPI exits(void *n)
{
    ExitThread((DWORD)(ULONG_PTR)n + 1);
    return 0;
}
static DWORD WINAPI waits_for_gate(void *n) { return WaitForSingleObject(gate, PATIENCE) + (DWORD)(ULONG_PTR)n; }

EXPORT int ends(void)
{
    DWORD code;
    CHECK(ended(start(returns, (void *)7), 7) && ended(start(exits, (void *)7), 8))
    gate = CreateEventA(NULL, TRUE, FALSE, NULL);
    HANDLE thread = start(waits_for_gate, (void *)5);
    CHECK(GetExitCodeThread(thread, &code) && code == STILL_ACTIVE && WaitForSingleObject(thread, 0) == WAIT_TIMEOUT)
    CHECK(SetEvent(gate) && ended(thread, 5))
    CHECK(ResetEvent(gate))
    thread = start(waits_for_gate, NULL);
    CHECK(TerminateThread(thread, 9) && ended(thread, 9))
    DWORD id = 0;
    thread = CreateThread(NULL, 0, returns, (void *)3, CREATE_SUSPENDED, &id);
    CHECK(id != 0 && GetThreadId(thread) == id && WaitForSingleObject(thread, MOMENT) == WAIT_TIMEOUT)
    CHECK(SuspendThread(thread) == 1 && ResumeThread(thread) == 2 && ResumeThread(thread) == 1 && ended(thread, 3))
    FAILS(GetExitCodeThread(gate, &code), ERROR_INVALID_HANDLE)
    return CloseHandle(gate) ? 0 : __LINE__;
}

EXPORT int mutexes(void)
{
    HANDLE mutex = CreateMutexA(NULL, TRUE, NULL);
    CHECK(WaitForSingleObject(mutex, 0) == WAIT_OBJECT_0) /* again: it is mine */
    HANDLE thread = start((void *)ReleaseMutex, mutex);
    CHECK(ended(thread, FALSE)) /* not theirs to give back */
    CHECK(ReleaseMutex(mutex) && ReleaseMutex(mutex))
    FAILS(ReleaseMutex(mutex), ERROR_NOT_OWNER)
    return CloseHandle(mutex) ? 0 : __LINE__;
}

static DWORD WINAPI takes_and_goes(void *mutex) { return WaitForSingleObject(mutex, PATIENCE); }

EXPORT int abandoned(void)
{
    HANDLE mutex = CreateMutexA(NULL, FALSE, NULL), event = CreateEventA(NULL, TRUE, TRUE, NULL);
    HANDLE both[2] = {event, mutex};
    CHECK(ended(start(takes_and_goes, mutex), WAIT_OBJECT_0))
    CHECK(WaitForSingleObject(mutex, PATIENCE) == WAIT_ABANDONED) /* it is mine, and I was told */
    CHECK(WaitForSingleObject(mutex, PATIENCE) == WAIT_OBJECT_0 && ReleaseMutex(mutex) && ReleaseMutex(mutex))
    CHECK(WaitForSingleObject(mutex, PATIENCE) == WAIT_OBJECT_0 && ReleaseMutex(mutex)) /* told once */
    CHECK(ended(start(takes_and_goes, mutex), WAIT_OBJECT_0) && ResetEvent(event))
    CHECK(WaitForMultipleObjects(2, both, FALSE, PATIENCE) == WAIT_ABANDONED_0 + 1 && ReleaseMutex(mutex))
    CHECK(ended(start(takes_and_goes, mutex), WAIT_OBJECT_0) && SetEvent(event))
    CHECK(WaitForMultipleObjects(2, both, TRUE, PATIENCE) == WAIT_ABANDONED_0 && ReleaseMutex(mutex))
    return CloseHandle(mutex) && CloseHandle(event) ? 0 : __LINE__;
}

EXPORT int waits(void)
{
    HANDLE automatic = CreateEventA(NULL, FALSE, TRUE, NULL), semaphore = CreateSemaphoreA(NULL, 1, 2, NULL);
    HANDLE both[2] = {automatic, semaphore}, twice[2] = {automatic, automatic}, many[65];
    LONG_PTR before = 0;
    CHECK(WaitForMultipleObjects(2, both, TRUE, 0) == WAIT_OBJECT_0)
    CHECK(SetEvent(automatic))
    CHECK(WaitForMultipleObjects(2, both, TRUE, MOMENT) == WAIT_TIMEOUT) /* all or none: the event stays set */
    CHECK(WaitForMultipleObjects(2, both, FALSE, 0) == WAIT_OBJECT_0)
    CHECK(WaitForMultipleObjects(2, both, FALSE, 0) == WAIT_TIMEOUT)
    CHECK(ReleaseSemaphore(semaphore, 2, (LONG *)&before) && before == 0)
    FAILS(ReleaseSemaphore(semaphore, 1, NULL), ERROR_TOO_MANY_POSTS)
    FAILS(ReleaseSemaphore(semaphore, 0, NULL), ERROR_INVALID_PARAMETER)
    CHECK(WaitForMultipleObjects(2, both, FALSE, 0) == WAIT_OBJECT_0 + 1)
    CHECK(SetEvent(automatic) && WaitForMultipleObjects(2, twice, FALSE, 0) == WAIT_OBJECT_0)
    FAILS(WaitForMultipleObjects(2, twice, TRUE, 0) != WAIT_FAILED, ERROR_INVALID_PARAMETER)
    for (int i = 0; i < 65; i++)
        many[i] = semaphore;
    FAILS(WaitForMultipleObjects(65, many, FALSE, 0) != WAIT_FAILED, ERROR_INVALID_PARAMETER)
    FAILS(WaitForMultipleObjects(0, many, FALSE, 0) != WAIT_FAILED, ERROR_INVALID_PARAMETER)
    CHECK(WaitForMultipleObjects(64, many, FALSE, 0) == WAIT_OBJECT_0)
    CHECK(CloseHandle(automatic) && CloseHandle(semaphore))
    FAILS(WaitForSingleObject(automatic, 0) != WAIT_FAILED, ERROR_INVALID_HANDLE)
    return 0;
}

static DWORD WINAPI answers(void *events)
{
    HANDLE *both = events;
    return SignalObjectAndWait(both[1], both[0], PATIENCE, FALSE);
}

EXPORT int signal_and_wait(void)
{
    HANDLE both[2] = {CreateEventA(NULL, FALSE, FALSE, NULL), CreateEventA(NULL, FALSE, FALSE, NULL)};
    HANDLE thread = start(answers, both);
    CHECK(SignalObjectAndWait(both[0], both[1], PATIENCE, FALSE) == WAIT_OBJECT_0 && ended(thread, WAIT_OBJECT_0))
    FAILS(SignalObjectAndWait(GetCurrentThread(), both[0], 0, FALSE) != WAIT_FAILED, ERROR_INVALID_HANDLE)
    return CloseHandle(both[0]) && CloseHandle(both[1]) ? 0 : __LINE__;
}

EXPORT int names(void)
{
    FAILS(OpenEventA(EVENT_ALL_ACCESS, FALSE, "case-event"), ERROR_FILE_NOT_FOUND)
    HANDLE event = CreateEventA(NULL, TRUE, FALSE, "case-event");
    CHECK(event && GetLastError() == 0)
    HANDLE same = CreateEventW(NULL, FALSE, TRUE, L"case-event"); /* the kind and the state of the first */
    CHECK(same && GetLastError() == ERROR_ALREADY_EXISTS && WaitForSingleObject(same, 0) == WAIT_TIMEOUT)
    HANDLE opened = OpenEventW(EVENT_ALL_ACCESS, FALSE, L"case-event");
    CHECK(opened && SetEvent(opened) && WaitForSingleObject(event, 0) == WAIT_OBJECT_0)
    CHECK(WaitForSingleObject(same, 0) == WAIT_OBJECT_0) /* still set */
    FAILS(OpenMutexA(MUTEX_ALL_ACCESS, FALSE, "case-event"), ERROR_INVALID_HANDLE)
    FAILS(CreateSemaphoreA(NULL, 0, 1, "case-event"), ERROR_INVALID_HANDLE)
    CHECK(CloseHandle(event) && CloseHandle(same) && CloseHandle(opened))
    FAILS(OpenEventA(EVENT_ALL_ACCESS, FALSE, "case-event"), ERROR_FILE_NOT_FOUND)
    HANDLE semaphore = CreateSemaphoreW(NULL, 1, 1, L"case-semaphore");
    opened = OpenSemaphoreW(SEMAPHORE_ALL_ACCESS, FALSE, L"case-semaphore");
    CHECK(WaitForSingleObject(opened, 0) == WAIT_OBJECT_0 && WaitForSingleObject(semaphore, 0) == WAIT_TIMEOUT)
    return CloseHandle(semaphore) && CloseHandle(opened) ? 0 : __LINE__;
}

/* Calls that are left for a thread are made when it waits and may be disturbed. */
static volatile LONG called;
static ULONG_PTR order[8];
static void WINAPI notes(ULONG_PTR n) { order[called++ & 7] = n; }
static void WINAPI ends_thread(ULONG_PTR n) { ExitThread((DWORD)n); }
static DWORD WINAPI sleeps(void *alertable)
{
    SetEvent(gate);
    return SleepEx(PATIENCE, alertable != NULL);
}

EXPORT int calls(void)
{
    HANDLE me = GetCurrentThread(), event = CreateEventA(NULL, TRUE, TRUE, NULL);
    called = 0;
    CHECK(QueueUserAPC(notes, me, 1) && QueueUserAPC(notes, me, 2))
    CHECK(WaitForSingleObject(event, 0) == WAIT_OBJECT_0 && SleepEx(0, FALSE) == 0 && called == 0) /* not disturbed */
    CHECK(SleepEx(PATIENCE, TRUE) == WAIT_IO_COMPLETION && called == 2 && order[0] == 1 && order[1] == 2)
    CHECK(SleepEx(0, TRUE) == 0 && called == 2)
    CHECK(QueueUserAPC(notes, me, 3) && WaitForSingleObjectEx(event, PATIENCE, TRUE) == WAIT_IO_COMPLETION && called == 3)
    CHECK(WaitForSingleObjectEx(event, PATIENCE, TRUE) == WAIT_OBJECT_0)
    CHECK(QueueUserAPC(notes, me, 4) && WaitForMultipleObjectsEx(1, &event, TRUE, PATIENCE, TRUE) == WAIT_IO_COMPLETION)
    CHECK(called == 4 && ResetEvent(event))
    CHECK(QueueUserAPC(notes, me, 5) && SignalObjectAndWait(event, event, PATIENCE, TRUE) == WAIT_IO_COMPLETION && called == 5)
    /* It wakes a thread that sleeps already, and its calls are made in that thread. */
    gate = CreateEventA(NULL, FALSE, FALSE, NULL);
    HANDLE thread = start(sleeps, (void *)1);
    CHECK(WaitForSingleObject(gate, PATIENCE) == WAIT_OBJECT_0 && QueueUserAPC(notes, thread, 6))
    CHECK(ended(thread, WAIT_IO_COMPLETION) && called == 6)
    thread = start(sleeps, (void *)1);
    CHECK(QueueUserAPC(ends_thread, thread, 77) && ended(thread, 77))
    /* What is left before a thread begins is called before anything else. */
    thread = CreateThread(NULL, 0, returns, (void *)8, CREATE_SUSPENDED, NULL);
    CHECK(QueueUserAPC(notes, thread, 7) && called == 6 && ResumeThread(thread) == 1)
    CHECK(WaitForSingleObject(thread, PATIENCE) == WAIT_OBJECT_0 && called == 7)
    FAILS(QueueUserAPC(notes, thread, 0), ERROR_GEN_FAILURE) /* it has ended */
    CHECK(ended(thread, 8))
    FAILS(QueueUserAPC(notes, event, 0), ERROR_INVALID_HANDLE)
    return CloseHandle(event) && CloseHandle(gate) ? 0 : __LINE__;
}

static LARGE_INTEGER after(int ms) { return (LARGE_INTEGER){.QuadPart = -10000LL * ms}; }

EXPORT int timers(void)
{
    HANDLE timer = CreateWaitableTimerW(NULL, FALSE, NULL), manual = CreateWaitableTimerA(NULL, TRUE, "case-timer");
    LARGE_INTEGER soon = after(5), late = after(PATIENCE);
    FILETIME now;
    CHECK(WaitForSingleObject(timer, 0) == WAIT_TIMEOUT)
    CHECK(SetWaitableTimer(timer, &soon, 0, NULL, NULL, FALSE) && WaitForSingleObject(timer, PATIENCE) == WAIT_OBJECT_0)
    CHECK(WaitForSingleObject(timer, MOMENT) == WAIT_TIMEOUT) /* once, and one wait takes it */
    CHECK(SetWaitableTimer(timer, &soon, 5, NULL, NULL, FALSE))
    for (int i = 0; i < 3; i++)
        CHECK(WaitForSingleObject(timer, PATIENCE) == WAIT_OBJECT_0)
    CHECK(CancelWaitableTimer(timer))
    WaitForSingleObject(timer, 0);
    CHECK(WaitForSingleObject(timer, MOMENT) == WAIT_TIMEOUT)
    GetSystemTimeAsFileTime(&now); /* an hour that has passed is over at once */
    CHECK(SetWaitableTimer(manual, (LARGE_INTEGER *)&now, 0, NULL, NULL, FALSE))
    CHECK(WaitForSingleObject(manual, PATIENCE) == WAIT_OBJECT_0 && WaitForSingleObject(manual, 0) == WAIT_OBJECT_0)
    CHECK(SetWaitableTimer(manual, &late, 0, NULL, NULL, FALSE) && WaitForSingleObject(manual, 0) == WAIT_TIMEOUT)
    HANDLE same = OpenWaitableTimerW(TIMER_ALL_ACCESS, FALSE, L"case-timer");
    CHECK(same && SetWaitableTimer(same, &soon, 0, NULL, NULL, FALSE) && WaitForSingleObject(manual, PATIENCE) == WAIT_OBJECT_0)
    FAILS(SetWaitableTimer(timer, &soon, -1, NULL, NULL, FALSE), ERROR_INVALID_PARAMETER)
    FAILS(CancelWaitableTimer(GetCurrentThread()), ERROR_INVALID_HANDLE)
    return CloseHandle(timer) && CloseHandle(manual) && CloseHandle(same) ? 0 : __LINE__;
}

/* Small locks: four threads count, each under a lock of one kind. */
#define THREADS 4
#define TIMES 20000
static CRITICAL_SECTION section;
static SRWLOCK slim = SRWLOCK_INIT;
static volatile LONG counts[3];
static DWORD WINAPI counting(void *unused)
{
    (void)unused;
    for (int i = 0; i < TIMES; i++) {
        EnterCriticalSection(&section);
        EnterCriticalSection(&section);
        counts[0] = counts[0] + 1;
        LeaveCriticalSection(&section);
        LeaveCriticalSection(&section);
        AcquireSRWLockExclusive(&slim);
        counts[1] = counts[1] + 1;
        ReleaseSRWLockExclusive(&slim);
        AcquireSRWLockShared(&slim);
        counts[2] += counts[1] < 1;
        ReleaseSRWLockShared(&slim);
    }
    return 0;
}
static DWORD WINAPI tries(void *unused)
{
    (void)unused;
    BOOL entered = TryEnterCriticalSection(&section), exclusive = TryAcquireSRWLockExclusive(&slim);
    BOOL shared = TryAcquireSRWLockShared(&slim);
    if (shared)
        ReleaseSRWLockShared(&slim);
    return entered | exclusive << 1 | shared << 2;
}

EXPORT int small_locks(void)
{
    HANDLE threads[THREADS];
    CHECK(InitializeCriticalSectionAndSpinCount(&section, 100))
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(counting, NULL);
    CHECK(WaitForMultipleObjects(THREADS, threads, TRUE, PATIENCE) == WAIT_OBJECT_0)
    for (int i = 0; i < THREADS; i++)
        CHECK(CloseHandle(threads[i]))
    CHECK(counts[0] == THREADS * TIMES && counts[1] == THREADS * TIMES && counts[2] == 0)
    EnterCriticalSection(&section);
    AcquireSRWLockShared(&slim);
    CHECK(ended(start(tries, NULL), 4)) /* readers are many */
    ReleaseSRWLockShared(&slim);
    AcquireSRWLockExclusive(&slim);
    CHECK(ended(start(tries, NULL), 0))
    ReleaseSRWLockExclusive(&slim);
    LeaveCriticalSection(&section);
    DeleteCriticalSection(&section);
    return 0;
}

/* A ball that is thrown from thread to thread, over each kind of condition. */
static CONDITION_VARIABLE thrown = CONDITION_VARIABLE_INIT;
static volatile LONG ball;
static DWORD WINAPI plays(void *side)
{
    for (LONG n = 0; n < 1000; n++) {
        AcquireSRWLockExclusive(&slim);
        while ((ball & 1) != (side != NULL))
            if (!SleepConditionVariableSRW(&thrown, &slim, PATIENCE, 0))
                return 1;
        ball++;
        ReleaseSRWLockExclusive(&slim);
        if (n & 1)
            WakeAllConditionVariable(&thrown);
        else
            WakeConditionVariable(&thrown);
    }
    return 0;
}

EXPORT int conditions(void)
{
    HANDLE first = start(plays, NULL), second = start(plays, (void *)1);
    CHECK(ended(first, 0) && ended(second, 0) && ball == 2000)
    InitializeCriticalSection(&section);
    EnterCriticalSection(&section);
    FAILS(SleepConditionVariableCS(&thrown, &section, 5), ERROR_TIMEOUT)
    LeaveCriticalSection(&section);
    DeleteCriticalSection(&section);
    return 0;
}

IMPORT BOOL WINAPI WaitOnAddress(volatile void *address, void *compare, SIZE_T size, DWORD ms);
IMPORT void WINAPI WakeByAddressSingle(void *address);
IMPORT void WINAPI WakeByAddressAll(void *address);
static volatile BYTE watched;
static DWORD WINAPI watches(void *from)
{
    BYTE old = (BYTE)(ULONG_PTR)from;
    while (watched == old)
        if (!WaitOnAddress(&watched, &old, 1, PATIENCE))
            return GetLastError();
    return watched;
}

EXPORT int addresses(void)
{
    watched = 1;
    HANDLE one = start(watches, (void *)1), two = start(watches, (void *)1);
    Sleep(MOMENT);
    watched = 2;
    WakeByAddressAll((void *)&watched);
    CHECK(ended(one, 2) && ended(two, 2))
    one = start(watches, (void *)2);
    Sleep(MOMENT);
    watched = 3;
    WakeByAddressSingle((void *)&watched);
    CHECK(ended(one, 3))
    BYTE same = 3, other = 4;
    CHECK(WaitOnAddress(&watched, &other, 1, PATIENCE)) /* it is another value already */
    FAILS(WaitOnAddress(&watched, &same, 1, 5), ERROR_TIMEOUT)
    FAILS(WaitOnAddress(&watched, &same, 3, 5), ERROR_INVALID_PARAMETER)
    return 0;
}

static INIT_ONCE initialised = INIT_ONCE_STATIC_INIT;
static volatile LONG times;
static BOOL CALLBACK initialises(INIT_ONCE *once, void *succeeds, void **context)
{
    (void)once;
    InterlockedIncrement(&times);
    Sleep(5);
    *context = (void *)0x40;
    return succeeds != NULL;
}
static DWORD WINAPI needs(void *succeeds)
{
    void *context = NULL;
    return InitOnceExecuteOnce(&initialised, initialises, succeeds, &context) ? (DWORD)(ULONG_PTR)context : 0;
}

EXPORT int once(void)
{
    HANDLE threads[THREADS];
    BOOL pending;
    void *context;
    CHECK(ended(start(needs, NULL), 0) && times == 1) /* it failed: the next one tries again */
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(needs, (void *)1);
    for (int i = 0; i < THREADS; i++)
        CHECK(ended(threads[i], 0x40))
    CHECK(times == 2)
    CHECK(InitOnceBeginInitialize(&initialised, INIT_ONCE_CHECK_ONLY, &pending, &context) && !pending && context == (void *)0x40)
    INIT_ONCE fresh = INIT_ONCE_STATIC_INIT;
    FAILS(InitOnceBeginInitialize(&fresh, INIT_ONCE_CHECK_ONLY, &pending, NULL), ERROR_GEN_FAILURE)
    CHECK(InitOnceBeginInitialize(&fresh, INIT_ONCE_ASYNC, &pending, NULL) && pending)
    CHECK(InitOnceComplete(&fresh, INIT_ONCE_ASYNC, (void *)8))
    FAILS(InitOnceComplete(&fresh, INIT_ONCE_ASYNC, (void *)16), ERROR_GEN_FAILURE) /* somebody was quicker */
    return 0;
}

/* Slots: each thread's own, zero at first; a fiber-local one is told when its thread ends. */
static DWORD slot, fiber_slot;
static volatile LONG told;
static void WINAPI hears(void *value) { InterlockedExchangeAdd(&told, (LONG)(ULONG_PTR)value); }
static DWORD WINAPI uses_slots(void *value)
{
    if (TlsGetValue(slot) != NULL || FlsGetValue(fiber_slot) != NULL)
        return 1;
    TlsSetValue(slot, value);
    FlsSetValue(fiber_slot, value);
    Sleep(1);
    return TlsGetValue(slot) != value || FlsGetValue(fiber_slot) != value;
}

EXPORT int slots(void)
{
    HANDLE threads[THREADS];
    slot = TlsAlloc(), fiber_slot = FlsAlloc(hears);
    CHECK(slot != TLS_OUT_OF_INDEXES && fiber_slot != FLS_OUT_OF_INDEXES && fiber_slot != 0)
    CHECK(TlsSetValue(slot, (void *)99) && FlsSetValue(fiber_slot, (void *)1000))
    for (ULONG_PTR i = 0; i < THREADS; i++)
        threads[i] = start(uses_slots, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        CHECK(ended(threads[i], 0))
    CHECK(told == 1 + 2 + 3 + 4 && TlsGetValue(slot) == (void *)99)
    CHECK(FlsFree(fiber_slot) && told == 1010) /* mine, when the slot goes */
    FAILS(FlsFree(fiber_slot), ERROR_INVALID_PARAMETER)
    CHECK(TlsFree(slot))
    FAILS(TlsFree(slot), ERROR_INVALID_PARAMETER)
    FAILS(TlsSetValue(5000, NULL), ERROR_INVALID_PARAMETER)
    DWORD again = TlsAlloc(); /* a slot that is used again is empty */
    CHECK(TlsGetValue(again) == NULL && GetLastError() == 0 && TlsFree(again))
    return 0;
}

/* The thread pool. */
static DWORD caller;
static volatile LONG done, elsewhere;
static HANDLE returned;
static void CALLBACK works(TP_CALLBACK_INSTANCE *instance, void *context, TP_WORK *work)
{
    if (work && GetCurrentThreadId() != caller)
        InterlockedIncrement(&elsewhere);
    if (InterlockedExchangeAdd(&done, (LONG)(ULONG_PTR)context) == 0 && returned)
        SetEventWhenCallbackReturns(instance, returned);
}
static void CALLBACK blocks(TP_CALLBACK_INSTANCE *instance, void *context, TP_WORK *work)
{
    (void)instance, (void)work;
    WaitForSingleObject(context, PATIENCE);
    InterlockedIncrement(&done);
}
static void CALLBACK simple(TP_CALLBACK_INSTANCE *instance, void *context) { works(instance, context, NULL); }
static DWORD WINAPI item(void *event) { return SetEvent(event); }

EXPORT int work(void)
{
    caller = GetCurrentThreadId(), done = elsewhere = 0, returned = NULL;
    TP_WORK *work = CreateThreadpoolWork(works, (void *)3, NULL);
    for (int i = 0; i < 100; i++)
        SubmitThreadpoolWork(work);
    WaitForThreadpoolWorkCallbacks(work, FALSE);
    CHECK(done == 300 && elsewhere == 100)
    CloseThreadpoolWork(work);
    /* As many at once as have to be: all of these wait for what comes last. */
    HANDLE open = CreateEventA(NULL, TRUE, FALSE, NULL);
    done = 0;
    work = CreateThreadpoolWork(blocks, open, NULL);
    for (int i = 0; i < 8; i++)
        SubmitThreadpoolWork(work);
    CHECK(QueueUserWorkItem(item, open, 0))
    WaitForThreadpoolWorkCallbacks(work, FALSE);
    CHECK(done == 8)
    CloseThreadpoolWork(work);
    /* An event is set after the call, and a call of nobody's. */
    returned = CreateEventA(NULL, TRUE, FALSE, NULL), done = 0;
    CHECK(TrySubmitThreadpoolCallback(simple, (void *)5, NULL))
    CHECK(WaitForSingleObject(returned, PATIENCE) == WAIT_OBJECT_0 && done == 5)
    /* A group is closed with all its members. */
    TP_CALLBACK_ENVIRON environment;
    InitializeThreadpoolEnvironment(&environment);
    TP_CLEANUP_GROUP *group = CreateThreadpoolCleanupGroup();
    SetThreadpoolCallbackCleanupGroup(&environment, group, NULL);
    work = CreateThreadpoolWork(works, (void *)1, &environment);
    for (int i = 0; i < 10; i++)
        SubmitThreadpoolWork(work);
    CloseThreadpoolCleanupGroupMembers(group, FALSE, NULL);
    CHECK(done == 15)
    CloseThreadpoolCleanupGroup(group);
    return CloseHandle(open) && CloseHandle(returned) ? 0 : __LINE__;
}

static void CALLBACK ticks(TP_CALLBACK_INSTANCE *instance, void *context, TP_TIMER *timer)
{
    (void)instance;
    if (timer && InterlockedIncrement(&done) == 3)
        SetEvent(context);
}

EXPORT int pool_timers(void)
{
    HANDLE third = CreateEventA(NULL, FALSE, FALSE, NULL);
    LARGE_INTEGER soon = after(5), late = after(PATIENCE);
    TP_TIMER *timer = CreateThreadpoolTimer(ticks, third, NULL);
    done = 0;
    CHECK(!IsThreadpoolTimerSet(timer))
    SetThreadpoolTimer(timer, (FILETIME *)&soon, 5, 0);
    CHECK(IsThreadpoolTimerSet(timer) && WaitForSingleObject(third, PATIENCE) == WAIT_OBJECT_0)
    SetThreadpoolTimer(timer, NULL, 0, 0);
    WaitForThreadpoolTimerCallbacks(timer, TRUE);
    LONG now = done;
    CHECK(now >= 3 && !IsThreadpoolTimerSet(timer))
    Sleep(MOMENT);
    CHECK(done == now)
    done = 2;
    SetThreadpoolTimer(timer, (FILETIME *)&late, 0, 0);
    SetThreadpoolTimer(timer, (FILETIME *)&soon, 0, 0); /* the new time, and once */
    CHECK(WaitForSingleObject(third, PATIENCE) == WAIT_OBJECT_0)
    Sleep(MOMENT);
    CHECK(done == 3)
    CloseThreadpoolTimer(timer);
    return CloseHandle(third) ? 0 : __LINE__;
}

static volatile TP_WAIT_RESULT result;
static void CALLBACK seen(TP_CALLBACK_INSTANCE *instance, void *context, TP_WAIT *wait, TP_WAIT_RESULT how)
{
    (void)instance;
    result = how;
    InterlockedIncrement(&done);
    if (wait)
        SetEvent(context);
}

EXPORT int pool_waits(void)
{
    HANDLE event = CreateEventA(NULL, FALSE, FALSE, NULL), heard = CreateEventA(NULL, FALSE, FALSE, NULL);
    LARGE_INTEGER soon = after(5);
    TP_WAIT *wait = CreateThreadpoolWait(seen, heard, NULL);
    done = 0;
    SetThreadpoolWait(wait, event, NULL);
    CHECK(WaitForSingleObject(heard, MOMENT) == WAIT_TIMEOUT)
    CHECK(SetEvent(event) && WaitForSingleObject(heard, PATIENCE) == WAIT_OBJECT_0 && result == WAIT_OBJECT_0)
    CHECK(SetEvent(event) && WaitForSingleObject(heard, MOMENT) == WAIT_TIMEOUT && done == 1) /* once */
    SetThreadpoolWait(wait, event, (FILETIME *)&soon); /* the event is set still */
    CHECK(WaitForSingleObject(heard, PATIENCE) == WAIT_OBJECT_0 && result == WAIT_OBJECT_0)
    SetThreadpoolWait(wait, event, (FILETIME *)&soon);
    CHECK(WaitForSingleObject(heard, PATIENCE) == WAIT_OBJECT_0 && result == WAIT_TIMEOUT)
    SetThreadpoolWait(wait, event, NULL);
    SetThreadpoolWait(wait, NULL, NULL); /* given up */
    CHECK(SetEvent(event) && WaitForSingleObject(heard, MOMENT) == WAIT_TIMEOUT && done == 3)
    WaitForThreadpoolWaitCallbacks(wait, TRUE);
    CloseThreadpoolWait(wait);
    return CloseHandle(event) && CloseHandle(heard) ? 0 : __LINE__;
}
