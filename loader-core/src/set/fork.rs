//! A load set across `fork`: the child has the calling thread only, and can load and unload like the parent.

use super::{
    LoadSet, State,
    lifecycle::{Afterlife, Entered},
};
use crate::{
    Addr,
    turnstile::{Frozen, this_thread},
};
use ahash::AHashMap;
use std::sync::{MutexGuard, PoisonError};

/// A load set that stands still: no other thread is in the middle of anything. Dropped, it goes on.
#[derive(Debug)]
#[must_use = "dropping it lets the load set go on"]
pub struct Pause<'s> {
    set: &'s LoadSet,
    state: MutexGuard<'s, State>,
    _resolved: MutexGuard<'s, AHashMap<Addr, Addr>>,
    _afterlife: MutexGuard<'s, Afterlife>,
    inside: MutexGuard<'s, Vec<Entered>>,
    entry_points: Frozen<'s>,
    _building: Frozen<'s>,
}

impl LoadSet {
    /// Waits until no other thread builds or decides, and lets none begin.
    pub fn pause(&self) -> Pause<'_> {
        Pause {
            _building: self.building.freeze_when_free(),
            entry_points: self.entry_points.freeze(),
            set: self,
            state: self.lock(),
            _resolved: self.resolved.lock().unwrap_or_else(PoisonError::into_inner),
            _afterlife: self.afterlife.lock().unwrap_or_else(PoisonError::into_inner),
            inside: self.inside.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl Pause<'_> {
    /// Goes on in a child of `fork`: what other threads were in the middle of will never be done.
    pub fn resume_in_child(mut self) {
        let me = this_thread();
        self.inside.retain(|entered| entered.is_of(me));
        self.set.rest.count_again(self.inside.len());
        self.entry_points.forget_others();
        self.state.only_thread(me, &self.set.own_objects());
        let set = self.set;
        drop(self);
        set.collect(); // what they were loading
    }
}
