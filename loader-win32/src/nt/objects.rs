//! Events, mutexes (NT's mutants), semaphores and timers by their NT names, with attributes and statuses. KERNEL32's functions
//! are these.

use super::{
    calls::milliseconds,
    file::Attributes,
    status::{self, ACCESS_VIOLATION, INVALID_PARAMETER, SUCCESS},
    types::{self, MODIFY_STATE, QUERY_STATE},
};
use crate::{
    guest::Ptr,
    kernel32::{timer, wait::object},
    names::Name,
    object::{INHERIT, Kind, Object, current_thread_id},
    teb,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed},
};

const OBJ_INHERIT: u32 = 2;
const OBJ_CASE_INSENSITIVE: u32 = 0x40;
const OBJ_OPENIF: u32 = 0x80;

/// The name that attributes give.
pub(super) fn name(attributes: Ptr<Attributes>) -> Result<Name, u32> {
    if attributes.is_null() {
        return Ok(Name::default());
    }
    let Attributes { length, root, name, flags, .. } = attributes.get();
    if length as usize != size_of::<Attributes>() {
        return Err(INVALID_PARAMETER);
    }
    let root = match root {
        0 => None,
        handle => Some(object(handle).map_err(|_| status::INVALID_HANDLE)?),
    };
    if name.is_null() {
        return if root.is_none() { Ok(Name::default()) } else { Err(status::OBJECT_NAME_INVALID) };
    }
    if !name.get().length.is_multiple_of(2) {
        return Err(status::OBJECT_NAME_INVALID);
    }
    let (any_case, open_if) = (flags & OBJ_CASE_INSENSITIVE != 0, flags & OBJ_OPENIF != 0);
    Ok(Name { root, path: name.get().string(), any_case, open_if })
}

/// Gives the caller a handle with the rights that were asked for.
pub(super) fn give(out: Ptr<usize>, object: Arc<Object>, access: u32, attributes: Ptr<Attributes>) {
    let access = types::of(&object.kind).granted(access);
    let objects = &teb::process().objects;
    let handle = objects.add_for(object, access);
    let inherit = !attributes.is_null() && attributes.get().flags & OBJ_INHERIT != 0;
    objects.set_flags(handle, INHERIT, inherit.into());
    out.set(handle);
}

/// A handle of a new object, or of the one that has the name where the attributes allow that.
pub(super) fn create(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>, kind: Kind) -> u32 {
    if out.is_null() {
        return ACCESS_VIOLATION;
    }
    out.set(0);
    match name(attributes).and_then(|name| teb::process().objects.create_named(&name, kind)) {
        Ok((object, existed)) => {
            give(out, object, access, attributes);
            if existed { status::OBJECT_NAME_EXISTS } else { SUCCESS }
        }
        Err(status) => status,
    }
}

/// A handle of an object that is there.
pub(super) fn open(
    out: Ptr<usize>,
    access: u32,
    attributes: Ptr<Attributes>,
    wanted: impl Fn(&Kind) -> bool,
) -> u32 {
    if out.is_null() {
        return ACCESS_VIOLATION;
    }
    out.set(0);
    if attributes.is_null() {
        return INVALID_PARAMETER;
    }
    let found = name(attributes).and_then(|name| teb::process().objects.open_named(&name, wanted));
    match found.and_then(|object| types::of(&object.kind).refuses(access).map_or(Ok(object), Err)) {
        Ok(object) => {
            give(out, object, access, attributes);
            SUCCESS
        }
        Err(status) => status,
    }
}

/// The object behind a handle that gives these rights.
pub(crate) fn object_for(handle: usize, access: u32) -> Result<Arc<Object>, u32> {
    let objects = &teb::process().objects;
    let object = objects.get(handle).ok_or(status::INVALID_HANDLE)?;
    match objects.access(handle) {
        Some(granted) if granted & access == access => Ok(object),
        Some(_) => Err(status::ACCESS_DENIED),
        None => Err(status::INVALID_HANDLE),
    }
}

/// Does something to the state of an object of that type, where the handle gives the right.
fn change<R>(
    handle: usize,
    access: u32,
    name: &str,
    f: impl FnOnce(&Kind) -> Option<Result<R, u32>>,
) -> Result<R, u32> {
    let object = object_for(handle, 0)?;
    if types::of(&object.kind).name != name {
        return Err(status::OBJECT_TYPE_MISMATCH);
    }
    object_for(handle, access)?.change(|kind| f(kind).unwrap_or(Err(status::OBJECT_TYPE_MISMATCH)))
}

/// Success, or what went wrong.
pub(crate) fn done(result: Result<(), u32>) -> u32 {
    result.err().unwrap_or(SUCCESS)
}

/// The answer to a question about a kind of object that knows only one: numbers, as many bytes of them as the caller must ask for.
pub(super) fn ask<T: Copy>(
    class: u32,
    to: Ptr<T>,
    room: u32,
    len: Ptr<u32>,
    f: impl FnOnce() -> Result<T, u32>,
) -> u32 {
    if class != 0 {
        return status::INVALID_INFO_CLASS;
    }
    if room as usize != size_of::<T>() {
        return status::INFO_LENGTH_MISMATCH;
    }
    if to.is_null() {
        return ACCESS_VIOLATION;
    }
    done(f().map(|answer| {
        to.set(answer);
        len.put(room);
    }))
}

// Events.

/// An event.
pub(crate) fn event(manual: bool, set: bool) -> Kind {
    Kind::Event { manual, set: AtomicBool::new(set) }
}

extern "win64" fn NtCreateEvent(
    out: Ptr<usize>,
    access: u32,
    attributes: Ptr<Attributes>,
    kind: u32,
    set: u8,
) -> u32 {
    match kind {
        0 | 1 => create(out, access, attributes, event(kind == 0, set != 0)),
        _ => INVALID_PARAMETER,
    }
}

extern "win64" fn NtOpenEvent(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>) -> u32 {
    open(out, access, attributes, |kind| matches!(kind, Kind::Event { .. }))
}

fn set(handle: usize, value: bool, before: Ptr<i32>) -> u32 {
    done(change(handle, MODIFY_STATE, "Event", |kind| match kind {
        Kind::Event { set, .. } => {
            before.put(set.swap(value, Relaxed).into());
            Some(Ok(()))
        }
        _ => None,
    }))
}

pub(crate) extern "win64" fn NtSetEvent(handle: usize, before: Ptr<i32>) -> u32 {
    set(handle, true, before)
}

pub(crate) extern "win64" fn NtResetEvent(handle: usize, before: Ptr<i32>) -> u32 {
    set(handle, false, before)
}

extern "win64" fn NtClearEvent(handle: usize) -> u32 {
    set(handle, false, Ptr::NULL)
}

/// Lets those go on that wait for it now, and leaves it reset. Unreliable by design, as Windows says of it: who is about to
/// wait, or to look again, may miss it.
pub(crate) extern "win64" fn NtPulseEvent(handle: usize, before: Ptr<i32>) -> u32 {
    done(object_for(handle, MODIFY_STATE).and_then(|object| {
        let was = object.pulse().ok_or(status::OBJECT_TYPE_MISMATCH)?;
        before.put(was.into());
        Ok(())
    }))
}

extern "win64" fn NtQueryEvent(
    handle: usize,
    class: u32,
    to: Ptr<[i32; 2]>,
    room: u32,
    len: Ptr<u32>,
) -> u32 {
    ask(class, to, room, len, || {
        change(handle, QUERY_STATE, "Event", |kind| match kind {
            Kind::Event { manual, set } => Some(Ok([i32::from(!manual), set.load(Relaxed).into()])),
            _ => None,
        })
    })
}

// Mutexes.

/// A mutex, which may be the caller's at once.
pub(crate) fn mutex(mine: bool) -> Kind {
    let owner = if mine { current_thread_id() } else { 0 };
    let depth = AtomicU32::new(mine.into());
    Kind::Mutex { owner: AtomicU32::new(owner), depth, abandoned: AtomicBool::new(false) }
}

extern "win64" fn NtCreateMutant(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>, mine: u8) -> u32 {
    create(out, access, attributes, mutex(mine != 0))
}

extern "win64" fn NtOpenMutant(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>) -> u32 {
    open(out, access, attributes, |kind| matches!(kind, Kind::Mutex { .. }))
}

/// How a mutex counts: 1 is free, and every hold takes one away.
fn count(depth: u32) -> i32 {
    1i32.wrapping_sub_unsigned(depth)
}

/// Whose it is may give it back, with whatever handle.
pub(crate) extern "win64" fn NtReleaseMutant(handle: usize, before: Ptr<i32>) -> u32 {
    done(change(handle, 0, "Mutant", |kind| {
        let Kind::Mutex { owner, depth, .. } = kind else { return None };
        if owner.load(Relaxed) != current_thread_id() {
            return Some(Err(status::MUTANT_NOT_OWNED));
        }
        let held = depth.fetch_sub(1, Relaxed);
        if held == 1 {
            owner.store(0, Relaxed);
        }
        before.put(count(held));
        Some(Ok(()))
    }))
}

/// `MUTANT_BASIC_INFORMATION`.
#[repr(C)]
#[derive(Clone, Copy)]
struct MutexState {
    count: i32,
    mine: u8,
    abandoned: u8,
}

extern "win64" fn NtQueryMutant(
    handle: usize,
    class: u32,
    to: Ptr<MutexState>,
    room: u32,
    len: Ptr<u32>,
) -> u32 {
    ask(class, to, room, len, || {
        change(handle, QUERY_STATE, "Mutant", |kind| match kind {
            Kind::Mutex { owner, depth, abandoned } => Some(Ok(MutexState {
                count: count(depth.load(Relaxed)),
                mine: (owner.load(Relaxed) == current_thread_id()).into(),
                abandoned: abandoned.load(Relaxed).into(),
            })),
            _ => None,
        })
    })
}

// Semaphores.

/// A semaphore; none where it could not be used.
pub(crate) fn semaphore(count: i32, max: i32) -> Result<Kind, u32> {
    match max > 0 && (0..=max).contains(&count) {
        true => Ok(Kind::Semaphore { count: AtomicI32::new(count), max }),
        false => Err(INVALID_PARAMETER),
    }
}

extern "win64" fn NtCreateSemaphore(
    out: Ptr<usize>,
    access: u32,
    attributes: Ptr<Attributes>,
    count: i32,
    max: i32,
) -> u32 {
    semaphore(count, max).map_or_else(|status| status, |kind| create(out, access, attributes, kind))
}

extern "win64" fn NtOpenSemaphore(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>) -> u32 {
    open(out, access, attributes, |kind| matches!(kind, Kind::Semaphore { .. }))
}

pub(crate) extern "win64" fn NtReleaseSemaphore(handle: usize, n: i32, before: Ptr<i32>) -> u32 {
    if n <= 0 {
        return INVALID_PARAMETER;
    }
    done(change(handle, MODIFY_STATE, "Semaphore", |kind| {
        let Kind::Semaphore { count, max } = kind else { return None };
        let now = count.load(Relaxed);
        if n > max - now {
            return Some(Err(status::SEMAPHORE_LIMIT_EXCEEDED));
        }
        count.store(now + n, Relaxed);
        before.put(now);
        Some(Ok(()))
    }))
}

extern "win64" fn NtQuerySemaphore(
    handle: usize,
    class: u32,
    to: Ptr<[i32; 2]>,
    room: u32,
    len: Ptr<u32>,
) -> u32 {
    ask(class, to, room, len, || {
        change(handle, QUERY_STATE, "Semaphore", |kind| match kind {
            Kind::Semaphore { count, max } => Some(Ok([count.load(Relaxed), *max])),
            _ => None,
        })
    })
}

// Timers.

extern "win64" fn NtCreateTimer(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>, kind: u32) -> u32 {
    match kind {
        0 | 1 => create(out, access, attributes, timer::Timer::kind(kind == 0)),
        _ => INVALID_PARAMETER,
    }
}

extern "win64" fn NtOpenTimer(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>) -> u32 {
    open(out, access, attributes, |kind| matches!(kind, Kind::Timer(_)))
}

extern "win64" fn NtSetTimer(
    handle: usize,
    due: Ptr<i64>,
    function: usize,
    context: usize,
    _resume: u8,
    period: i32,
    before: Ptr<u8>,
) -> u32 {
    if due.is_null() {
        return ACCESS_VIOLATION;
    }
    match u32::try_from(period) {
        Ok(period) => {
            done(timer::set(handle, due.get(), period, function, context).map(|was| before.put(was.into())))
        }
        Err(_) => INVALID_PARAMETER,
    }
}

extern "win64" fn NtCancelTimer(handle: usize, before: Ptr<u8>) -> u32 {
    done(timer::cancel(handle).map(|was| before.put(was.into())))
}

/// `TIMER_BASIC_INFORMATION`.
#[repr(C)]
#[derive(Clone, Copy)]
struct TimerState {
    left: i64,
    set: u8,
}

extern "win64" fn NtQueryTimer(
    handle: usize,
    class: u32,
    to: Ptr<TimerState>,
    room: u32,
    len: Ptr<u32>,
) -> u32 {
    ask(class, to, room, len, || {
        change(handle, QUERY_STATE, "Timer", |kind| match kind {
            Kind::Timer(timer) => Some(Ok(TimerState { left: timer.left(), set: timer.is_set().into() })),
            _ => None,
        })
    })
}

// Waits for several, and calls.

extern "win64" fn NtWaitForMultipleObjects(
    n: u32,
    handles: Ptr<usize>,
    any: u32,
    alertable: u8,
    time: Ptr<i64>,
) -> u32 {
    use crate::kernel32::wait::{MAXIMUM_WAIT_OBJECTS, WaitForMultipleObjectsEx};
    if n == 0 || n > MAXIMUM_WAIT_OBJECTS {
        return status::INVALID_PARAMETER_1;
    }
    if handles.is_null() {
        return ACCESS_VIOLATION;
    }
    let all = i32::from(any == 0);
    super::calls::waited(WaitForMultipleObjectsEx(n, handles, all, milliseconds(time), alertable.into()))
}

extern "win64" fn NtSignalAndWaitForSingleObject(
    signal: usize,
    handle: usize,
    alertable: u8,
    time: Ptr<i64>,
) -> u32 {
    match signal_one(signal) {
        SUCCESS => super::calls::NtWaitForSingleObject(handle, alertable, time),
        status => status,
    }
}

/// Signals an object of whichever kind can be.
pub(crate) fn signal_one(handle: usize) -> u32 {
    match object_for(handle, 0).map(|object| types::of(&object.kind).name) {
        Ok("Event") => NtSetEvent(handle, Ptr::NULL),
        Ok("Semaphore") => NtReleaseSemaphore(handle, 1, Ptr::NULL),
        Ok("Mutant") => NtReleaseMutant(handle, Ptr::NULL),
        Ok(_) => status::OBJECT_TYPE_MISMATCH,
        Err(status) => status,
    }
}

table! {
    /// What threads wait for.
    pub(crate) TABLE:
        NtCreateEvent, ZwCreateEvent = NtCreateEvent, NtOpenEvent, ZwOpenEvent = NtOpenEvent, NtSetEvent,
        ZwSetEvent = NtSetEvent, NtResetEvent, ZwResetEvent = NtResetEvent, NtClearEvent, ZwClearEvent = NtClearEvent,
        NtPulseEvent, ZwPulseEvent = NtPulseEvent, NtQueryEvent, ZwQueryEvent = NtQueryEvent, NtCreateMutant,
        ZwCreateMutant = NtCreateMutant, NtOpenMutant, ZwOpenMutant = NtOpenMutant, NtReleaseMutant,
        ZwReleaseMutant = NtReleaseMutant, NtQueryMutant, ZwQueryMutant = NtQueryMutant, NtCreateSemaphore,
        ZwCreateSemaphore = NtCreateSemaphore, NtOpenSemaphore, ZwOpenSemaphore = NtOpenSemaphore, NtReleaseSemaphore,
        ZwReleaseSemaphore = NtReleaseSemaphore, NtQuerySemaphore, ZwQuerySemaphore = NtQuerySemaphore, NtCreateTimer,
        ZwCreateTimer = NtCreateTimer, NtOpenTimer, ZwOpenTimer = NtOpenTimer, NtSetTimer, ZwSetTimer = NtSetTimer,
        NtCancelTimer, ZwCancelTimer = NtCancelTimer, NtQueryTimer, ZwQueryTimer = NtQueryTimer, NtWaitForMultipleObjects,
        ZwWaitForMultipleObjects = NtWaitForMultipleObjects, NtSignalAndWaitForSingleObject,
        ZwSignalAndWaitForSingleObject = NtSignalAndWaitForSingleObject
}
