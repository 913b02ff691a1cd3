//! The helper's side: handlers of signals that write down a fault, tell the user's side, and wait to be killed.
//!
//! A room for `unsafe`: what runs in a handler may count on nothing of the process, whose heap, locks and thread-local
//! variables may be broken. So it allocates nothing, takes no lock, and reads the process's memory only through the
//! kernel, which refuses where a load would fault. The record is claimed by the thread that faults first; others wait.
//!
//! It is installed before an engine is made: the engine's own handler, which makes Windows exceptions of faults, is then
//! asked first, and leaves the rest to this one. An exception that nobody handles comes back as an error of the call; it is
//! written down too, before its frames are abandoned, and the helper goes on.
#![allow(unsafe_code)]

use super::record::{CODE, RED_ZONE, RSP, Record, STACK, kind, state};
use crate::{os, shared::Mapped};
use libc::{c_int, c_void, siginfo_t, ucontext_t};
use loader_core::{
    PAGE,
    exception::{Raised, watch},
    page_floor,
    signals::{INTEGERS, Link},
};
use rustix::process::getpid;
use std::{
    io,
    mem::offset_of,
    os::fd::RawFd,
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicPtr, AtomicU32,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

/// Where a fault is told.
struct Alarm {
    /// The process whose faults these are: a copy of it that the guest makes has nobody who looks.
    process: libc::pid_t,
    record: NonNull<Record>,
    shared: &'static Mapped,
    channel: RawFd,
}

/// One process has one handler of a signal: so there is one place to write to.
static ALARM: AtomicPtr<Alarm> = AtomicPtr::new(ptr::null_mut());

/// Signals that faults make, `abort`, and a forbidden system call.
static LINKS: [Link; 7] = [
    Link::new(libc::SIGSEGV),
    Link::new(libc::SIGBUS),
    Link::new(libc::SIGFPE),
    Link::new(libc::SIGILL),
    Link::new(libc::SIGTRAP),
    Link::new(libc::SIGABRT),
    Link::new(libc::SIGSYS),
];

/// What the handler has for a stack: room for the registers that the kernel saves, and for two handlers' frames.
const HANDLER_STACK: usize = 64 << 10;

/// From now on faults are told there, unless somebody handles them first who comes later. After a `fork` the new process
/// does this again, with shared memory of its own.
pub(crate) fn install(shared: &'static Mapped, channel: RawFd) -> io::Result<()> {
    let alarm = Alarm { process: own(), record: shared.record_place(), shared, channel };
    let alarm = Box::leak(Box::new(alarm));
    ALARM.store(alarm, Release);
    os::signal_stack(HANDLER_STACK)?;
    LINKS.iter().for_each(|link| link.install(on_signal));
    watch(on_exception);
    Ok(())
}

fn alarm() -> Option<&'static Alarm> {
    // SAFETY: null, or what `install` leaked.
    unsafe { ALARM.load(Acquire).as_ref() }
}

/// This process.
fn own() -> libc::pid_t {
    // SAFETY: it only says who the caller is.
    unsafe { libc::getpid() }
}

/// This thread.
fn thread() -> u32 {
    // SAFETY: it only says who the caller is.
    unsafe { libc::gettid() }.cast_unsigned()
}

impl Alarm {
    /// Tells the user's side. `false` where nobody hears.
    fn ring(&self) -> bool {
        self.shared.faulted();
        os::ring(self.channel, 1)
    }
}

/// A word of the record that threads share.
fn word(alarm: &Alarm, at: usize) -> &'static AtomicU32 {
    let place = alarm.record.as_ptr().cast::<u8>().wrapping_add(at).cast();
    // SAFETY: the record is mapped as long as the process lives, and until one thread has claimed it, this is how all see it.
    unsafe { AtomicU32::from_ptr(place) }
}

/// Claims the record for the calling thread: what an exception left there may be written over, a signal not.
fn claim(alarm: &Alarm) -> Option<&'static mut Record> {
    if alarm.process != own() {
        return None;
    }
    let state = word(alarm, offset_of!(Record, state));
    let over = word(alarm, offset_of!(Record, kind)).load(Relaxed) == kind::EXCEPTION;
    let claimed = state.compare_exchange(state::EMPTY, state::CLAIMED, AcqRel, Relaxed).is_ok()
        || over && state.compare_exchange(state::COPIED, state::CLAIMED, AcqRel, Relaxed).is_ok();
    // SAFETY: this thread alone has claimed it.
    claimed.then(|| unsafe { &mut *alarm.record.as_ptr() })
}

/// The same, once no exception is being written there. It is waited for that while it can be another thread's.
fn claim_after_exceptions(alarm: &Alarm) -> Option<&'static mut Record> {
    const PATIENCE: u32 = 10_000;
    let kind = word(alarm, offset_of!(Record, kind));
    for _ in 0..PATIENCE {
        let claimed = claim(alarm);
        if claimed.is_some() || kind.load(Relaxed) == kind::SIGNAL || alarm.process != own() {
            return claimed;
        }
        // SAFETY: lets other threads run.
        unsafe { libc::sched_yield() };
    }
    None
}

/// Whether this thread has told of its registers and not come further: a system call of [`copy`] is not allowed here.
fn is_copying(alarm: &Alarm) -> bool {
    word(alarm, offset_of!(Record, state)).load(Acquire) == state::TOLD
        && word(alarm, offset_of!(Record, thread)).load(Relaxed) == thread()
}

fn advance(record: &mut Record, to: u32) {
    // SAFETY: the word is aligned and part of the record.
    unsafe { AtomicU32::from_ptr(&raw mut record.state) }.store(to, Release);
}

extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands a handler of this kind what it knows of the signal, until the handler returns.
    let info = unsafe { &mut *info };
    // SAFETY: the kernel hands a handler of this kind the thread's state.
    let context_of = unsafe { &*context.cast::<ucontext_t>() };
    let Some(alarm) = alarm() else { return };
    let heard = match claim_after_exceptions(alarm) {
        Some(record) => {
            tell_signal(record, signal, info, context_of);
            copy(record);
            alarm.ring()
        }
        None if alarm.process != own() => false,
        None if is_copying(alarm) => alarm.ring(),
        None => true, // another thread's fault came first
    };
    if !heard {
        // Nobody does: the guest closed the channel, or copied its process. Then that ends by the signal itself.
        LINKS.iter().filter(|link| link.signal() == signal).for_each(|link| link.pass_on(info, context));
        return;
    }
    loop {
        // SAFETY: waits for signals, of which the one that comes is SIGKILL.
        unsafe { libc::pause() };
    }
}

fn tell_signal(record: &mut Record, signal: c_int, info: &siginfo_t, context: &ucontext_t) {
    let register = |which: c_int| context.uc_mcontext.gregs[which as usize].cast_unsigned();
    record.kind = kind::SIGNAL;
    record.number = signal.cast_unsigned();
    record.code = info.si_code;
    // SAFETY: of a fault the kernel tells the address; of other signals these bytes say something else.
    record.address = unsafe { info.si_addr() }.addr() as u64;
    record.trap = register(libc::REG_TRAPNO);
    record.error = register(libc::REG_ERR);
    record.integers = INTEGERS.map(register);
    record.rip = register(libc::REG_RIP);
    record.flags = register(libc::REG_EFL);
}

/// Called before the frames of an exception that nobody handled are abandoned; it may be in a signal handler.
fn on_exception(raised: &Raised) {
    let Some(record) = alarm().and_then(claim) else { return };
    record.kind = kind::EXCEPTION;
    record.number = raised.code;
    record.code = 0;
    (record.address, record.trap, record.error) = (raised.at.0, 0, 0);
    record.integers = raised.registers.integers;
    record.rip = raised.registers.rip;
    record.flags = raised.registers.flags.into();
    copy(record);
}

/// The stack pointer may be that far below a stack that is full.
const PAGES_BELOW: usize = 16;

/// Says that the registers are known, and copies what may be gone or not readable when the user's side looks.
fn copy(record: &mut Record) {
    record.thread = thread();
    (record.code_len, record.stack_len) = (0, 0);
    advance(record, state::TOLD);
    record.fs = segment(0x1003); // ARCH_GET_FS
    record.gs = segment(0x1004); // ARCH_GET_GS
    record.code_at = record.rip.saturating_sub(CODE as u64 / 2);
    record.code_len = peek(record.code_at, &mut record.code_bytes) as u64;
    if record.code_len <= CODE as u64 / 2 {
        // What is before the instruction is in a page that cannot be read.
        record.code_at = record.rip;
        record.code_len = peek(record.rip, &mut record.code_bytes) as u64;
    }
    record.stack_at = record.integers[RSP].saturating_sub(RED_ZONE) & !7;
    for _ in 0..PAGES_BELOW {
        record.stack_len = peek(record.stack_at, &mut record.stack_bytes[..STACK]) as u64;
        if record.stack_len != 0 {
            break;
        }
        record.stack_at = page_floor(record.stack_at).saturating_add(PAGE);
    }
    advance(record, state::COPIED);
}

/// A segment's base; 0 where the system does not tell.
fn segment(which: c_int) -> u64 {
    let mut base = 0u64;
    // SAFETY: writes one number to a variable of this function.
    match unsafe { libc::syscall(libc::SYS_arch_prctl, which, &raw mut base) } {
        0 => base,
        _ => 0,
    }
}

/// Copies memory of this process as far as it can be read, page by page.
fn peek(at: u64, to: &mut [u8]) -> usize {
    let mut done = 0;
    while done < to.len() {
        let Some(from) = at.checked_add(done as u64) else { break };
        let len = ((PAGE - from % PAGE) as usize).min(to.len() - done);
        if os::read_memory(getpid(), from, &mut to[done..][..len]) != len {
            break;
        }
        done += len;
    }
    done
}
