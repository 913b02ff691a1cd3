/* What fibers may rely on. Each function tries one part of it and answers 0, or the line of the first thing that is not as
   Microsoft's reference, or where that is silent Wine, has it. */
#include <windows.h>
#include "../common.h"

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;
/* The call fails with this error. */
#define FAILS(call, error) CHECK((SetLastError(0), !(call)) && GetLastError() == (error))

#define PATIENCE 20000
#define MB ((SIZE_T)1 << 20)

typedef LPFIBER_START_ROUTINE Start;

static void *home; /* the fiber that tries the others */
static char said[64];
static unsigned length;
static void say(char c) { said[length++ % sizeof said] = c; }
static BOOL said_all(const char *text)
{
    unsigned i = 0;
    while (i < length && text[i] == said[i])
        i++;
    BOOL same = i == length && !text[i];
    length = 0;
    return same;
}

/* Runs a part in a thread that is a fiber. */
static int in_thread(DWORD(WINAPI *part)(void *), void *argument)
{
    DWORD code = 1;
    HANDLE thread = CreateThread(NULL, 0, part, argument, 0, NULL);
    CHECK(WaitForSingleObject(thread, PATIENCE) == WAIT_OBJECT_0 && GetExitCodeThread(thread, &code))
    CloseHandle(thread);
    return (int)code;
}

#define PART(name)                                             \
    static int name##_part(void);                              \
    static DWORD WINAPI name##_thread(void *unused)            \
    {                                                          \
        (void)unused;                                          \
        home = ConvertThreadToFiber((void *)7);                \
        int line = home ? name##_part() : __LINE__;            \
        return ConvertFiberToThread() ? (DWORD)line : __LINE__; \
    }                                                          \
    EXPORT int name(void) { return in_thread(name##_thread, NULL); } \
    static int name##_part(void)

/* Turns. */
static void *other;
static void WINAPI first(void *n)
{
    say('a' + (char)(ULONG_PTR)n);
    SwitchToFiber(other);
    say('c');
    SwitchToFiber(home);
    say('!');
}
static void WINAPI second(void *text)
{
    for (const char *c = text;; c++) {
        say(*c);
        say(GetFiberData() == text && GetCurrentFiber() == other ? '+' : '-');
        SwitchToFiber(home);
    }
}
PART(turns)
{
    static const char text[] = "xyz";
    CHECK(IsThreadAFiber() && GetCurrentFiber() == home && GetFiberData() == (void *)7)
    void *one = CreateFiber(0, first, (void *)1);
    other = CreateFiberEx(0, 0, FIBER_FLAG_FLOAT_SWITCH, second, (void *)text);
    CHECK(one && other && one != other && said_all(""))
    SwitchToFiber(one);
    CHECK(said_all("bx+"))
    SwitchToFiber(home); /* which runs */
    SwitchToFiber(other);
    CHECK(said_all("y+"))
    SwitchToFiber(one);
    CHECK(said_all("c") && GetFiberData() == (void *)7)
    DeleteFiber(one);
    SwitchToFiber(other);
    CHECK(said_all("z+"))
    DeleteFiber(other);
    DeleteFiber(NULL);
    return 0;
}

/* What a function must find again after a call, by the calling convention: it is kept where the other fiber has other things. */
int keeps(void *fiber, ULONG_PTR seed);
__asm__(".globl keeps\n"
        ".seh_proc keeps\n"
        "keeps:\n"
        "push %rbp\n.seh_pushreg %rbp\n"
        "push %rbx\n.seh_pushreg %rbx\n"
        "push %rsi\n.seh_pushreg %rsi\n"
        "push %rdi\n.seh_pushreg %rdi\n"
        "push %r12\n.seh_pushreg %r12\n"
        "push %r13\n.seh_pushreg %r13\n"
        "push %r14\n.seh_pushreg %r14\n"
        "push %r15\n.seh_pushreg %r15\n"
        "sub $0xd8, %rsp\n.seh_stackalloc 0xd8\n"
        ".seh_endprologue\n"
        ".irp n, 6,7,8,9,10,11,12,13,14,15\n movups %xmm\\n, 0x30+16*(\\n-6)(%rsp)\n .endr\n"
        "mov %rdx, 0x28(%rsp)\n"
        "lea 1(%rdx), %rbx\n lea 2(%rdx), %rbp\n lea 3(%rdx), %rsi\n lea 4(%rdx), %rdi\n"
        "lea 5(%rdx), %r12\n lea 6(%rdx), %r13\n lea 7(%rdx), %r14\n lea 8(%rdx), %r15\n"
        ".irp n, 6,7,8,9,10,11,12,13,14,15\n lea \\n(%rdx), %rax\n movq %rax, %xmm\\n\n pshufd $0x44, %xmm\\n, %xmm\\n\n .endr\n"
        "call *__imp_SwitchToFiber(%rip)\n"
        "mov 0x28(%rsp), %rdx\n"
        "xor %eax, %eax\n"
        ".macro same reg, n\n lea \\n(%rdx), %rcx\n cmp %rcx, \\reg\n setne %cl\n or %cl, %al\n .endm\n"
        "same %rbx, 1\n same %rbp, 2\n same %rsi, 3\n same %rdi, 4\n"
        "same %r12, 5\n same %r13, 6\n same %r14, 7\n same %r15, 8\n"
        ".irp n, 6,7,8,9,10,11,12,13,14,15\n"
        " movq %xmm\\n, %r8\n same %r8, \\n\n psrldq $8, %xmm\\n\n movq %xmm\\n, %r8\n same %r8, \\n\n .endr\n"
        "movzbl %al, %eax\n"
        ".irp n, 6,7,8,9,10,11,12,13,14,15\n movups 0x30+16*(\\n-6)(%rsp), %xmm\\n\n .endr\n"
        "add $0xd8, %rsp\n"
        "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rdi\n pop %rsi\n pop %rbx\n pop %rbp\n"
        "ret\n"
        ".seh_endproc\n");
static void WINAPI keeping(void *unused)
{
    (void)unused;
    say(keeps(home, 1000) ? '-' : '+');
    SwitchToFiber(home);
}
PART(registers)
{
    void *fiber = CreateFiber(0, keeping, NULL);
    CHECK(keeps(fiber, 2000) == 0 && keeps(fiber, 3000) == 0 && said_all("+"))
    DeleteFiber(fiber);
    return 0;
}

/* Rounding and traps: of the thread, unless both fibers say that they are theirs. */
static unsigned mxcsr(void)
{
    unsigned value;
    __asm__ volatile("stmxcsr %0" : "=m"(value));
    return value & ~0x3f;
}
static unsigned short x87(void)
{
    unsigned short value;
    __asm__ volatile("fnstcw %0" : "=m"(value));
    return value;
}
static void control(unsigned mxcsr, unsigned short x87)
{
    __asm__ volatile("ldmxcsr %0\nfldcw %1" ::"m"(mxcsr), "m"(x87));
}
static unsigned found[2];
static void WINAPI rounds_down(void *unused)
{
    (void)unused;
    for (;;) {
        found[0] = mxcsr(), found[1] = x87();
        control(0x3f80, 0x67f);
        SwitchToFiber(home);
    }
}
PART(carried_control)
{
    void *fiber = CreateFiber(0, rounds_down, NULL);
    control(0x5f80, 0xa7f);
    SwitchToFiber(fiber);
    CHECK(found[0] == 0x5f80 && found[1] == 0xa7f && mxcsr() == 0x3f80 && x87() == 0x67f)
    control(0x7f80, 0xe7f);
    SwitchToFiber(fiber);
    CHECK(found[0] == 0x7f80 && found[1] == 0xe7f && mxcsr() == 0x3f80 && x87() == 0x67f)
    DeleteFiber(fiber);
    return 0;
}
/* Not Wine's. */
static DWORD WINAPI own_control_thread(void *unused)
{
    (void)unused;
    home = ConvertThreadToFiberEx(NULL, FIBER_FLAG_FLOAT_SWITCH);
    void *fiber = CreateFiberEx(0, 0, FIBER_FLAG_FLOAT_SWITCH, rounds_down, NULL);
    CHECK(home && fiber)
    control(0x5f80, 0xa7f);
    SwitchToFiber(fiber);
    CHECK(found[0] == 0x1f80 && found[1] == 0x27f && mxcsr() == 0x5f80 && x87() == 0xa7f)
    SwitchToFiber(fiber);
    CHECK(found[0] == 0x3f80 && found[1] == 0x67f && mxcsr() == 0x5f80 && x87() == 0xa7f)
    DeleteFiber(fiber);
    return 0;
}
EXPORT int own_control(void) { return in_thread(own_control_thread, NULL); }

/* Stacks. */
static BOOL stack_is(SIZE_T least)
{
    NT_TIB *block = (NT_TIB *)NtCurrentTeb();
    ULONG_PTR low, high, here = (ULONG_PTR)&block;
    GetCurrentThreadStackLimits(&low, &high);
    return low < here && here < high && high - low >= least && (ULONG_PTR)block->StackBase == high &&
           (ULONG_PTR)block->StackLimit >= low && (ULONG_PTR)block->StackLimit < here &&
           *(ULONG_PTR *)((char *)block + 0x1478) == low; /* DeallocationStack */
}
static int deep(int depth)
{
    volatile char page[0x800];
    page[0] = (char)depth;
    return depth ? deep(depth - 1) + page[0] - (char)depth : 5;
}
static void WINAPI is_deep(void *size)
{
    say(stack_is((SIZE_T)size) && deep((int)((SIZE_T)size / 0x1000)) == 5 ? '+' : '-');
    SwitchToFiber(home);
    say(stack_is((SIZE_T)size) ? '+' : '-');
    SwitchToFiber(home);
}
PART(stacks)
{
    void *fibers[3] = {CreateFiber(0, is_deep, (void *)MB), CreateFiber(3 * MB, is_deep, (void *)(3 * MB)),
                       CreateFiberEx(0x1000, 8 * MB, 0, is_deep, (void *)(8 * MB))};
    for (int turn = 0; turn < 2; turn++)
        for (int i = 0; i < 3; i++)
            SwitchToFiber(fibers[i]);
    CHECK(said_all("++++++") && stack_is(MB))
    for (int i = 0; i < 3; i++)
        DeleteFiber(fibers[i]);
    FAILS(CreateFiberEx((SIZE_T)1 << 50, 0, 0, is_deep, NULL), ERROR_INVALID_PARAMETER)
    FAILS(CreateFiberEx(0, ~(SIZE_T)0, 0, is_deep, NULL), ERROR_INVALID_PARAMETER)
    return 0;
}

/* What belongs to the thread, and what to the fiber. */
static DWORD tls, fls;
static void WINAPI tells(void *value) { say('0' + (char)(ULONG_PTR)value); }
static void WINAPI has_values(void *n)
{
    say(!FlsGetValue(fls) && TlsGetValue(tls) == (void *)3 && FlsSetValue(fls, n) ? '+' : '-');
    TlsSetValue(tls, (void *)4);
    SetLastError(77);
    SwitchToFiber(home);
    say(GetLastError() == 78 && FlsGetValue(fls) == n ? '+' : '-');
    SwitchToFiber(home);
}
PART(values)
{
    tls = TlsAlloc(), fls = FlsAlloc(tells);
    CHECK(FlsSetValue(fls, (void *)1) && TlsSetValue(tls, (void *)3))
    void *two = CreateFiber(0, has_values, (void *)2), *five = CreateFiber(0, has_values, (void *)5),
         *never = CreateFiber(0, has_values, NULL);
    SwitchToFiber(two);
    CHECK(GetLastError() == 77 && TlsGetValue(tls) == (void *)4 && FlsGetValue(fls) == (void *)1)
    SetLastError(78);
    SwitchToFiber(two);
    CHECK(TlsSetValue(tls, (void *)3))
    SwitchToFiber(five);
    CHECK(said_all("+++"))
    DeleteFiber(two);
    CHECK(said_all("2") && FlsGetValue(fls) == (void *)1)
    DeleteFiber(never);
    CHECK(said_all("") && FlsFree(fls))
    BOOL freed = length == 2 && ((said[0] == '1' && said[1] == '5') || (said[0] == '5' && said[1] == '1'));
    length = 0;
    CHECK(freed)
    DeleteFiber(five);
    CHECK(said_all("") && TlsFree(tls))
    return 0;
}

/* What fails. */
PART(errors)
{
    FAILS(ConvertThreadToFiber(NULL), ERROR_ALREADY_FIBER)
    FAILS(ConvertThreadToFiberEx(NULL, FIBER_FLAG_FLOAT_SWITCH), ERROR_ALREADY_FIBER)
    CHECK(GetFiberData() == (void *)7)
    return 0;
}
/* Not Wine's. */
EXPORT int more_errors(void)
{
    CHECK(!IsThreadAFiber())
    FAILS(ConvertFiberToThread(), ERROR_ALREADY_THREAD)
    FAILS(ConvertThreadToFiberEx(NULL, 2), ERROR_INVALID_PARAMETER)
    FAILS(CreateFiberEx(0, 0, 2, first, NULL), ERROR_INVALID_PARAMETER)
    return 0;
}

/* How threads end in fibers. */
static void WINAPI returns(void *unused)
{
    (void)unused;
    FlsSetValue(fls, (void *)2);
}
static void WINAPI deletes_itself(void *unused)
{
    (void)unused;
    DeleteFiber(GetCurrentFiber());
    say('!');
}
static void WINAPI exits(void *code) { ExitThread((DWORD)(ULONG_PTR)code); }
static DWORD WINAPI ends_in(void *start)
{
    home = ConvertThreadToFiber(NULL);
    FlsSetValue(fls, (void *)1);
    SwitchToFiber(CreateFiber(0, (Start)start, (void *)44));
    return 9;
}
EXPORT int ends(void)
{
    fls = FlsAlloc(tells);
    CHECK(in_thread(ends_in, returns) == 1 && said_all("2"))
    CHECK(in_thread(ends_in, deletes_itself) == 1 && said_all(""))
    CHECK(in_thread(ends_in, exits) == 44 && said_all(""))
    FlsFree(fls); /* the first fibers of those threads left values */
    length = 0;
    return 0;
}

/* A thread that stays on a fiber's stack. */
static void WINAPI stays(void *to_be_deleted)
{
    say(ConvertFiberToThread() && !IsThreadAFiber() && stack_is(2 * MB) ? '+' : '-');
    void *me = *(void **)to_be_deleted = ConvertThreadToFiber((void *)8);
    say(me && GetCurrentFiber() == me && GetFiberData() == (void *)8 && stack_is(2 * MB) ? '+' : '-');
    SwitchToFiber(home);
}
PART(conversions)
{
    SwitchToFiber(CreateFiber(2 * MB, stays, &other));
    DeleteFiber(other);
    CHECK(said_all("++") && GetFiberData() == (void *)7 && stack_is(MB))
    CHECK(ConvertFiberToThread() && !IsThreadAFiber())
    home = ConvertThreadToFiber((void *)9);
    CHECK(home && IsThreadAFiber() && GetFiberData() == (void *)9)
    return 0;
}

/* One fiber in two threads. */
static DWORD runners[3];
static void *backs[2];
static void WINAPI wanders(void *unused)
{
    (void)unused;
    for (int i = 0; i < 3; i++) {
        runners[i] = GetCurrentThreadId();
        say(stack_is(MB) ? '+' : '-');
        SwitchToFiber(backs[i % 2]);
    }
}
static DWORD WINAPI runs_too(void *fiber)
{
    backs[1] = ConvertThreadToFiber(NULL);
    SwitchToFiber(fiber);
    return stack_is(MB) && ConvertFiberToThread() && runners[1] == GetCurrentThreadId() ? 0 : __LINE__;
}
PART(threads)
{
    void *fiber = CreateFiber(0, wanders, NULL);
    backs[0] = home;
    SwitchToFiber(fiber);
    CHECK(in_thread(runs_too, fiber) == 0)
    SwitchToFiber(fiber);
    CHECK(runners[0] == GetCurrentThreadId() && runners[2] == runners[0] && runners[1] != runners[0] && said_all("+++"))
    DeleteFiber(fiber);
    return 0;
}

/* Exceptions, handled where they are raised. */
static LONG WINAPI steps_over(EXCEPTION_POINTERS *e)
{
    switch (e->ExceptionRecord->ExceptionCode) {
    case 0xe0000001:
        say('r');
        return EXCEPTION_CONTINUE_EXECUTION;
    case STATUS_ACCESS_VIOLATION:
        say('v');
        e->ContextRecord->Rip += 2; /* mov (%rcx), %eax */
        return EXCEPTION_CONTINUE_EXECUTION;
    }
    return EXCEPTION_CONTINUE_SEARCH;
}
static void WINAPI faults(void *fiber)
{
    RaiseException(0xe0000001, 0, 0, NULL);
    SwitchToFiber(home);
    __asm__ volatile("mov (%%rcx), %%eax" ::"c"(fiber) : "eax");
    SwitchToFiber(home);
}
PART(exceptions)
{
    void *handler = AddVectoredExceptionHandler(1, steps_over), *one = CreateFiber(0, faults, (void *)16),
         *two = CreateFiber(0, faults, (void *)32);
    SwitchToFiber(one), SwitchToFiber(two), SwitchToFiber(one), SwitchToFiber(two);
    RaiseException(0xe0000001, 0, 0, NULL);
    CHECK(said_all("rrvvr"))
    DeleteFiber(one), DeleteFiber(two);
    return RemoveVectoredExceptionHandler(handler) ? 0 : __LINE__;
}

/* Many at once. */
#define MANY 500
static void WINAPI counts(void *n)
{
    for (;; ++*(int *)n)
        SwitchToFiber(home);
}
PART(many)
{
    static void *fibers[MANY];
    int n = 0;
    for (int i = 0; i < MANY; i++)
        CHECK((fibers[i] = CreateFiber(0x10000, counts, &n)) != NULL)
    for (int turn = 0; turn < 3; turn++)
        for (int i = 0; i < MANY; i++)
            SwitchToFiber(fibers[i]);
    for (int i = 0; i < MANY; i++)
        DeleteFiber(fibers[i]);
    CHECK(n == 2 * MANY)
    return 0;
}

/* A fiber that loads a library whose entry point goes on in another fiber, and comes back later. */
static HMODULE self, loaded;
static void WINAPI loads(void *name)
{
    loaded = LoadLibraryA(name);
    say(loaded ? '+' : '-');
    SwitchToFiber(home);
}
EXPORT void came(unsigned reason)
{
    say('0' + (char)reason);
    SwitchToFiber(home);
    say('a');
}
PART(in_entry)
{
    char path[MAX_PATH];
    char *name = path + GetModuleFileNameA(self, path, sizeof path - 1) - (sizeof "fibers.dll" - 1);
    for (const char *c = "entered.dll"; (*name++ = *c); c++)
        ;
    void *fiber = CreateFiber(0, loads, path);
    SwitchToFiber(fiber);
    CHECK(said_all("1") && GetModuleHandleA("entered.dll"))
    SwitchToFiber(fiber);
    CHECK(said_all("a+") && loaded == GetModuleHandleA("entered.dll"))
    DeleteFiber(fiber);
    CHECK(FreeLibrary(loaded) && said_all("0a") && !GetModuleHandleA("entered.dll"))
    return 0;
}

int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)reason, (void)reserved;
    self = image;
    return 1;
}
