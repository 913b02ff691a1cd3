//! Handlers that loaded code leaves for the end of the process: `atexit` and its kin.
//!
//! They are kept here, under the address where their module starts, and the C library knows one handler of this engine
//! that runs what is left at the end. Its own list would do but for `fork`: a child whose parent's other threads were
//! loading could find the lock of that list taken for ever.
//!
//! `unsafe` because they are C functions: their arguments are the word of foreign code.
#![allow(unsafe_code)]

use super::{registrant, told_their_caller};
use crate::HostModule;
use loader_core::Addr;
use std::{
    ffi::{c_int, c_void},
    ptr::null_mut,
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

pub(super) fn offer(module: HostModule) -> HostModule {
    module
        .function("__cxa_atexit", cxa_atexit as *const ())
        .function("__cxa_at_quick_exit", cxa_at_quick_exit as *const ())
        .function("__cxa_finalize", cxa_finalize as *const ())
        .function("atexit", atexit as *const ())
        .function("on_exit", on_exit as *const ())
}

told_their_caller! {
    cxa_atexit => cxa_atexit_from, "rcx";
    cxa_at_quick_exit => cxa_at_quick_exit_from, "rdx";
    cxa_finalize => cxa_finalize_from, "rsi";
    atexit => atexit_from, "rsi";
    on_exit => on_exit_from, "rdx";
}

type AtExit = unsafe extern "C-unwind" fn(*mut c_void);
type OnExit = unsafe extern "C-unwind" fn(c_int, *mut c_void);

unsafe extern "C-unwind" {
    fn __cxa_atexit(function: *const c_void, argument: *mut c_void, handle: *const c_void) -> c_int;
    fn __cxa_at_quick_exit(function: AtExit, handle: *const c_void) -> c_int;
    fn __cxa_finalize(handle: *const c_void);
    #[link_name = "on_exit"]
    fn host_on_exit(function: OnExit, argument: *mut c_void) -> c_int;
}

/// A function of loaded code, and when it is called.
#[derive(Clone, Copy)]
enum Function {
    Exit(AtExit),
    /// With the status that the process ends with; 0 at an unload.
    OnExit(OnExit),
    /// Only by `quick_exit`, never at an unload.
    QuickExit(AtExit),
}

struct Handler {
    base: Addr,
    function: Function,
    argument: *mut c_void,
}

// SAFETY: the argument is a number here, handed to the function that it came with.
unsafe impl Send for Handler {}

/// The youngest last. A handler is taken out before it runs, so it runs once.
static HANDLERS: Mutex<Vec<Handler>> = Mutex::new(Vec::new());

fn handlers() -> MutexGuard<'static, Vec<Handler>> {
    HANDLERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For the time of a `fork`.
pub(super) fn hold() -> impl Sized + use<> {
    handlers()
}

impl Handler {
    fn is_quick(&self) -> bool {
        matches!(self.function, Function::QuickExit(_))
    }

    fn run(self, status: c_int) {
        match self.function {
            // SAFETY: code of a module that is still mapped, with the argument that it asked for.
            Function::Exit(f) | Function::QuickExit(f) => unsafe { f(self.argument) },
            // SAFETY: as above.
            Function::OnExit(f) => unsafe { f(status, self.argument) },
        }
    }
}

/// Takes the youngest handlers that suit, and runs each before the next is taken: it may leave others.
fn run(suits: impl Fn(&Handler) -> bool, status: c_int) {
    loop {
        let mut handlers = handlers();
        let Some(nth) = handlers.iter().rposition(&suits) else { break };
        let handler = handlers.remove(nth);
        drop(handlers);
        handler.run(status);
    }
}

/// The module at `base` goes: its handlers run, the youngest first, unless they have run already.
pub(super) fn withdraw(base: Addr) {
    run(|handler| handler.base == base && !handler.is_quick(), 0);
    handlers().retain(|handler| handler.base != base);
}

/// Tells the C library, once, to run what is left when the process ends.
pub(super) fn prepare_once() {
    static ONCE: Once = Once::new();
    let handle = run_at_exit as *const c_void;
    ONCE.call_once(|| {
        // SAFETY: a function of this library, which the C library runs at the latest when it unloads it.
        unsafe { __cxa_atexit(handle, null_mut(), handle) };
        // SAFETY: as above.
        unsafe { __cxa_at_quick_exit(run_at_quick_exit, handle) };
    });
}

/// glibc hands its handlers the status after the argument.
unsafe extern "C-unwind" fn run_at_exit(_: *mut c_void, status: c_int) {
    run(|handler| !handler.is_quick(), status);
}

unsafe extern "C-unwind" fn run_at_quick_exit(_: *mut c_void) {
    run(Handler::is_quick, 0);
}

/// Keeps a handler for the module that registers it; false where that is none of ours.
fn keep(handle: *const c_void, caller: *const c_void, function: Function, argument: *mut c_void) -> bool {
    let module = registrant(handle, caller);
    if let Some(base) = module {
        handlers().push(Handler { base, function, argument });
    }
    module.is_some()
}

unsafe extern "C-unwind" fn cxa_atexit_from(
    function: AtExit,
    argument: *mut c_void,
    handle: *const c_void,
    caller: *const c_void,
) -> c_int {
    match keep(handle, caller, Function::Exit(function), argument) {
        true => 0,
        // SAFETY: the caller's own arguments.
        false => unsafe { __cxa_atexit(function as *const c_void, argument, handle) },
    }
}

unsafe extern "C-unwind" fn cxa_at_quick_exit_from(
    function: AtExit,
    handle: *const c_void,
    caller: *const c_void,
) -> c_int {
    match keep(handle, caller, Function::QuickExit(function), null_mut()) {
        true => 0,
        // SAFETY: the caller's own arguments.
        false => unsafe { __cxa_at_quick_exit(function, handle) },
    }
}

unsafe extern "C-unwind" fn cxa_finalize_from(handle: *const c_void, caller: *const c_void) {
    match registrant(handle, caller) {
        Some(base) => withdraw(base),
        // SAFETY: the caller's own argument.
        None => unsafe { __cxa_finalize(handle) },
    }
}

/// Modules of today have an `atexit` of their own, which calls `__cxa_atexit`; those of old import it.
unsafe extern "C-unwind" fn atexit_from(function: AtExit, caller: *const c_void) -> c_int {
    // SAFETY: a function without parameters may be called with one; it is the caller's own.
    unsafe { cxa_atexit_from(function, null_mut(), caller, caller) }
}

unsafe extern "C-unwind" fn on_exit_from(
    function: OnExit,
    argument: *mut c_void,
    caller: *const c_void,
) -> c_int {
    match keep(caller, caller, Function::OnExit(function), argument) {
        true => 0,
        // SAFETY: the caller's own arguments.
        false => unsafe { host_on_exit(function, argument) },
    }
}
