//! Suspending threads that run, and their registers meanwhile.
//!
//! A signal makes a thread wait in its handler, where the kernel has put all its registers. Who suspends another thread
//! takes the risk that it holds something that others wait for (the allocator's lock, say), here as on Windows.
#![allow(unsafe_code)] // a signal's handler, and registers that it is shown

use super::{
    Bool, answer,
    error::code,
    fail,
    thread::{wait_until_resumed, with_thread},
};
use crate::{
    exception::ContextRecord,
    futex::{self, Deadline},
    guest::Ptr,
    lock,
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

extern "win64" fn SuspendThread(handle: usize) -> u32 {
    with_thread(handle, FAILED, |thread| {
        suspend(thread).unwrap_or_else(|error| {
            fail(error);
            FAILED
        })
    })
}

// Which parts of a context are meant; each comes with the bit for x86-64.
const CONTROL: u32 = 1;
const INTEGER: u32 = 2;
const FLOATING_POINT: u32 = 8;

/// Where the kernel keeps what `CONTEXT` has in its order; RSP, the fifth, belongs to the flow of control.
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

/// Which integer registers a part has.
fn integers(part: u32) -> impl Iterator<Item = (usize, usize)> {
    let wanted = move |register: c_int| part & if register == libc::REG_RSP { CONTROL } else { INTEGER } != 0;
    INTEGERS.into_iter().enumerate().filter(move |(_, r)| wanted(*r)).map(|(n, r)| (n, r as usize))
}

fn get(from: &ucontext_t, to: &mut ContextRecord) {
    let (parts, registers) = (to.flags, &from.uc_mcontext.gregs);
    integers(parts).for_each(|(n, at)| to.integers[n] = registers[at].cast_unsigned());
    if parts & CONTROL != 0 {
        to.rip = registers[libc::REG_RIP as usize].cast_unsigned();
        to.eflags = registers[libc::REG_EFL as usize] as u32;
    }
    // SAFETY: the kernel leads to the state that it saved, or nowhere.
    if let Some(float) = unsafe { from.uc_mcontext.fpregs.as_ref() }.filter(|_| parts & FLOATING_POINT != 0) {
        to.mxcsr = float.mxcsr;
        let words = float._xmm.iter().map(|r| r.element);
        to.xmm
            .iter_mut()
            .zip(words)
            .for_each(|(to, w)| *to = w.iter().rev().fold(0, |x, &w| x << 32 | u128::from(w)));
    }
}

fn set(from: &ContextRecord, to: &mut ucontext_t) {
    let (parts, registers) = (from.flags, &mut to.uc_mcontext.gregs);
    integers(parts).for_each(|(n, at)| registers[at] = from.integers[n].cast_signed());
    if parts & CONTROL != 0 {
        registers[libc::REG_RIP as usize] = from.rip.cast_signed();
        registers[libc::REG_EFL as usize] = from.eflags.into();
    }
    // SAFETY: as above; the thread waits, and goes on with what is there then.
    if let Some(float) = unsafe { to.uc_mcontext.fpregs.as_mut() }.filter(|_| parts & FLOATING_POINT != 0) {
        float.mxcsr = from.mxcsr;
        for (to, from) in float._xmm.iter_mut().zip(from.xmm) {
            to.element = std::array::from_fn(|n| (from >> (32 * n)) as u32);
        }
    }
}

/// Hands the registers of a thread that is suspended to `f`. Those of one that runs are nobody's to know.
fn registers(handle: usize, f: impl FnOnce(&mut ucontext_t)) -> Bool {
    let halted = with_thread(handle, Err(code::INVALID_HANDLE), |thread| {
        let _one_at_a_time = lock(&ASKING);
        let known = thread.suspended.load(SeqCst) != 0 && thread.halted.load(SeqCst) == 1;
        // SAFETY: while the thread is halted, its handler is where it was called with this.
        let context = unsafe { thread.registers.load(SeqCst).as_mut() }.filter(|_| known);
        context.map(f).ok_or(code::INVALID_PARAMETER)
    });
    answer(halted)
}

extern "win64" fn GetThreadContext(handle: usize, context: Ptr<ContextRecord>) -> Bool {
    registers(handle, |from| {
        let mut to = context.get();
        get(from, &mut to);
        context.set(to);
    })
}

extern "win64" fn SetThreadContext(handle: usize, context: Ptr<ContextRecord>) -> Bool {
    registers(handle, |to| set(&context.get(), to))
}

table! {
    /// Suspended threads.
    pub(crate) TABLE: SuspendThread, GetThreadContext, SetThreadContext
}
