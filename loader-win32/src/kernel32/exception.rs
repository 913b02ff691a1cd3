//! Exception handlers are kept here, in order; who calls them is the exception dispatcher, which is still to come: until
//! then a fault in guest code is a fault of the process.

use crate::{lock, teb};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The handlers of a process, first first.
#[derive(Debug, Default)]
pub(crate) struct Handlers {
    exceptions: Mutex<Vec<(usize, usize)>>, // handle, function
    last: AtomicUsize,
    unhandled: AtomicUsize,
}

impl Handlers {
    fn add(&self, first: bool, handler: usize) -> usize {
        let handle = self.last.fetch_add(16, Relaxed) + 16; // looks like an address, is none
        let mut all = lock(&self.exceptions);
        let at = if first { 0 } else { all.len() };
        all.insert(at, (handle, handler));
        handle
    }

    fn remove(&self, handle: usize) -> bool {
        let mut all = lock(&self.exceptions);
        let before = all.len();
        all.retain(|h| h.0 != handle);
        all.len() < before
    }
}

pub(crate) extern "win64" fn AddVectoredExceptionHandler(first: u32, handler: usize) -> usize {
    teb::process().handlers.add(first != 0, handler)
}

pub(crate) extern "win64" fn RemoveVectoredExceptionHandler(handle: usize) -> u32 {
    teb::process().handlers.remove(handle).into()
}

/// Keeps the filter for the dispatcher and returns the one before.
extern "win64" fn SetUnhandledExceptionFilter(filter: usize) -> usize {
    teb::process().handlers.unhandled.swap(filter, Relaxed)
}

/// Asks the filter that was set; without one, or where it passes the exception on, the answer is that the handler runs.
#[allow(unsafe_code)]
extern "win64" fn UnhandledExceptionFilter(pointers: usize) -> i32 {
    const EXECUTE_HANDLER: i32 = 1;
    let filter = teb::process().handlers.unhandled.load(Relaxed);
    if filter == 0 {
        return EXECUTE_HANDLER;
    }
    // SAFETY: guest code set the filter with `SetUnhandledExceptionFilter`, which takes functions of this type.
    let filter: unsafe extern "win64" fn(usize) -> i32 = unsafe { std::mem::transmute(filter) };
    // SAFETY: as above; no lock is held and nothing owned.
    match unsafe { filter(pointers) } {
        0 => EXECUTE_HANDLER,
        answer => answer,
    }
}

table! {
    /// Exception handlers.
    pub(crate) TABLE:
        AddVectoredExceptionHandler, RemoveVectoredExceptionHandler, SetUnhandledExceptionFilter, UnhandledExceptionFilter
}
