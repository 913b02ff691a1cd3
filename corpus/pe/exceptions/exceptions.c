#include "../common.h"

typedef unsigned long long u64;
typedef struct { unsigned code, flags; void *cause, *address; unsigned count; u64 information[15]; } Record;
typedef struct { Record *record; void *context; } Pointers;
typedef int (*Function)(int);
typedef int (*Handler)(Pointers *);

IMPORT void RaiseException(unsigned code, unsigned flags, unsigned count, const u64 *information);
IMPORT void *AddVectoredExceptionHandler(unsigned first, Handler);
IMPORT unsigned RemoveVectoredExceptionHandler(void *);
IMPORT void *AddVectoredContinueHandler(unsigned first, Handler);
IMPORT unsigned RemoveVectoredContinueHandler(void *);
IMPORT Handler SetUnhandledExceptionFilter(Handler);
IMPORT void RtlRaiseException(Record *);
IMPORT int _setjmp(void *, void *);
IMPORT void longjmp(void *, int) __attribute__((noreturn));

int guarded(Function, int);
int cleaned(Function, int);
int clobbering(Function, int);
int kept(int);

/* What the filter says of a code: 1 it is handled, 0 it is not, 2 execution goes on. */
enum { HANDLED = 1, PASSED = 2, CONTINUED = 3, RAISES = 4, INNER = 5, NONCONTINUABLE = 0xc0000025 };

int filter(Pointers *p, void *frame)
{
    (void)frame;
    switch (p->record->code) {
    case HANDLED: tlog(p->record->count == 2 && p->record->information[1] == 22 ? "filter: handled" : "filter: ?"); return 1;
    case PASSED: tlog("filter: passed"); return 0;
    case CONTINUED: tlog("filter: continued"); return -1;
    case RAISES: tlog("filter: raises"); RaiseException(INNER, 0, 0, 0); return 1;
    case INNER: tlog(p->record->flags & 0x10 ? "filter: nested" : "filter: not nested"); return 1;
    default: tlog("filter: something else"); return 1;
    }
}

static int collides;

void finally(int abnormal, void *frame)
{
    (void)frame;
    tlog(abnormal ? "finally: abnormal" : "finally: normal");
    if (abnormal && collides) {
        collides = 0;
        RaiseException(INNER, 0, 0, 0);
    }
}

static int raises(int code)
{
    static const u64 information[2] = { 11, 22 };
    RaiseException(code, 0, 2, information);
    return -code;
}

static int raises_record(int code)
{
    Record record = { code, 0, 0, 0, 2, { 11, 22 } };
    RtlRaiseException(&record);
    return -code;
}

static int raises_for_good(int code)
{
    RaiseException(code, 1, 0, 0);
    return -code;
}

int clobbered(int code) { return clobbering(raises, code); }
static int cleaned_up(int code) { return cleaned(raises, code); }
static int cleaned_twice(int code) { return cleaned(cleaned_up, code); }

/* The code comes back as the result of the block of __except, in RAX. */
EXPORT int caught(int code) { return guarded(raises, code); }
EXPORT int caught_record(int code) { return guarded(raises_record, code); }
EXPORT int caught_over_finally(int code) { return guarded(cleaned_twice, code); }
EXPORT int registers_are_kept(int code) { return kept(code); }
EXPORT int cannot_go_on(int code) { return guarded(raises_for_good, code); }
EXPORT int raised_while_unwinding(int code)
{
    collides = 1;
    return guarded(cleaned_twice, code);
}

static int first(Pointers *p) { return tlog(p->record->code == HANDLED ? "first" : "first: ?"), 0; }
static int second(Pointers *p) { return tlog("second"), p->record->code == HANDLED ? -1 : 0; }

static int told(Pointers *p) { return tlog(p->record->code == HANDLED ? "goes on" : "goes on: ?"), 0; }

/* Vectored handlers come before those of frames, and may let execution go on. */
EXPORT int vectored(void)
{
    void *b = AddVectoredExceptionHandler(0, second), *a = AddVectoredExceptionHandler(1, first);
    void *c = AddVectoredContinueHandler(0, told);
    int went_on = caught(HANDLED);
    RemoveVectoredContinueHandler(c);
    RemoveVectoredExceptionHandler(a);
    RemoveVectoredExceptionHandler(b);
    return went_on == -HANDLED ? caught(HANDLED) : -100;
}

static int last(Pointers *p) { return tlog("unhandled"), p->record->code == PASSED ? -1 : 0; }

EXPORT int nobody(void)
{
    Handler before = SetUnhandledExceptionFilter(last);
    int result = caught_over_finally(PASSED);
    SetUnhandledExceptionFilter(before);
    return result;
}

/* Who wants to know walks the stack: from here to the first frame that is not this library's. */
typedef struct { unsigned begin, end, unwind; } Entry;
typedef struct { unsigned char registers[0x4d0]; } __attribute__((aligned(16))) Context;
IMPORT void RtlCaptureContext(Context *);
IMPORT const Entry *RtlLookupFunctionEntry(u64 at, u64 *base, void *history);
IMPORT void *RtlVirtualUnwind(unsigned kind, u64 base, u64 at, const Entry *, Context *, void **data, u64 *frame, void *);
IMPORT unsigned char RtlAddFunctionTable(const Entry *, unsigned count, u64 base);
IMPORT unsigned char RtlInstallFunctionTableCallback(
    u64 id, u64 base, unsigned len, const Entry *(*)(u64, void *), void *context, const void *dll);
IMPORT unsigned char RtlDeleteFunctionTable(const Entry *);
IMPORT void *VirtualAlloc(void *, u64 size, unsigned kind, unsigned rights);
IMPORT int VirtualProtect(void *, u64 size, unsigned rights, unsigned *before);
IMPORT int VirtualFree(void *, u64 size, unsigned kind);

static u64 *rip(Context *context) { return (u64 *)(context->registers + 0xf8); }

static __attribute__((noinline)) int count(int unused)
{
    Context context;
    const Entry *entry;
    u64 base, frame, last = 0;
    void *data;
    int frames = unused;
    RtlCaptureContext(&context);
    while ((entry = RtlLookupFunctionEntry(*rip(&context), &base, 0))) {
        RtlVirtualUnwind(0, base, *rip(&context), entry, &context, &data, &frame, 0);
        if (frame <= last)
            return -1;
        last = frame;
        frames++;
    }
    return frames;
}

static __attribute__((noinline)) int deeper(int depth)
{
    int frames = depth ? deeper(depth - 1) : count(0);
    __asm__ volatile("" : "+r"(frames)); /* no jump instead of a call */
    return frames;
}

EXPORT int walked(int depth)
{
    int frames = deeper(depth);
    __asm__ volatile("" : "+r"(frames));
    return frames;
}

/* Code that was made at run time, a copy of `clobbering`, is unwound as its table says. */
static int (*made_code)(Function, int);
static int over_made_code(int code) { return made_code(raises, code); }

static const Entry *tells(u64 at, void *entry) { return tlog("asked for the entry"), (void)at, entry; }

EXPORT int caught_over_made_code(int code, int asks)
{
    u64 base;
    const Entry *here = RtlLookupFunctionEntry((u64)clobbering, &base, 0);
    unsigned char *made = VirtualAlloc(0, 4096, 0x3000, 4);
    unsigned len = here->end - here->begin, before;
    for (unsigned n = 0; n < len; n++)
        made[n] = ((const unsigned char *)clobbering)[n];
    for (unsigned n = 0; n < 256; n++)
        made[1024 + n] = ((const unsigned char *)base)[here->unwind + n];
    Entry *entry = (Entry *)(made + 2048);
    entry->begin = 0, entry->end = len, entry->unwind = 1024;
    VirtualProtect(made, 4096, 0x20, &before);
    const Entry *id = asks ? (Entry *)((u64)made | 3) : entry;
    if (asks)
        RtlInstallFunctionTableCallback((u64)id, (u64)made, 4096, tells, entry, 0);
    else
        RtlAddFunctionTable(entry, 1, (u64)made);
    made_code = (int (*)(Function, int))made;
    int result = guarded(over_made_code, code);
    result += RtlDeleteFunctionTable(id) ? 0 : 1000;
    result += RtlDeleteFunctionTable(id) ? 1000 : 0;
    VirtualFree(made, 0, 0x8000);
    return result;
}

static u64 buffer[32] __attribute__((aligned(16)));

static int jumps(int value)
{
    longjmp(buffer, value);
}

static int jumps_over_finally(int value) { return cleaned(jumps, value); }

int jump_target(int (*f)(int), int value);

/* The frames that are jumped over are unwound. */
EXPORT int jumped(int value) { return jump_target(jumps_over_finally, value); }

__asm__(
    ".intel_syntax noprefix\n"
    ".seh_proc jump_target\n"
    ".globl jump_target\n"
    "jump_target:\n"
    "push rbx\n.seh_pushreg rbx\n"
    "push rsi\n.seh_pushreg rsi\n"
    "sub rsp, 40\n.seh_stackalloc 40\n.seh_endprologue\n"
    "mov rbx, rcx\n"
    "mov esi, edx\n"
    "lea rcx, [rip + buffer]\n"
    "mov rdx, rsp\n"
    "call _setjmp\n"
    "test eax, eax\n"
    "jnz 1f\n"
    "mov ecx, esi\n"
    "call rbx\n"
    "mov eax, -1\n"
    "1: add eax, esi\n"
    "add rsp, 40\npop rsi\npop rbx\nret\n"
    ".seh_endproc\n"
    ".att_syntax\n");

SILENT
