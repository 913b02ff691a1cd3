//! The C runtime: ucrtbase and msvcrt, which share nearly everything. One table for each subject.
//!
//! The locale is "C" and stays it; wide characters have 16 bits and `long` has 32, so what touches either is ours, and
//! the rest is the host's C library under the Windows calling convention.
#![allow(non_snake_case)]

pub(crate) mod convert;
pub(crate) mod ctype;
pub(crate) mod fenv;
pub(crate) mod files;
pub(crate) mod locale;
pub(crate) mod math;
pub(crate) mod memory;
pub(crate) mod print;
pub(crate) mod rtti;
pub(crate) mod scanf;
pub(crate) mod signal;
pub(crate) mod sort;
pub(crate) mod startup;
pub(crate) mod stdio;
pub(crate) mod string;
pub(crate) mod time;
pub(crate) mod vcruntime;
pub(crate) mod wide;

use crate::{guest::Ptr, lock, teb};
use loader_core::HostTable;
use std::{
    collections::HashMap,
    ffi::CString,
    sync::{Mutex, atomic::AtomicUsize},
};

/// What both have.
pub(crate) const SHARED: &[HostTable] = &[
    TABLE,
    convert::TABLE,
    ctype::TABLE,
    fenv::TABLE,
    files::TABLE,
    locale::TABLE,
    math::TABLE,
    crate::exception::fault::CRT,
    crate::jump::CRT,
    memory::TABLE,
    signal::TABLE,
    sort::TABLE,
    startup::TABLE,
    stdio::TABLE,
    string::TABLE,
    time::TABLE,
    wide::TABLE,
];

/// What only ucrtbase has.
pub(crate) const UCRT: &[HostTable] =
    &[crate::exception::scope::CRT, print::UCRT, scanf::UCRT, startup::UCRT, stdio::UCRT];

/// What only msvcrt has.
pub(crate) const MSVCRT: &[HostTable] =
    &[crate::variadic::MSVCRT, crate::exception::scope::CRT, print::MSVCRT, startup::MSVCRT, stdio::MSVCRT];

/// The state of the C runtime in one process.
#[derive(Default)]
pub(crate) struct Runtime {
    /// What `atexit` registered, newest last.
    pub at_exit: Mutex<Vec<usize>>,
    /// Texts that `getenv` gave out: they stay.
    pub variables: Mutex<HashMap<String, CString>>,
    /// The handler for a failed `new`.
    pub new_handler: AtomicUsize,
}

/// The calling thread's `errno`.
pub(crate) fn errno() -> i32 {
    teb::own(|o| o.errno.get())
}

/// Sets the calling thread's `errno`.
pub(crate) fn set_errno(value: i32) {
    teb::own(|o| o.errno.set(value));
}

/// Windows' number for one of Linux: the same up to 34, others moved.
pub(crate) fn errno_from_os(os: i32) -> i32 {
    match os {
        0..=34 => os,
        libc::EDEADLK => 36,
        libc::ENAMETOOLONG => 38,
        libc::ENOLCK => 39,
        libc::ENOSYS => 40,
        libc::ENOTEMPTY => 41,
        libc::EILSEQ => 42,
        libc::EOVERFLOW => 132,
        libc::ETIMEDOUT => 138,
        _ => libc::EINVAL,
    }
}

/// Takes over what the host's C library said last.
pub(crate) fn keep_errno() {
    let os = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    set_errno(errno_from_os(os));
}

extern "win64" fn _errno() -> *mut i32 {
    teb::own_place(|o| &o.errno)
}

extern "win64" fn __doserrno() -> *mut u32 {
    teb::own_place(|o| &o.doserrno)
}

extern "win64" fn _set_errno(value: i32) -> i32 {
    set_errno(value);
    0
}

extern "win64" fn _get_errno(out: Ptr<i32>) -> i32 {
    out.put(errno());
    0
}

/// A variable's value, in a place that stays.
pub(crate) fn variable(name: &str) -> Ptr<u8> {
    let process = teb::process();
    let Some(value) = process.environment.get(name) else {
        return Ptr::NULL;
    };
    let mut all = lock(&process.runtime.variables);
    let place =
        all.entry(format!("{name}={value}")).or_insert_with(|| CString::new(value).unwrap_or_default());
    #[allow(unsafe_code)]
    // SAFETY: the text stays in the process's book as long as the process does; guest code is told not to write to it.
    unsafe {
        Ptr::new(place.as_ptr().cast_mut().cast())
    }
}

extern "win64" fn getenv(name: Ptr<u8>) -> Ptr<u8> {
    if name.is_null() { Ptr::NULL } else { variable(&name.string()) }
}

/// `NAME=value`; an empty value removes the variable.
extern "win64" fn _putenv(text: Ptr<u8>) -> i32 {
    match text.string().split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            teb::process().environment.set(name, (!value.is_empty()).then(|| value.into()));
            0
        }
        _ => -1,
    }
}

extern "win64" fn _putenv_s(name: Ptr<u8>, value: Ptr<u8>) -> i32 {
    if name.is_null() || value.is_null() {
        return libc::EINVAL;
    }
    let value = value.string();
    teb::process().environment.set(&name.string(), (!value.is_empty()).then_some(value));
    0
}

table! {
    /// Error numbers and variables.
    TABLE: _errno, __doserrno, _set_errno, _get_errno, getenv, _putenv, _putenv_s, _beginthreadex = crate::kernel32::thread::_beginthreadex,
        _beginthread = crate::kernel32::thread::_beginthread, _endthreadex = crate::kernel32::thread::_endthreadex,
        _endthread = crate::kernel32::thread::_endthread
}
