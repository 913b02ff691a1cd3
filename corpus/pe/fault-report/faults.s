# Ways to fault, in functions of which every byte is known: `fault:` marks the instruction that does, with the function
# and the distance from its beginning, which the assembler checks; `calls:` marks the calls that lead to one.
.intel_syntax noprefix
.text

.macro function name, scope
.ifc \scope, exported
.globl \name
.section .drectve, "yn"
.ascii " -export:\name"
.text
.endif
.def \name; .scl 2; .type 32; .endef
.seh_proc \name
\name:
.endm

.macro done name
.seh_endproc
.endm

# A frame of N bytes, and the return from it.
.macro frame n
sub rsp, \n
.seh_stackalloc \n
.endm

.macro unframe n
add rsp, \n
.endm

.macro keep register
push \register
.seh_pushreg \register
.endm

.macro restore register
pop \register
.endm

function DllMain, exported
.seh_endprologue
mov eax, 1
ret
done DllMain

# What a test calls to see that the library is in order.
function calm, exported
.seh_endprologue
mov eax, 7
ret
done calm

# Three deep, with a frame of each kind.
function writes, hidden
keep rbx
.seh_endprologue
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
.seh_endprologue
call writes                     # calls: passes_on
nop
unframe 0x28
ret
done passes_on

function null_write, exported
keep rbx
frame 0x20
.seh_endprologue
call passes_on                  # calls: null_write
nop
unframe 0x20
restore rbx
ret
done null_write

function sealed_write, exported
.seh_endprologue
lea rax, [rip + sealed]
.if . - sealed_write - 7
.error "the fault is elsewhere"
.endif
mov qword ptr [rax], 1          # fault: sealed_write+0x7
ret
done sealed_write

function null_jump, exported
frame 0x28
.seh_endprologue
xor eax, eax
call rax                        # calls: null_jump
nop
unframe 0x28
ret
done null_jump

function stack_overflow, exported
frame 0x1008
.seh_endprologue
.if . - stack_overflow - 7
.error "the fault is elsewhere"
.endif
or dword ptr [rsp], 0           # fault: stack_overflow+0x7
call stack_overflow             # calls: stack_overflow
unframe 0x1008
ret
done stack_overflow

function division, exported
.seh_endprologue
mov eax, 1
xor edx, edx
xor ecx, ecx
.if . - division - 9
.error "the fault is elsewhere"
.endif
div ecx                         # fault: division+0x9
ret
done division

# Constants.
.section .rdata, "dr"
.globl sealed
sealed: .quad 7
