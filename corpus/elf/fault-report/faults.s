# Ways to fault, in functions of which every byte is known: `fault:` marks the instruction that does, with the function
# and the distance from its beginning, which the assembler checks; `calls:` marks the calls that lead to one.
.intel_syntax noprefix
.text

.macro function name, scope
.ifc \scope, exported
.globl \name
.endif
.type \name, @function
\name:
.cfi_startproc
.endm

.macro done name
.cfi_endproc
.size \name, . - \name
.endm

# A frame of N bytes, and the return from it.
.macro frame n
sub rsp, \n
.cfi_adjust_cfa_offset \n
.endm

.macro unframe n
add rsp, \n
.cfi_adjust_cfa_offset -\n
.endm

.macro keep register
push \register
.cfi_adjust_cfa_offset 8
.cfi_rel_offset \register, 0
.endm

.macro restore register
pop \register
.cfi_adjust_cfa_offset -8
.endm

# What a test calls to see that the library is in order.
function calm, exported
mov eax, 7
ret
done calm

# Three deep, with a frame of each kind.
function writes, hidden
keep rbx
mov ebx, 0x10
.if . - writes - 6
.error "the fault is elsewhere"
.endif
mov dword ptr [rbx], 1          # fault: writes+0x6
restore rbx
ret
done writes

function passes_on, hidden
frame 0x28
call writes                     # calls: passes_on
nop
unframe 0x28
ret
done passes_on

function null_write, exported
keep rbx
frame 0x20
call passes_on                  # calls: null_write
nop
unframe 0x20
restore rbx
ret
done null_write

function sealed_write, exported
lea rax, [rip + sealed]
.if . - sealed_write - 7
.error "the fault is elsewhere"
.endif
mov qword ptr [rax], 1          # fault: sealed_write+0x7
ret
done sealed_write

function null_jump, exported
frame 0x28
xor eax, eax
call rax                        # calls: null_jump
nop
unframe 0x28
ret
done null_jump

function stack_overflow, exported
frame 0x1008
.if . - stack_overflow - 7
.error "the fault is elsewhere"
.endif
or dword ptr [rsp], 0           # fault: stack_overflow+0x7
call stack_overflow             # calls: stack_overflow
unframe 0x1008
ret
done stack_overflow

function division, exported
mov eax, 1
xor edx, edx
xor ecx, ecx
.if . - division - 9
.error "the fault is elsewhere"
.endif
div ecx                         # fault: division+0x9
ret
done division

# Written by relocation, and read-only afterwards.
.section .data.rel.ro, "aw"
.globl sealed
.type sealed, @object
sealed: .quad calm
.size sealed, 8
.section .note.GNU-stack, "", @progbits
.file "faults.s" # and not the name of a file that the compiler makes up
