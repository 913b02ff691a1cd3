//! Suspending threads that run, and their registers meanwhile.
//!
//! A signal makes a thread wait in its handler, where the kernel has put all its registers. Who suspends another thread
//! takes the risk that it holds something that others wait for (the allocator's lock, say), here as on Windows.
#![allow(unsafe_code)] // a signal's handler, and registers that it is shown

use super::{
    error::code,
    fail,
    thread::{wait_until_resumed, with_thread},
};
use crate::{
    exception::{ContextRecord, saved},
    futex::{self, Deadline},
    guest::Ptr,
    lock,
    nt::{
        status,
        thread::{right, thread_for},
    },
    object::{Thread, current_thread_id},
};
use libc::{c_int, c_void, siginfo_t, ucontext_t};
use std::sync::{
    Mutex, OnceLock,
    atomic::{AtomicPtr, Ordering::SeqCst},
};

/// One that nobody else is likely to use.
fn signal() -> c_int {
    libc::SIGRTMAX() - 3
}

/// How often a thread can be suspended.
const MAXIMUM_SUSPEND_COUNT: u32 = 127;
const SIGNAL_REFUSED: u32 = 156;
const FAILED: u32 = u32::MAX;
/// How long a thread may take to follow the signal, in milliseconds.
const PATIENCE: u32 = 1000;

/// Whose handler is to wait. One at a time, under the lock.
static ASKED: AtomicPtr<Thread> = AtomicPtr::new(std::ptr::null_mut());
static ASKING: Mutex<()> = Mutex::new(());

fn installed() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        // SAFETY: a `sigaction` is plain numbers, for which zeros are valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = halt as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        // SAFETY: the handler does only what a signal handler may.
        unsafe { libc::sigaction(signal(), &raw const action, std::ptr::null_mut()) };
    });
}

/// The handler: waits while its thread is suspended.
extern "C" fn halt(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    let asked = ASKED.swap(std::ptr::null_mut(), SeqCst);
    // SAFETY: null, where another signal came first; else the object of this thread, which lives as long as it.
    let Some(thread) = (unsafe { asked.as_ref() }) else { return };
    thread.registers.store(context.cast(), SeqCst);
    loop {
        thread.halted.store(1, SeqCst);
        futex::wake(&thread.halted, 1);
        wait_until_resumed(thread);
        thread.halted.store(0, SeqCst);
        // Who suspends it from here on sees that it is not halted, and waits until it is.
        if thread.suspended.load(SeqCst) == 0 {
            return;
        }
    }
}

/// Makes a thread follow its count. False for one that does not, or is no more.
fn stop(thread: &Thread) -> bool {
    installed();
    let _one_at_a_time = lock(&ASKING);
    if thread.halted.load(SeqCst) == 1 {
        return true;
    }
    ASKED.store(std::ptr::from_ref(thread).cast_mut(), SeqCst);
    let id = thread.id.load(SeqCst);
    // SAFETY: sends a signal that is handled, to a thread of this process; for one that is gone it is an error.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), id, signal()) } == 0;
    let until = Deadline::after(PATIENCE);
    while sent && thread.halted.load(SeqCst) == 0 && !until.is_over() {
        futex::wait(&thread.halted, 0, until);
    }
    ASKED.store(std::ptr::null_mut(), SeqCst);
    thread.halted.load(SeqCst) == 1
}

fn suspend(thread: &Thread) -> Result<u32, u32> {
    if thread.is_gone() {
        return Err(code::ACCESS_DENIED);
    }
    let one_more = |n: u32| (n < MAXIMUM_SUSPEND_COUNT).then_some(n + 1);
    let before = thread.suspended.fetch_update(SeqCst, SeqCst, one_more).map_err(|_| SIGNAL_REFUSED)?;
    if thread.id.load(SeqCst) == current_thread_id() {
        wait_until_resumed(thread);
    } else if before == 0 && !stop(thread) {
        thread.suspended.fetch_sub(1, SeqCst);
        return Err(code::ACCESS_DENIED);
    }
    Ok(before)
}

pub(crate) extern "win64" fn SuspendThread(handle: usize) -> u32 {
    with_thread(handle, right::SUSPEND_RESUME, FAILED, |thread| {
        suspend(thread).unwrap_or_else(|error| {
            fail(error);
            FAILED
        })
    })
}

/// Hands the registers of a thread that is suspended to `f`. Those of one that runs are nobody's to know.
fn registers(handle: usize, right: u32, f: impl FnOnce(&mut ucontext_t)) -> Result<(), u32> {
    thread_for(handle, right)
        .and_then(|object| {
            let thread = object.thread().ok_or(status::INVALID_HANDLE)?;
            let _one_at_a_time = lock(&ASKING);
            let known = thread.suspended.load(SeqCst) != 0 && thread.halted.load(SeqCst) == 1;
            // SAFETY: while the thread is halted, its handler is where it was called with this.
            let context = unsafe { thread.registers.load(SeqCst).as_mut() }.filter(|_| known);
            context.map(f).ok_or(status::INVALID_PARAMETER)
        })
        .map_err(status::dos_error)
}

/// The registers of a thread that is suspended.
pub(crate) fn read(handle: usize, context: Ptr<ContextRecord>) -> Result<(), u32> {
    registers(handle, right::GET_CONTEXT, |from| {
        let mut to = context.get();
        saved::get(from, &mut to);
        context.set(to);
    })
}

/// The registers that a thread which is suspended goes on with.
pub(crate) fn write(handle: usize, context: Ptr<ContextRecord>) -> Result<(), u32> {
    registers(handle, right::SET_CONTEXT, |to| saved::set(&context.get(), to))
}

/// Registers of 32-bit code, which no thread here has.
extern "win64" fn RtlWow64GetThreadContext(handle: usize, _context: usize) -> u32 {
    with_thread(handle, right::QUERY_LIMITED, status::INVALID_HANDLE, |_| status::INVALID_PARAMETER)
}

table! {
    /// Suspended threads.
    pub(crate) TABLE: SuspendThread
}

table! {
    /// The same by NT's names.
    pub(crate) NT: RtlWow64GetThreadContext,
        RtlWow64SetThreadContext = RtlWow64GetThreadContext
}
