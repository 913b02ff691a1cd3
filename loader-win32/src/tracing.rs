//! advapi32's events: providers may register, and no session ever listens, so nothing of what they write is kept. There is
//! no event log.
#![allow(non_snake_case)]

use crate::{
    guest::Ptr,
    kernel32::{Bool, FALSE, error::code, fail},
};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const SUCCESS: u32 = 0;
const NO_SERVER: u32 = 1722;

/// The next provider's handle: any number that is not 0 is one.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Nobody will enable the provider, so its callback is never called.
extern "win64" fn EventRegister(
    provider: Ptr<[u8; 16]>,
    _callback: usize,
    _context: usize,
    out: Ptr<u64>,
) -> u32 {
    if provider.is_null() || out.is_null() {
        return code::INVALID_PARAMETER;
    }
    out.set(NEXT.fetch_add(1, Relaxed));
    SUCCESS
}

/// That a provider was registered under a handle.
fn registered(handle: u64) -> u32 {
    if (1..NEXT.load(Relaxed)).contains(&handle) { SUCCESS } else { code::INVALID_HANDLE }
}

extern "win64" fn EventUnregister(handle: u64) -> u32 {
    registered(handle)
}

/// What no session wants is done when it is written.
extern "win64" fn written(handle: u64) -> u32 {
    registered(handle)
}

extern "win64" fn enabled(_handle: u64) -> u8 {
    0
}

extern "win64" fn RegisterEventSourceW(_server: Ptr<u16>, _name: Ptr<u16>) -> usize {
    fail(NO_SERVER) as usize
}

/// No handle is one of an event log.
extern "win64" fn no_log(_log: usize) -> Bool {
    fail(code::INVALID_HANDLE);
    FALSE
}

table! {
    /// Events.
    pub(crate) TABLE:
        EventRegister, EventUnregister, EventWrite = written, EventWriteTransfer = written, EventWriteString = written,
        EventSetInformation = written, EventEnabled = enabled, EventProviderEnabled = enabled, RegisterEventSourceW,
        RegisterEventSourceA = RegisterEventSourceW, DeregisterEventSource = no_log, ReportEventW = no_log,
        ReportEventA = no_log
}
