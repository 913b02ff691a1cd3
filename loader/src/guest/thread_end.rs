//! Objects of loaded code that threads destroy when they end (`thread_local` of C++ and Rust).
//!
//! The load set counts them, for they may keep their module ([`ThreadDestructors`](loader_core::ThreadDestructors)); the
//! C library is asked once a thread, and so destroys them before the thread's blocks go.
//!
//! `unsafe` because they are C functions: their arguments are the word of foreign code.
#![allow(unsafe_code)]

use super::{Guest, told_their_caller};
use crate::HostModule;
use std::{
    ffi::{c_int, c_void},
    ptr::null_mut,
};

pub(super) fn offer(module: HostModule) -> HostModule {
    module
        .function("__cxa_thread_atexit_impl", thread_atexit as *const ())
        .function("__cxa_thread_atexit", thread_atexit as *const ())
}

told_their_caller! {
    thread_atexit => thread_atexit_from, "rcx";
}

type Destructor = unsafe extern "C-unwind" fn(*mut c_void);

unsafe extern "C-unwind" {
    fn __cxa_thread_atexit_impl(destructor: Destructor, object: *mut c_void, handle: *const c_void) -> c_int;
}

unsafe extern "C-unwind" fn thread_ends(_: *mut c_void) {
    loader_core::set::thread_ends();
}

unsafe extern "C-unwind" fn thread_atexit_from(
    destructor: Destructor,
    object: *mut c_void,
    handle: *const c_void,
    caller: *const c_void,
) -> c_int {
    let guest = Guest::at(handle).or_else(|| Guest::calling(caller));
    let Some(Guest { engine, set, module: Some(module) }) = guest else {
        // SAFETY: the caller's own arguments.
        return unsafe { __cxa_thread_atexit_impl(destructor, object, handle) };
    };
    let rule = engine.rules.thread_destructors;
    // SAFETY: code of the module with its own object; the load set calls it while the module is loaded.
    let destroy = move || unsafe { destructor(object) };
    match set.at_thread_end(module.id(), rule, destroy) {
        // SAFETY: a function of this library, which the C library keeps loaded until it was called.
        true => unsafe { __cxa_thread_atexit_impl(thread_ends, null_mut(), thread_ends as *const c_void) },
        false => 0,
    }
}
