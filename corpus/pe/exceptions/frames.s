# Functions whose frames have handlers, as a compiler with __try makes them.
    .intel_syntax noprefix
    .text

# int guarded(int (*f)(int), int x): __try { return f(x); } __except (filter(…)) { return the exception's code; }
    .globl guarded
    .seh_proc guarded
guarded:
    push rbx
    .seh_pushreg rbx
    sub rsp, 48
    .seh_stackalloc 48
    movaps [rsp + 32], xmm6
    .seh_savexmm xmm6, 32
    .seh_endprologue
    mov rax, rcx
    mov ecx, edx
1:  call rax
    nop
2:  movaps xmm6, [rsp + 32]
    add rsp, 48
    pop rbx
    ret
3:  jmp 2b
    .seh_handler __C_specific_handler, @except, @unwind
    .seh_handlerdata
    .long 1
    .rva 1b, 2b, filter, 3b
    .text
    .seh_endproc

# int cleaned(int (*f)(int), int x): __try { return f(x); } __finally { finally(abnormal, frame); }
    .globl cleaned
    .seh_proc cleaned
cleaned:
    push rbp
    .seh_pushreg rbp
    mov rbp, rsp
    .seh_setframe rbp, 0
    sub rsp, 48
    .seh_stackalloc 48
    .seh_endprologue
    mov rax, rcx
    mov ecx, edx
1:  call rax
    nop
2:  mov [rbp - 8], eax
    xor ecx, ecx
    mov rdx, rbp
    call finally
    mov eax, [rbp - 8]
    lea rsp, [rbp + 0]
    pop rbp
    ret
    .seh_handler __C_specific_handler, @except, @unwind
    .seh_handlerdata
    .long 1
    .rva 1b, 2b, finally
    .long 0
    .text
    .seh_endproc

# int clobbering(int (*f)(int), int x): calls f(x) with other values in every register that a callee keeps.
    .globl clobbering
    .seh_proc clobbering
clobbering:
    push rbx
    .seh_pushreg rbx
    push rbp
    .seh_pushreg rbp
    push rsi
    .seh_pushreg rsi
    push rdi
    .seh_pushreg rdi
    push r12
    .seh_pushreg r12
    push r13
    .seh_pushreg r13
    push r14
    .seh_pushreg r14
    push r15
    .seh_pushreg r15
    sub rsp, 56
    .seh_stackalloc 56
    movaps [rsp + 32], xmm6
    .seh_savexmm xmm6, 32
    .seh_endprologue
    mov rax, rcx
    mov ecx, edx
    xor ebx, ebx
    xor ebp, ebp
    xor esi, esi
    xor edi, edi
    xor r12d, r12d
    xor r13d, r13d
    xor r14d, r14d
    xor r15d, r15d
    xorps xmm6, xmm6
    call rax
    nop
    movaps xmm6, [rsp + 32]
    add rsp, 56
    pop r15
    pop r14
    pop r13
    pop r12
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    ret
    .seh_endproc

# int kept(int x): how many registers guarded(clobbered, x) did not give back, plus its result.
    .globl kept
    .seh_proc kept
kept:
    push rbx
    .seh_pushreg rbx
    push rbp
    .seh_pushreg rbp
    push rsi
    .seh_pushreg rsi
    push rdi
    .seh_pushreg rdi
    push r12
    .seh_pushreg r12
    push r13
    .seh_pushreg r13
    push r14
    .seh_pushreg r14
    push r15
    .seh_pushreg r15
    sub rsp, 56
    .seh_stackalloc 56
    movaps [rsp + 32], xmm6
    .seh_savexmm xmm6, 32
    .seh_endprologue
    mov edx, ecx
    mov ebx, 1
    mov ebp, 2
    mov esi, 3
    mov edi, 4
    mov r12d, 5
    mov r13d, 6
    mov r14d, 7
    mov r15d, 8
    mov eax, 9
    movd xmm6, eax
    lea rcx, [rip + clobbered]
    call guarded
    movd ecx, xmm6
    sub ecx, 9
    sub ebx, 1
    or ecx, ebx
    sub ebp, 2
    or ecx, ebp
    sub esi, 3
    or ecx, esi
    sub edi, 4
    or ecx, edi
    sub r12d, 5
    or ecx, r12d
    sub r13d, 6
    or ecx, r13d
    sub r14d, 7
    or ecx, r14d
    sub r15d, 8
    or ecx, r15d
    add eax, ecx
    movaps xmm6, [rsp + 32]
    add rsp, 56
    pop r15
    pop r14
    pop r13
    pop r12
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    ret
    .seh_endproc
