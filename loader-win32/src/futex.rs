//! Waiting on a word of memory: the one thing that all of Windows' small locks are made of here.

use rustix::{
    thread::futex::{self, Flags, Timespec},
    time::{ClockId, clock_gettime},
};
use std::{
    sync::atomic::{AtomicU32, AtomicU64},
    time::Duration,
};

/// The moment at which a wait is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Duration>); // since boot; none: never

impl Deadline {
    /// A Windows timeout from now: milliseconds, `0xFFFF_FFFF` for ever.
    pub(crate) fn after(ms: u32) -> Self {
        Self((ms != u32::MAX).then(|| now() + Duration::from_millis(ms.into())))
    }

    /// That moment, or an earlier one, counted from boot.
    pub(crate) fn or_at(self, at: Duration) -> Self {
        Self(Some(self.0.map_or(at, |deadline| deadline.min(at))))
    }

    /// How long from now; `None` for ever.
    pub(crate) fn left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_sub(now()))
    }

    /// Whether it has come.
    pub(crate) fn is_over(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}

/// Time since boot.
pub(crate) fn now() -> Duration {
    let t = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}

/// Sleeps while `word` is `value`, until it is woken, the deadline comes, or for no reason: callers look again.
pub(crate) fn wait(word: &AtomicU32, value: u32, until: Deadline) {
    let timeout = until.left().map(|d| Timespec {
        tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: d.subsec_nanos().into(),
    });
    // Every outcome (woken, changed, interrupted, late) means the same to the caller: look again.
    let _ = futex::wait(word, Flags::PRIVATE, value, timeout.as_ref());
}

/// Wakes up to `n` threads that wait on `word`.
pub(crate) fn wake(word: &AtomicU32, n: u32) {
    // A lock may be gone the moment it was released; then nobody waits there and there is nothing to do.
    let _ = futex::wake(word, Flags::PRIVATE, n);
}

/// The low half of a 64-bit lock word: the part that the kernel compares.
#[allow(unsafe_code)]
pub(crate) fn low(word: &AtomicU64) -> &AtomicU32 {
    // SAFETY: the low half of a little-endian 64-bit atomic is a valid, aligned 32-bit atomic in the same memory; only
    // the kernel reads through it.
    unsafe { &*std::ptr::from_ref(word).cast::<AtomicU32>() }
}
