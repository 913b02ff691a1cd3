//! How a program ends: what is called before anything else when it does, and what the runtime says of its own errors.
#![allow(unsafe_code)] // calls into the guest

use super::{invalid::refused, startup::abort};
use crate::teb;
use std::sync::atomic::{
    AtomicI32, AtomicU32,
    Ordering::{Relaxed, SeqCst},
};

/// `_tls_callback_type`: a handle, a reason, nothing.
type Callback = unsafe extern "win64" fn(usize, u32, usize);

const PROCESS_DETACH: u32 = 0;

/// Takes what destroys the objects that the program's main thread has for itself. There is one; a second is an error that
/// ends the program.
extern "win64" fn _register_thread_local_exe_atexit_callback(callback: usize) {
    let place = &teb::process().runtime.thread_end;
    if place.compare_exchange(0, callback, SeqCst, SeqCst).is_err() {
        abort();
    }
}

/// The program ends: its main thread's own objects go first, once.
pub(crate) fn thread_ends() {
    let callback = teb::process().runtime.thread_end.swap(0, SeqCst);
    if callback != 0 {
        // SAFETY: guest code registered it as a function of this type.
        let callback: Callback = unsafe { std::mem::transmute(callback) };
        // SAFETY: as above; no lock is held and nothing owned.
        unsafe { callback(0, PROCESS_DETACH, 0) };
    }
}

/// What `abort` does beside ending the program: a message (1) and a report (2). It is kept and given back; neither is
/// made, as there is no window for a message and nobody who takes reports.
extern "win64" fn _set_abort_behavior(flags: u32, mask: u32) -> u32 {
    static BEHAVIOR: AtomicU32 = AtomicU32::new(3);
    let new = |old| Some(old & !mask | flags & mask);
    BEHAVIOR.fetch_update(SeqCst, SeqCst, new).unwrap_or_default()
}

/// Where the runtime's own errors go: where the kind of program says (0), to standard error (1), into a window (2); 3 only
/// asks.
extern "win64" fn _set_error_mode(mode: i32) -> i32 {
    static MODE: AtomicI32 = AtomicI32::new(0);
    match mode {
        0..=2 => MODE.swap(mode, Relaxed),
        3 => MODE.load(Relaxed),
        _ => refused(),
    }
}

table! {
    /// What ucrtbase has.
    pub(crate) UCRT: _register_thread_local_exe_atexit_callback
}

table! {
    /// What both have.
    pub(crate) TABLE: _set_abort_behavior, _set_error_mode
}
