//! Events, semaphores, mutexes, waits, and handles in general.

use super::{
    Bool, FALSE, TRUE, answer, calls,
    error::code,
    fail,
    system::{is_this_process, process_access},
    thread,
};
use crate::{
    Advice,
    futex::Deadline,
    guest::Ptr,
    object::{
        CURRENT_PROCESS, CURRENT_THREAD, INHERIT, Kind, Object, PROTECTED, Wait, Waited, current_thread_id,
    },
    teb,
};
use loader_core::deterministic;
use std::{
    mem::discriminant,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

const WAIT_ABANDONED: u32 = 0x80;
const WAIT_IO_COMPLETION: u32 = 0xc0;
const WAIT_TIMEOUT: u32 = 258;
const WAIT_FAILED: u32 = u32::MAX;
const MAXIMUM_WAIT_OBJECTS: u32 = 64;

/// The object behind a handle, or the error.
pub(crate) fn object(handle: usize) -> Result<Arc<Object>, u32> {
    teb::process().objects.get(handle).ok_or(code::INVALID_HANDLE)
}

/// A handle of a new object, or of an old one that has the name and the kind; the last error tells which.
pub(crate) fn create(name: &str, kind: Kind) -> usize {
    let wanted = discriminant(&kind);
    let process = teb::process();
    let (object, existed) = process.objects.named(name, kind);
    if discriminant(&object.kind) != wanted {
        return fail(code::INVALID_HANDLE) as usize;
    }
    teb::set_last_error(if existed { code::ALREADY_EXISTS } else { 0 });
    process.objects.add(object)
}

/// A handle of the object of that name, if it is of the kind.
pub(crate) fn open(name: &str, wanted: impl Fn(&Kind) -> bool) -> usize {
    let process = teb::process();
    match process.objects.find(name) {
        None => fail(code::FILE_NOT_FOUND) as usize,
        Some(object) if wanted(&object.kind) => process.objects.add(object),
        Some(_) => fail(code::INVALID_HANDLE) as usize,
    }
}

/// Functions that open a named object of one kind.
macro_rules! open_named {
    ($($ansi:ident, $wide:ident: $kind:pat),* $(,)?) => {$(
        extern "win64" fn $ansi(_access: u32, _inherit: Bool, name: Ptr<u8>) -> usize {
            open(&name.string(), |kind| matches!(kind, $kind))
        }
        extern "win64" fn $wide(_access: u32, _inherit: Bool, name: Ptr<u16>) -> usize {
            open(&name.string(), |kind| matches!(kind, $kind))
        }
    )*};
}

open_named! {
    OpenEventA, OpenEventW: Kind::Event { .. },
    OpenMutexA, OpenMutexW: Kind::Mutex { .. },
    OpenSemaphoreA, OpenSemaphoreW: Kind::Semaphore { .. },
    OpenWaitableTimerA, OpenWaitableTimerW: Kind::Timer(_),
}

fn event(manual: bool, set: bool) -> Kind {
    Kind::Event { manual, set: AtomicBool::new(set) }
}

extern "win64" fn CreateEventA(_security: usize, manual: Bool, set: Bool, name: Ptr<u8>) -> usize {
    create(&name.string(), event(manual != 0, set != 0))
}

pub(crate) extern "win64" fn CreateEventW(
    _security: usize,
    manual: Bool,
    set: Bool,
    name: Ptr<u16>,
) -> usize {
    create(&name.string(), event(manual != 0, set != 0))
}

extern "win64" fn CreateEventExA(_security: usize, name: Ptr<u8>, flags: u32, _access: u32) -> usize {
    create(&name.string(), event(flags & 1 != 0, flags & 2 != 0))
}

extern "win64" fn CreateEventExW(_security: usize, name: Ptr<u16>, flags: u32, _access: u32) -> usize {
    create(&name.string(), event(flags & 1 != 0, flags & 2 != 0))
}

fn set(handle: usize, value: bool) -> Bool {
    answer(object(handle).and_then(|o| {
        o.change(|kind| match kind {
            Kind::Event { set, .. } => {
                set.store(value, Relaxed);
                Ok(())
            }
            _ => Err(code::INVALID_HANDLE),
        })
    }))
}

pub(crate) extern "win64" fn SetEvent(handle: usize) -> Bool {
    set(handle, true)
}

pub(crate) extern "win64" fn ResetEvent(handle: usize) -> Bool {
    set(handle, false)
}

/// Lets those go on that wait for it now, and leaves it reset. Unreliable by design, as Windows says of it: who is about to
/// wait, or to look again, may miss it.
extern "win64" fn PulseEvent(handle: usize) -> Bool {
    answer(object(handle).and_then(|o| if o.pulse() { Ok(()) } else { Err(code::INVALID_HANDLE) }))
}

fn semaphore(count: i32, max: i32, name: &str) -> usize {
    if count < 0 || max <= 0 || count > max {
        return fail(code::INVALID_PARAMETER) as usize;
    }
    create(name, Kind::Semaphore { count: AtomicI32::new(count), max })
}

extern "win64" fn CreateSemaphoreA(_security: usize, count: i32, max: i32, name: Ptr<u8>) -> usize {
    semaphore(count, max, &name.string())
}

extern "win64" fn CreateSemaphoreW(_security: usize, count: i32, max: i32, name: Ptr<u16>) -> usize {
    semaphore(count, max, &name.string())
}

extern "win64" fn CreateSemaphoreExA(
    _security: usize,
    count: i32,
    max: i32,
    name: Ptr<u8>,
    _flags: u32,
    _access: u32,
) -> usize {
    semaphore(count, max, &name.string())
}

extern "win64" fn CreateSemaphoreExW(
    _security: usize,
    count: i32,
    max: i32,
    name: Ptr<u16>,
    _flags: u32,
    _access: u32,
) -> usize {
    semaphore(count, max, &name.string())
}

pub(crate) extern "win64" fn ReleaseSemaphore(handle: usize, n: i32, before: Ptr<i32>) -> Bool {
    if n <= 0 {
        return fail(code::INVALID_PARAMETER);
    }
    answer(object(handle).and_then(|o| {
        o.change(|kind| {
            let Kind::Semaphore { count, max } = kind else {
                return Err(code::INVALID_HANDLE);
            };
            let now = count.load(Relaxed);
            if n > max - now {
                return Err(code::TOO_MANY_POSTS);
            }
            count.store(now + n, Relaxed);
            before.put(now);
            Ok(())
        })
    }))
}

fn mutex(mine: bool, name: &str) -> usize {
    let owner = if mine { current_thread_id() } else { 0 };
    let depth = AtomicU32::new(mine.into());
    create(name, Kind::Mutex { owner: AtomicU32::new(owner), depth, abandoned: AtomicBool::new(false) })
}

extern "win64" fn CreateMutexA(_security: usize, mine: Bool, name: Ptr<u8>) -> usize {
    mutex(mine != 0, &name.string())
}

extern "win64" fn CreateMutexW(_security: usize, mine: Bool, name: Ptr<u16>) -> usize {
    mutex(mine != 0, &name.string())
}

extern "win64" fn CreateMutexExA(_security: usize, name: Ptr<u8>, flags: u32, _access: u32) -> usize {
    mutex(flags & 1 != 0, &name.string())
}

extern "win64" fn CreateMutexExW(_security: usize, name: Ptr<u16>, flags: u32, _access: u32) -> usize {
    mutex(flags & 1 != 0, &name.string())
}

pub(crate) extern "win64" fn ReleaseMutex(handle: usize) -> Bool {
    answer(object(handle).and_then(|o| {
        o.change(|kind| {
            let Kind::Mutex { owner, depth, .. } = kind else {
                return Err(code::INVALID_HANDLE);
            };
            if owner.load(Relaxed) != current_thread_id() {
                return Err(code::NOT_OWNER);
            }
            if depth.fetch_sub(1, Relaxed) == 1 {
                owner.store(0, Relaxed);
            }
            Ok(())
        })
    }))
}

/// Waits for objects. An entry point that does may wait for a thread that waits for it.
fn wait_for(function: &'static str, objects: Vec<Arc<Object>>, all: bool, ms: u32, alertable: Bool) -> u32 {
    if ms != 0
        && let Err(code) = teb::process().note(function, Advice::Never)
    {
        drop(objects);
        teb::set_last_error(code);
        return WAIT_FAILED;
    }
    wait(objects, all, ms, alertable)
}

/// Waits; a thread that is asked to end does so here, and one that is asked to call something does that, with nothing in its
/// hands.
fn wait(objects: Vec<Arc<Object>>, all: bool, ms: u32, alertable: Bool) -> u32 {
    let process = teb::process();
    let until = Deadline::after(ms);
    let waited = process.objects.wait(&Wait { objects: &objects, all, until, alertable: alertable != 0 });
    drop(objects);
    drop(process);
    match waited {
        Waited::Object(n) => crate::text::length(n),
        Waited::Abandoned(n) => WAIT_ABANDONED + crate::text::length(n),
        Waited::TimedOut => {
            deterministic::slept(Duration::from_millis(ms.into()));
            WAIT_TIMEOUT
        }
        Waited::Called => {
            calls::make();
            WAIT_IO_COMPLETION
        }
        Waited::Doomed => {
            thread::end_doomed();
            WAIT_FAILED
        }
    }
}

/// Waits for an object, as [`WaitForSingleObject`] does by its handle.
pub(crate) fn wait_and_answer(object: &Arc<Object>, ms: u32, alertable: Bool) -> u32 {
    wait_for("WaitForSingleObject", vec![Arc::clone(object)], false, ms, alertable)
}

pub(crate) extern "win64" fn WaitForSingleObject(handle: usize, ms: u32) -> u32 {
    WaitForSingleObjectEx(handle, ms, FALSE)
}

pub(crate) extern "win64" fn WaitForSingleObjectEx(handle: usize, ms: u32, alertable: Bool) -> u32 {
    match object(handle) {
        Ok(o) => wait_for("WaitForSingleObject", vec![o], false, ms, alertable),
        Err(e) => {
            teb::set_last_error(e);
            WAIT_FAILED
        }
    }
}

extern "win64" fn WaitForMultipleObjects(n: u32, handles: Ptr<usize>, all: Bool, ms: u32) -> u32 {
    WaitForMultipleObjectsEx(n, handles, all, ms, FALSE)
}

/// What can be waited for together: up to 64 objects, and, if all are wanted, each once.
fn objects(n: u32, handles: &[usize], all: Bool) -> Result<Vec<Arc<Object>>, u32> {
    let twice = || (1..handles.len()).any(|i| handles[..i].contains(&handles[i]));
    if n == 0 || n > MAXIMUM_WAIT_OBJECTS || all != 0 && twice() {
        return Err(code::INVALID_PARAMETER);
    }
    handles.iter().map(|&h| object(h)).collect()
}

pub(crate) extern "win64" fn WaitForMultipleObjectsEx(
    n: u32,
    handles: Ptr<usize>,
    all: Bool,
    ms: u32,
    alertable: Bool,
) -> u32 {
    match objects(n, &handles.slice(n.min(MAXIMUM_WAIT_OBJECTS) as usize), all) {
        Ok(objects) => wait_for("WaitForMultipleObjects", objects, all != 0, ms, alertable),
        Err(e) => {
            teb::set_last_error(e);
            WAIT_FAILED
        }
    }
}

/// Signals one object and waits for another.
extern "win64" fn SignalObjectAndWait(signal: usize, handle: usize, ms: u32, alertable: Bool) -> u32 {
    let kind = object(signal).map(|o| discriminant(&o.kind));
    let signalled = match kind {
        Ok(k) if k == discriminant(&event(false, false)) => SetEvent(signal),
        Ok(k) if k == discriminant(&Kind::Semaphore { count: AtomicI32::new(0), max: 1 }) => {
            ReleaseSemaphore(signal, 1, Ptr::NULL)
        }
        Ok(_) => ReleaseMutex(signal),
        Err(e) => fail(e),
    };
    if signalled == FALSE { WAIT_FAILED } else { WaitForSingleObjectEx(handle, ms, alertable) }
}

/// Sleeps; a wait for nothing, so that it ends when the thread is asked to.
pub(crate) extern "win64" fn Sleep(ms: u32) {
    SleepEx(ms, FALSE);
}

pub(crate) extern "win64" fn SleepEx(ms: u32, alertable: Bool) -> u32 {
    if ms == 0 {
        std::thread::yield_now();
        if alertable == FALSE {
            return 0;
        }
    }
    match wait(Vec::new(), false, ms, alertable) {
        WAIT_IO_COMPLETION => WAIT_IO_COMPLETION,
        _ => 0,
    }
}

extern "win64" fn SwitchToThread() -> Bool {
    std::thread::yield_now();
    TRUE
}

pub(crate) extern "win64" fn CloseHandle(handle: usize) -> Bool {
    match handle {
        CURRENT_PROCESS | CURRENT_THREAD => TRUE,
        _ => answer(teb::process().objects.close(handle).map(drop).ok_or(code::INVALID_HANDLE)),
    }
}

const DUPLICATE_CLOSE_SOURCE: u32 = 1;
const DUPLICATE_SAME_ACCESS: u32 = 2;

extern "win64" fn DuplicateHandle(
    _from: usize,
    handle: usize,
    _to: usize,
    out: Ptr<usize>,
    access: u32,
    _inherit: Bool,
    options: u32,
) -> Bool {
    let objects = &teb::process().objects;
    let copied = object(handle).map(|o| {
        out.put(match o.kind {
            Kind::Process { ref child, .. } if options & DUPLICATE_SAME_ACCESS == 0 => {
                objects.open(Kind::Process { access: process_access(access), child: child.clone() })
            }
            _ => objects.add(o),
        });
    });
    if options & DUPLICATE_CLOSE_SOURCE != 0 {
        objects.close(handle);
    }
    answer(copied)
}

extern "win64" fn GetHandleInformation(handle: usize, flags: Ptr<u32>) -> Bool {
    answer(object(handle).map(|_| flags.put(teb::process().objects.flags(handle))))
}

/// Kept, and told to who asks. Nobody inherits; what is protected is not closed.
extern "win64" fn SetHandleInformation(handle: usize, mask: u32, flags: u32) -> Bool {
    if mask & !(INHERIT | PROTECTED) != 0 {
        return fail(code::INVALID_PARAMETER);
    }
    answer(object(handle).map(|_| teb::process().objects.set_flags(handle, mask, flags)))
}

extern "win64" fn GetProcessHandleCount(process: usize, out: Ptr<u32>) -> Bool {
    let objects = &teb::process().objects;
    answer(is_this_process(process).map(|()| out.put(crate::text::length(objects.count()))))
}

extern "win64" fn CompareObjectHandles(one: usize, other: usize) -> Bool {
    match (object(one), object(other)) {
        (Ok(a), Ok(b)) if Arc::ptr_eq(&a, &b) => TRUE,
        _ => FALSE,
    }
}

table! {
    /// Handles and waits.
    pub(crate) TABLE:
        CreateEventA, CreateEventW, CreateEventExA, CreateEventExW, SetEvent, ResetEvent, PulseEvent, CreateSemaphoreA,
        CreateSemaphoreW, CreateSemaphoreExA, CreateSemaphoreExW, ReleaseSemaphore, CreateMutexA, CreateMutexW,
        CreateMutexExA, CreateMutexExW, ReleaseMutex, OpenEventA, OpenEventW, OpenMutexA, OpenMutexW, OpenSemaphoreA,
        OpenSemaphoreW, OpenWaitableTimerA, OpenWaitableTimerW, SignalObjectAndWait,
        WaitForSingleObject, WaitForSingleObjectEx, WaitForMultipleObjects, WaitForMultipleObjectsEx, Sleep, SleepEx,
        SwitchToThread, CloseHandle, DuplicateHandle, GetHandleInformation, SetHandleInformation, CompareObjectHandles, GetProcessHandleCount
}
