/* A call with something in every register, through the procedure linkage table. */
#include "../common.h"
#include "registers.h"

int lazy_call(const struct registers *);

__asm__(
    ".pushsection .text\n"
    ".hidden lazy_call\n.globl lazy_call\n.type lazy_call, @function\nlazy_call:\n"
    "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "sub $24, %rsp\nstmxcsr 16(%rsp)\n" /* aligned now; the word that the call passes comes first */
    "mov %rdi, %r11\n"
    "cmpl $1, 2176(%r11)\nja 2f\nje 1f\n"
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\nmovdqu 128+64*\\n(%r11), %xmm\\n\n.endr\njmp 3f\n1:\n"
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\nvmovdqu 128+64*\\n(%r11), %ymm\\n\n.endr\njmp 3f\n2:\n"
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    "vmovdqu64 128+64*\\n(%r11), %zmm\\n\n.endr\n3:\n"
    "ldmxcsr 120(%r11)\n"
    "mov 112(%r11), %rax\nmov %rax, (%rsp)\n"
    "mov (%r11), %rax\nmov 8(%r11), %rdi\nmov 16(%r11), %rsi\nmov 24(%r11), %rdx\nmov 32(%r11), %rcx\n"
    "mov 40(%r11), %r8\nmov 48(%r11), %r9\nmov 56(%r11), %r10\nmov 64(%r11), %rbx\nmov 72(%r11), %rbp\n"
    "mov 80(%r11), %r12\nmov 88(%r11), %r13\nmov 96(%r11), %r14\nmov 104(%r11), %r15\n"
    "call lazy_callee@PLT\n"
    "ldmxcsr 16(%rsp)\nadd $24, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n"
    ".size lazy_call, .-lazy_call\n.popsection\n");

EXPORT int lazy_registers(void)
{
    struct registers all;
    fill(&all);
    return lazy_call(&all);
}

/* A function of any number of arguments, of every kind: compilers put the number of vector registers in al. */
double lazy_sum(int count, ...);

EXPORT double lazy_variadic(void) { return lazy_sum(10, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0); }
EXPORT double lazy_variadic_none(void) { return lazy_sum(0); }
