#include "../common.h"

typedef unsigned long long u64;
typedef struct { unsigned code, flags; void *cause, *address; unsigned count; u64 information[15]; } Record;
typedef struct { unsigned char low[0x30]; unsigned flags, mxcsr; unsigned short segments[6]; unsigned eflags;
    u64 debug[6], rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8[8], rip; unsigned char x87[0xa0]; u64 xmm[16][2]; unsigned char rest[0x230]; } Context;
typedef struct { Record *record; Context *context; } Pointers;
typedef int (*Function)(int);
typedef int (*Handler)(Pointers *);

IMPORT void *AddVectoredExceptionHandler(unsigned first, Handler);
IMPORT unsigned RemoveVectoredExceptionHandler(void *);
IMPORT void *AddVectoredContinueHandler(unsigned first, Handler);
IMPORT unsigned RemoveVectoredContinueHandler(void *);
IMPORT void *VirtualAlloc(void *, u64 size, unsigned kind, unsigned rights);
IMPORT int VirtualProtect(void *, u64 size, unsigned rights, unsigned *before);
IMPORT int VirtualFree(void *, u64 size, unsigned kind);
IMPORT void *memcpy(void *, const void *, u64);
IMPORT void qsort(void *, u64 count, u64 size, int (*)(const void *, const void *));
IMPORT int _resetstkoflw(void);

IMPORT void DebugBreak(void);

int guarded(Function, int);
int cleaned(Function, int);
int clobbering(Function, int);
int kept(int);

/* The ways to fault; the addresses that are touched are these numbers. */
enum { READS = 0x10, WRITES = 0x20, EXECUTES = 0x30, NOWHERE, MISPLACED, DIVIDES, OVERFLOWS, ILLEGAL, PRIVILEGED, BREAKS, STEPS,
    MISALIGNED, SSE_DIVIDES, SSE_INVALID, X87_DIVIDES, COPIES_FROM = 0x40, COPIES_TO = 0x50, DEBUGS };

static const char *hex(u64 number)
{
    static char text[32];
    char *at = text + 30;
    do
        *--at = "0123456789abcdef"[number & 15];
    while (number >>= 4);
    return at;
}

static int silent;
EXPORT void silence(void) { silent = 1; } /* for threads: there is one line for all */

static char line[128];
static void say(const char *word, u64 number)
{
    char *to = line;
    const char *from;
    for (from = line; *from; from++)
        to++;
    for (from = word; *from; from++)
        *to++ = *from;
    for (from = hex(number); *from; from++)
        *to++ = *from;
    *to = 0;
}
static void end(void) { tlog(line), line[0] = 0; }

static const unsigned char *expected;
static u64 subtracted; /* addresses differ from run to run */

static void told(const char *who, Pointers *p)
{
    if (silent)
        return;
    say(who, p->record->code);
    for (unsigned n = 0; n < p->record->count; n++)
        say(" ", p->record->information[n] - (n ? subtracted : 0));
    if (p->record->address != (void *)p->context->rip)
        say(" ahead by ", p->context->rip - (u64)p->record->address);
    if (expected && p->record->address != expected)
        say(" not at the instruction but ", (const unsigned char *)p->record->address - expected);
    end();
}

int filter(Pointers *p, void *frame)
{
    (void)frame;
    if (p->record->code != 0xc00000fd) /* nothing but the code, where there is little room */
        told("filter ", p);
    return 1;
}

void finally(int abnormal, void *frame) { (void)frame, tlog(abnormal ? "finally: abnormal" : "finally: normal"); }

/* The function of the runtime, and no instructions of the compiler's. */
static int copies(void *to, const void *from)
{
    void *(*volatile copy)(void *, const void *, u64) = memcpy;
    return copy(to, from, 16) != to;
}

extern const unsigned char division[], too_long[], undefined[], halt[], stop[], stepped[], odd[];

static int faults(int way)
{
    static volatile double zero, one = 1, result;
    static const unsigned unmasked = 0x1f80 & ~(1 << 9), unmasked_invalid = 0x1f80 & ~(1 << 7);
    static const unsigned short x87_unmasked = 0x37f & ~4;
    char bytes[16];
    expected = 0;
    switch (way) {
    case READS: return *(volatile char *)READS;
    case WRITES: *(volatile char *)WRITES = 1; return 0;
    case EXECUTES: ((void (*)(void))EXECUTES)(); return 0;
    case NOWHERE: return *(volatile char *)0x1234567812345678;
    case MISPLACED: __asm__ volatile("movaps 1(%%rsp), %%xmm0" ::: "xmm0"); return 0;
    case DIVIDES: expected = division; __asm__ volatile("xorl %%ecx, %%ecx\nmovl $1, %%eax\ncltd\ndivision: idivl %%ecx" ::: "rax", "rcx", "rdx"); return 0;
    case OVERFLOWS: expected = too_long; __asm__ volatile("movl $-1, %%ecx\nmovl $0x80000000, %%eax\ncltd\ntoo_long: idivl %%ecx" ::: "rax", "rcx", "rdx"); return 0;
    case ILLEGAL: expected = undefined; __asm__ volatile("undefined: ud2"); return 0;
    case PRIVILEGED: expected = halt; __asm__ volatile("halt: hlt"); return 0;
    case BREAKS: expected = stop; __asm__ volatile("stop: int3"); return 0;
    case STEPS: expected = stepped; __asm__ volatile("pushfq\norl $0x100, (%%rsp)\npopfq\nnop\nstepped: nop" ::: "cc"); return 0;
    case MISALIGNED: expected = odd; __asm__ volatile("pushfq\norl $0x40000, (%%rsp)\npopfq\nodd: movl 1(%%rsp), %%eax" ::: "rax", "cc"); return 0;
    case SSE_DIVIDES: __asm__ volatile("ldmxcsr %0" :: "m"(unmasked)); result = one / zero; return 0;
    case SSE_INVALID: __asm__ volatile("ldmxcsr %0" :: "m"(unmasked_invalid)); result = zero / zero; return 0;
    case X87_DIVIDES: __asm__ volatile("fldcw %0\nfld1\nfldz\nfdivrp\nfwait\nfstp %%st(0)" :: "m"(x87_unmasked)); return 0;
    case DEBUGS: DebugBreak(); return 0;
    case COPIES_FROM: return copies(bytes, (void *)COPIES_FROM);
    case COPIES_TO: return copies((void *)COPIES_TO, bytes);
    }
    return -1;
}

static void calm(void)
{
    static const unsigned mxcsr = 0x1f80;
    __asm__ volatile("fninit\nldmxcsr %0\npushfq\nandl $~0x40000, (%%rsp)\npopfq" :: "m"(mxcsr) : "cc");
}

/* The code comes back as the result of the block of __except. */
EXPORT unsigned caught(int way)
{
    int code = guarded(faults, way);
    calm();
    return code;
}

int clobbered(int way) { return clobbering(faults, way); }
EXPORT unsigned registers_are_kept(int way) { return kept(way); }

static int in_between(int way) { return cleaned(faults, way); }
EXPORT unsigned caught_over_finally(int way) { return guarded(in_between, way); }

/* Outside of any __try. */
EXPORT int uncaught(int way) { return faults(way); }
EXPORT void fails_fast(int why) { __asm__ volatile("int $0x29" :: "c"(why)); }

/* What a handler changes is what execution goes on with. */
static int repairs(Pointers *p)
{
    told("repairs ", p);
    p->context->rip += 2; /* ud2 */
    p->context->rax = 1, p->context->rbx = 2, p->context->r8[7] = 3;
    p->context->xmm[1][0] = 4, p->context->xmm[14][1] = 5;
    p->context->eflags |= 1;
    return -1;
}
static int goes_on(Pointers *p) { return told("goes on ", p), 0; }

EXPORT int changed(void)
{
    u64 rax = 0, rbx = 0, r15 = 0, low = 0, high = 0, carry = 0, r9 = 0;
    void *a = AddVectoredExceptionHandler(1, repairs), *b = AddVectoredContinueHandler(1, goes_on);
    expected = 0;
    __asm__ volatile(
        "movl $7, %%r9d\nclc\n"
        "ud2\n"
        "setc %%cl\nmovzbl %%cl, %%ecx\n"
        "movq %%xmm1, %%rdx\nmovhlps %%xmm14, %%xmm14\nmovq %%xmm14, %%rsi\n"
        "movq %%r15, %%rdi\nmovq %%r9, %%r8\n"
        : "=a"(rax), "=b"(rbx), "=c"(carry), "=d"(low), "=S"(high), "=D"(r15) : : "r8", "r9", "r15", "xmm1", "xmm14", "cc");
    __asm__ volatile("movq %%r8, %0" : "=r"(r9));
    RemoveVectoredExceptionHandler(a);
    RemoveVectoredContinueHandler(b);
    return rax == 1 && rbx == 2 && r15 == 3 && low == 4 && high == 5 && carry == 1;
}

/* What a context has no room for is kept, too. */
static int skips_quietly(Pointers *p) { return p->context->rip += 2, -1; }
EXPORT int wide_registers_are_kept(void)
{
    enum { OSXSAVE = 1 << 27, AVX = 1 << 28 };
    static const u64 before[4] = { 1, 2, 3, 4 };
    u64 after[4] = { 0 };
    unsigned a = 1, b, c, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    if ((c & (OSXSAVE | AVX)) != (OSXSAVE | AVX))
        return 1;
    void *handler = AddVectoredExceptionHandler(1, skips_quietly);
    __asm__ volatile("vmovups %1, %%ymm5\nud2\nvmovups %%ymm5, %0\nvzeroupper" : "=m"(after) : "m"(before) : "xmm5");
    RemoveVectoredExceptionHandler(handler);
    return after[0] == 1 && after[1] == 2 && after[2] == 3 && after[3] == 4;
}

EXPORT int reads_at(const volatile char *at) { return *at; }

/* A handler gives the page rights, and the access is made again. */
static char *page;
static int opens(Pointers *p)
{
    unsigned before;
    if (p->record->code != 0xc0000005 || p->record->information[1] != (u64)page + 5)
        return 0;
    tlog("opens the page");
    return VirtualProtect(page, 4096, 4, &before) ? -1 : 0;
}
EXPORT int opened(int in_memcpy)
{
    void *a = AddVectoredExceptionHandler(1, opens);
    page = VirtualAlloc(0, 4096, 0x3000, 1);
    if (in_memcpy)
        copies(page + 5, "****************");
    else
        *(volatile char *)(page + 5) = '*';
    int seen = *(volatile char *)(page + 5);
    VirtualFree(page, 0, 0x8000);
    RemoveVectoredExceptionHandler(a);
    return seen;
}

/* The stack is no longer what it was, and a return goes nowhere. */
EXPORT void gets_lost(void) { __asm__ volatile("xorl %%eax, %%eax\npushq %%rax\npushq %%rax\npushq $0x7777\nret" ::: "rax", "memory"); }

/* How often an access is told of, in nanoseconds: for measurements. */
static int reprotects(Pointers *p) { return p->context->rip += 3, -1; } /* movb $1, (%rax) */
static void *measured;
EXPORT void begin(void) { measured = AddVectoredExceptionHandler(1, reprotects); }
EXPORT void access_violation(void) { __asm__ volatile("xorl %%eax, %%eax\nmovb $1, (%%rax)" ::: "rax", "memory"); }
EXPORT void done(void) { RemoveVectoredExceptionHandler(measured); }

static int touches(int unused) { return *(volatile char *)(page + unused); }
EXPORT unsigned guard_page(void)
{
    page = VirtualAlloc(0, 4096, 0x3000, 0x104);
    subtracted = (u64)page;
    unsigned first = guarded(touches, 5);
    unsigned second = guarded(touches, 5);
    subtracted = 0;
    VirtualFree(page, 0, 0x8000);
    return second == 0 ? first : 0;
}

/* An exception in a callback passes through the host's function that called it. */
static int compares(const void *a, const void *b) { return *(const int *)a + *(const int *)b + faults(READS); }
static int sorts(int unused)
{
    int numbers[4] = { 3, 1, 2, unused };
    qsort(numbers, 4, 4, compares);
    return numbers[0];
}
static int sorts_cleanly(int unused) { return cleaned(sorts, unused); }
EXPORT unsigned in_callback(void) { return guarded(sorts_cleanly, 0); }
EXPORT int in_callback_uncaught(void) { return sorts(0); }

/* So does one of a call to nowhere. */
static int sorts_by_nothing(int unused)
{
    int numbers[2] = { 1, unused };
    qsort(numbers, 2, 4, (int (*)(const void *, const void *))EXECUTES);
    return 0;
}
EXPORT unsigned null_callback(void) { return guarded(sorts_by_nothing, 0); }

/* A thread that nobody guards ends with the exception's code, and alone. */
IMPORT void *CreateThread(void *, u64 stack, Function, int argument, unsigned flags, unsigned *id);
IMPORT unsigned WaitForSingleObject(void *, unsigned);
IMPORT int GetExitCodeThread(void *, unsigned *);
IMPORT int CloseHandle(void *);
EXPORT unsigned in_thread(int way)
{
    unsigned code = 0;
    void *thread = CreateThread(0, 0, faults, way, 0, 0);
    WaitForSingleObject(thread, -1);
    GetExitCodeThread(thread, &code);
    CloseHandle(thread);
    return code;
}

/* What is called at the end of a thread fails alone, too. */
IMPORT unsigned FlsAlloc(void (*)(void *));
IMPORT int FlsSetValue(unsigned, void *);
IMPORT int FlsFree(unsigned);
static unsigned slot;
static void forgets(void *value) { tlog("at the end"), faults((int)(u64)value); }
EXPORT int leaves_value(int way) { return slot = FlsAlloc(forgets), FlsSetValue(slot, (void *)(u64)way); }
EXPORT int frees_slot(void) { return FlsFree(slot); }

/* It jumps to whoever called the host. */
IMPORT int _setjmp(void *, void *) __attribute__((returns_twice));
IMPORT void longjmp(void *, int) __attribute__((noreturn));
static u64 buffer[32] __attribute__((aligned(16)));
static void jumps(void *value) { (void)value, longjmp(buffer, 7); }
EXPORT int jumps_over_host(void)
{
    int value = _setjmp(buffer, __builtin_frame_address(0));
    if (!value) {
        unsigned slot = FlsAlloc(jumps);
        FlsSetValue(slot, &value);
        FlsFree(slot);
    }
    return value;
}

EXPORT int jumps_over_host_and_faults(int way) { return jumps_over_host() + faults(way); }

/* Asked instead of tried. */
IMPORT int IsBadReadPtr(const void *, u64), IsBadWritePtr(void *, u64), IsBadCodePtr(const void *);
IMPORT int IsBadStringPtrA(const char *, u64), IsBadStringPtrW(const unsigned short *, u64);
EXPORT int bad_pointers(void)
{
    unsigned before;
    char *pages = VirtualAlloc(0, 3 * 4096, 0x3000, 4), *last = pages + 2 * 4096 - 4;
    int wrong = 0;
    VirtualProtect(pages, 4096, 2, &before);
    VirtualProtect(pages + 2 * 4096, 4096, 1, &before);
    wrong |= (IsBadReadPtr(pages, 2 * 4096) != 0) << 0 | (IsBadReadPtr(pages, 2 * 4096 + 1) != 1) << 1;
    wrong |= (IsBadWritePtr(last, 4) != 0) << 2 | (IsBadWritePtr(last, 5) != 1) << 3 | (IsBadWritePtr(pages, 1) != 1) << 4;
    wrong |= (IsBadCodePtr(0) != 1) << 5 | (IsBadCodePtr(faults) != 0) << 6;
    for (int n = 0; n < 4; n++)
        last[n] = 'x';
    wrong |= (IsBadStringPtrA(last, 4) != 0) << 7 | (IsBadStringPtrA(last, 5) != 1) << 8;
    wrong |= (IsBadStringPtrW((unsigned short *)last, 3) != 1) << 9;
    last[2] = last[3] = 0;
    wrong |= (IsBadStringPtrA(last, 100) != 0) << 10 | (IsBadStringPtrW((unsigned short *)last, 100) != 0) << 11;
    VirtualFree(pages, 0, 0x8000);
    return wrong;
}

/* The last to be asked. */
IMPORT Handler SetUnhandledExceptionFilter(Handler);
static int gives_up(Pointers *p) { return told("gives up ", p), 0; }
static int skips(Pointers *p) { return told("skips ", p), p->context->rip += 2, -1; }
EXPORT int last_resort(void)
{
    Handler before = SetUnhandledExceptionFilter(skips);
    void *told = AddVectoredContinueHandler(1, goes_on);
    expected = 0;
    __asm__ volatile("ud2");
    RemoveVectoredContinueHandler(told);
    SetUnhandledExceptionFilter(before);
    return before == 0;
}
EXPORT void no_resort(void) { SetUnhandledExceptionFilter(gives_up), faults(ILLEGAL); }

/* Registers are captured, and execution goes back to there. */
IMPORT void RtlCaptureContext(Context *);
IMPORT void RtlRestoreContext(Context *, Record *);
EXPORT int restored(void)
{
    Context context __attribute__((aligned(16)));
    volatile int times = 0;
    RtlCaptureContext(&context);
    if (++times < 3)
        RtlRestoreContext(&context, 0);
    return times;
}

static int recurses(int depth)
{
    volatile char frame[2000];
    frame[depth % 2000] = 1;
    return recurses(depth + 1) + frame[0];
}
_Static_assert(sizeof(Context) == 0x4d0 && __builtin_offsetof(Context, xmm) == 0x1a0, "CONTEXT");

static int says_code(Pointers *p) { return say("code ", p->record->code), say(" count ", p->record->count), end(), 0; }

EXPORT unsigned overflow(int resets)
{
    void *a = AddVectoredExceptionHandler(1, says_code);
    unsigned code = guarded(recurses, 0);
    if (resets && !_resetstkoflw())
        code = 1;
    RemoveVectoredExceptionHandler(a);
    return code;
}
EXPORT int overflow_uncaught(void) { return recurses(0); }

#ifdef IN_ATTACH
int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reserved;
    tlog(reason == PROCESS_ATTACH ? "attach faults" : "detach faults");
    return faults(IN_ATTACH);
}
#else
SILENT
#endif
