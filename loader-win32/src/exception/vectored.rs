//! Handlers of the whole process: vectored ones, which are asked before all frames, those that are told when execution
//! goes on, and the filter that is asked when nobody wanted an exception.

use super::{Bridge, Kind, Pointers};
use crate::{guest::Ptr, lock, teb};
use std::sync::{
    Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// What handlers answer.
const CONTINUE_EXECUTION: i32 = -1;
const EXECUTE_HANDLER: i32 = 1;

/// Handlers in the order in which they are asked.
#[derive(Debug, Default)]
struct List {
    entries: Mutex<Vec<(usize, u64)>>, // handle, function
    last: AtomicUsize,
}

impl List {
    fn add(&self, first: bool, handler: u64) -> usize {
        let handle = self.last.fetch_add(16, Relaxed) + 16; // looks like an address, is none
        let mut all = lock(&self.entries);
        let at = if first { 0 } else { all.len() };
        all.insert(at, (handle, handler));
        handle
    }

    fn remove(&self, handle: usize) -> bool {
        let mut all = lock(&self.entries);
        let before = all.len();
        all.retain(|h| h.0 != handle);
        all.len() < before
    }

    /// The handler after another one; the first after none. One that was removed meanwhile ends the row.
    fn after(&self, handle: Option<usize>) -> Option<(usize, u64)> {
        let all = lock(&self.entries);
        match handle {
            None => all.first().copied(),
            Some(handle) => all.iter().skip_while(|h| h.0 != handle).nth(1).copied(),
        }
    }
}

/// The handlers of a process.
#[derive(Debug, Default)]
pub(crate) struct Handlers {
    exceptions: List,
    continuing: List,
    unhandled: AtomicU64,
}

/// Calls a handler, `LONG f(EXCEPTION_POINTERS *)`.
fn call(handler: u64, pointers: Ptr<Pointers>) -> i32 {
    let bridge = Bridge { kind: Kind::Calling, context: pointers.get().context.get() };
    bridge.call(handler, [pointers.addr() as u64, 0, 0, 0]) as i32
}

/// Asks a list's handlers in order, until one lets execution go on.
fn ask_list(list: fn(&Handlers) -> &List, pointers: Ptr<Pointers>) -> bool {
    let next = |handle| list(&teb::process().handlers).after(handle);
    let mut handle = None;
    while let Some((this, handler)) = next(handle) {
        if call(handler, pointers) == CONTINUE_EXECUTION {
            return true;
        }
        handle = Some(this);
    }
    false
}

/// Asks the vectored handlers; `true` if execution goes on.
pub(super) fn ask(pointers: Ptr<Pointers>) -> bool {
    ask_list(|h| &h.exceptions, pointers)
}

/// Tells the handlers for going on.
pub(super) fn ask_continuing(pointers: Ptr<Pointers>) {
    ask_list(|h| &h.continuing, pointers);
}

/// Asks the filter for exceptions that nobody handles; `true` if execution goes on.
pub(super) fn last_resort(pointers: Ptr<Pointers>) -> bool {
    filter(pointers) == CONTINUE_EXECUTION
}

fn filter(pointers: Ptr<Pointers>) -> i32 {
    let filter = teb::process().handlers.unhandled.load(Relaxed);
    if filter == 0 { EXECUTE_HANDLER } else { call(filter, pointers) }
}

pub(crate) extern "win64" fn AddVectoredExceptionHandler(first: u32, handler: u64) -> usize {
    teb::process().handlers.exceptions.add(first != 0, handler)
}

pub(crate) extern "win64" fn RemoveVectoredExceptionHandler(handle: usize) -> u32 {
    teb::process().handlers.exceptions.remove(handle).into()
}

pub(crate) extern "win64" fn AddVectoredContinueHandler(first: u32, handler: u64) -> usize {
    teb::process().handlers.continuing.add(first != 0, handler)
}

pub(crate) extern "win64" fn RemoveVectoredContinueHandler(handle: usize) -> u32 {
    teb::process().handlers.continuing.remove(handle).into()
}

/// Keeps the filter and returns the one before.
pub(crate) extern "win64" fn SetUnhandledExceptionFilter(filter: u64) -> u64 {
    teb::process().handlers.unhandled.swap(filter, Relaxed)
}

/// Asks the filter that was set; without one, or where it passes the exception on, the answer is that the handler runs.
extern "win64" fn UnhandledExceptionFilter(pointers: Ptr<Pointers>) -> i32 {
    match filter(pointers) {
        0 => EXECUTE_HANDLER,
        answer => answer,
    }
}

table! {
    /// Handlers of the process.
    pub(crate) TABLE:
        AddVectoredExceptionHandler, RemoveVectoredExceptionHandler, AddVectoredContinueHandler,
        RemoveVectoredContinueHandler, SetUnhandledExceptionFilter, UnhandledExceptionFilter
}
