//! The C runtime: ucrtbase and msvcrt, which share nearly everything. One table for each subject.
//!
//! The locale is "C" and stays it; wide characters have 16 bits and `long` has 32, so what touches either is ours, and
//! the rest is the host's C library under the Windows calling convention.
#![allow(non_snake_case)]

pub(crate) mod aligned;
pub(crate) mod asctime;
pub(crate) mod convert;
pub(crate) mod ctype;
pub(crate) mod digits;
pub(crate) mod endings;
pub(crate) mod extended;
pub(crate) mod fenv;
pub(crate) mod files;
pub(crate) mod folders;
pub(crate) mod handles;
pub(crate) mod invalid;
pub(crate) mod locale;
pub(crate) mod math;
pub(crate) mod math_errors;
pub(crate) mod memory;
pub(crate) mod multibyte;
pub(crate) mod print;
pub(crate) mod print_msvcrt;
pub(crate) mod private;
pub(crate) mod rtti;
pub(crate) mod scanf;
pub(crate) mod signal;
pub(crate) mod sort;
pub(crate) mod spawn;
pub(crate) mod startup;
pub(crate) mod stat;
pub(crate) mod stdio;
pub(crate) mod strftime;
pub(crate) mod string;
pub(crate) mod time;
pub(crate) mod unicode_text;
pub(crate) mod vcruntime;
pub(crate) mod wide;
pub(crate) mod wide_stdio;

use crate::{guest::Ptr, lock, teb};
use loader_core::HostTable;
use std::{
    collections::{BTreeSet, HashMap},
    ffi::CString,
    sync::{Mutex, OnceLock, atomic::AtomicUsize},
    time::Duration,
};

/// What both have.
pub(crate) const SHARED: &[HostTable] = &[
    TABLE,
    aligned::TABLE,
    asctime::TABLE,
    convert::TABLE,
    convert::IN_LOCALES,
    ctype::TABLE,
    ctype::IN_LOCALES,
    endings::TABLE,
    extended::TABLE,
    fenv::TABLE,
    files::TABLE,
    folders::TABLE,
    handles::TABLE,
    locale::TABLE,
    math::TABLE,
    math_errors::TABLE,
    crate::exception::fault::CRT,
    crate::jump::CRT,
    memory::TABLE,
    print::TABLE,
    signal::TABLE,
    sort::TABLE,
    spawn::TABLE,
    startup::TABLE,
    stat::TABLE,
    stdio::TABLE,
    string::TABLE,
    string::IN_LOCALES,
    multibyte::TABLE,
    multibyte::IN_LOCALES,
    multibyte::japanese::TABLE,
    multibyte::text::TABLE,
    multibyte::text::IN_LOCALES,
    time::TABLE,
    wide::TABLE,
    wide::IN_LOCALES,
    wide_stdio::TABLE,
];

/// What only ucrtbase has.
pub(crate) const UCRT: &[HostTable] = &[
    crate::exception::scope::CRT,
    convert::UCRT,
    digits::UCRT,
    endings::UCRT,
    invalid::UCRT,
    locale::UCRT,
    print::UCRT,
    scanf::UCRT,
    startup::UCRT,
    stdio::UCRT,
    string::UCRT,
    asctime::UCRT,
    strftime::UCRT,
    wide_stdio::UCRT,
    vcruntime::UCRT,
    wide::UCRT,
];

/// What only msvcrt has.
pub(crate) const MSVCRT: &[HostTable] = &[
    crate::variadic::MSVCRT,
    crate::exception::scope::CRT,
    convert::MSVCRT,
    digits::MSVCRT,
    extended::MSVCRT,
    ctype::MSVCRT,
    print::MSVCRT,
    print_msvcrt::TABLE,
    startup::MSVCRT,
    stdio::MSVCRT,
    memory::OPERATORS,
    multibyte::MSVCRT,
    string::MSVCRT,
    stat::MSVCRT,
    folders::MSVCRT,
    strftime::MSVCRT,
    asctime::MSVCRT,
    time::MSVCRT,
    wide::MSVCRT,
];

/// The state of the C runtime in one process.
#[derive(Default)]
pub(crate) struct Runtime {
    /// What `atexit` registered, newest last.
    pub at_exit: Mutex<Vec<usize>>,
    /// Texts that `getenv` gave out: they stay.
    pub variables: Mutex<HashMap<String, CString>>,
    /// Texts that `_wgetenv` gave out.
    pub wide_variables: Mutex<HashMap<String, Box<[u16]>>>,
    /// The handler for wrong arguments.
    pub invalid_handler: AtomicUsize,
    /// The handler for a failed `new`.
    pub new_handler: AtomicUsize,
    /// What the program wants called first when it ends, for its main thread.
    pub thread_end: AtomicUsize,
    /// When the program began.
    pub started: OnceLock<Duration>,
    /// The handler for errors of mathematics.
    pub math_handler: AtomicUsize,
    /// The streams that are open, but for the standard ones.
    pub streams: Mutex<BTreeSet<usize>>,
    /// How formats work.
    pub formats: print::Choices,
    /// The handles of files that have numbers.
    pub handles: handles::Handles,
}

/// The calling thread's `errno`.
pub(crate) fn errno() -> i32 {
    teb::own(|o| o.errno.get())
}

/// Sets the calling thread's `errno`.
pub(crate) fn set_errno(value: i32) {
    teb::own(|o| o.errno.set(value));
}

/// Windows' number for one of Linux: the same up to 34, others moved. A path through a file leads nowhere, and a folder
/// is nothing that may be opened as a file.
pub(crate) fn errno_from_os(os: i32) -> i32 {
    match os {
        libc::ENOTDIR => libc::ENOENT,
        libc::EISDIR => libc::EACCES,
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

extern "win64" fn _set_doserrno(value: u32) -> i32 {
    teb::own(|o| o.doserrno.set(value));
    0
}

extern "win64" fn _get_doserrno(out: Ptr<u32>) -> i32 {
    out.put(teb::own(|o| o.doserrno.get()));
    0
}

/// There is no command interpreter.
extern "win64" fn system(command: Ptr<u8>) -> i32 {
    if command.is_null() {
        return 0;
    }
    set_errno(libc::ENOENT);
    -1
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

/// Wide texts have a place of their own.
extern "win64" fn _wgetenv(name: Ptr<u16>) -> Ptr<u16> {
    let value = if name.is_null() { None } else { teb::process().environment.get(&name.string()) };
    let Some(value) = value else {
        return Ptr::NULL;
    };
    let process = teb::process();
    let mut all = lock(&process.runtime.wide_variables);
    let place = all.entry(value.clone()).or_insert_with(|| crate::text::wide_z(&value).into());
    #[allow(unsafe_code)]
    // SAFETY: the text stays in the process's book as long as the process does; guest code is told not to write to it.
    unsafe {
        Ptr::new(place.as_ptr().cast_mut())
    }
}

/// The length with its zero; a variable that is not there has none.
extern "win64" fn getenv_s(len: Ptr<usize>, to: Ptr<u8>, room: usize, name: Ptr<u8>) -> i32 {
    if len.is_null() || to.is_null() != (room == 0) || name.is_null() {
        return invalid::invalid();
    }
    let Some(value) = teb::process().environment.get(&name.string()) else {
        len.set(0);
        (room > 0).then(|| to.set(0));
        return 0;
    };
    len.set(value.len() + 1);
    match room {
        0 => 0,
        _ if value.len() < room => string::copy_s(to, room, value.as_bytes(), 0, false),
        _ => {
            to.set(0);
            set_errno(libc::ERANGE);
            libc::ERANGE
        }
    }
}

/// A copy that the caller frees; null for a variable that is not there.
extern "win64" fn _dupenv_s(out: Ptr<Ptr<u8>>, len: Ptr<usize>, name: Ptr<u8>) -> i32 {
    if out.is_null() || name.is_null() {
        return invalid::invalid();
    }
    let value = teb::process().environment.get(&name.string());
    len.put(value.as_ref().map_or(0, |v| v.len() + 1));
    out.set(value.map_or(Ptr::NULL, |v| memory::copy_z(v.as_bytes())));
    0
}

extern "win64" fn _wgetenv_s(len: Ptr<usize>, to: Ptr<u16>, room: usize, name: Ptr<u16>) -> i32 {
    if len.is_null() || to.is_null() != (room == 0) || name.is_null() {
        return invalid::invalid();
    }
    let Some(value) = teb::process().environment.get(&name.string()) else {
        len.set(0);
        (room > 0).then(|| to.set(0));
        return 0;
    };
    let value = crate::text::wide(&value);
    len.set(value.len() + 1);
    match room {
        0 => 0,
        _ if value.len() < room => string::copy_s(to, room, &value, 0, false),
        _ => {
            to.set(0);
            set_errno(libc::ERANGE);
            libc::ERANGE
        }
    }
}

extern "win64" fn _wdupenv_s(out: Ptr<Ptr<u16>>, len: Ptr<usize>, name: Ptr<u16>) -> i32 {
    if out.is_null() || name.is_null() {
        return invalid::invalid();
    }
    let value = teb::process().environment.get(&name.string()).map(|value| crate::text::wide_z(&value));
    len.put(value.as_ref().map_or(0, Vec::len));
    let copy = value.map_or(Ptr::NULL, |value| {
        let block = memory::malloc(value.len() * 2).cast::<u16>();
        block.fill(&value);
        block
    });
    out.set(copy);
    0
}

extern "win64" fn _wputenv_s(name: Ptr<u16>, value: Ptr<u16>) -> i32 {
    if name.is_null() || value.is_null() {
        return invalid::invalid();
    }
    let value = value.string();
    teb::process().environment.set(&name.string(), (!value.is_empty()).then_some(value));
    0
}

/// There is no command interpreter.
extern "win64" fn _wsystem(command: Ptr<u16>) -> i32 {
    system(command.cast())
}

fn put_variable(text: &str) -> i32 {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            teb::process().environment.set(name, (!value.is_empty()).then(|| value.into()));
            0
        }
        _ => -1,
    }
}

extern "win64" fn _wputenv(text: Ptr<u16>) -> i32 {
    put_variable(&text.string())
}

/// `NAME=value`; an empty value removes the variable.
extern "win64" fn _putenv(text: Ptr<u8>) -> i32 {
    put_variable(&text.string())
}

extern "win64" fn _putenv_s(name: Ptr<u8>, value: Ptr<u8>) -> i32 {
    if name.is_null() || value.is_null() {
        return invalid::invalid();
    }
    let value = value.string();
    teb::process().environment.set(&name.string(), (!value.is_empty()).then_some(value));
    0
}

table! {
    /// Error numbers and variables.
    TABLE: _errno, __doserrno, _set_errno, _get_errno, _get_doserrno, _set_doserrno, getenv, _wgetenv,
        getenv_s, _dupenv_s, _wgetenv_s, _wdupenv_s, _wputenv_s, _wsystem, _putenv, putenv = _putenv, _wputenv, _putenv_s, system,  _beginthreadex = crate::kernel32::thread::_beginthreadex,
        _beginthread = crate::kernel32::thread::_beginthread, _endthreadex = crate::kernel32::thread::_endthreadex,
        _endthread = crate::kernel32::thread::_endthread
}
