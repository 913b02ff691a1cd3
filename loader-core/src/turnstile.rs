//! A lock that the thread which holds it may take again: who builds a load set, and who is in a DllMain.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, ThreadId},
};

/// The calling thread. The standard library counts who has its handle; a number is not counted.
pub(crate) fn this_thread() -> ThreadId {
    thread_local! {
        static ID: ThreadId = thread::current().id();
    }
    ID.with(|id| *id)
}

/// A condition variable that costs no system call while nobody waits for it.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    changed: Condvar,
    /// Counted up by whoever holds the lock of what is waited for: who changes that under the lock sees all who wait.
    waiting: AtomicUsize,
}

impl Signal {
    /// Waits as long as `condition` says.
    pub(crate) fn wait_while<'m, T>(
        &self,
        guard: MutexGuard<'m, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'m, T> {
        self.waiting.fetch_add(1, Relaxed);
        let guard = self.changed.wait_while(guard, condition).unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Relaxed);
        guard
    }

    /// Wakes everybody; to be called after a change under the lock.
    pub(crate) fn notify_all(&self) {
        if self.waiting.load(Relaxed) != 0 {
            self.changed.notify_all();
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Turnstile {
    holder: Mutex<Option<(ThreadId, usize)>>,
    free: Signal,
}

/// The turnstile is taken as long as this lives.
#[derive(Debug)]
pub(crate) struct Pass<'t>(&'t Turnstile);

impl Turnstile {
    fn lock(&self) -> MutexGuard<'_, Option<(ThreadId, usize)>> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other thread holds it; `waiting` is told before that.
    pub(crate) fn enter(&self, waiting: impl FnOnce()) -> Pass<'_> {
        let me = this_thread();
        let taken = |h: &mut Option<(ThreadId, usize)>| h.is_some_and(|(holder, _)| holder != me);
        let mut holder = self.lock();
        if taken(&mut holder) {
            drop(holder);
            waiting();
            holder = self.free.wait_while(self.lock(), taken);
        }
        let depth = holder.map_or(0, |(_, depth)| depth);
        *holder = Some((me, depth + 1));
        Pass(self)
    }
}

impl Turnstile {
    /// Whether the calling thread holds it.
    pub(crate) fn is_mine(&self) -> bool {
        self.lock().is_some_and(|(holder, _)| holder == this_thread())
    }
}

/// A turnstile that nobody can enter or leave, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Frozen<'t> {
    // Unlocked before the pass is given back.
    holder: MutexGuard<'t, Option<(ThreadId, usize)>>,
    _pass: Option<Pass<'t>>,
}

impl Turnstile {
    /// As it is, with whoever is inside.
    pub(crate) fn freeze(&self) -> Frozen<'_> {
        Frozen { holder: self.lock(), _pass: None }
    }

    /// With nobody but the calling thread inside.
    pub(crate) fn freeze_when_free(&self) -> Frozen<'_> {
        let pass = self.enter(|| {});
        Frozen { holder: self.lock(), _pass: Some(pass) }
    }
}

impl Frozen<'_> {
    /// In a child of `fork`: another thread that was inside is no more.
    pub(crate) fn forget_others(&mut self) {
        let me = this_thread();
        *self.holder = self.holder.filter(|&(holder, _)| holder == me);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut holder = self.0.lock();
        *holder = holder.and_then(|(me, depth)| (depth > 1).then(|| (me, depth - 1)));
        if holder.is_none() {
            self.0.free.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    #[test]
    fn the_holder_may_enter_again_and_others_wait() {
        let (turnstile, inside) = (Turnstile::default(), AtomicU32::new(0));
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..1000 {
                        let _outer = turnstile.enter(|| {});
                        let _inner = turnstile.enter(|| unreachable!("the holder never waits"));
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        inside.fetch_sub(1, SeqCst);
                    }
                });
            }
        });
    }
}
