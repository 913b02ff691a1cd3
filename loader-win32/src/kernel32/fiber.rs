//! Fibers, as guest code makes them, changes between them and gives them back. How that is done: [`fiber`](crate::fiber).
//!
//! What Windows leaves open, where it would read what is not there, is decided here:
//! - going on in what is no fiber (any more), or in a thread that is none, is an access violation of whoever asks for it;
//! - going on in a fiber that another thread runs, or must run, is `STATUS_INVALID_THREAD`;
//! - deleting the fiber that another thread runs takes its address away; it is given back when that thread leaves it. Deleting
//!   what is no fiber does nothing.

use super::{
    Bool, FALSE, TRUE,
    error::code,
    fail,
    thread::{STACK, Start},
    tls,
};
use crate::{
    exception,
    fiber::{self, Fiber},
    lock, teb,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// The fibers that guest code created and has not deleted, by their addresses.
pub(crate) type Known = Mutex<BTreeMap<usize, Arc<Fiber>>>;

/// The bit of a thread's block that says that it is a fiber.
pub(crate) const HAS_FIBER_DATA: u16 = 4;
const FLOAT_SWITCH: u32 = 1;
/// How many bytes a process could have.
const ADDRESSES: usize = 1 << 47;
const ALREADY_FIBER: u32 = 1280;
const ALREADY_THREAD: u32 = 1281;
const STATUS_ACCESS_VIOLATION: u32 = 0xc000_0005;
const STATUS_INVALID_THREAD: u32 = 0xc000_071c;

fn is_fiber() -> bool {
    teb::with(|t| t.flags.get() & HAS_FIBER_DATA != 0)
}

fn current() -> Arc<Fiber> {
    teb::own(|o| Arc::clone(&o.fibers.current()))
}

/// The fiber that guest code knows by an address: the calling thread's own one, or one that was created.
fn find(at: usize) -> Option<Arc<Fiber>> {
    let own = teb::own(|o| o.fibers.own_is_known.get().then(|| Arc::clone(o.fibers.own())));
    own.filter(|own| own.address() == at).or_else(|| lock(&teb::process().fibers).get(&at).cloned())
}

/// Guest code is told the address of a fiber that the calling thread runs, or has made.
fn know(fiber: &Arc<Fiber>) {
    let own = teb::own(|o| Arc::ptr_eq(o.fibers.own(), fiber).then(|| o.fibers.own_is_known.set(true)));
    if own.is_none() {
        lock(&teb::process().fibers).insert(fiber.address(), Arc::clone(fiber));
    }
}

/// A fiber's address stands for nothing any more.
pub(crate) fn forget(fiber: &Arc<Fiber>) {
    let own = teb::own(|o| Arc::ptr_eq(o.fibers.own(), fiber).then(|| o.fibers.own_is_known.set(false)));
    if own.is_none() {
        let known = lock(&teb::process().fibers).remove(&fiber.address());
        drop(known);
    }
}

extern "win64" fn ConvertThreadToFiberEx(data: usize, flags: u32) -> usize {
    if flags & !FLOAT_SWITCH != 0 {
        return fail(code::INVALID_PARAMETER) as usize;
    }
    if is_fiber() {
        return fail(ALREADY_FIBER) as usize;
    }
    let fiber = current();
    fiber.carries(data, flags & FLOAT_SWITCH != 0);
    know(&fiber);
    teb::with(|t| {
        t.flags.set(t.flags.get() | HAS_FIBER_DATA);
        t.fiber_data.set(fiber.address());
    });
    fiber.address()
}

extern "win64" fn ConvertThreadToFiber(data: usize) -> usize {
    ConvertThreadToFiberEx(data, 0)
}

/// The thread stays on the stack that it is on.
extern "win64" fn ConvertFiberToThread() -> Bool {
    if !is_fiber() {
        return fail(ALREADY_THREAD);
    }
    forget(&current());
    teb::with(|t| {
        t.flags.set(t.flags.get() & !HAS_FIBER_DATA);
        t.fiber_data.set(0);
    });
    TRUE
}

/// Of the two sizes the greater one is meant: pages are there as soon as they are used.
extern "win64" fn CreateFiberEx(
    commit: usize,
    reserve: usize,
    flags: u32,
    start: Option<Start>,
    data: usize,
) -> usize {
    let stack = commit.max(reserve).max(STACK);
    if flags & !FLOAT_SWITCH != 0 || stack >= ADDRESSES {
        return fail(code::INVALID_PARAMETER) as usize;
    }
    let Some(fiber) = Fiber::new(stack, start) else {
        return fail(code::NOT_ENOUGH_MEMORY) as usize;
    };
    fiber.carries(data, flags & FLOAT_SWITCH != 0);
    know(&fiber);
    fiber.address()
}

extern "win64" fn CreateFiber(stack: usize, start: Option<Start>, data: usize) -> usize {
    CreateFiberEx(stack, 0, 0, start, data)
}

/// A fiber that is ready to be gone on in: none if it runs already, or the exception that says why it cannot be.
fn ready(at: usize) -> Result<Option<Arc<Fiber>>, (u32, [u64; 2])> {
    if !is_fiber() {
        let place = teb::with(|t| t.fiber_data.get());
        return Err((STATUS_ACCESS_VIOLATION, [1, place as u64]));
    }
    let next = find(at).ok_or((STATUS_ACCESS_VIOLATION, [0, at as u64]))?;
    match () {
        () if teb::own(|o| Arc::ptr_eq(&o.fibers.current(), &next)) => Ok(None),
        () if next.claim_to_run() => Ok(Some(next)),
        () => Err((STATUS_INVALID_THREAD, [at as u64, 0])),
    }
}

extern "win64" fn SwitchToFiber(at: usize) {
    match ready(at) {
        Ok(Some(next)) => fiber::switch(next),
        Ok(None) => {}
        Err((code, information)) => exception::raise(code, &information),
    }
}

/// The fiber that runs ends its thread. The values of the others go to their slots' callbacks.
extern "win64" fn DeleteFiber(at: usize) {
    let Some(fiber) = find(at) else { return };
    forget(&fiber);
    if teb::own(|o| Arc::ptr_eq(&o.fibers.current(), &fiber)) {
        drop(fiber);
        fiber::end_thread();
    }
    if fiber.claim() {
        tls::run_callbacks_for(&fiber.fls);
    }
}

extern "win64" fn IsThreadAFiber() -> Bool {
    if is_fiber() { TRUE } else { FALSE }
}

table! {
    /// Fibers.
    pub(crate) TABLE:
        ConvertThreadToFiber, ConvertThreadToFiberEx, ConvertFiberToThread, CreateFiber, CreateFiberEx, SwitchToFiber,
        DeleteFiber, IsThreadAFiber
}
