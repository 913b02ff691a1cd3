//! Signals that the program sends itself, and the runtime's last resorts.
#![allow(unsafe_code)] // calls into the guest

use super::invalid::{invalid, refused};
use crate::{guest::Ptr, teb};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const DEFAULT: usize = 0;
const IGNORE: usize = 1;
const ERROR: usize = usize::MAX;
/// The signals that Windows knows: interrupt, illegal instruction, floating point, fault, end, break, abort.
const KNOWN: [i32; 7] = [2, ILLEGAL, FLOATING_POINT, FAULT, 15, 21, ABORT];
const ILLEGAL: i32 = 4;
const FLOATING_POINT: i32 = 8;
const FAULT: i32 = 11;

/// `SIGABRT`.
pub(crate) const ABORT: i32 = 22;

static HANDLERS: [AtomicUsize; 23] = [const { AtomicUsize::new(DEFAULT) }; 23];

fn handler(signal: i32) -> Option<&'static AtomicUsize> {
    let known = KNOWN.contains(&signal);
    usize::try_from(signal).ok().filter(|_| known).and_then(|n| HANDLERS.get(n))
}

/// Sets what [`raise`] does. Signals of the host are not passed on.
extern "win64" fn signal(signal: i32, action: usize) -> usize {
    match handler(signal) {
        Some(place) => place.swap(action, SeqCst),
        None => {
            invalid();
            ERROR
        }
    }
}

/// Calls the handler once, after setting it back to the default; the default ends the program with 3.
pub(crate) extern "win64" fn raise(signal: i32) -> i32 {
    let Some(place) = handler(signal) else {
        return refused();
    };
    match place.swap(DEFAULT, SeqCst) {
        DEFAULT => {
            // SAFETY: ends the process; nothing runs afterwards.
            unsafe { libc::_exit(3) }
        }
        IGNORE => place.store(IGNORE, SeqCst),
        f => {
            // SAFETY: guest code set the handler with `signal`, which takes functions of this type.
            let f: unsafe extern "win64" fn(i32) = unsafe { std::mem::transmute(f) };
            // Where a fault would leave its record, a signal that the program sends itself leaves none.
            let faults = [ILLEGAL, FLOATING_POINT, FAULT].contains(&signal);
            let before = teb::own(|o| o.exception_pointers.get());
            if faults {
                teb::own(|o| o.exception_pointers.set(0));
            }
            // SAFETY: as above; no lock is held and nothing owned.
            unsafe { f(signal) };
            if faults {
                teb::own(|o| o.exception_pointers.set(before));
            }
        }
    }
    0
}

/// Where the record of a fault is while its signal is handled; null otherwise.
extern "win64" fn __pxcptinfoptrs() -> *const usize {
    teb::own_place(|o| &o.exception_pointers)
}

/// The runtime found an argument that cannot be: the program ends.
extern "win64" fn _invoke_watson(
    expression: Ptr<u16>,
    function: Ptr<u16>,
    _file: Ptr<u16>,
    _line: u32,
    _reserved: usize,
) {
    eprintln!("invalid argument: {} in {}", expression.string(), function.string());
    std::process::abort()
}

extern "win64" fn terminate() {
    super::startup::abort();
}

/// Says what was wrong as a console program's runtime does, and ends the program as `abort` does.
fn assertion(expression: &str, file: &str, line: u32) {
    eprintln!("Assertion failed: {expression}, file {file}, line {line}");
    super::startup::abort();
}

extern "win64" fn _assert(expression: Ptr<u8>, file: Ptr<u8>, line: u32) {
    assertion(&expression.string(), &file.string(), line);
}

extern "win64" fn _wassert(expression: Ptr<u16>, file: Ptr<u16>, line: u32) {
    assertion(&expression.string(), &file.string(), line);
}

/// What a module's start does with an exception: no signal is made of it, so the search goes on.
extern "win64" fn _seh_filter_dll(_code: u32, _pointers: usize) -> i32 {
    0
}

table! {
    /// Signals.
    pub(crate) TABLE: signal, raise, __pxcptinfoptrs, _invoke_watson, terminate, _assert, _wassert, _seh_filter_dll, _seh_filter_exe = _seh_filter_dll, _XcptFilter = _seh_filter_dll
}
