/* A function that notes every register when it is entered, and says which of them is not as the caller filled it: 0 if all
   are, 1 to 16 for the words, 100 and more for vector registers. The static chain is asked for separately. */
#include "../common.h"
#include "registers.h"

HIDDEN struct registers lazy_seen;

__attribute__((constructor)) static void prepare(void) { lazy_seen.kind = kind(); }

/* The static chain is one more argument, of nested functions and of some languages' closures; glibc 2.36 loses it. */
EXPORT int lazy_chain_kept(void)
{
    struct registers want;
    fill(&want);
    return lazy_seen.words[CHAIN] == want.words[CHAIN];
}

HIDDEN int lazy_compare(void)
{
    static const int bytes[] = {16, 32, 64};
    struct registers want;
    fill(&want);
    for (int i = 0; i < WORDS; i++)
        if (i != CHAIN && lazy_seen.words[i] != want.words[i]) return i + 1;
    for (int i = 0; i < (want.kind == 2 ? 32 : 16); i++)
        for (int k = 0; k < bytes[want.kind]; k++)
            if (lazy_seen.vectors[i][k] != want.vectors[i][k]) return 100 + i;
    return 0;
}

__asm__(
    ".pushsection .text\n"
    ".globl lazy_callee\n.type lazy_callee, @function\nlazy_callee:\n"
    "mov %rax, lazy_seen(%rip)\n"
    "mov %rdi, 8+lazy_seen(%rip)\nmov %rsi, 16+lazy_seen(%rip)\nmov %rdx, 24+lazy_seen(%rip)\n"
    "mov %rcx, 32+lazy_seen(%rip)\nmov %r8, 40+lazy_seen(%rip)\nmov %r9, 48+lazy_seen(%rip)\n"
    "mov %r10, 56+lazy_seen(%rip)\nmov %rbx, 64+lazy_seen(%rip)\nmov %rbp, 72+lazy_seen(%rip)\n"
    "mov %r12, 80+lazy_seen(%rip)\nmov %r13, 88+lazy_seen(%rip)\nmov %r14, 96+lazy_seen(%rip)\n"
    "mov %r15, 104+lazy_seen(%rip)\n"
    "mov 8(%rsp), %rax\nmov %rax, 112+lazy_seen(%rip)\n"
    "stmxcsr 120+lazy_seen(%rip)\n"
    "cmpl $1, 2176+lazy_seen(%rip)\nja 2f\nje 1f\n"
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\nmovdqu %xmm\\n, 128+64*\\n+lazy_seen(%rip)\n.endr\n"
    "jmp lazy_compare\n1:\n"
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\nvmovdqu %ymm\\n, 128+64*\\n+lazy_seen(%rip)\n.endr\n"
    "jmp lazy_compare\n2:\n"
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    "vmovdqu64 %zmm\\n, 128+64*\\n+lazy_seen(%rip)\n.endr\n"
    "jmp lazy_compare\n"
    ".size lazy_callee, .-lazy_callee\n.popsection\n");
