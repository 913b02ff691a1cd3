//! Events, semaphores, mutexes, waits, and handles in general.

use super::{
    Bool, FALSE, TRUE, answer,
    error::code,
    fail,
    system::{is_this_process, process_access},
    thread,
};
use crate::{
    Advice,
    futex::Deadline,
    guest::Ptr,
    object::{CURRENT_PROCESS, CURRENT_THREAD, Kind, Object, Waited, current_thread_id},
    teb,
};
use std::{
    mem::discriminant,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed},
    },
};

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

fn event(manual: bool, set: bool) -> Kind {
    Kind::Event { manual, set: AtomicBool::new(set) }
}

extern "win64" fn CreateEventA(_security: usize, manual: Bool, set: Bool, name: Ptr<u8>) -> usize {
    create(&name.string(), event(manual != 0, set != 0))
}

extern "win64" fn CreateEventW(_security: usize, manual: Bool, set: Bool, name: Ptr<u16>) -> usize {
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

extern "win64" fn SetEvent(handle: usize) -> Bool {
    set(handle, true)
}

extern "win64" fn ResetEvent(handle: usize) -> Bool {
    set(handle, false)
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

extern "win64" fn ReleaseSemaphore(handle: usize, n: i32, before: Ptr<i32>) -> Bool {
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
    create(name, Kind::Mutex { owner: AtomicU32::new(owner), depth: AtomicU32::new(mine.into()) })
}

extern "win64" fn CreateMutexA(_security: usize, mine: Bool, name: Ptr<u8>) -> usize {
    mutex(mine != 0, &name.string())
}

extern "win64" fn CreateMutexW(_security: usize, mine: Bool, name: Ptr<u16>) -> usize {
    mutex(mine != 0, &name.string())
}

extern "win64" fn CreateMutexExW(_security: usize, name: Ptr<u16>, flags: u32, _access: u32) -> usize {
    mutex(flags & 1 != 0, &name.string())
}

extern "win64" fn ReleaseMutex(handle: usize) -> Bool {
    answer(object(handle).and_then(|o| {
        o.change(|kind| {
            let Kind::Mutex { owner, depth } = kind else {
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
fn wait_for(function: &'static str, objects: Vec<Arc<Object>>, all: bool, ms: u32) -> u32 {
    if ms != 0
        && let Err(code) = teb::process().note(function, Advice::Never)
    {
        drop(objects);
        teb::set_last_error(code);
        return WAIT_FAILED;
    }
    wait(objects, all, ms)
}

/// Waits; a thread that is asked to end does so here, with nothing in its hands.
fn wait(objects: Vec<Arc<Object>>, all: bool, ms: u32) -> u32 {
    let process = teb::process();
    let waited = process.objects.wait(&objects, all, Deadline::after(ms));
    drop(objects);
    drop(process);
    match waited {
        Waited::Object(n) => crate::text::length(n),
        Waited::TimedOut => WAIT_TIMEOUT,
        Waited::Doomed => {
            thread::end_doomed();
            WAIT_FAILED
        }
    }
}

pub(crate) extern "win64" fn WaitForSingleObject(handle: usize, ms: u32) -> u32 {
    match object(handle) {
        Ok(o) => wait_for("WaitForSingleObject", vec![o], false, ms),
        Err(e) => {
            teb::set_last_error(e);
            WAIT_FAILED
        }
    }
}

/// There are no asynchronous procedure calls here, so an alertable wait is a wait.
extern "win64" fn WaitForSingleObjectEx(handle: usize, ms: u32, _alertable: Bool) -> u32 {
    WaitForSingleObject(handle, ms)
}

extern "win64" fn WaitForMultipleObjects(n: u32, handles: Ptr<usize>, all: Bool, ms: u32) -> u32 {
    if n == 0 || n > MAXIMUM_WAIT_OBJECTS {
        teb::set_last_error(code::INVALID_PARAMETER);
        return WAIT_FAILED;
    }
    let objects: Result<Vec<_>, _> = handles.slice(n as usize).iter().map(|&h| object(h)).collect();
    match objects {
        Ok(objects) => wait_for("WaitForMultipleObjects", objects, all != 0, ms),
        Err(e) => {
            teb::set_last_error(e);
            WAIT_FAILED
        }
    }
}

extern "win64" fn WaitForMultipleObjectsEx(
    n: u32,
    handles: Ptr<usize>,
    all: Bool,
    ms: u32,
    _alertable: Bool,
) -> u32 {
    WaitForMultipleObjects(n, handles, all, ms)
}

/// Sleeps; a wait for nothing, so that it ends when the thread is asked to.
pub(crate) extern "win64" fn Sleep(ms: u32) {
    if ms == 0 {
        std::thread::yield_now();
        return;
    }
    wait(Vec::new(), false, ms);
}

extern "win64" fn SleepEx(ms: u32, _alertable: Bool) -> u32 {
    Sleep(ms);
    0
}

extern "win64" fn SwitchToThread() -> Bool {
    std::thread::yield_now();
    TRUE
}

extern "win64" fn CloseHandle(handle: usize) -> Bool {
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
    answer(object(handle).map(|_| flags.put(0)))
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
        CreateEventA, CreateEventW, CreateEventExA, CreateEventExW, SetEvent, ResetEvent, CreateSemaphoreA,
        CreateSemaphoreW, CreateSemaphoreExW, ReleaseSemaphore, CreateMutexA, CreateMutexW, CreateMutexExW, ReleaseMutex,
        WaitForSingleObject, WaitForSingleObjectEx, WaitForMultipleObjects, WaitForMultipleObjectsEx, Sleep, SleepEx,
        SwitchToThread, CloseHandle, DuplicateHandle, GetHandleInformation, CompareObjectHandles, GetProcessHandleCount
}
