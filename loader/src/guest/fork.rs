//! The engines across `fork`: before it they come to a stand, so that the child, which has the calling thread only, finds
//! no lock taken and nothing half done.
//!
//! `unsafe` because the C library is told what to call, and because what stands still is kept beside what it is part of.
#![allow(unsafe_code)]

use super::{dl, engines, engines_to_change, keys};
use loader_core::{LoadSet, index, set::Pause, tls};
use std::{
    any::Any,
    cell::RefCell,
    mem::{ManuallyDrop, transmute},
    sync::{Arc, Once},
};

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
    // The sets first: who builds may ask for the tables.
    let sets: Vec<Arc<LoadSet>> =
        engines().iter().filter_map(|engine| engine.upgrade()?.set.upgrade()).collect();
    let sets = sets.into_iter().map(Standing::still).collect();
    let tables: Vec<Box<dyn Any>> = vec![
        Box::new(engines_to_change()),
        Box::new(dl::hold()),
        Box::new(keys::hold()),
        Box::new(tls::hold()),
        Box::new(index::hold()),
    ];
    HELD.with(|held| held.replace(Some(Held { tables, sets })));
}

extern "C" fn resume_in_parent() {
    drop(HELD.with(|held| held.take()));
}

extern "C" fn resume_in_child() {
    let held = HELD.with(|held| held.take()).unwrap_or_default();
    drop(held.tables);
    held.sets.into_iter().for_each(|set| set.pause.resume_in_child());
}
