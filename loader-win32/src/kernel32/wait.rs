//! Waits, and handles in general.

use super::{Bool, FALSE, TRUE, answer, calls, error::code, fail, system::is_this_process, thread};
use crate::{
    Advice,
    futex::Deadline,
    guest::Ptr,
    names::Name,
    nt::{
        handles::{NtCompareObjects, NtDuplicateObject},
        objects::{object_for, signal_one},
        status,
        types::{self, SYNCHRONIZE},
    },
    object::{ANY_ACCESS, CURRENT_PROCESS, CURRENT_THREAD, INHERIT, Kind, Object, PROTECTED, Wait, Waited},
    teb,
};
use loader_core::deterministic;
use std::{sync::Arc, time::Duration};

const WAIT_ABANDONED: u32 = 0x80;
const WAIT_IO_COMPLETION: u32 = 0xc0;
const WAIT_TIMEOUT: u32 = 258;
const WAIT_FAILED: u32 = u32::MAX;
pub(crate) const MAXIMUM_WAIT_OBJECTS: u32 = 64;

/// The object behind a handle, or the error.
pub(crate) fn object(handle: usize) -> Result<Arc<Object>, u32> {
    teb::process().objects.get(handle).ok_or(code::INVALID_HANDLE)
}

/// A handle of a new object, or of an old one that has the name and the kind; the last error tells which.
pub(crate) fn create(name: &str, kind: Kind) -> usize {
    create_for(name, kind, ANY_ACCESS, false)
}

/// The same, for some of what may be done with it, and perhaps to be inherited.
pub(crate) fn create_for(name: &str, kind: Kind, access: u32, inherit: bool) -> usize {
    let process = teb::process();
    match process.objects.create_named(&Name::of_program(name), kind) {
        Ok((object, existed)) => {
            let handle = give(object, access, inherit);
            teb::set_last_error(if existed { code::ALREADY_EXISTS } else { 0 });
            handle
        }
        Err(status) => fail(status::dos_error(status)) as usize,
    }
}

/// A handle of the object of that name, if it is of the kind.
pub(crate) fn open(name: &str, wanted: impl Fn(&Kind) -> bool) -> usize {
    open_for(name, ANY_ACCESS, false, wanted)
}

/// The same, for some of what may be done with it, and perhaps to be inherited.
pub(crate) fn open_for(name: &str, access: u32, inherit: bool, wanted: impl Fn(&Kind) -> bool) -> usize {
    const INVALID_NAME: u32 = 123;
    if name.is_empty() {
        return fail(INVALID_NAME) as usize;
    }
    let found = teb::process().objects.open_named(&Name::of_program(name), wanted);
    match found.and_then(|object| types::of(&object.kind).refuses(access).map_or(Ok(object), Err)) {
        Ok(object) => give(object, access, inherit),
        Err(status) => fail(status::dos_error(status)) as usize,
    }
}

/// A handle of an object with the rights that were asked for.
pub(super) fn give(object: Arc<Object>, access: u32, inherit: bool) -> usize {
    let objects = &teb::process().objects;
    let access = types::of(&object.kind).granted(access);
    let handle = objects.add_for(object, access);
    if inherit {
        objects.set_flags(handle, INHERIT, INHERIT);
    }
    handle
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

/// The object behind a handle that allows a wait for it.
fn waitable(handle: usize) -> Result<Arc<Object>, u32> {
    object_for(handle, SYNCHRONIZE).map_err(status::dos_error)
}

pub(crate) extern "win64" fn WaitForSingleObject(handle: usize, ms: u32) -> u32 {
    WaitForSingleObjectEx(handle, ms, FALSE)
}

pub(crate) extern "win64" fn WaitForSingleObjectEx(handle: usize, ms: u32, alertable: Bool) -> u32 {
    match waitable(handle) {
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
    // What stands for the caller's own process or thread is no handle here.
    if handles.iter().any(|h| [CURRENT_PROCESS, CURRENT_THREAD].contains(h)) {
        return Err(code::INVALID_HANDLE);
    }
    handles.iter().map(|&h| waitable(h)).collect()
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
    match signal_one(signal) {
        0 => WaitForSingleObjectEx(handle, ms, alertable),
        status => {
            fail(status::dos_error(status));
            WAIT_FAILED
        }
    }
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

pub(crate) extern "win64" fn SwitchToThread() -> Bool {
    std::thread::yield_now();
    TRUE
}

pub(crate) extern "win64" fn CloseHandle(handle: usize) -> Bool {
    match handle {
        CURRENT_PROCESS | CURRENT_THREAD => TRUE,
        _ => answer(teb::process().objects.close(handle).map(drop).ok_or(code::INVALID_HANDLE)),
    }
}

extern "win64" fn DuplicateHandle(
    from: usize,
    handle: usize,
    to: usize,
    out: Ptr<usize>,
    access: u32,
    inherit: Bool,
    options: u32,
) -> Bool {
    const OBJ_INHERIT: u32 = 2;
    let attributes = if inherit == FALSE { 0 } else { OBJ_INHERIT };
    match NtDuplicateObject(from, handle, to, out, access, attributes, options) {
        0 => TRUE,
        status => fail(status::dos_error(status)),
    }
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
    match NtCompareObjects(one, other) {
        0 => TRUE,
        status => fail(status::dos_error(status)),
    }
}

table! {
    /// Handles and waits.
    pub(crate) TABLE:
        SignalObjectAndWait, WaitForSingleObject, WaitForSingleObjectEx, WaitForMultipleObjects,
        WaitForMultipleObjectsEx, Sleep, SleepEx, SwitchToThread, CloseHandle, DuplicateHandle, GetHandleInformation,
        SetHandleInformation, CompareObjectHandles, GetProcessHandleCount
}
