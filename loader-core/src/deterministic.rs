//! Time and random numbers that are the same in every run: for a process that is to do the same again.
//!
//! A process has one time and one source of random numbers, so these are the process's own; they are set before anything is
//! loaded, for good. Who offers loaded code a clock or random numbers asks here before it asks the system: the functions of
//! Windows, and those of the C library that imports of ELF code are bound to.
//!
//! Time begins at the same moment and passes in two ways: a microsecond whenever somebody looks, so that no loop that waits
//! for a clock is endless, and as long as somebody sleeps. With several threads the order in which they look counts.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// What a clock counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// 1970. Time begins with the year 2000.
    Calendar,
    /// The start of the machine, which was a second before; of what the process has used, likewise.
    Uptime,
}

impl Clock {
    const fn beginning(self) -> Duration {
        match self {
            Self::Calendar => Duration::from_secs(946_684_800),
            // Little, so that it is over in the machine's own time, which waits with a deadline look at.
            Self::Uptime => Duration::from_secs(1),
        }
    }
}

/// How much later it is whenever somebody looks.
const LOOK: Duration = Duration::from_micros(1);

static SEED: OnceLock<u64> = OnceLock::new();
/// Nanoseconds that have passed.
static PASSED: AtomicU64 = AtomicU64::new(0);
/// Random numbers that were drawn.
static DRAWN: AtomicU64 = AtomicU64::new(0);

/// From here on time and random numbers are the same as in every process with this seed. Only the first call counts.
pub fn begin(seed: u64) {
    SEED.get_or_init(|| seed);
}

/// Whether they are.
#[must_use]
pub fn is_on() -> bool {
    SEED.get().is_some()
}

/// What a clock shows; none where that is up to the system.
#[must_use]
pub fn now(clock: Clock) -> Option<Duration> {
    is_on().then(|| clock.beginning() + Duration::from_nanos(advance(LOOK)))
}

/// Somebody has slept.
pub fn slept(time: Duration) {
    advance(time);
}

fn advance(time: Duration) -> u64 {
    PASSED.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed)
}

/// The next random number; none where they are up to the system.
#[must_use]
pub fn random() -> Option<u64> {
    SEED.get().map(|seed| nth(*seed, DRAWN.fetch_add(1, Relaxed)))
}

/// Fills memory with random bytes; false where they are up to the system.
#[must_use]
pub fn fill(bytes: &mut [u8]) -> bool {
    let Some(seed) = SEED.get() else { return false };
    let first = DRAWN.fetch_add(bytes.len().div_ceil(8) as u64, Relaxed);
    for (number, part) in (first..).zip(bytes.chunks_mut(8)) {
        part.copy_from_slice(&nth(*seed, number).to_le_bytes()[..part.len()]);
    }
    true
}

/// A number of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
const fn nth(seed: u64, number: u64) -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let z = seed.wrapping_add(STEP.wrapping_mul(number.wrapping_add(1)));
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// How far time and random numbers have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    passed: u64,
    drawn: u64,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn take() -> Self {
        Self { passed: PASSED.load(Relaxed), drawn: DRAWN.load(Relaxed) }
    }

    /// It is that moment again.
    pub fn restore(self) {
        PASSED.store(self.passed, Relaxed);
        DRAWN.store(self.drawn, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_paper() {
        // What its authors' program, and Java's SplittableRandom, give for the seed 1234567.
        let first = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([0, 1, 2].map(|number| nth(1_234_567, number)), first);
    }

    #[test]
    fn nothing_is_said_until_it_begins_and_a_moment_comes_again() {
        let mut bytes = [0; 11];
        assert_eq!((now(Clock::Uptime), random(), fill(&mut bytes)), (None, None, false));
        begin(1_234_567);
        begin(5); // too late
        let start = Moment::take();
        let (first, second) = (now(Clock::Uptime).unwrap(), now(Clock::Uptime).unwrap());
        assert_eq!(second - first, LOOK);
        slept(Duration::from_secs(5));
        assert_eq!(now(Clock::Uptime).unwrap() - second, LOOK + Duration::from_secs(5));
        assert!(fill(&mut bytes));
        assert_eq!(bytes[..8], 6_457_827_717_110_365_317u64.to_le_bytes());
        assert_eq!(bytes[8..], 3_203_168_211_198_807_973u64.to_le_bytes()[..3]);
        assert_eq!(random(), Some(9_817_491_932_198_370_423));
        start.restore();
        assert_eq!(random(), Some(6_457_827_717_110_365_317));
        assert_eq!(
            now(Clock::Calendar).unwrap(),
            Clock::Calendar.beginning() + (first - Clock::Uptime.beginning())
        );
    }
}
