//! The small locks, which live in the guest's own memory and keep Windows' sizes: critical sections, slim reader/writer
//! locks, condition variables, one-time initialisation, waiting on an address.
//!
//! Each is one word that is changed by compare-and-swap and slept on with a futex. The number of sleepers is in the
//! same word, so that a release touches the lock exactly once: whoever gets it next may free its memory.

use super::{Bool, FALSE, TRUE, error::code, fail};
use crate::{
    futex::{self, Deadline},
    guest::Ptr,
    lock,
    object::current_thread_id,
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{
            AtomicI32, AtomicU32, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release, SeqCst},
        },
    },
};

/// A critical section: `CRITICAL_SECTION`.
#[repr(C)]
pub(crate) struct Section {
    debug_info: AtomicUsize,
    lock: AtomicI32, // -1 free, -2 held, -6 held and waited for: numbers that Windows uses too
    recursion: AtomicI32,
    owner: AtomicUsize,
    semaphore: AtomicUsize,
    spin: AtomicUsize,
}

const _: () = assert!(size_of::<Section>() == 40);

impl Section {
    /// One that nobody holds.
    pub(crate) const fn new() -> Self {
        Self {
            debug_info: AtomicUsize::new(usize::MAX), // "no debug information"
            lock: AtomicI32::new(FREE),
            recursion: AtomicI32::new(0),
            owner: AtomicUsize::new(0),
            semaphore: AtomicUsize::new(0),
            spin: AtomicUsize::new(0),
        }
    }
}

const FREE: i32 = -1;
const HELD: i32 = -2;
const WAITED_FOR: i32 = -6;

#[allow(unsafe_code)]
fn word(lock: &AtomicI32) -> &AtomicU32 {
    // SAFETY: an `AtomicI32` and an `AtomicU32` are the same 4 aligned bytes.
    unsafe { &*std::ptr::from_ref(lock).cast() }
}

pub(crate) extern "win64" fn InitializeCriticalSection(section: Ptr<Section>) {
    init(section, 0);
}

/// Makes it one that nobody holds.
pub(crate) fn init(section: Ptr<Section>, spin: u32) {
    let s = section.shared();
    s.debug_info.store(usize::MAX, Relaxed); // "no debug information"
    s.recursion.store(0, Relaxed);
    s.owner.store(0, Relaxed);
    s.semaphore.store(0, Relaxed);
    s.spin.store((spin & 0x00ff_ffff) as usize, Relaxed);
    s.lock.store(FREE, Release);
}

pub(crate) extern "win64" fn InitializeCriticalSectionAndSpinCount(section: Ptr<Section>, spin: u32) -> Bool {
    init(section, spin);
    TRUE
}

pub(crate) extern "win64" fn InitializeCriticalSectionEx(
    section: Ptr<Section>,
    spin: u32,
    _flags: u32,
) -> Bool {
    init(section, spin);
    TRUE
}

pub(crate) extern "win64" fn SetCriticalSectionSpinCount(section: Ptr<Section>, spin: u32) -> u32 {
    section.shared().spin.swap(spin as usize, Relaxed) as u32
}

pub(crate) extern "win64" fn DeleteCriticalSection(section: Ptr<Section>) {
    init(section, 0);
    section.shared().debug_info.store(0, Relaxed);
}

fn enter(s: &Section) {
    if s.lock.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok() {
        return;
    }
    for _ in 0..s.spin.load(Relaxed).min(200) {
        std::hint::spin_loop();
        if s.lock.compare_exchange_weak(FREE, HELD, Acquire, Relaxed).is_ok() {
            return;
        }
    }
    while s.lock.swap(WAITED_FOR, Acquire) != FREE {
        futex::wait(word(&s.lock), WAITED_FOR as u32, Deadline::after(u32::MAX));
    }
}

fn own(s: &Section, me: usize) {
    s.owner.store(me, Relaxed);
    s.recursion.store(1, Relaxed);
}

pub(crate) extern "win64" fn EnterCriticalSection(section: Ptr<Section>) {
    let s = section.shared();
    let me = current_thread_id() as usize;
    if s.owner.load(Relaxed) == me {
        s.recursion.fetch_add(1, Relaxed);
        return;
    }
    enter(s);
    own(s, me);
}

pub(crate) extern "win64" fn TryEnterCriticalSection(section: Ptr<Section>) -> Bool {
    let s = section.shared();
    let me = current_thread_id() as usize;
    if s.owner.load(Relaxed) == me {
        s.recursion.fetch_add(1, Relaxed);
        return TRUE;
    }
    if s.lock.compare_exchange(FREE, HELD, Acquire, Relaxed).is_err() {
        return FALSE;
    }
    own(s, me);
    TRUE
}

pub(crate) extern "win64" fn LeaveCriticalSection(section: Ptr<Section>) {
    let s = section.shared();
    if s.recursion.load(Relaxed) > 1 {
        s.recursion.fetch_sub(1, Relaxed);
        return;
    }
    s.recursion.store(0, Relaxed);
    s.owner.store(0, Relaxed);
    if s.lock.swap(FREE, Release) == WAITED_FOR {
        futex::wake(word(&s.lock), 1);
    }
}

/// The words of locks that the guest has at odd places, where no word can be changed at once: they are kept here instead, by
/// their addresses, and stay.
static ODD: Mutex<BTreeMap<usize, &'static AtomicU64>> = Mutex::new(BTreeMap::new());

/// The word of a lock.
fn word_of<'a>(at: Ptr<AtomicU64>) -> &'a AtomicU64 {
    if at.addr().is_multiple_of(8) {
        return at.shared();
    }
    lock(&ODD).entry(at.addr()).or_insert_with(|| Box::leak(Box::default()))
}

// A slim lock: low half 0 free, n readers, or WRITER; then 16 bits of waiting readers and 16 of waiting writers.
const WRITER: u64 = 0x8000_0000;
const READER_WAITS: u64 = 1 << 32;
const WRITER_WAITS: u64 = 1 << 48;

fn holders(state: u64) -> u64 {
    state & 0xffff_ffff
}

/// What taking the lock makes of a state, or `None` where it cannot be had.
fn taken(state: u64, exclusive: bool) -> Option<u64> {
    match (exclusive, holders(state)) {
        (true, 0) => Some(state + WRITER),
        (false, n) if n < WRITER && state < WRITER_WAITS => Some(state + 1), // a waiting writer goes first
        _ => None,
    }
}

/// Takes the lock at once or not at all. `waited`: what to take off the sleepers.
fn try_acquire(lock: &AtomicU64, exclusive: bool, waited: u64) -> Result<(), u64> {
    let mut state = lock.load(Relaxed);
    loop {
        // A writer that waited is not in its own way.
        let Some(new) = taken(state - waited, exclusive) else {
            return Err(state);
        };
        match lock.compare_exchange_weak(state, new, Acquire, Relaxed) {
            Ok(_) => return Ok(()),
            Err(now) => state = now,
        }
    }
}

fn acquire(lock: Ptr<AtomicU64>, exclusive: bool) {
    let lock = word_of(lock);
    if try_acquire(lock, exclusive, 0).is_ok() {
        return;
    }
    let waits = if exclusive { WRITER_WAITS } else { READER_WAITS };
    lock.fetch_add(waits, SeqCst);
    while let Err(state) = try_acquire(lock, exclusive, waits) {
        futex::wait(futex::low(lock), holders(state) as u32, Deadline::after(u32::MAX));
    }
}

fn release(lock: Ptr<AtomicU64>, share: u64) {
    let lock = word_of(lock);
    let before = lock.fetch_sub(share, SeqCst);
    if holders(before) == share && before > u64::from(u32::MAX) {
        futex::wake(futex::low(lock), u32::MAX >> 1);
    }
}

pub(crate) extern "win64" fn InitializeSRWLock(lock: Ptr<AtomicU64>) {
    word_of(lock).store(0, Relaxed);
}

pub(crate) extern "win64" fn AcquireSRWLockExclusive(lock: Ptr<AtomicU64>) {
    acquire(lock, true);
}

pub(crate) extern "win64" fn AcquireSRWLockShared(lock: Ptr<AtomicU64>) {
    acquire(lock, false);
}

pub(crate) extern "win64" fn TryAcquireSRWLockExclusive(lock: Ptr<AtomicU64>) -> u8 {
    try_acquire(word_of(lock), true, 0).is_ok().into()
}

pub(crate) extern "win64" fn TryAcquireSRWLockShared(lock: Ptr<AtomicU64>) -> u8 {
    try_acquire(word_of(lock), false, 0).is_ok().into()
}

pub(crate) extern "win64" fn ReleaseSRWLockExclusive(lock: Ptr<AtomicU64>) {
    release(lock, WRITER);
}

pub(crate) extern "win64" fn ReleaseSRWLockShared(lock: Ptr<AtomicU64>) {
    release(lock, 1);
}

// A condition variable: a number that every wake changes in the low half, the number of sleepers in the high half.
const SLEEPER: u64 = 1 << 32;

/// Sleeps on a condition variable with the lock given back in between; false when the time was up.
fn sleep(condition: Ptr<AtomicU64>, ms: u32, unlock: impl FnOnce(), relock: impl FnOnce()) -> Bool {
    let c = word_of(condition);
    let until = Deadline::after(ms);
    let before = c.fetch_add(SLEEPER, SeqCst) as u32;
    unlock();
    let mut late = false;
    while c.load(SeqCst) as u32 == before && !late {
        futex::wait(futex::low(c), before, until);
        late = until.is_over();
    }
    let woken = c.fetch_sub(SLEEPER, SeqCst) as u32 != before;
    relock();
    if woken { TRUE } else { fail(code::TIMEOUT) }
}

fn wake(condition: Ptr<AtomicU64>, n: u32) {
    let c = word_of(condition);
    let mut state = c.load(SeqCst);
    while state >= SLEEPER {
        let next = (state & !0xffff_ffff) | u64::from((state as u32).wrapping_add(1));
        match c.compare_exchange_weak(state, next, SeqCst, SeqCst) {
            Ok(_) => return futex::wake(futex::low(c), n),
            Err(now) => state = now,
        }
    }
}

pub(crate) extern "win64" fn InitializeConditionVariable(condition: Ptr<AtomicU64>) {
    word_of(condition).store(0, Relaxed);
}

pub(crate) extern "win64" fn WakeConditionVariable(condition: Ptr<AtomicU64>) {
    wake(condition, 1);
}

pub(crate) extern "win64" fn WakeAllConditionVariable(condition: Ptr<AtomicU64>) {
    wake(condition, u32::MAX >> 1);
}

pub(crate) extern "win64" fn SleepConditionVariableCS(
    condition: Ptr<AtomicU64>,
    section: Ptr<Section>,
    ms: u32,
) -> Bool {
    sleep(condition, ms, || LeaveCriticalSection(section), || EnterCriticalSection(section))
}

pub(crate) extern "win64" fn SleepConditionVariableSRW(
    condition: Ptr<AtomicU64>,
    lock: Ptr<AtomicU64>,
    ms: u32,
    flags: u32,
) -> Bool {
    let share = if flags & 1 == 0 { WRITER } else { 1 };
    sleep(condition, ms, || release(lock, share), || acquire(lock, share == WRITER))
}

// One-time initialisation: 0 not yet, 1 under way, 3 under way by several, value|2 done.
const ONCE_NEW: u64 = 0;
const ONCE_BUSY: u64 = 1;
const ONCE_DONE: u64 = 2;
const ONCE_ASYNC_BUSY: u64 = 3;
const ONCE_CHECK_ONLY: u32 = 1;
const ONCE_ASYNC: u32 = 2;
const ONCE_FAILED: u32 = 4;

pub(crate) extern "win64" fn InitOnceInitialize(once: Ptr<AtomicU64>) {
    once.shared().store(ONCE_NEW, Relaxed);
}

pub(crate) extern "win64" fn InitOnceBeginInitialize(
    once: Ptr<AtomicU64>,
    flags: u32,
    pending: Ptr<Bool>,
    context: Ptr<u64>,
) -> Bool {
    if ![0, ONCE_CHECK_ONLY, ONCE_ASYNC].contains(&flags) {
        return fail(code::INVALID_PARAMETER);
    }
    let o = once.shared();
    loop {
        match o.load(SeqCst) {
            done if done & 3 == ONCE_DONE => {
                pending.put(FALSE);
                context.put(done & !3);
                return TRUE;
            }
            _ if flags == ONCE_CHECK_ONLY => return fail(code::GEN_FAILURE),
            ONCE_BUSY if flags == ONCE_ASYNC => return fail(code::INVALID_PARAMETER),
            ONCE_BUSY => futex::wait(futex::low(o), ONCE_BUSY as u32, Deadline::after(u32::MAX)),
            ONCE_ASYNC_BUSY if flags == 0 => return fail(code::INVALID_PARAMETER),
            state => {
                let next = if flags == 0 { ONCE_BUSY } else { ONCE_ASYNC_BUSY };
                if o.compare_exchange(state, next, SeqCst, SeqCst).is_ok() {
                    pending.put(TRUE);
                    return TRUE;
                }
            }
        }
    }
}

/// A failure has no value, and a value is a multiple of four.
pub(crate) extern "win64" fn InitOnceComplete(once: Ptr<AtomicU64>, flags: u32, context: u64) -> Bool {
    let o = once.shared();
    let state = o.load(SeqCst);
    let (from, to) = match flags {
        0 => (ONCE_BUSY, context | ONCE_DONE),
        ONCE_ASYNC => (ONCE_ASYNC_BUSY, context | ONCE_DONE),
        ONCE_FAILED if context == 0 => (ONCE_BUSY, ONCE_NEW),
        _ => return fail(code::INVALID_PARAMETER),
    };
    let other = [ONCE_BUSY, ONCE_ASYNC_BUSY].contains(&state) && state != from;
    if context & 3 != 0 || other {
        return fail(code::INVALID_PARAMETER);
    }
    if o.compare_exchange(from, to, SeqCst, SeqCst).is_err() {
        return fail(code::GEN_FAILURE);
    }
    futex::wake(futex::low(o), u32::MAX >> 1);
    TRUE
}

type OnceFn = unsafe extern "win64" fn(Ptr<AtomicU64>, usize, Ptr<u64>) -> Bool;

/// The function leaves its value where the caller wants it.
#[allow(unsafe_code)]
pub(crate) extern "win64" fn InitOnceExecuteOnce(
    once: Ptr<AtomicU64>,
    f: OnceFn,
    parameter: usize,
    context: Ptr<u64>,
) -> Bool {
    let mut pending = FALSE;
    // SAFETY: the place is a local of this call.
    let place = unsafe { Ptr::new(&raw mut pending) };
    if InitOnceBeginInitialize(once, 0, place, context) == FALSE {
        return FALSE;
    }
    if place.get() == FALSE {
        return TRUE;
    }
    let mut own = 0;
    // SAFETY: the place is a local of this call.
    let value = if context.is_null() { unsafe { Ptr::new(&raw mut own) } } else { context };
    // SAFETY: the caller passes a function of this type, as `InitOnceExecuteOnce` asks; nothing is held during the call.
    if unsafe { f(once, parameter, value) } == FALSE {
        InitOnceComplete(once, ONCE_FAILED, 0);
        return FALSE;
    }
    InitOnceComplete(once, 0, value.get() & !3)
}

// Waiting on an address: sleepers stand in rows by address, and are woken by changing their row's number.
static ROWS: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];

fn row(address: usize) -> &'static AtomicU32 {
    &ROWS[(address >> 3) % ROWS.len()]
}

pub(crate) extern "win64" fn WaitOnAddress(address: Ptr<u8>, compare: Ptr<u8>, len: usize, ms: u32) -> Bool {
    if ![1, 2, 4, 8].contains(&len) {
        return fail(code::INVALID_PARAMETER);
    }
    let row = row(address.addr());
    let seen = row.load(SeqCst);
    let until = Deadline::after(ms);
    let same = || (0..len).all(|i| address.at(i).get() == compare.at(i).get());
    if !same() {
        return TRUE;
    }
    futex::wait(row, seen, until);
    if same() && until.is_over() && row.load(SeqCst) == seen {
        return fail(code::TIMEOUT);
    }
    TRUE // or for no reason: callers look again, as they are told to
}

/// Wakes the whole row: its other sleepers look again.
pub(crate) extern "win64" fn WakeByAddressAll(address: Ptr<u8>) {
    let row = row(address.addr());
    row.fetch_add(1, SeqCst);
    futex::wake(row, u32::MAX >> 1);
}

table! {
    /// Locks.
    pub(crate) TABLE:
        InitializeCriticalSection, InitializeCriticalSectionAndSpinCount, InitializeCriticalSectionEx,
        SetCriticalSectionSpinCount, DeleteCriticalSection, EnterCriticalSection, TryEnterCriticalSection,
        LeaveCriticalSection, InitializeSRWLock, AcquireSRWLockExclusive, AcquireSRWLockShared,
        TryAcquireSRWLockExclusive, TryAcquireSRWLockShared, ReleaseSRWLockExclusive, ReleaseSRWLockShared,
        InitializeConditionVariable, WakeConditionVariable, WakeAllConditionVariable, SleepConditionVariableCS,
        SleepConditionVariableSRW, InitOnceInitialize, InitOnceBeginInitialize, InitOnceComplete, InitOnceExecuteOnce,
        WaitOnAddress, WakeByAddressAll, WakeByAddressSingle = WakeByAddressAll
}
