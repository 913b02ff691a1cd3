//! `fork`: the handlers that loaded code leaves for it, which go with their module, and the engines themselves, which come
//! to a stand before it, so that the child, which has the calling thread only, finds no lock taken and nothing half
//! done.
//!
//! `unsafe` because handlers are C functions of foreign code, and because what stands still is kept beside what it is
//! part of.
#![allow(unsafe_code)]

use super::{dl, engines, engines_to_change, exit, keys, registrant, told_their_caller};
use crate::HostModule;
use loader_core::{Addr, LoadSet, index, set::Pause, tls};
use std::{
    any::Any,
    cell::RefCell,
    ffi::{c_int, c_void},
    mem::{ManuallyDrop, transmute},
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError},
};

pub(super) fn offer(module: HostModule) -> HostModule {
    module
        .function("__register_atfork", register_atfork as *const ())
        .function("pthread_atfork", pthread_atfork as *const ())
}

told_their_caller! {
    register_atfork => register_atfork_from, "r8";
    pthread_atfork => pthread_atfork_from, "rcx";
}

type Function = Option<unsafe extern "C-unwind" fn()>;

unsafe extern "C-unwind" {
    fn __register_atfork(
        prepare: Function,
        parent: Function,
        child: Function,
        handle: *const c_void,
    ) -> c_int;
}

/// What a module wants to be called at a fork.
struct Handlers {
    base: Addr,
    /// Counts registrations.
    nth: u64,
    prepare: Function,
    parent: Function,
    child: Function,
}

/// In the order of registration.
static HANDLERS: Mutex<Vec<Handlers>> = Mutex::new(Vec::new());

fn handlers() -> MutexGuard<'static, Vec<Handlers>> {
    HANDLERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The module at `base` goes: what it wanted to be called is forgotten.
pub(super) fn withdraw(base: Addr) {
    handlers().retain(|handlers| handlers.base != base);
}

/// Calls what the modules registered, one after the other as `next` finds them: any may register or go meanwhile.
fn call_each(mut next: impl FnMut(&[Handlers]) -> Option<Function>) {
    loop {
        let function = next(&handlers());
        match function {
            // SAFETY: code of a module that is loaded, which asked for this call.
            Some(Some(function)) => unsafe { function() },
            Some(None) => {}
            None => break,
        }
    }
}

/// The youngest first.
fn call_prepare() {
    let mut last = u64::MAX;
    call_each(|all| {
        let found = all.iter().rfind(|h| h.nth < last)?;
        last = found.nth;
        Some(found.prepare)
    });
}

/// The oldest first.
fn call_after(function: impl Fn(&Handlers) -> Function) {
    let mut last = 0;
    call_each(|all| {
        let found = all.iter().find(|h| h.nth > last)?;
        last = found.nth;
        Some(function(found))
    });
}

unsafe extern "C-unwind" fn register_atfork_from(
    prepare: Function,
    parent: Function,
    child: Function,
    handle: *const c_void,
    caller: *const c_void,
) -> c_int {
    let Some(base) = registrant(handle, caller) else {
        // SAFETY: the caller's own arguments.
        return unsafe { __register_atfork(prepare, parent, child, handle) };
    };
    let mut all = handlers();
    let nth = all.last().map_or(1, |h| h.nth + 1);
    all.push(Handlers { base, nth, prepare, parent, child });
    0
}

/// Modules of today have one of their own, which calls `__register_atfork`; those of old import it.
unsafe extern "C-unwind" fn pthread_atfork_from(
    prepare: Function,
    parent: Function,
    child: Function,
    caller: *const c_void,
) -> c_int {
    // SAFETY: the caller's own functions.
    unsafe { register_atfork_from(prepare, parent, child, caller, caller) }
}

/// A load set that stands still.
struct Standing {
    pause: Pause<'static>, // of `set`: dropped before it
    _set: Arc<LoadSet>,
}

impl Standing {
    fn still(set: Arc<LoadSet>) -> Self {
        let pause = set.pause();
        // SAFETY: the load set outlives the pause, which is dropped first and never leaves this struct but to end.
        let pause = unsafe { transmute::<Pause<'_>, Pause<'static>>(pause) };
        Self { pause, _set: set }
    }
}

/// Everything that stands still while the calling thread forks, in the order in which it goes on.
#[derive(Default)]
struct Held {
    tables: Vec<Box<dyn Any>>,
    sets: Vec<Standing>,
}

thread_local! {
    /// Between a fork's handlers, which run in one thread. It needs no destructor of its own, so it is always there.
    static HELD: ManuallyDrop<RefCell<Option<Held>>> = const { ManuallyDrop::new(RefCell::new(None)) };
}

/// Tells the C library, once.
pub(super) fn prepare_once() {
    static ONCE: Once = Once::new();
    // SAFETY: the handlers are functions of this library, which the C library forgets when it unloads it.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(Some(prepare), Some(resume_in_parent), Some(resume_in_child));
    });
}

extern "C" fn prepare() {
    call_prepare();
    tls::make_once();
    loader_elf::debugger::make_once();
    // The sets first: who builds may ask for the tables.
    let sets: Vec<Arc<LoadSet>> =
        engines().iter().filter_map(|engine| engine.upgrade()?.set.upgrade()).collect();
    let sets = sets.into_iter().map(Standing::still).collect();
    let tables: Vec<Box<dyn Any>> = vec![
        Box::new(engines_to_change()),
        Box::new(dl::hold()),
        Box::new(exit::hold()),
        Box::new(handlers()),
        Box::new(keys::hold()),
        Box::new(tls::hold()),
        Box::new(index::hold()),
        Box::new(loader_elf::host::hold()),
        Box::new(loader_elf::debugger::hold()),
    ];
    HELD.with(|held| held.replace(Some(Held { tables, sets })));
}

extern "C" fn resume_in_parent() {
    drop(HELD.with(|held| held.take()));
    call_after(|handlers| handlers.parent);
}

extern "C" fn resume_in_child() {
    let held = HELD.with(|held| held.take()).unwrap_or_default();
    drop(held.tables);
    held.sets.into_iter().for_each(|set| set.pause.resume_in_child());
    call_after(|handlers| handlers.child);
}
