//! The helper's signal handler: it notes what the kernel says of a fault where the user's side sees it, tells that side,
//! and waits to be killed.
//!
//! Unsafe because the kernel hands over what it knows by address. Nothing is allocated and no lock is taken: the fault may
//! have been in the middle of anything.
#![allow(unsafe_code)]

use super::Record;
use crate::{os, shared::Mapped};
use libc::{c_int, c_void, siginfo_t, ucontext_t};
use loader_core::signals::Link;
use std::{io, os::fd::RawFd, sync::OnceLock, time::Duration};

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

/// Where a fault is told.
struct Alarm {
    shared: &'static Mapped,
    channel: RawFd,
}

static ALARM: OnceLock<Alarm> = OnceLock::new();

/// What the handler has for a stack.
const STACK: usize = 64 << 10;

/// From now on faults are told, unless somebody handles them first who comes later.
pub(crate) fn install(shared: &'static Mapped, channel: RawFd) -> io::Result<()> {
    os::signal_stack(STACK)?;
    ALARM.get_or_init(|| Alarm { shared, channel });
    LINKS.iter().for_each(|link| link.install(on_signal));
    Ok(())
}

/// The order of `Registers::integers`: of the processor's numbers.
const INTEGERS: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, state: *mut c_void) {
    // SAFETY: the kernel hands a handler of this kind what it knows of the signal, until the handler returns.
    let info = unsafe { &mut *info };
    // SAFETY: and the thread's state.
    let registers = unsafe { &(*state.cast::<ucontext_t>()).uc_mcontext.gregs };
    let register = |which: c_int| registers[which as usize].cast_unsigned();
    // SAFETY: the kernel fills the whole structure; what the signal has no address for is some number.
    let address = unsafe { info.si_addr() }.addr() as u64;
    let mut record = Record { signal, code: info.si_code, address, ..Record::default() };
    if signal == libc::SIGSYS {
        record.call = register(libc::REG_RAX);
    }
    record.registers[0] = register(libc::REG_RIP);
    record.registers[1] = register(libc::REG_EFL);
    record.registers[2..].iter_mut().zip(INTEGERS).for_each(|(to, which)| *to = register(which));
    let Some(alarm) = ALARM.get() else { return };
    // SAFETY: the record is words without gaps.
    let bytes = unsafe { std::slice::from_raw_parts((&raw const record).cast::<u8>(), size_of::<Record>()) };
    alarm.shared.record(bytes);
    if os::ring(alarm.channel, 1) {
        loop {
            std::thread::sleep(Duration::from_secs(3600)); // to be looked at, and killed
        }
    }
    // Nobody hears: the guest closed the channel. Then the process ends by the signal itself.
    LINKS.iter().filter(|link| link.signal() == signal).for_each(|link| link.pass_on(info, state));
}
