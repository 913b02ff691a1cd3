//! What becomes of an argument that cannot be: `errno` says it, and the program's handler is asked. Without a handler the
//! function only returns its error.
#![allow(unsafe_code)] // calls into the guest

use super::set_errno;
use crate::{guest::Ptr, teb};
use std::sync::atomic::Ordering::SeqCst;

/// The program's handler: expression, function, file, line, and nothing.
type Handler = unsafe extern "win64" fn(Ptr<u16>, Ptr<u16>, Ptr<u16>, u32, usize);

/// An argument is wrong: `EINVAL`, which is returned.
pub(crate) fn invalid() -> i32 {
    refuse(libc::EINVAL)
}

/// An argument is wrong, of a function that returns -1 then.
pub(crate) fn refused() -> i32 {
    invalid();
    -1
}

/// An argument is wrong, with another number in `errno`, which is returned.
pub(crate) fn refuse(error: i32) -> i32 {
    set_errno(error);
    let of_thread = teb::own(|o| o.invalid_handler.get());
    let of_process = teb::process().runtime.invalid_handler.load(SeqCst);
    let handler = if of_thread == 0 { of_process } else { of_thread };
    if handler != 0 {
        // SAFETY: guest code set the handler with one of the functions below, which take functions of this type.
        let handler: Handler = unsafe { std::mem::transmute(handler) };
        // SAFETY: as above. Only debug builds of the runtime say what was wrong.
        unsafe { handler(Ptr::NULL, Ptr::NULL, Ptr::NULL, 0, 0) };
    }
    error
}

extern "win64" fn _invalid_parameter_noinfo() {
    invalid();
}

extern "win64" fn _set_invalid_parameter_handler(handler: usize) -> usize {
    teb::process().runtime.invalid_handler.swap(handler, SeqCst)
}

extern "win64" fn _get_invalid_parameter_handler() -> usize {
    teb::process().runtime.invalid_handler.load(SeqCst)
}

extern "win64" fn _set_thread_local_invalid_parameter_handler(handler: usize) -> usize {
    teb::own(|o| o.invalid_handler.replace(handler))
}

extern "win64" fn _get_thread_local_invalid_parameter_handler() -> usize {
    teb::own(|o| o.invalid_handler.get())
}

table! {
    /// What ucrtbase has.
    pub(crate) UCRT:
        _invalid_parameter_noinfo, _set_invalid_parameter_handler, _get_invalid_parameter_handler,
        _set_thread_local_invalid_parameter_handler, _get_thread_local_invalid_parameter_handler
}
