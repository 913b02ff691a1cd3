#include "../common.h"

typedef unsigned long long u64;
typedef struct { unsigned code, flags; void *cause, *address; unsigned count; u64 information[15]; } Record;
typedef struct { Record *record; void *context; } Pointers;
typedef int (*Function)(int);
typedef int (*Handler)(Pointers *);

IMPORT void RaiseException(unsigned code, unsigned flags, unsigned count, const u64 *information);
IMPORT void *AddVectoredExceptionHandler(unsigned first, Handler);
IMPORT unsigned RemoveVectoredExceptionHandler(void *);
IMPORT Handler SetUnhandledExceptionFilter(Handler);
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

/* Vectored handlers come before those of frames, and may let execution go on. */
EXPORT int vectored(void)
{
    void *b = AddVectoredExceptionHandler(0, second), *a = AddVectoredExceptionHandler(1, first);
    int went_on = caught(HANDLED);
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
