//! Faults of the processor become exceptions.
//!
//! ```text
//! fault ─ signal ─► on_signal: writes down the registers below the stack in use, and lets the thread go on at
//!                   entry ─► faulted: whose is it? ─ the guest's ─► walk::dispatch ─► on with the registers as they are then
//!                                       │                                  └ nobody ─► an error at the guarded call
//!                                       └ the host's, or nobody's ─► the same fault again, for whoever was there before
//! ```
//! So nothing but the first step happens in a signal handler, and handlers of exceptions run as ordinary code on the
//! thread's own stack.
//!
//! Whose a fault is:
//! - the guest's, if it is in code of the guest: of an image, of memory that it made executable, or nowhere at all, unless
//!   the host called there;
//! - the guest's, if it is in code of the host that the guest called, as far as the host's own unwind tables lead back to
//!   the guest: a bad pointer that is passed to `memcpy`. On Windows that would be code of Windows, which is no different.
//!   What the host's functions did until then stays half done, and what they own is not given back;
//! - the host's otherwise. It goes to whoever handled the signal before, with all registers as they were: a debugger, a
//!   crash reporter, Rust's own report of an overflow.
//!
//! An overflow of the stack is told once, with the pages that [`stack`](crate::stack) kept back to handle it on; they are
//! kept back again after `_resetstkoflw`, or when the thread next enters Windows code. One more before that ends the
//! guest's call at once, for there is nowhere for a handler to run; in the host's code it is the host's.

use super::{
    ContextRecord, Record, WHOLE, functions, host, local, peek,
    registers::restore,
    saved, shared_data,
    trap::{self, Trap},
    walk,
};
use crate::{guest::Ptr, teb};
use libc::{c_int, c_void, siginfo_t, ucontext_t};
use loader_core::{
    Addr,
    call::{innermost, leaving_for_exception},
    registers::{keeping, prepare},
    signals::{Link, was_sent},
};
use std::{
    arch::{asm, naked_asm},
    ptr,
};

static LINKS: [Link; 5] = [
    Link::new(libc::SIGSEGV),
    Link::new(libc::SIGBUS),
    Link::new(libc::SIGFPE),
    Link::new(libc::SIGILL),
    Link::new(libc::SIGTRAP),
];

/// From now on faults of Windows code are exceptions. Only the first call counts.
pub(crate) fn install() {
    prepare();
    LINKS.iter().for_each(|link| link.install(on_signal));
}

/// What the handler leaves on the stack for [`entry`].
#[repr(C, align(64))]
struct Fault {
    context: ContextRecord,
    trap: Trap,
    /// It was in the pages that were kept back, which the thread has now.
    overflow: bool,
}

/// Below its stack pointer the host's code may have data of its own (System V ABI, x86-64, section 3.2.2).
const RED_ZONE: u64 = 128;
/// What dispatching takes on the stack, before the guest's handlers take theirs.
const ROOM: u64 = 0xc000;
/// Flags that would change what the code of the dispatcher does: trap, direction, nested task, alignment check.
const DISTURBING: i64 = 1 << 8 | 1 << 10 | 1 << 14 | 1 << 18;

fn register(state: &ucontext_t, which: c_int) -> u64 {
    state.uc_mcontext.gregs[which as usize].cast_unsigned()
}

/// Ends the check of alignment, if the guest asked for one: the kernel leaves it on in signal handlers.
fn allow_misaligned() {
    // SAFETY: changes one flag, and keeps the stack as it was.
    unsafe { asm!("pushfq", "and dword ptr [rsp], ~(1 << 18)", "popfq") };
}

extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, state: *mut c_void) {
    allow_misaligned();
    // SAFETY: the kernel hands a handler of this kind what it knows of the signal, until the handler returns.
    let info = unsafe { &mut *info };
    let ours = !was_sent(info) && teb::is_inside() && !teb::own(|o| o.foreign.take());
    // SAFETY: the kernel hands a handler of this kind the thread's state, which is what it goes on with.
    let taken = ours && redirect(signal, unsafe { &mut *state.cast::<ucontext_t>() });
    if !taken {
        LINKS.iter().filter(|link| link.signal() == signal).for_each(|link| link.pass_on(info, state));
    }
}

/// Lets the thread go on elsewhere: where its fault is looked at, or, where the stack has no room for that, where the call
/// of the guest fails. `false` where neither can be.
fn redirect(signal: c_int, state: &mut ucontext_t) -> bool {
    let trap = Trap {
        signal,
        number: register(state, libc::REG_TRAPNO) as u32,
        error: register(state, libc::REG_ERR),
        address: register(state, libc::REG_CR2),
    };
    let overflow = trap.number == trap::number::PAGE
        && teb::own(|o| o.fibers.current().stack.kept().contains(&trap.address));
    let goes_on = match room(overflow, register(state, libc::REG_RSP)) {
        Some(place) => {
            // SAFETY: `room` found that the thread's stack has this much below what is in use of it.
            unsafe { place.write_bytes(0, 1) };
            // SAFETY: as above; zeros are valid.
            let fault = unsafe { &mut *place };
            (fault.trap, fault.overflow) = (trap, overflow);
            fault.context.flags = WHOLE;
            saved::get(state, &mut fault.context);
            Some((Addr(entry as *const () as u64), libc::REG_RSP, Addr(place.addr() as u64)))
        }
        None => leave(&trap, state).map(|(code, guard)| (code, libc::REG_RDI, guard)),
    };
    let Some((code, which, value)) = goes_on else { return false };
    let registers = &mut state.uc_mcontext.gregs;
    registers[libc::REG_RIP as usize] = code.0.cast_signed();
    registers[which as usize] = value.0.cast_signed();
    registers[libc::REG_EFL as usize] &= !DISTURBING;
    true
}

/// A place for a [`Fault`] on the thread's stack, with room below it; the pages that were kept back are given to the
/// thread, if it takes them.
fn room(overflow: bool, rsp: u64) -> Option<*mut Fault> {
    let local = 0u8;
    let here = ptr::from_ref(&local).addr() as u64;
    let (stack, kept) = teb::own(|o| {
        let fiber = o.fibers.current();
        (fiber.stack.all(), fiber.stack.kept())
    });
    if !stack.contains(&rsp) {
        return None;
    }
    // Without a stack of its own, the handler has its frame below what was in use.
    let below = if (stack.start..rsp).contains(&here) { here - 0x1000 } else { rsp - RED_ZONE };
    let place = (below - size_of::<Fault>() as u64) & !63;
    if overflow || place.saturating_sub(ROOM) < kept.end {
        teb::give_stack();
    }
    (place.saturating_sub(ROOM) >= stack.start).then(|| ptr::with_exposed_provenance_mut(place as usize))
}

/// Where the guest's call fails, with the exception noted; none if the fault is not in an image of the guest, or nobody
/// guards the call.
fn leave(trap: &Trap, state: &ucontext_t) -> Option<(Addr, Addr)> {
    let mut context = ContextRecord { flags: WHOLE, ..ContextRecord::EMPTY };
    saved::get(state, &mut context);
    if !functions::is_in_image(context.rip) {
        return None;
    }
    let mut record = trap::record(trap, &[], &mut context);
    if trap.number == trap::number::PAGE && teb::own(|o| o.fibers.current().stack.ends_before(trap.address)) {
        record.code = trap::code::STACK_OVERFLOW;
    }
    leaving_for_exception(record.raised(&context))
}

/// Where the thread goes on, with the [`Fault`] at its stack pointer. If `faulted` returns, so does this, to what is in the
/// context then; what a context has no room for, of the vector registers, is as it was.
#[unsafe(naked)]
unsafe extern "C" fn entry() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip", // the host's walks end here
        "mov rbx, rsp",
        "mov rdi, rsp",
        "lea rax, [rip + {faulted}]",
        "call {keeping}",
        "mov rcx, rbx",
        "jmp {restore}",
        ".cfi_endproc",
        faulted = sym faulted,
        keeping = sym keeping,
        restore = sym restore,
    )
}

/// Looks whose the fault is and has it handled. Returns to go on with the context's registers.
extern "C" fn faulted(fault: Ptr<Fault>) {
    calm();
    // SAFETY: `redirect` left it above this frame; nobody else knows of it.
    let fault = unsafe { &mut *fault.raw() };
    match walk::leads_to_guest(&fault.context) || fault.is_lost() {
        true => handle(fault),
        false if fault.overflow => {} // the host goes on, with the pages that it has now
        false => pass_on(fault),
    }
}

/// Has the guest's fault handled; if nobody does, the call of the guest that led to it fails.
fn handle(fault: &mut Fault) {
    let (trap, context) = (&fault.trap, &mut fault.context);
    if shared_data::take_back(trap, context) || shared_data::lend(trap, context) {
        return;
    }
    if trap::passes_over(&fault.trap, &mut fault.context) {
        return;
    }
    let mut record = fault.record();
    let context = local(&mut fault.context);
    let fast = record.code == trap::code::FAST_FAIL;
    let record = local(&mut record);
    if fast || !walk::dispatch(record, context) {
        walk::leave(record, context);
        pass_on(fault); // nobody guards the call
    }
}

/// Has the fault made again, for whoever handled the signal before.
fn pass_on(fault: &mut Fault) {
    if fault.trap.number == trap::number::DEBUG {
        fault.context.eflags |= trap::TRAP_FLAG;
    }
    teb::own(|o| o.foreign.set(true));
}

impl Fault {
    /// Whether the guest has lost its way: within a guarded call, what is to be executed is nowhere, and not because the
    /// host called it.
    fn is_lost(&self) -> bool {
        let executes = self.trap.number == trap::number::PAGE && self.trap.address == self.context.rip;
        executes && innermost().is_some() && !host::called(&self.context)
    }

    fn record(&mut self) -> Record {
        let mut code = [0; 15];
        let known = match self.trap.number {
            trap::number::DIVIDE | trap::number::PROTECTION => peek(self.context.rip, &mut code),
            _ => 0,
        };
        let record = trap::record(&self.trap, &code[..known], &mut self.context);
        let page_fault = self.trap.number == trap::number::PAGE && self.trap.signal == libc::SIGSEGV;
        let code = match page_fault {
            true if self.overflow => trap::code::STACK_OVERFLOW,
            true if teb::process().guard_hit(Addr(self.trap.address)) => trap::code::GUARD_PAGE,
            _ => record.code,
        };
        Record { code, ..record }
    }
}

/// The floating-point units as the host's code expects them, with nothing pending.
fn calm() {
    static MXCSR: u32 = 0x1f80;
    static CONTROL: u16 = 0x37f;
    // SAFETY: sets control registers to what the System V ABI asks for.
    unsafe {
        asm!(
            "fnclex",
            "fldcw [{}]",
            "ldmxcsr [{}]",
            in(reg) &raw const CONTROL,
            in(reg) &raw const MXCSR,
            options(nostack, readonly),
        );
    }
}

/// Keeps the pages back that an overflow was handled on; 0 where that cannot be, because they are in use.
extern "win64" fn _resetstkoflw() -> i32 {
    teb::keep_stack().into()
}

table! {
    /// What the C runtimes have of it.
    pub(crate) CRT: _resetstkoflw
}
