//! Ctrl-C and its like: the functions that a program has called for them, in a thread of their own. Unsafe because they are
//! the guest's, and because the host's signal is handled.
#![allow(unsafe_code)]

use super::{Bool, FALSE, TRUE, answer, error::code, fail, thread};
use crate::{Process, lock, process::program, teb};
use loader_core::Addr;
use std::{
    os::fd::{AsRawFd, OwnedFd},
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, AtomicI32, Ordering::SeqCst},
    },
};

const CTRL_C: u32 = 0;
const CTRL_BREAK: u32 = 1;
/// What a program's exit code is that nobody kept from ending: `STATUS_CONTROL_C_EXIT`.
const CONTROL_C_EXIT: u32 = 0xc000_013a;

/// What a process wants to be done.
#[derive(Default)]
pub(crate) struct Control {
    /// The functions that are called, the last one that came first.
    handlers: Mutex<Vec<usize>>,
    /// Ctrl-C means nothing.
    ignored: AtomicBool,
}

/// Null changes whether Ctrl-C means anything; a function is added, or taken away again.
extern "win64" fn SetConsoleCtrlHandler(handler: usize, add: Bool) -> Bool {
    listen();
    let process = teb::process();
    if handler == 0 {
        process.control.ignored.store(add != FALSE, SeqCst);
        return TRUE;
    }
    let mut handlers = lock(&process.control.handlers);
    if add != FALSE {
        handlers.push(handler);
        return TRUE;
    }
    match handlers.iter().rposition(|&known| known == handler) {
        Some(nth) => {
            handlers.remove(nth);
            TRUE
        }
        None => fail(code::INVALID_PARAMETER),
    }
}

/// Every process of this console is this one; none is the first of a group.
extern "win64" fn GenerateConsoleCtrlEvent(event: u32, group: u32) -> Bool {
    if ![CTRL_C, CTRL_BREAK].contains(&event) || group != 0 {
        return fail(code::INVALID_PARAMETER);
    }
    answer(happens(&teb::process(), event))
}

/// The event's functions are called in a new thread.
fn happens(process: &Arc<Process>, event: u32) -> Result<(), u32> {
    if event == CTRL_C && process.control.ignored.load(SeqCst) {
        return Ok(());
    }
    thread::spawn(process, thread::STACK, tell, event as usize, 0).map(drop)
}

/// Calls one after the other until one says that this was enough; if none does, the process ends. A function that went with
/// its library is not called.
extern "win64" fn tell(event: usize) -> u32 {
    let process = teb::process();
    let handlers = lock(&process.control.handlers).clone();
    let is_there = |handler: usize| process.services().is_some_and(|s| s.is_loaded(Addr(handler as u64)));
    for handler in handlers.into_iter().rev().filter(|&handler| is_there(handler)) {
        // SAFETY: guest code gave it to `SetConsoleCtrlHandler`, which takes functions of this type.
        let handler = unsafe { std::mem::transmute::<usize, unsafe extern "win64" fn(u32) -> Bool>(handler) };
        // SAFETY: as above; no lock is held and nothing owned.
        if unsafe { handler(event as u32) } != FALSE {
            return 0;
        }
    }
    process.exit(CONTROL_C_EXIT)
}

/// Where the signal's handler says that it was called.
static SAYS: AtomicI32 = AtomicI32::new(-1);

extern "C" fn interrupted(_signal: i32) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: writes eight bytes to a descriptor that is never closed; this much a handler may do.
    unsafe { libc::write(SAYS.load(SeqCst), one.as_ptr().cast(), one.len()) };
}

/// From now on the host's interrupt is Ctrl-C, where the host does nothing but run a Windows program and has no use of its own
/// for it. In any other process it stays the host's.
fn listen() {
    static ONCE: OnceLock<()> = OnceLock::new();
    if program().is_none() {
        return;
    }
    ONCE.get_or_init(|| {
        // SAFETY: all zeroes are a valid action, which is only written to.
        let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: asks only.
        let known = unsafe { libc::sigaction(libc::SIGINT, std::ptr::null(), &raw mut now) } == 0;
        if !known || now.sa_sigaction != libc::SIG_DFL {
            return;
        }
        let Ok(bell) = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC) else { return };
        SAYS.store(bell.as_raw_fd(), SeqCst);
        let process = Arc::downgrade(&teb::process());
        let waits = move || wait(&bell, &process);
        if std::thread::Builder::new().name("interrupts".into()).spawn(waits).is_err() {
            return;
        }
        now.sa_sigaction = interrupted as *const () as usize;
        now.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler does what handlers may, and stays.
        unsafe { libc::sigaction(libc::SIGINT, &raw const now, std::ptr::null_mut()) };
    });
}

/// Waits for interrupts as long as the host runs.
fn wait(bell: &OwnedFd, process: &Weak<Process>) {
    let mut count = [0; 8];
    while rustix::io::read(bell, &mut count).is_ok() {
        match process.upgrade() {
            Some(process) => _ = happens(&process, CTRL_C),
            // Whoever is left is not a Windows program, and ends as others do.
            None => std::process::exit(128 + libc::SIGINT),
        }
    }
}

table! {
    /// Ctrl-C.
    pub(crate) TABLE: SetConsoleCtrlHandler, GenerateConsoleCtrlEvent
}
