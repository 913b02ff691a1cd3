//! The console: standard handles, and the little that can be said of a terminal.

use super::{Bool, TRUE, answer, error::code, fail, wait::object};
use crate::{
    guest::Ptr,
    object::{Kind, STD_HANDLES},
};
use std::{
    io::{IsTerminal, Write},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Where -10, -11 and -12 lead; `SetStdHandle` changes it for the whole program.
static STANDARD: [AtomicUsize; 3] =
    [AtomicUsize::new(STD_HANDLES[0]), AtomicUsize::new(STD_HANDLES[1]), AtomicUsize::new(STD_HANDLES[2])];

fn standard(which: u32) -> Option<&'static AtomicUsize> {
    STANDARD.get(usize::try_from(-10i64 - i64::from(which.cast_signed())).ok()?)
}

extern "win64" fn GetStdHandle(which: u32) -> usize {
    match standard(which) {
        Some(handle) => handle.load(Relaxed),
        None => {
            fail(code::INVALID_HANDLE);
            usize::MAX
        }
    }
}

extern "win64" fn SetStdHandle(which: u32, handle: usize) -> Bool {
    match standard(which) {
        Some(place) => {
            place.store(handle, Relaxed);
            TRUE
        }
        None => fail(code::INVALID_HANDLE),
    }
}

/// Whether a handle is a terminal.
fn terminal(handle: usize) -> Result<(), u32> {
    match &object(handle)?.kind {
        Kind::File(f) if f.is_terminal() => Ok(()),
        _ => Err(code::INVALID_HANDLE),
    }
}

/// A terminal that turns lines into lines and understands escapes.
extern "win64" fn GetConsoleMode(handle: usize, mode: Ptr<u32>) -> Bool {
    answer(terminal(handle).map(|()| mode.put(7)))
}

extern "win64" fn GetConsoleCP() -> u32 {
    65001
}

extern "win64" fn WriteConsoleW(
    handle: usize,
    from: Ptr<u16>,
    len: u32,
    written: Ptr<u32>,
    _reserved: usize,
) -> Bool {
    let text = String::from_utf16_lossy(&from.slice(len as usize));
    answer(terminal(handle).and_then(|()| write(handle, text.as_bytes())).map(|()| written.put(len)))
}

fn write(handle: usize, bytes: &[u8]) -> Result<(), u32> {
    match &object(handle)?.kind {
        Kind::File(f) => {
            let mut f = f;
            f.write_all(bytes).map_err(|e| super::error::from_io(&e))
        }
        _ => Err(code::INVALID_HANDLE),
    }
}

/// Nobody debugs: the text goes where the debugger's output would be read, to standard error.
fn debug_text(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

extern "win64" fn OutputDebugStringA(text: Ptr<u8>) {
    debug_text(&text.string());
}

extern "win64" fn OutputDebugStringW(text: Ptr<u16>) {
    debug_text(&text.string());
}

/// There is no console window.
extern "win64" fn GetConsoleWindow() -> usize {
    0
}

table! {
    /// The console.
    pub(crate) TABLE:
        GetStdHandle, SetStdHandle, GetConsoleMode, GetConsoleCP, GetConsoleOutputCP = GetConsoleCP, WriteConsoleW,
        OutputDebugStringA, OutputDebugStringW, GetConsoleWindow
}
