//! The thread pool's functions, as KERNEL32 and ntdll have them.

use super::{
    Bool, FALSE, TRUE,
    error::code,
    fail,
    opened::Told,
    pool::{Environment, Instance, Patience, Plan, Style, call},
    sync::Section,
    timer::moment,
    wait::object,
};
use crate::{
    guest::Ptr,
    nt::status::{self, INVALID_PARAMETER, SUCCESS},
    object::Kind,
    teb,
};
use std::{sync::atomic::Ordering::Relaxed, time::Duration};

/// What the caller says of a new item; an environment of a kind that there is not is refused.
fn plan(function: usize, context: usize, environment: Ptr<Environment>, style: Style) -> Result<Plan, u32> {
    const PRIORITIES: u32 = 3;
    let environment = if environment.is_null() { Environment::of_group(0) } else { environment.get() };
    let known = match environment.version {
        1 | 2 => true,
        3 => environment.priority < PRIORITIES,
        _ => false,
    };
    if known && function != 0 {
        Ok(Plan { function, context, style, environment })
    } else {
        Err(INVALID_PARAMETER)
    }
}

/// A new item.
fn item(function: usize, context: usize, environment: Ptr<Environment>, style: Style) -> Result<usize, u32> {
    plan(function, context, environment, style).map(|plan| teb::process().pool.add(plan))
}

/// A number, as KERNEL32 gives it.
fn or_null(result: Result<usize, u32>) -> usize {
    result.unwrap_or_else(|status| fail(status::dos_error(status)) as usize)
}

/// A number, as ntdll gives it.
fn given(out: Ptr<usize>, result: Result<usize, u32>) -> u32 {
    match result {
        Ok(number) => {
            out.put(number);
            SUCCESS
        }
        Err(status) => status,
    }
}

// Work.

extern "win64" fn CreateThreadpoolWork(
    function: usize,
    context: usize,
    environment: Ptr<Environment>,
) -> usize {
    or_null(item(function, context, environment, Style::Instance))
}

/// Work, timers and waits are all the same until they are used.
extern "win64" fn TpAllocWork(
    out: Ptr<usize>,
    function: usize,
    context: usize,
    environment: Ptr<Environment>,
) -> u32 {
    given(out, item(function, context, environment, Style::Instance))
}

extern "win64" fn SubmitThreadpoolWork(id: usize) {
    teb::process().pool.call(id);
}

extern "win64" fn WaitForThreadpoolWorkCallbacks(id: usize, cancel: Bool) {
    teb::process().pool.drain(id, cancel != FALSE);
}

extern "win64" fn CloseThreadpoolWork(id: usize) {
    teb::process().pool.close(id);
}

extern "win64" fn TpSimpleTryPost(function: usize, context: usize, environment: Ptr<Environment>) -> u32 {
    match plan(function, context, environment, Style::Instance) {
        Ok(plan) => {
            teb::process().pool.call_once(plan);
            SUCCESS
        }
        Err(status) => status,
    }
}

extern "win64" fn TrySubmitThreadpoolCallback(
    function: usize,
    context: usize,
    environment: Ptr<Environment>,
) -> Bool {
    match TpSimpleTryPost(function, context, environment) {
        SUCCESS => TRUE,
        status => fail(status::dos_error(status)),
    }
}

extern "win64" fn RtlQueueWorkItem(function: usize, context: usize, _flags: u32) -> u32 {
    match plan(function, context, Ptr::NULL, Style::Timer) {
        Ok(plan) => {
            teb::process().pool.call_once(plan);
            SUCCESS
        }
        Err(status) => status,
    }
}

extern "win64" fn QueueUserWorkItem(function: usize, context: usize, flags: u32) -> Bool {
    match RtlQueueWorkItem(function, context, flags) {
        SUCCESS => TRUE,
        status => fail(status::dos_error(status)),
    }
}

// Timers.

/// No time disarms a timer; whether it was armed is the answer.
extern "win64" fn SetThreadpoolTimerEx(id: usize, due: Ptr<i64>, period: u32, _window: u32) -> Bool {
    let times = (!due.is_null()).then(|| (moment(due.get()), Duration::from_millis(period.into())));
    teb::process().pool.set_timer(id, times).unwrap_or(false).into()
}

extern "win64" fn SetThreadpoolTimer(id: usize, due: Ptr<i64>, period: u32, window: u32) {
    SetThreadpoolTimerEx(id, due, period, window);
}

/// One that was set stays so when its time has come.
extern "win64" fn IsThreadpoolTimerSet(id: usize) -> Bool {
    teb::process().pool.was_set(id).into()
}

// Waits.

/// No object gives the wait up; whether there was one is the answer.
extern "win64" fn SetThreadpoolWaitEx(id: usize, handle: usize, timeout: Ptr<i64>, _reserved: usize) -> Bool {
    let process = teb::process();
    let armed = process.pool.disarm(id);
    if let Some(object) = (handle != 0).then(|| object(handle).ok()).flatten() {
        let due = (!timeout.is_null()).then(|| moment(timeout.get()));
        process.pool.watch(id, object, Patience::Until(due), false);
    }
    armed.into()
}

extern "win64" fn SetThreadpoolWait(id: usize, handle: usize, timeout: Ptr<i64>) {
    SetThreadpoolWaitEx(id, handle, timeout, 0);
}

// Transfers of files.

/// An item that is called for what is done with a file from now on.
fn of_file(
    file: usize,
    function: usize,
    context: usize,
    environment: Ptr<Environment>,
    style: Style,
) -> Result<usize, u32> {
    let plan = plan(function, context, environment, style)?;
    let file = object(file).map_err(status::of)?;
    if !matches!(file.kind, Kind::File(_)) {
        return Err(status::OBJECT_TYPE_MISMATCH);
    }
    if file.opened.told.get().is_some() || !file.opened.overlapped.load(Relaxed) {
        return Err(INVALID_PARAMETER);
    }
    let pool = &teb::process().pool;
    let id = pool.add(plan);
    file.opened.told.set(Told::Item(id)).map(|()| id).map_err(|_| {
        pool.close(id);
        INVALID_PARAMETER
    })
}

extern "win64" fn CreateThreadpoolIo(
    file: usize,
    function: usize,
    context: usize,
    environment: Ptr<Environment>,
) -> usize {
    or_null(of_file(file, function, context, environment, Style::File))
}

extern "win64" fn TpAllocIoCompletion(
    out: Ptr<usize>,
    file: usize,
    function: usize,
    context: usize,
    environment: Ptr<Environment>,
) -> u32 {
    given(out, of_file(file, function, context, environment, Style::NtFile))
}

extern "win64" fn BindIoCompletionCallback(file: usize, function: usize, flags: u32) -> Bool {
    if flags != 0 {
        return fail(code::INVALID_PARAMETER);
    }
    match of_file(file, function, 0, Ptr::NULL, Style::Bound) {
        Ok(_) => TRUE,
        Err(status) => fail(status::dos_error(status)),
    }
}

extern "win64" fn StartThreadpoolIo(id: usize) {
    teb::process().pool.announce(id, true);
}

extern "win64" fn CancelThreadpoolIo(id: usize) {
    teb::process().pool.announce(id, false);
}

// Pools and groups, which are numbers.

extern "win64" fn CreateThreadpool(_reserved: usize) -> usize {
    teb::process().pool.number()
}

extern "win64" fn TpAllocPool(out: Ptr<usize>, _reserved: usize) -> u32 {
    given(out, Ok(teb::process().pool.number()))
}

extern "win64" fn TpAllocCleanupGroup(out: Ptr<usize>) -> u32 {
    TpAllocPool(out, 0)
}

extern "win64" fn CloseThreadpool(pool: usize) {
    teb::process().pool.unlimit(pool);
}

/// Its members were closed before.
extern "win64" fn CloseThreadpoolCleanupGroup(_group: usize) {}

extern "win64" fn SetThreadpoolThreadMaximum(pool: usize, most: u32) {
    teb::process().pool.limit(pool, most);
}

/// Threads are there as soon as they are wanted.
extern "win64" fn SetThreadpoolThreadMinimum(_pool: usize, _least: u32) -> Bool {
    TRUE
}

extern "win64" fn TpSetPoolMinThreads(_pool: usize, _least: u32) -> u32 {
    SUCCESS
}

/// Waits for all calls of a group's members and closes them.
extern "win64" fn CloseThreadpoolCleanupGroupMembers(group: usize, cancel: Bool, cleanup: usize) {
    let process = teb::process();
    for id in process.pool.members(group) {
        let told = process.pool.dismiss(id, cancel != FALSE);
        if let Some((function, context)) = told {
            call(function, [context, cleanup, 0, 0, 0, 0]);
        }
    }
}

// What a call wants done when it has returned.

extern "win64" fn SetEventWhenCallbackReturns(instance: Ptr<Instance>, event: usize) {
    instance.shared().event.set(event);
}

extern "win64" fn ReleaseSemaphoreWhenCallbackReturns(instance: Ptr<Instance>, semaphore: usize, count: i32) {
    instance.shared().semaphore.set((semaphore, count));
}

extern "win64" fn ReleaseMutexWhenCallbackReturns(instance: Ptr<Instance>, mutex: usize) {
    instance.shared().mutex.set(mutex);
}

extern "win64" fn LeaveCriticalSectionWhenCallbackReturns(instance: Ptr<Instance>, section: Ptr<Section>) {
    instance.shared().section.set(section.addr());
}

extern "win64" fn FreeLibraryWhenCallbackReturns(instance: Ptr<Instance>, library: usize) {
    instance.shared().library.set(library);
}

/// Who waits for the item's calls waits no longer for this one.
extern "win64" fn DisassociateCurrentThreadFromCallback(instance: Ptr<Instance>) {
    teb::process().pool.let_go(instance.shared().item);
}

/// A thread more is made whenever one is wanted, if the pool may have one more.
extern "win64" fn TpCallbackMayRunLong(instance: Ptr<Instance>) -> u32 {
    const TOO_MANY_THREADS: u32 = 0xc000_0129;
    if teb::process().pool.is_busy(instance.shared().pool) { TOO_MANY_THREADS } else { SUCCESS }
}

extern "win64" fn CallbackMayRunLong(instance: Ptr<Instance>) -> Bool {
    (TpCallbackMayRunLong(instance) == SUCCESS).into()
}

table! {
    /// The thread pool.
    pub(crate) TABLE:
        CreateThreadpoolWork, SubmitThreadpoolWork, WaitForThreadpoolWorkCallbacks, CloseThreadpoolWork,
        TrySubmitThreadpoolCallback, QueueUserWorkItem, CreateThreadpoolTimer = CreateThreadpoolWork, SetThreadpoolTimer,
        SetThreadpoolTimerEx, IsThreadpoolTimerSet, WaitForThreadpoolTimerCallbacks = WaitForThreadpoolWorkCallbacks,
        CloseThreadpoolTimer = CloseThreadpoolWork, CreateThreadpoolWait = CreateThreadpoolWork, SetThreadpoolWait,
        SetThreadpoolWaitEx, WaitForThreadpoolWaitCallbacks = WaitForThreadpoolWorkCallbacks,
        CloseThreadpoolWait = CloseThreadpoolWork, CreateThreadpoolIo, StartThreadpoolIo, CancelThreadpoolIo,
        WaitForThreadpoolIoCallbacks = WaitForThreadpoolWorkCallbacks, CloseThreadpoolIo = CloseThreadpoolWork,
        BindIoCompletionCallback, CreateThreadpool, CloseThreadpool, SetThreadpoolThreadMaximum,
        SetThreadpoolThreadMinimum, CreateThreadpoolCleanupGroup = CreateThreadpool, CloseThreadpoolCleanupGroup,
        CloseThreadpoolCleanupGroupMembers, SetEventWhenCallbackReturns, ReleaseSemaphoreWhenCallbackReturns,
        ReleaseMutexWhenCallbackReturns, LeaveCriticalSectionWhenCallbackReturns, FreeLibraryWhenCallbackReturns,
        DisassociateCurrentThreadFromCallback, CallbackMayRunLong
}

table! {
    /// The same by ntdll.
    pub(crate) NTDLL:
        TpAllocWork, TpPostWork = SubmitThreadpoolWork, TpWaitForWork = WaitForThreadpoolWorkCallbacks,
        TpReleaseWork = CloseThreadpoolWork, TpSimpleTryPost, RtlQueueWorkItem, TpAllocTimer = TpAllocWork,
        TpSetTimer = SetThreadpoolTimer, TpSetTimerEx = SetThreadpoolTimerEx, TpIsTimerSet = IsThreadpoolTimerSet,
        TpWaitForTimer = WaitForThreadpoolWorkCallbacks, TpReleaseTimer = CloseThreadpoolWork, TpAllocWait = TpAllocWork,
        TpSetWait = SetThreadpoolWait, TpSetWaitEx = SetThreadpoolWaitEx, TpWaitForWait = WaitForThreadpoolWorkCallbacks,
        TpReleaseWait = CloseThreadpoolWork, TpAllocIoCompletion, TpStartAsyncIoOperation = StartThreadpoolIo,
        TpCancelAsyncIoOperation = CancelThreadpoolIo, TpWaitForIoCompletion = WaitForThreadpoolWorkCallbacks,
        TpReleaseIoCompletion = CloseThreadpoolWork, TpAllocPool, TpReleasePool = CloseThreadpool,
        TpSetPoolMaxThreads = SetThreadpoolThreadMaximum, TpSetPoolMinThreads, TpAllocCleanupGroup,
        TpReleaseCleanupGroup = CloseThreadpoolCleanupGroup,
        TpReleaseCleanupGroupMembers = CloseThreadpoolCleanupGroupMembers,
        TpCallbackSetEventOnCompletion = SetEventWhenCallbackReturns,
        TpCallbackReleaseSemaphoreOnCompletion = ReleaseSemaphoreWhenCallbackReturns,
        TpCallbackReleaseMutexOnCompletion = ReleaseMutexWhenCallbackReturns,
        TpCallbackLeaveCriticalSectionOnCompletion = LeaveCriticalSectionWhenCallbackReturns,
        TpCallbackUnloadDllOnCompletion = FreeLibraryWhenCallbackReturns,
        TpDisassociateCallback = DisassociateCurrentThreadFromCallback, TpCallbackMayRunLong
}
