//! `dlopen`, `dlsym`, `dlclose`, `dlerror` and `dlresultcode` as the TNS/R guide has them (section 3): unique opaque
//! handles, a validated mode, and a last result per thread that reading does not reset.
//!
//! ```
//! use loader::{Engine, Mode, dl};
//! let engine = Engine::new()?;
//! let program = dl::dlopen(&engine, None, Mode::NOW);
//! assert_ne!(dl::dlsym(&engine, program, c"malloc"), 0);
//! assert_eq!(dl::dlclose(&engine, program), 0);
//! assert_ne!(dl::dlclose(&engine, program), 0, "a handle is invalid once it is closed");
//! assert_eq!(dl::dlresultcode(), 100 << 16 | 1);
//! assert_eq!(dl::dlerror().unwrap(), "(no module): close: invalid handle");
//! # Ok::<(), loader::Error>(())
//! ```

use crate::{Engine, Error, Handle, Mode, Origin, Stage};
use loader_core::Query;
use std::{cell::RefCell, ffi::CStr};

thread_local! {
    static LAST: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// Remembers how a call ended, and makes its result of it.
fn settle<T>(result: Result<T, Error>) -> Option<T> {
    let (value, error) = match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error)),
    };
    LAST.set(error);
    value
}

/// Opens a library and returns a new handle, or 0. `None` stands for the main program: nothing is loaded.
///
/// `mode` is exactly one of [`Mode::NOW`], [`Mode::LAZY`], [`Mode::NOLOAD`], with at most one of [`Mode::GLOBAL`],
/// [`Mode::LOCAL`], and with [`Mode::verbose`].
pub fn dlopen(engine: &Engine, path: Option<&CStr>, mode: u32) -> u64 {
    let open = || {
        let name = path.map(CStr::to_string_lossy);
        let blame = |kind| Error::new(name.as_deref().unwrap_or_default(), Stage::Request, kind);
        let mode = Mode::from_bits(mode).map_err(blame)?;
        match &name {
            None => Ok(engine.main_program_handle()),
            Some(name) => engine.open_request(name, None, mode, Origin::Open),
        }
    };
    settle(open()).map_or(0, Handle::to_bits)
}

/// The address of a symbol: the handle's target is searched first, then its loadList. 0 where there is none, and
/// where the symbol's value *is* 0; then [`dlresultcode`] is 0.
pub fn dlsym(engine: &Engine, handle: u64, name: &CStr) -> u64 {
    let query = Query::name(name.to_bytes());
    settle(engine.load_set().symbol(Handle::from_bits(handle), &query)).map_or(0, |found| found.at.0)
}

/// As [`dlsym`], for one version of the symbol.
pub fn dlvsym(engine: &Engine, handle: u64, name: &CStr, version: &CStr) -> u64 {
    let query = Query { version: Some(version.to_bytes()), ..Query::name(name.to_bytes()) };
    settle(engine.load_set().symbol(Handle::from_bits(handle), &query)).map_or(0, |found| found.at.0)
}

/// Invalidates a handle; returns 0 when that was done, -1 when there was no such handle.
pub fn dlclose(engine: &Engine, handle: u64) -> i32 {
    settle(engine.load_set().close(Handle::from_bits(handle))).map_or(-1, |_| 0)
}

/// What went wrong in this thread's latest call, in displayable characters and without a newline; `None` when it
/// succeeded or when there was none. Reading resets nothing.
#[must_use]
pub fn dlerror() -> Option<String> {
    LAST.with_borrow(|last| last.as_ref().map(ToString::to_string))
}

/// The same as a number: error code in the upper 16 bits, detail in the lower 16
/// ([the table](crate::ErrorKind::dlresultcode)); 0 for success.
#[must_use]
pub fn dlresultcode() -> u32 {
    LAST.with_borrow(|last| last.as_ref().map_or(0, Error::dlresultcode))
}

/// This thread's latest error itself.
#[must_use]
pub fn last_error() -> Option<Error> {
    LAST.with_borrow(Clone::clone)
}
