# void registers_around(const struct registers *before, struct registers *after, int width)
# Every register is filled from `before` but rsp and rax, which the descriptor's call uses.
        .intel_syntax noprefix
        .text
        .hidden registers_around
        .globl registers_around
        .type registers_around, @function

registers_around:
        push rbx
        push rbp
        push r12
        push r13
        push r14
        push r15
        push rsi
        push rdx
        mov rax, rdi
        cmp edx, 1
        je 1f
        ja 2f
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups xmm\n, [rax + 128 + 64 * \n]
        .endr
        jmp 3f
1:      .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups ymm\n, [rax + 128 + 64 * \n]
        .endr
        jmp 3f
2:      .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups zmm\n, [rax + 128 + 64 * \n]
        .endr
3:      mov rbx, [rax + 8]
        mov rcx, [rax + 16]
        mov rdx, [rax + 24]
        mov rsi, [rax + 32]
        mov rdi, [rax + 40]
        mov rbp, [rax + 48]
        mov r8, [rax + 64]
        mov r9, [rax + 72]
        mov r10, [rax + 80]
        mov r11, [rax + 88]
        mov r12, [rax + 96]
        mov r13, [rax + 104]
        mov r14, [rax + 112]
        mov r15, [rax + 120]
        push rax
        lea rax, watched@tlsdesc[rip]
        call [rax + watched@tlscall]
        xchg rax, [rsp + 16]            # `after`; the answer is not used
        mov [rax + 8], rbx
        mov [rax + 16], rcx
        mov [rax + 24], rdx
        mov [rax + 32], rsi
        mov [rax + 40], rdi
        mov [rax + 48], rbp
        mov [rax + 64], r8
        mov [rax + 72], r9
        mov [rax + 80], r10
        mov [rax + 88], r11
        mov [rax + 96], r12
        mov [rax + 104], r13
        mov [rax + 112], r14
        mov [rax + 120], r15
        pop rcx                         # `before`, whose rax and rsp were not used
        mov rdx, [rcx]
        mov [rax], rdx
        mov rdx, [rcx + 56]
        mov [rax + 56], rdx
        pop rdx
        cmp edx, 1
        je 1f
        ja 2f
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups [rax + 128 + 64 * \n], xmm\n
        .endr
        jmp 3f
1:      .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups [rax + 128 + 64 * \n], ymm\n
        .endr
        vzeroupper
        jmp 3f
2:      .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups [rax + 128 + 64 * \n], zmm\n
        .endr
        vzeroupper
3:      pop rsi
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbp
        pop rbx
        ret
        .size registers_around, . - registers_around

        .section .tdata, "awT", @progbits
        .p2align 3
watched:
        .quad 12
        .section .note.GNU-stack, "", @progbits
