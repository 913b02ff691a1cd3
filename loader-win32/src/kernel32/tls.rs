//! Thread-local and fiber-local slots. A thread has one block, whatever processes it enters, so the numbers of slots
//! are given out once for all of them.

use super::{Bool, TRUE, error::code, fail};
use crate::{
    lock,
    teb::{self, FLS_SLOTS, TLS_EXPANSION, TLS_SLOTS, Teb, Values},
};
use loader_core::{Addr, call::guarded};
use std::sync::{
    Mutex,
    atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed},
};

const SLOTS: usize = TLS_SLOTS + TLS_EXPANSION;
const OUT_OF_INDEXES: u32 = u32::MAX;

/// What a fiber-local slot wants called with a thread's value when the thread ends or the slot is freed.
type Callback = unsafe extern "win64" fn(usize);

static TLS: Mutex<[bool; SLOTS]> = Mutex::new({
    let mut taken = [false; SLOTS];
    taken[0] = true; // never given out, as on Windows
    taken
});
static FLS: Mutex<[Option<Option<Callback>>; FLS_SLOTS]> = Mutex::new([None; FLS_SLOTS]);

/// The calling thread's slot.
fn slot(teb: &Teb, index: u32) -> Option<&AtomicUsize> {
    let index = index as usize;
    match index.checked_sub(TLS_SLOTS) {
        None => teb.tls_slots.get(index),
        Some(n) if n < TLS_EXPANSION => teb::table(&teb.tls_expansion).get(n),
        Some(_) => None,
    }
}

extern "win64" fn TlsAlloc() -> u32 {
    let mut taken = lock(&TLS);
    let Some(free) = taken.iter().position(|t| !t) else {
        teb::set_last_error(259); // ERROR_NO_MORE_ITEMS
        return OUT_OF_INDEXES;
    };
    taken[free] = true;
    drop(taken);
    teb::clear_tls_slot(free);
    crate::text::length(free)
}

extern "win64" fn TlsFree(index: u32) -> Bool {
    let mut taken = lock(&TLS);
    match taken.get_mut(index as usize) {
        Some(t) if *t && index != 0 => *t = false,
        _ => return fail(code::INVALID_PARAMETER),
    }
    drop(taken);
    teb::clear_tls_slot(index as usize);
    TRUE
}

/// Says "no error" too, because zero is a value like any other.
extern "win64" fn TlsGetValue(index: u32) -> usize {
    teb::with(|t| match slot(t, index) {
        Some(s) => {
            t.last_error.set(0);
            s.load(Relaxed)
        }
        None => fail(code::INVALID_PARAMETER) as usize,
    })
}

extern "win64" fn TlsSetValue(index: u32, value: usize) -> Bool {
    teb::with(|t| match slot(t, index) {
        Some(s) => {
            s.store(value, Relaxed);
            TRUE
        }
        None => fail(code::INVALID_PARAMETER),
    })
}

pub(crate) extern "win64" fn FlsAlloc(callback: Option<Callback>) -> u32 {
    let mut slots = lock(&FLS);
    let Some(free) = slots.iter().skip(1).position(Option::is_none) else {
        teb::set_last_error(259); // ERROR_NO_MORE_ITEMS
        return OUT_OF_INDEXES;
    };
    // What was left there while it was nobody's is nobody's. Slot 0 is never given out, as on Windows.
    teb::take_fls(free + 1);
    slots[free + 1] = Some(callback);
    drop(slots);
    teb::with(|t| _ = teb::fls(&t.fls)); // from now on this fiber has values
    crate::text::length(free + 1)
}

/// The value of a slot in a fiber's table, taken out.
fn take(fls: &AtomicPtr<Values>, index: usize) -> usize {
    if fls.load(Relaxed).is_null() {
        return 0;
    }
    teb::fls(fls)[index].swap(0, Relaxed)
}

/// Calls a slot's callback with a value, if there is one. What it fails by concerns nobody else.
#[allow(unsafe_code)]
fn call(callback: Option<Callback>, value: usize) {
    let loaded = |c: &Callback| {
        let at = Addr(*c as *const () as u64);
        teb::process().services().is_some_and(|s| s.is_loaded(at))
    };
    if value != 0
        && let Some(callback) = callback.filter(loaded)
    {
        // SAFETY: the library that registered the callback is still loaded; no lock is held.
        if let Err(error) = guarded(|| unsafe { callback(value) }) {
            teb::process().services().iter().for_each(|s| s.thread_failed(&error));
        }
    }
}

/// The callback runs for the values of all threads, in this one.
pub(crate) extern "win64" fn FlsFree(index: u32) -> Bool {
    let index = index as usize;
    let Some(callback) = lock(&FLS).get_mut(index).and_then(Option::take) else {
        return fail(code::INVALID_PARAMETER);
    };
    teb::take_fls(index).into_iter().for_each(|value| call(callback, value));
    TRUE
}

/// Of a slot that nobody has the value is zero, unless somebody has set it. A fiber that never set any has none, which is an
/// error.
extern "win64" fn FlsGetValue(index: u32) -> usize {
    let value = teb::with(|t| match index as usize {
        1..FLS_SLOTS if !t.fls.load(Relaxed).is_null() => {
            Some(teb::fls(&t.fls)[index as usize].load(Relaxed))
        }
        _ => None,
    });
    match value {
        Some(value) => {
            teb::set_last_error(0);
            value
        }
        None => fail(code::INVALID_PARAMETER) as usize,
    }
}

pub(crate) extern "win64" fn FlsSetValue(index: u32, value: usize) -> Bool {
    if !(1..FLS_SLOTS).contains(&(index as usize)) {
        return fail(code::INVALID_PARAMETER);
    }
    teb::with(|t| teb::fls(&t.fls)[index as usize].store(value, Relaxed));
    TRUE
}

/// The calling thread runs no more guest code: every value that its fiber still has goes to its callback.
pub(crate) fn run_callbacks() {
    teb::with(|t| run_callbacks_for(&t.fls));
}

/// Every value that a fiber still has goes to its callback.
pub(crate) fn run_callbacks_for(fls: &AtomicPtr<Values>) {
    for index in 1..FLS_SLOTS {
        let callback = lock(&FLS)[index];
        call(callback.flatten(), take(fls, index));
    }
}

table! {
    /// Slots.
    pub(crate) TABLE: TlsAlloc, TlsFree, TlsGetValue, TlsSetValue, FlsAlloc, FlsFree, FlsGetValue, FlsSetValue
}
