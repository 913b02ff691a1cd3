//! Signals that faults make: a handler for one, and leaving what it does not want to whoever was there before.
//!
//! A room for `unsafe`: handlers are installed and called by address. They form a chain, the latest first, whatever the
//! order in which they are installed; nobody is taken out of it.
#![allow(unsafe_code)]

use libc::{c_int, c_void, sigaction, siginfo_t};
use std::sync::{Once, OnceLock};

/// A handler. It does only what may be done in one.
pub type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// Where a handler finds the integer registers that it was handed, in the order in which instructions number them.
pub const INTEGERS: [c_int; 16] = [
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

/// A place in the chain of a signal's handlers.
#[derive(Debug)]
pub struct Link {
    signal: c_int,
    before: OnceLock<sigaction>,
    installed: Once,
}

impl Link {
    /// One that is not in the chain yet.
    #[must_use]
    pub const fn new(signal: c_int) -> Self {
        Self { signal, before: OnceLock::new(), installed: Once::new() }
    }

    /// The signal.
    #[must_use]
    pub const fn signal(&self) -> c_int {
        self.signal
    }

    /// From now on the handler is asked first. Only the first call counts. It runs on the thread's alternate stack,
    /// where there is one, with the signal blocked.
    pub fn install(&self, handler: Handler) {
        self.installed.call_once(|| {
            // SAFETY: a `sigaction` is plain numbers, for which zeros are valid.
            let (mut action, mut before): (sigaction, sigaction) = unsafe { std::mem::zeroed() };
            // SAFETY: asks for the present action only.
            unsafe { sigaction(self.signal, std::ptr::null(), &raw mut before) };
            self.before.get_or_init(|| before); // known before the first signal comes
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            // SAFETY: the handler does only what a signal handler may.
            unsafe { sigaction(self.signal, &raw const action, std::ptr::null_mut()) };
        });
    }

    /// Leaves a signal to whoever handled it before: for the handler, with what it was called with.
    pub fn pass_on(&self, info: &mut siginfo_t, context: *mut c_void) {
        let (flags, action) = self.before.get().map_or((0, libc::SIG_DFL), |b| (b.sa_flags, b.sa_sigaction));
        match action {
            libc::SIG_IGN if was_sent(info) => {}
            libc::SIG_DFL | libc::SIG_IGN => self.end(info),
            action if flags & libc::SA_SIGINFO != 0 => {
                // SAFETY: whoever installed it said that it takes these three.
                let handler: Handler = unsafe { std::mem::transmute(action) };
                handler(self.signal, info, context);
            }
            action => {
                // SAFETY: without SA_SIGINFO it takes the signal alone.
                let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(action) };
                handler(self.signal);
            }
        }
    }

    /// Ends the process by the signal, once the handler returns: the instruction faults again, unless there is none that
    /// would.
    fn end(&self, info: &siginfo_t) {
        // SAFETY: as for `install`.
        let default: sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: the default action is anybody's to set.
        unsafe { sigaction(self.signal, &raw const default, std::ptr::null_mut()) };
        if was_sent(info) || self.signal == libc::SIGTRAP {
            // SAFETY: the signal is blocked here and waits until the handler has returned.
            unsafe { libc::raise(self.signal) };
        }
    }
}

/// Whether somebody sent the signal: there was no fault.
#[must_use]
pub const fn was_sent(info: &siginfo_t) -> bool {
    info.si_code <= 0
}
