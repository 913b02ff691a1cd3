//! Machine code: functions that begin with all registers of their caller, going on with other registers, and the bridge
//! over which the guest is called.

use super::{Bridge, ContextRecord, context, debug, walk};
use crate::guest::Ptr;
use loader_core::Addr;
use loader_pe::unwind::RSP;
use std::arch::naked_asm;

/// `with_registers!`: functions that capture the registers that their caller has when they return, and call a function
/// with those and the place of their arguments (as an array, wherever they came).
macro_rules! with_registers {
    ($($name:ident => $target:path;)*) => {$(
        #[doc = concat!("Calls [`", stringify!($target), "`] with the caller's registers.")]
        #[unsafe(naked)]
        pub(crate) unsafe extern "win64" fn $name() {
            naked_asm!(
                "mov [rsp + 0x08], rcx",
                "mov [rsp + 0x10], rdx",
                "mov [rsp + 0x18], r8",
                "mov [rsp + 0x20], r9",
                "sub rsp, 0x4f8",
                "lea rcx, [rsp + 0x20]",
                "call {capture}",
                "mov rax, [rsp + 0x500]", // RCX
                "mov [rsp + 0x20 + 0x80], rax",
                "lea rax, [rsp + 0x500]", // RSP
                "mov [rsp + 0x20 + 0x98], rax",
                "mov rax, [rsp + 0x4f8]", // RIP
                "mov [rsp + 0x20 + 0xf8], rax",
                "lea rcx, [rsp + 0x20]",
                "lea rdx, [rsp + 0x500]",
                "call {target}",
                "add rsp, 0x4f8",
                "ret",
                capture = sym crate::jump::RtlCaptureContext,
                target = sym $target,
            )
        }
    )*};
}

with_registers! {
    RaiseException => walk::raise_exception;
    RtlRaiseException => walk::raise_record;
    OutputDebugStringA => debug::bytes;
    OutputDebugStringW => debug::units;
    GetThreadContext => context::get;
    NtGetContextThread => context::nt_get;
    SetThreadContext => context::set;
    NtSetContextThread => context::nt_set;
    RtlUnwind => walk::unwind_plainly;
    RtlUnwindEx => walk::unwind_ex;
    long_jump => walk::long_jump;
    RtlCaptureStackBackTrace => walk::back_trace;
    __RTDynamicCast => crate::crt::rtti::dynamic_cast;
    __RTtypeid => crate::crt::rtti::type_of;
}

/// `DebugBreak()`: a breakpoint, which its caller's handlers see.
#[unsafe(naked)]
pub(crate) unsafe extern "win64" fn DebugBreak() {
    naked_asm!(".cfi_startproc", "int3", "ret", ".cfi_endproc")
}

/// Goes on with the registers of a context, without touching the stack that they lead to: the host's code has what it
/// needs below its stack pointer, too. What no user may set in flags and control registers is left out.
#[unsafe(naked)]
pub(super) unsafe extern "win64" fn restore(context: *mut ContextRecord) -> ! {
    naked_asm!(
        "and dword ptr [rcx + 0x34], 0xffff",
        "and dword ptr [rcx + 0x118], 0xffff",
        "test byte ptr [rcx + 0x30], 8", // CONTEXT_FLOATING_POINT
        "jz 2f",
        "fxrstor64 [rcx + 0x100]",
        "ldmxcsr [rcx + 0x34]",
        "2:",
        "mov eax, ss",
        "push rax",
        "push qword ptr [rcx + 0x98]",
        "mov eax, [rcx + 0x44]",
        "and eax, 0x240dd5", // ID AC OF DF TF SF ZF AF PF CF
        "or eax, 0x202",     // interrupts, and what is always set
        "push rax",
        "mov eax, cs",
        "push rax",
        "push qword ptr [rcx + 0xf8]",
        "mov rax, [rcx + 0x78]",
        "mov rdx, [rcx + 0x88]",
        "mov rbx, [rcx + 0x90]",
        "mov rbp, [rcx + 0xa0]",
        "mov rsi, [rcx + 0xa8]",
        "mov rdi, [rcx + 0xb0]",
        "mov r8, [rcx + 0xb8]",
        "mov r9, [rcx + 0xc0]",
        "mov r10, [rcx + 0xc8]",
        "mov r11, [rcx + 0xd0]",
        "mov r12, [rcx + 0xd8]",
        "mov r13, [rcx + 0xe0]",
        "mov r14, [rcx + 0xe8]",
        "mov r15, [rcx + 0xf0]",
        "mov rcx, [rcx + 0x80]",
        "iretq",
    )
}

/// Goes on with the registers of a context of the guest's code.
pub(super) fn resume(context: Ptr<ContextRecord>) -> ! {
    let stack = context.get().integers[RSP];
    if walk::on_stack(stack) {
        loader_core::call::goes_on_at(Addr(stack));
    }
    // SAFETY: the registers are those of a frame of the guest further up the stack, as far as whoever handled an
    // exception left them so.
    unsafe { restore(context.raw()) }
}

/// More than the length of [`call_guest`]'s instructions; what follows them is filled up to this.
const BRIDGE_LEN: u64 = 64;
/// Where [`call_guest`] keeps its bridge, from the stack pointer that it calls with.
const BRIDGE_AT: u64 = 0x20;

/// Calls a function with four arguments, with the bridge where [`bridge`] finds it.
#[unsafe(naked)]
pub(super) unsafe extern "win64" fn call_guest(
    arguments: *const [u64; 4],
    function: u64,
    bridge: *const Bridge,
) -> u64 {
    naked_asm!(
        "sub rsp, 0x28",
        "mov [rsp + {at}], r8",
        "mov rax, rdx",
        "mov r10, rcx",
        "mov rcx, [r10]",
        "mov rdx, [r10 + 0x08]",
        "mov r8, [r10 + 0x10]",
        "mov r9, [r10 + 0x18]",
        "call rax",
        "add rsp, 0x28",
        "ret",
        ".skip {len}, 0xcc",
        at = const BRIDGE_AT,
        len = const BRIDGE_LEN,
    )
}

/// The bridge that a walk has come to, if these are registers of [`call_guest`].
pub(super) fn bridge(context: &ContextRecord) -> Option<Bridge> {
    let here = (call_guest as *const ()).addr() as u64;
    let inside = context.rip.wrapping_sub(here) < BRIDGE_LEN;
    inside.then(|| {
        let bridge = super::functions::word(context.integers[RSP] + BRIDGE_AT);
        // SAFETY: `call_guest` keeps it there while what it called runs, and the bridge lives as long.
        unsafe { std::ptr::with_exposed_provenance::<Bridge>(bridge as usize).read() }
    })
}

table! {
    /// Exceptions.
    pub(crate) TABLE:
        DebugBreak, RaiseException, RtlRaiseException, RtlUnwind, RtlUnwindEx, RtlRestoreContext = walk::RtlRestoreContext,
        RtlCaptureStackBackTrace, OutputDebugStringA, OutputDebugStringW, GetThreadContext, SetThreadContext
}
