# Addresses among the instructions, as compilers never put them into a library.
.text
.macro through name, target
    .globl \name
    .type \name, @function
\name:
    movabs $\target, %rax
    jmp *%rax
    .size \name, . - \name
.endm

through text_own, one
through text_imported, dep_two
through text_indirect, indirect
through text_indirect_dep, dep_four

.section .note.GNU-stack, "", @progbits
