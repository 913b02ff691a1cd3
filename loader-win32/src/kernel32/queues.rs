//! Timer queues and registered waits: what programs had before the thread pool got an interface of its own. They are items of
//! that pool, whose functions are told less.

use super::{
    Bool, TRUE, answer,
    error::code,
    fail,
    pool::{Environment, Patience, Plan, Style},
    wait::object,
};
use crate::{futex, guest::Ptr, nt::status, teb};
use std::time::Duration;

/// `WT_EXECUTEONLYONCE`. The other flags say in which thread a function is to be called; here each is called in one that may
/// take as long as it likes.
const ONCE: u32 = 8;
/// The group of timers that no queue was made for.
const DEFAULT_QUEUE: usize = 8;
/// Calls of what was ended are still being made.
const IO_PENDING: u32 = 997;

extern "win64" fn CreateTimerQueue() -> usize {
    teb::process().pool.number()
}

fn plan(function: usize, context: usize, style: Style, group: usize) -> Plan {
    Plan { function, context, style, environment: Environment::of_group(group) }
}

fn group(queue: usize) -> usize {
    if queue == 0 { DEFAULT_QUEUE } else { queue }
}

/// When a timer is due, and how long after that again.
fn times(due: u32, period: u32) -> Option<(Duration, Duration)> {
    Some((futex::now() + Duration::from_millis(due.into()), Duration::from_millis(period.into())))
}

extern "win64" fn CreateTimerQueueTimer(
    out: Ptr<usize>,
    queue: usize,
    function: usize,
    argument: usize,
    due: u32,
    period: u32,
    flags: u32,
) -> Bool {
    if out.is_null() || function == 0 {
        return fail(code::INVALID_PARAMETER);
    }
    let process = teb::process();
    let timer = process.pool.add(plan(function, argument, Style::Timer, group(queue)));
    out.set(timer); // before the function can ask
    process.pool.set_timer(timer, times(due, if flags & ONCE == 0 { period } else { 0 }));
    TRUE
}

/// A timer of one time that is over stays so. Timers are known by their numbers, whatever queue is named.
extern "win64" fn ChangeTimerQueueTimer(_queue: usize, timer: usize, due: u32, period: u32) -> Bool {
    let pool = &teb::process().pool;
    answer(match pool.has(timer, Style::Timer, 0) {
        false => Err(code::INVALID_HANDLE),
        true if !pool.is_set(timer) => Ok(()),
        true => pool.set_timer(timer, times(due, period)).map(drop).ok_or(code::INVALID_HANDLE),
    })
}

/// Ends items. Calls that are being made then are no failure for who waits for their end.
fn end(items: &[usize], done: usize) -> Bool {
    if teb::process().pool.end(items, done) { TRUE } else { fail(IO_PENDING) }
}

extern "win64" fn DeleteTimerQueueTimer(_queue: usize, timer: usize, done: usize) -> Bool {
    match teb::process().pool.has(timer, Style::Timer, 0) {
        true => end(&[timer], done),
        false => fail(code::INVALID_HANDLE),
    }
}

extern "win64" fn DeleteTimerQueueEx(queue: usize, done: usize) -> Bool {
    if queue == 0 {
        return fail(code::INVALID_HANDLE);
    }
    let timers = teb::process().pool.members(queue);
    end(&timers, done)
}

extern "win64" fn DeleteTimerQueue(queue: usize) -> Bool {
    DeleteTimerQueueEx(queue, 0)
}

/// A wait that lasts until it is ended; the caller learns its number before its function can ask.
fn register(
    out: Ptr<usize>,
    handle: usize,
    function: usize,
    context: usize,
    time: u32,
    flags: u32,
) -> Result<(), u32> {
    /// Calls that are left for the thread disturb its wait.
    const IN_IO_THREAD: u32 = 1;
    let object = object(handle)?;
    if out.is_null() || function == 0 {
        return Err(code::INVALID_PARAMETER);
    }
    let process = teb::process();
    let wait = process.pool.add(plan(function, context, Style::Wait, 0));
    out.set(wait);
    let patience = if flags & ONCE == 0 { Patience::Always(time) } else { Patience::Once(time) };
    if process.pool.watch(wait, object, patience, flags & IN_IO_THREAD != 0) {
        return Ok(());
    }
    out.set(0);
    process.pool.end(&[wait], 0);
    Err(code::NOT_ENOUGH_MEMORY)
}

extern "win64" fn RegisterWaitForSingleObject(
    out: Ptr<usize>,
    handle: usize,
    function: usize,
    context: usize,
    time: u32,
    flags: u32,
) -> Bool {
    answer(register(out, handle, function, context, time, flags))
}

extern "win64" fn UnregisterWaitEx(wait: usize, done: usize) -> Bool {
    match teb::process().pool.has(wait, Style::Wait, 0) {
        true => end(&[wait], done),
        false => fail(code::INVALID_HANDLE),
    }
}

extern "win64" fn UnregisterWait(wait: usize) -> Bool {
    UnregisterWaitEx(wait, 0)
}

// The same with statuses.

/// The status of what a function here said.
fn said(answer: Bool) -> u32 {
    match answer {
        TRUE => status::SUCCESS,
        _ if teb::with(|t| t.last_error.get()) == IO_PENDING => status::PENDING,
        _ => status::of(teb::with(|t| t.last_error.get())),
    }
}

extern "win64" fn RtlRegisterWait(
    out: Ptr<usize>,
    handle: usize,
    function: usize,
    context: usize,
    time: u32,
    flags: u32,
) -> u32 {
    register(out, handle, function, context, time, flags).map_or_else(status::of, |()| status::SUCCESS)
}

extern "win64" fn RtlDeregisterWaitEx(wait: usize, done: usize) -> u32 {
    said(UnregisterWaitEx(wait, done))
}

extern "win64" fn RtlDeregisterWait(wait: usize) -> u32 {
    said(UnregisterWait(wait))
}

extern "win64" fn RtlCreateTimerQueue(out: Ptr<usize>) -> u32 {
    if out.is_null() {
        return status::ACCESS_VIOLATION;
    }
    out.set(CreateTimerQueue());
    status::SUCCESS
}

extern "win64" fn RtlDeleteTimerQueueEx(queue: usize, done: usize) -> u32 {
    said(DeleteTimerQueueEx(queue, done))
}

extern "win64" fn RtlDeleteTimerQueue(queue: usize) -> u32 {
    said(DeleteTimerQueue(queue))
}

extern "win64" fn RtlCreateTimer(
    queue: usize,
    out: Ptr<usize>,
    function: usize,
    argument: usize,
    due: u32,
    period: u32,
    flags: u32,
) -> u32 {
    said(CreateTimerQueueTimer(out, queue, function, argument, due, period, flags))
}

extern "win64" fn RtlUpdateTimer(queue: usize, timer: usize, due: u32, period: u32) -> u32 {
    said(ChangeTimerQueueTimer(queue, timer, due, period))
}

extern "win64" fn RtlDeleteTimer(queue: usize, timer: usize, done: usize) -> u32 {
    said(DeleteTimerQueueTimer(queue, timer, done))
}

table! {
    /// Timer queues and registered waits.
    pub(crate) TABLE:
        CreateTimerQueue, CreateTimerQueueTimer, ChangeTimerQueueTimer, DeleteTimerQueueTimer, DeleteTimerQueue,
        DeleteTimerQueueEx, RegisterWaitForSingleObject, UnregisterWait, UnregisterWaitEx
}

table! {
    /// The same by ntdll.
    pub(crate) NTDLL:
        RtlRegisterWait, RtlDeregisterWait, RtlDeregisterWaitEx, RtlCreateTimerQueue, RtlDeleteTimerQueue,
        RtlDeleteTimerQueueEx, RtlCreateTimer, RtlUpdateTimer, RtlDeleteTimer
}
