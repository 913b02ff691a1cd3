//! Events, semaphores, mutexes and timers, made and opened by name: NT's, with the last error that Windows has for its statuses.

use super::{
    Bool, FALSE, TRUE,
    error::code,
    fail,
    timer::Timer,
    transfer::Security,
    wait::{create_for, open_for},
};
use crate::{
    guest::Ptr,
    nt::{
        objects::{
            NtPulseEvent, NtReleaseMutant, NtReleaseSemaphore, NtResetEvent, NtSetEvent, event, mutex,
            semaphore,
        },
        status,
    },
    object::{ANY_ACCESS, Kind},
    text::Text,
};

/// Whether the attributes ask for a handle that is inherited.
pub(super) fn inherits(security: Ptr<Security>) -> bool {
    !security.is_null() && security.get().inherit != FALSE
}

/// A status as KERNEL32 says it.
pub(super) fn said(status: u32) -> Bool {
    if status == 0 { TRUE } else { fail(status::dos_error(status)) }
}

/// Opens what has a name and is of a kind.
fn open<T: Text>(access: u32, inherit: Bool, name: Ptr<T>, wanted: impl Fn(&Kind) -> bool) -> usize {
    if name.is_null() {
        return fail(code::INVALID_PARAMETER) as usize;
    }
    open_for(&T::string(name), access, inherit != FALSE, wanted)
}

/// The first bit of the flags of all `Create...Ex`; those that there are not are refused.
fn first(flags: u32, known: u32) -> Option<bool> {
    if flags & !known == 0 { Some(flags & 1 != 0) } else { None }
}

extern "win64" fn CreateEvent<T: Text>(
    security: Ptr<Security>,
    manual: Bool,
    set: Bool,
    name: Ptr<T>,
) -> usize {
    create_for(&T::string(name), event(manual != FALSE, set != FALSE), ANY_ACCESS, inherits(security))
}

/// The one that other modules make their events with.
pub(crate) extern "win64" fn CreateEventW(
    security: Ptr<Security>,
    manual: Bool,
    set: Bool,
    name: Ptr<u16>,
) -> usize {
    CreateEvent::<u16>(security, manual, set, name)
}

extern "win64" fn CreateEventEx<T: Text>(
    security: Ptr<Security>,
    name: Ptr<T>,
    flags: u32,
    access: u32,
) -> usize {
    const INITIAL_SET: u32 = 2;
    let Some(manual) = first(flags, 3) else { return fail(code::INVALID_PARAMETER) as usize };
    create_for(&T::string(name), event(manual, flags & INITIAL_SET != 0), access, inherits(security))
}

extern "win64" fn OpenEvent<T: Text>(access: u32, inherit: Bool, name: Ptr<T>) -> usize {
    open(access, inherit, name, |kind| matches!(kind, Kind::Event { .. }))
}

pub(crate) extern "win64" fn SetEvent(handle: usize) -> Bool {
    said(NtSetEvent(handle, Ptr::NULL))
}

pub(crate) extern "win64" fn ResetEvent(handle: usize) -> Bool {
    said(NtResetEvent(handle, Ptr::NULL))
}

extern "win64" fn PulseEvent(handle: usize) -> Bool {
    said(NtPulseEvent(handle, Ptr::NULL))
}

extern "win64" fn CreateSemaphore<T: Text>(
    security: Ptr<Security>,
    count: i32,
    max: i32,
    name: Ptr<T>,
) -> usize {
    CreateSemaphoreEx(security, count, max, name, 0, ANY_ACCESS)
}

extern "win64" fn CreateSemaphoreEx<T: Text>(
    security: Ptr<Security>,
    count: i32,
    max: i32,
    name: Ptr<T>,
    flags: u32,
    access: u32,
) -> usize {
    match semaphore(count, max) {
        Ok(kind) if flags == 0 => create_for(&T::string(name), kind, access, inherits(security)),
        _ => fail(code::INVALID_PARAMETER) as usize,
    }
}

extern "win64" fn OpenSemaphore<T: Text>(access: u32, inherit: Bool, name: Ptr<T>) -> usize {
    open(access, inherit, name, |kind| matches!(kind, Kind::Semaphore { .. }))
}

pub(crate) extern "win64" fn ReleaseSemaphore(handle: usize, n: i32, before: Ptr<i32>) -> Bool {
    said(NtReleaseSemaphore(handle, n, before))
}

extern "win64" fn CreateMutex<T: Text>(security: Ptr<Security>, mine: Bool, name: Ptr<T>) -> usize {
    CreateMutexEx(security, name, (mine != FALSE).into(), ANY_ACCESS)
}

extern "win64" fn CreateMutexEx<T: Text>(
    security: Ptr<Security>,
    name: Ptr<T>,
    flags: u32,
    access: u32,
) -> usize {
    let Some(mine) = first(flags, 1) else { return fail(code::INVALID_PARAMETER) as usize };
    create_for(&T::string(name), mutex(mine), access, inherits(security))
}

extern "win64" fn OpenMutex<T: Text>(access: u32, inherit: Bool, name: Ptr<T>) -> usize {
    open(access, inherit, name, |kind| matches!(kind, Kind::Mutex { .. }))
}

pub(crate) extern "win64" fn ReleaseMutex(handle: usize) -> Bool {
    said(NtReleaseMutant(handle, Ptr::NULL))
}

extern "win64" fn CreateWaitableTimer<T: Text>(security: Ptr<Security>, manual: Bool, name: Ptr<T>) -> usize {
    create_for(&T::string(name), Timer::kind(manual != FALSE), ANY_ACCESS, inherits(security))
}

/// All timers have a high resolution, so that to ask for one changes nothing.
extern "win64" fn CreateWaitableTimerEx<T: Text>(
    security: Ptr<Security>,
    name: Ptr<T>,
    flags: u32,
    access: u32,
) -> usize {
    let Some(manual) = first(flags, 3) else { return fail(code::INVALID_PARAMETER) as usize };
    create_for(&T::string(name), Timer::kind(manual), access, inherits(security))
}

extern "win64" fn OpenWaitableTimer<T: Text>(access: u32, inherit: Bool, name: Ptr<T>) -> usize {
    open(access, inherit, name, |kind| matches!(kind, Kind::Timer(_)))
}

table! {
    /// Objects with names.
    pub(crate) TABLE:
        CreateEventA = CreateEvent::<u8>, CreateEventW, CreateEventExA = CreateEventEx::<u8>,
        CreateEventExW = CreateEventEx::<u16>, OpenEventA = OpenEvent::<u8>, OpenEventW = OpenEvent::<u16>, SetEvent,
        ResetEvent, PulseEvent, CreateSemaphoreA = CreateSemaphore::<u8>, CreateSemaphoreW = CreateSemaphore::<u16>,
        CreateSemaphoreExA = CreateSemaphoreEx::<u8>, CreateSemaphoreExW = CreateSemaphoreEx::<u16>,
        OpenSemaphoreA = OpenSemaphore::<u8>, OpenSemaphoreW = OpenSemaphore::<u16>, ReleaseSemaphore,
        CreateMutexA = CreateMutex::<u8>, CreateMutexW = CreateMutex::<u16>, CreateMutexExA = CreateMutexEx::<u8>,
        CreateMutexExW = CreateMutexEx::<u16>, OpenMutexA = OpenMutex::<u8>, OpenMutexW = OpenMutex::<u16>, ReleaseMutex,
        CreateWaitableTimerA = CreateWaitableTimer::<u8>, CreateWaitableTimerW = CreateWaitableTimer::<u16>,
        CreateWaitableTimerExA = CreateWaitableTimerEx::<u8>, CreateWaitableTimerExW = CreateWaitableTimerEx::<u16>,
        OpenWaitableTimerA = OpenWaitableTimer::<u8>, OpenWaitableTimerW = OpenWaitableTimer::<u16>
}
