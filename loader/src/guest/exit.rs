//! Handlers that loaded code leaves for the end of the process (`atexit` and its kin) and for forks.
//!
//! The C library keeps them, in one order with those of the program, and knows whose they are by an address: every
//! registration of a module is made under the address where the module starts. The module's own finaliser gives any
//! address in it, and a module without one is finalised all the same when it is unloaded.
//!
//! `unsafe` because they are C functions: their arguments are the word of foreign code.
#![allow(unsafe_code)]

use super::{registrant, told_their_caller};
use crate::HostModule;
use loader_core::Addr;
use std::ffi::{c_int, c_void};

pub(super) fn offer(module: HostModule) -> HostModule {
    module
        .function("__cxa_atexit", cxa_atexit as *const ())
        .function("__cxa_at_quick_exit", cxa_at_quick_exit as *const ())
        .function("__cxa_finalize", cxa_finalize as *const ())
        .function("atexit", atexit as *const ())
        .function("on_exit", on_exit as *const ())
        .function("__register_atfork", register_atfork as *const ())
        .function("pthread_atfork", pthread_atfork as *const ())
}

told_their_caller! {
    cxa_atexit => cxa_atexit_from, "rcx";
    cxa_at_quick_exit => cxa_at_quick_exit_from, "rdx";
    cxa_finalize => cxa_finalize_from, "rsi";
    atexit => atexit_from, "rsi";
    on_exit => on_exit_from, "rdx";
    register_atfork => register_atfork_from, "r8";
    pthread_atfork => pthread_atfork_from, "rcx";
}

/// A function of loaded code, which is only handed on here.
type Function = *const c_void;

unsafe extern "C-unwind" {
    fn __cxa_atexit(function: Function, argument: *mut c_void, handle: *const c_void) -> c_int;
    fn __cxa_at_quick_exit(function: Function, handle: *const c_void) -> c_int;
    fn __cxa_finalize(handle: *const c_void);
    fn __register_atfork(
        prepare: Function,
        parent: Function,
        child: Function,
        handle: *const c_void,
    ) -> c_int;
}

/// The module at `base` goes: its handlers run, the youngest first, unless they have run already; those for forks and
/// for `quick_exit` are forgotten.
pub(super) fn withdraw(base: Addr) {
    // SAFETY: what was registered under this address is code of a module that is still mapped.
    unsafe { __cxa_finalize(std::ptr::without_provenance(base.0 as usize)) };
}

unsafe extern "C-unwind" fn cxa_atexit_from(
    function: Function,
    argument: *mut c_void,
    handle: *const c_void,
    caller: *const c_void,
) -> c_int {
    // SAFETY: the caller's own function and argument; they are withdrawn with the caller's module.
    unsafe { __cxa_atexit(function, argument, registrant(handle, caller)) }
}

unsafe extern "C-unwind" fn cxa_at_quick_exit_from(
    function: Function,
    handle: *const c_void,
    caller: *const c_void,
) -> c_int {
    // SAFETY: as for `cxa_atexit_from`.
    unsafe { __cxa_at_quick_exit(function, registrant(handle, caller)) }
}

unsafe extern "C-unwind" fn cxa_finalize_from(handle: *const c_void, caller: *const c_void) {
    // SAFETY: the handlers belong to a module that is still mapped: its code is calling.
    unsafe { __cxa_finalize(registrant(handle, caller)) };
}

/// Modules of today have an `atexit` of their own, which calls `__cxa_atexit`; those of old import it.
unsafe extern "C-unwind" fn atexit_from(function: Function, caller: *const c_void) -> c_int {
    // SAFETY: as for `cxa_atexit_from`; a function without parameters may be called with one.
    unsafe { __cxa_atexit(function, std::ptr::null_mut(), registrant(caller, caller)) }
}

type OnExit = unsafe extern "C-unwind" fn(c_int, *mut c_void);

/// An `on_exit` handler, until it runs.
struct Handler {
    function: OnExit,
    argument: *mut c_void,
}

/// Handlers of both kinds are called with the exit status too; it is 0 at an unload.
unsafe extern "C-unwind" fn run_on_exit(handler: *mut c_void, status: c_int) {
    // SAFETY: `on_exit_from` made it, and each handler runs once.
    let handler = unsafe { Box::from_raw(handler.cast::<Handler>()) };
    // SAFETY: code of a module that is still mapped, with the argument that it asked for.
    unsafe { (handler.function)(status, handler.argument) };
}

unsafe extern "C-unwind" fn on_exit_from(
    function: OnExit,
    argument: *mut c_void,
    caller: *const c_void,
) -> c_int {
    let handler = Box::into_raw(Box::new(Handler { function, argument })).cast();
    // SAFETY: `run_on_exit` takes what is registered with it.
    unsafe { __cxa_atexit(run_on_exit as Function, handler, registrant(caller, caller)) }
}

unsafe extern "C-unwind" fn register_atfork_from(
    prepare: Function,
    parent: Function,
    child: Function,
    handle: *const c_void,
    caller: *const c_void,
) -> c_int {
    // SAFETY: as for `cxa_atexit_from`.
    unsafe { __register_atfork(prepare, parent, child, registrant(handle, caller)) }
}

unsafe extern "C-unwind" fn pthread_atfork_from(
    prepare: Function,
    parent: Function,
    child: Function,
    caller: *const c_void,
) -> c_int {
    // SAFETY: as for `cxa_atexit_from`.
    unsafe { __register_atfork(prepare, parent, child, registrant(caller, caller)) }
}
