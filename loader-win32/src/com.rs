//! COM without classes: a thread may say that it uses it, as often as it takes that back, and finds nothing there.
#![allow(non_snake_case)]

use crate::guest::Ptr;
use std::cell::Cell;

const S_OK: u32 = 0;
/// It was said before.
const S_FALSE: u32 = 1;
const E_INVALIDARG: u32 = 0x8007_0057;
const E_POINTER: u32 = 0x8000_4003;
const NOT_REGISTERED: u32 = 0x8004_0154;
const NOT_INITIALISED: u32 = 0x8004_01f0;
const CHANGED_MODE: u32 = 0x8001_0106;

const APARTMENT: u32 = 2;
/// `COINIT_DISABLE_OLE1DDE` and `COINIT_SPEED_OVER_MEMORY` beside the apartment.
const FLAGS: u32 = APARTMENT | 4 | 8;

thread_local! {
    /// How often the thread said that it uses COM, and whether in an apartment of its own.
    static USED: Cell<(u32, bool)> = const { Cell::new((0, false)) };
}

extern "win64" fn CoInitializeEx(reserved: usize, flags: u32) -> u32 {
    if reserved != 0 || flags & !FLAGS != 0 {
        return E_INVALIDARG;
    }
    let wanted = flags & APARTMENT != 0;
    match USED.get() {
        (0, _) => {
            USED.set((1, wanted));
            S_OK
        }
        (_, own) if own != wanted => CHANGED_MODE,
        (n, own) => {
            USED.set((n.saturating_add(1), own));
            S_FALSE
        }
    }
}

extern "win64" fn CoInitialize(reserved: usize) -> u32 {
    CoInitializeEx(reserved, APARTMENT)
}

extern "win64" fn CoUninitialize() {
    let (n, own) = USED.get();
    USED.set((n.saturating_sub(1), own));
}

/// No class is registered.
extern "win64" fn CoCreateInstance(
    class: Ptr<[u8; 16]>,
    _outer: usize,
    _context: u32,
    interface: Ptr<[u8; 16]>,
    out: Ptr<usize>,
) -> u32 {
    if out.is_null() {
        return E_POINTER;
    }
    out.set(0);
    match () {
        () if class.is_null() || interface.is_null() => E_INVALIDARG,
        () if USED.get().0 == 0 => NOT_INITIALISED,
        () => NOT_REGISTERED,
    }
}

table! {
    /// Its part of ole32.
    pub(crate) TABLE: CoInitialize, CoInitializeEx, CoUninitialize, CoCreateInstance
}
