//! Threads. A guest thread is a thread of the host whose start leaves a mark on its stack: `ExitThread` goes straight
//! back to that mark, past the guest's frames, as on Windows. Unsafe because of that jump and the calls into the guest.
#![allow(unsafe_code)]

use super::{Bool, TRUE, answer, error::code, fail, named::inherits, transfer::Security};
use crate::{
    Advice, Process, fiber,
    futex::{self, Deadline},
    guest::Ptr,
    lock,
    nt::{
        status,
        thread::{right, thread_for},
    },
    object::{
        CURRENT_PROCESS, CURRENT_THREAD, INHERIT, Object, STILL_ACTIVE, Thread, Wait, current_thread_id,
    },
    teb,
};
use loader_core::{ErrorKind, call::guarded};
use rustix::time::{ClockId, clock_gettime};
use std::{
    arch::naked_asm,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    thread::Builder,
};

/// Where a thread starts.
pub(crate) type Start = unsafe extern "win64" fn(usize) -> u32;

const CREATE_SUSPENDED: u32 = 4;
/// What a stack has where nothing, or less, is asked for: what the program's header would say.
pub(super) const STACK: usize = 1 << 20;
const PRIORITY_ERROR: i32 = i32::MAX;

/// More than the length of [`call_with_mark`]'s instructions; what follows them is filled up to this.
const CALL_LEN: u64 = 64;

/// Calls `start(argument)`, after noting at `mark` where [`leap`] leads.
#[unsafe(naked)]
pub(crate) unsafe extern "sysv64" fn call_with_mark(
    start: Option<Start>,
    argument: usize,
    mark: *mut usize,
) -> u32 {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 40",
        "mov [rdx], rsp",
        "mov rcx, rsi",
        "call rdi",
        "add rsp, 40",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        ".skip {len}, 0xcc",
        len = const CALL_LEN,
    )
}

/// Whether it is guest code that named what is called from here, and not the host.
pub(crate) fn calls_for_guest(at: u64) -> bool {
    at.wrapping_sub(call_with_mark as *const () as u64) < CALL_LEN
}

/// Returns from the [`call_with_mark`] that left `mark`, with `code`.
#[unsafe(naked)]
unsafe extern "sysv64" fn leap(mark: usize, code: u32) -> ! {
    naked_asm!(
        "mov rsp, rdi",
        "mov eax, esi",
        "add rsp, 40",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

/// What a new thread is given.
struct Birth {
    process: Arc<Process>,
    object: Arc<Object>,
    start: Start,
    argument: usize,
}

impl Birth {
    /// The whole life of a guest thread, on that thread.
    fn live(self) {
        let Self { process, object, start, argument } = self;
        if process.enter().is_err() {
            return object.thread_is_gone();
        }
        let thread = object.thread().expect("a thread's object is one");
        thread.adopt();
        futex::wake(&thread.id, u32::MAX >> 1);
        teb::own(|o| o.thread.replace(Some(Arc::clone(&object))));
        wait_until_resumed(thread);
        let services = process.services();
        let goes_on = || object.goes_in();
        if !services.as_ref().is_some_and(|s| s.thread_starts(&goes_on)) {
            return; // terminated before it began, or the engine is gone
        }
        if !thread.doomed.load(SeqCst) {
            run(super::calls::first, 0);
        }
        if !thread.doomed.load(SeqCst) && exit_code(&object) == Some(STILL_ACTIVE) {
            let code = run(start, argument);
            thread.facts.note_end();
            let _ = thread.exit_code.compare_exchange(STILL_ACTIVE, code, SeqCst, SeqCst);
        }
        // A thread that was terminated tells nobody: what it would tell may be gone.
        if !thread.doomed.load(SeqCst) {
            super::tls::run_callbacks();
            object.comes_out();
            services.iter().for_each(|s| s.thread_ends(&goes_on));
        }
    }
}

/// Runs the guest's function. An exception that nobody handles ends the thread, with its code; on Windows, the process.
fn run(start: Start, argument: usize) -> u32 {
    let mark = teb::own_place(|o| &o.escape);
    // SAFETY: the guest passed a thread function, as `CreateThread` asks; the mark lives as long as the thread.
    let ended = guarded(|| unsafe { call_with_mark(Some(start), argument, mark) });
    teb::own(|o| o.escape.set(0));
    ended.unwrap_or_else(|error| {
        teb::process().services().iter().for_each(|s| s.thread_failed(&error));
        match error {
            ErrorKind::Exception(exception) => exception.code,
            other => other.win32(),
        }
    })
}

/// Sleeps until the thread's count is zero. For signal handlers, too.
pub(super) fn wait_until_resumed(thread: &Thread) {
    loop {
        match thread.suspended.load(SeqCst) {
            0 => return,
            n => futex::wait(&thread.suspended, n, Deadline::after(u32::MAX)),
        }
    }
}

/// Starts a thread and returns it with its number.
pub(crate) fn create(
    stack: usize,
    start: Option<Start>,
    argument: usize,
    flags: u32,
) -> Result<(Arc<Object>, u32), u32> {
    let start = start.ok_or(code::INVALID_PARAMETER)?;
    let process = teb::process();
    process.note("CreateThread", Advice::Risky)?;
    let object = spawn(&process, stack, start, argument, flags)?;
    let id = wait_for_id(&object);
    Ok((object, id))
}

/// Starts a thread, and nobody is told.
pub(crate) fn spawn(
    process: &Arc<Process>,
    stack: usize,
    start: Start,
    argument: usize,
    flags: u32,
) -> Result<Arc<Object>, u32> {
    let object = process.objects.new_thread((flags & CREATE_SUSPENDED != 0).into());
    let birth = Birth { process: Arc::clone(process), object: Arc::clone(&object), start, argument };
    let host = Builder::new().name("guest".into()).stack_size(stack.max(STACK)).spawn(move || birth.live());
    let host = host.map_err(|_| code::NOT_ENOUGH_MEMORY)?;
    if let Some(thread) = object.thread() {
        thread.facts.start.store(start as *const () as usize, SeqCst);
        *lock(&thread.host) = Some(host);
    }
    Ok(object)
}

fn wait_for_id(object: &Object) -> u32 {
    let nobody = AtomicU32::new(0);
    let id = object.thread().map_or(&nobody, |t| &t.id);
    while id.load(SeqCst) == 0 && exit_code(object) == Some(STILL_ACTIVE) {
        futex::wait(id, 0, Deadline::after(10));
    }
    id.load(SeqCst)
}

fn exit_code(object: &Object) -> Option<u32> {
    object.thread().map(|t| t.exit_code.load(SeqCst))
}

pub(crate) extern "win64" fn CreateThread(
    security: Ptr<Security>,
    stack: usize,
    start: Option<Start>,
    argument: usize,
    flags: u32,
    id: Ptr<u32>,
) -> usize {
    match create(stack, start, argument, flags) {
        Ok((object, number)) => {
            id.put(number);
            let objects = &teb::process().objects;
            let handle = objects.add(object);
            objects.set_flags(handle, INHERIT, inherits(security).into());
            handle
        }
        Err(code) => fail(code) as usize,
    }
}

/// Ends the calling thread. A thread of the host has no start to go back to: for it this returns, and the last error
/// says that it was refused.
pub(crate) fn exit(code: u32) {
    let mark = teb::own(|o| {
        o.thread.borrow().iter().filter_map(|t| t.thread()).for_each(|t| t.exit_code.store(code, SeqCst));
        o.escape.get()
    });
    if mark == 0 {
        fail(code::ACCESS_DENIED);
        return;
    }
    drop(fiber::go_home());
    // SAFETY: the mark was left by `run` on the thread's own stack, which is still in that call; what lies in between are
    // frames of the guest and of functions that own nothing.
    unsafe { leap(mark, code) }
}

extern "win64" fn ExitThread(code: u32) {
    exit(code);
}

/// Ends the calling thread because somebody called `TerminateThread` for it.
pub(crate) fn end_doomed() {
    let code = teb::own(|o| o.thread.borrow().as_deref().and_then(exit_code));
    exit(code.unwrap_or(0));
}

/// The thread ends at its next wait. One that makes none within a moment is not ended, and the caller is told so.
pub(crate) extern "win64" fn TerminateThread(handle: usize, exit_code: u32) -> Bool {
    let object = match thread_for(handle, right::TERMINATE) {
        Ok(object) => object,
        Err(status) => return fail(status::dos_error(status)),
    };
    let Some(thread) = object.thread() else {
        return fail(code::INVALID_HANDLE);
    };
    if thread.id.load(SeqCst) == current_thread_id() {
        drop(object);
        exit(exit_code);
        return super::FALSE;
    }
    object.doom(exit_code);
    thread.suspended.store(0, SeqCst);
    futex::wake(&thread.suspended, 1);
    let end =
        Wait { objects: &[Arc::clone(&object)], all: false, until: Deadline::after(200), alertable: false };
    let ended = teb::process().objects.wait(&end);
    answer(match ended {
        crate::object::Waited::Object(_) => Ok(()),
        _ => Err(code::ACCESS_DENIED),
    })
}

pub(crate) extern "win64" fn ResumeThread(handle: usize) -> u32 {
    with_thread(handle, right::SUSPEND_RESUME, u32::MAX, |t| {
        let before = t.suspended.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1));
        futex::wake(&t.suspended, 1);
        before.unwrap_or(0)
    })
}

/// Whether a handle is of the thread that asks, which it must be good for.
pub(crate) fn is_current(handle: usize, right: u32) -> Result<bool, u32> {
    let object = thread_for(handle, right).map_err(status::dos_error)?;
    object.thread().map(|thread| thread.id.load(SeqCst) == current_thread_id()).ok_or(code::INVALID_HANDLE)
}

/// Runs `f` on a thread's state, where the handle gives the right, or fails with `otherwise`.
pub(super) fn with_thread<R>(handle: usize, right: u32, otherwise: R, f: impl FnOnce(&Thread) -> R) -> R {
    match thread_for(handle, right) {
        Ok(o) => o.thread().map_or(otherwise, f),
        Err(status) => {
            fail(status::dos_error(status));
            otherwise
        }
    }
}

extern "win64" fn GetExitCodeThread(handle: usize, out: Ptr<u32>) -> Bool {
    with_thread(handle, right::QUERY_LIMITED, super::FALSE, |t| {
        out.put(t.exit_code.load(SeqCst));
        TRUE
    })
}

extern "win64" fn GetThreadId(handle: usize) -> u32 {
    with_thread(handle, right::QUERY_LIMITED, 0, |t| t.id.load(SeqCst))
}

extern "win64" fn GetThreadPriority(handle: usize) -> i32 {
    with_thread(handle, right::QUERY_LIMITED, PRIORITY_ERROR, |t| t.priority.load(SeqCst))
}

/// The priority is kept, and given to the host as far as the host allows it to an ordinary user (downwards).
pub(crate) fn set_priority(thread: &Thread, priority: i32) -> Result<(), u32> {
    let nice = match priority {
        -15 => 19,
        -2 => 10,
        -1 => 5,
        0 => 0,
        1 => -5,
        2 => -10,
        15 => -20,
        _ => return Err(code::INVALID_PARAMETER),
    };
    thread.priority.store(priority, SeqCst);
    // SAFETY: names a thread by number; a wrong number is an error without effect.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, thread.id.load(SeqCst), nice) };
    Ok(())
}

extern "win64" fn SetThreadPriority(handle: usize, priority: i32) -> Bool {
    with_thread(handle, right::SET_LIMITED, super::FALSE, |t| answer(set_priority(t, priority)))
}

extern "win64" fn GetCurrentThread() -> usize {
    CURRENT_THREAD
}

extern "win64" fn GetCurrentThreadId() -> u32 {
    current_thread_id()
}

extern "win64" fn GetCurrentProcess() -> usize {
    CURRENT_PROCESS
}

pub(crate) extern "win64" fn GetCurrentProcessId() -> u32 {
    std::process::id()
}

/// Times as counts of 100 ns: created, ended, in the kernel, in user code.
extern "win64" fn GetThreadTimes(
    handle: usize,
    created: Ptr<i64>,
    ended: Ptr<i64>,
    kernel: Ptr<i64>,
    user: Ptr<i64>,
) -> Bool {
    with_thread(handle, right::QUERY_LIMITED, super::FALSE, |t| {
        for (out, time) in [created, ended, kernel, user].into_iter().zip(t.times()) {
            out.put(time);
        }
        TRUE
    })
}

/// The same for all threads of this process.
extern "win64" fn GetProcessTimes(
    handle: usize,
    created: Ptr<u64>,
    ended: Ptr<u64>,
    kernel: Ptr<u64>,
    user: Ptr<u64>,
) -> Bool {
    answer(super::system::is_this_process(handle).map(|()| {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the structure is written to, and zeros are valid where it is not.
        unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
        // SAFETY: as above.
        let usage = unsafe { usage.assume_init() };
        let hundred_ns =
            |t: libc::timeval| t.tv_sec.cast_unsigned() * 10_000_000 + t.tv_usec.cast_unsigned() * 10;
        created.put(started().unwrap_or(0));
        ended.put(0);
        kernel.put(hundred_ns(usage.ru_stime));
        user.put(hundred_ns(usage.ru_utime));
    }))
}

/// When this process was started, as Windows counts it.
fn started() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let ticks: u64 = stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()?;
    let since_boot = ticks * (10_000_000 / rustix::param::clock_ticks_per_second().max(1));
    let booted = clock_gettime(ClockId::Boottime);
    let now = booted.tv_sec.cast_unsigned() * 10_000_000 + booted.tv_nsec.cast_unsigned() / 100;
    super::time::file_time().cast_unsigned().checked_sub(now.checked_sub(since_boot)?)
}

/// `_beginthreadex`: as `CreateThread`, with the C library's error number.
pub(crate) extern "win64" fn _beginthreadex(
    security: Ptr<Security>,
    stack: u32,
    start: Option<Start>,
    argument: usize,
    flags: u32,
    id: Ptr<u32>,
) -> usize {
    let handle = CreateThread(security, stack as usize, start, argument, flags, id);
    if handle == 0 {
        crate::crt::set_errno(22); // EINVAL
    }
    handle
}

/// `_beginthread`. Its handle stays open: callers must not close it, and may still wait for it after the thread's end.
pub(crate) extern "win64" fn _beginthread(start: Option<Start>, stack: u32, argument: usize) -> usize {
    _beginthreadex(Ptr::NULL, stack, start, argument, 0, Ptr::NULL)
}

pub(crate) extern "win64" fn _endthreadex(code: u32) {
    exit(code);
}

pub(crate) extern "win64" fn _endthread() {
    exit(0);
}

extern "win64" fn GetCurrentThreadStackLimits(low: Ptr<u64>, high: Ptr<u64>) {
    let stack = teb::own(|o| o.fibers.current().stack.all());
    low.put(stack.start);
    high.put(stack.end);
}

/// How much of the stack handlers of its overflow have at least, in whole pages; it never becomes less. All have more than what
/// can be asked for.
extern "win64" fn SetThreadStackGuarantee(bytes: Ptr<u32>) -> Bool {
    const KEPT: u32 = crate::stack::KEPT as u32;
    const PAGE: u32 = 4096;
    let before = teb::with(|t| t.guaranteed_stack.get());
    let wanted = bytes.get();
    bytes.set(before);
    if wanted > KEPT {
        return fail(code::INVALID_PARAMETER);
    }
    if wanted != 0 {
        let wanted = wanted.next_multiple_of(PAGE).max(2 * PAGE);
        teb::with(|t| t.guaranteed_stack.set(before.max(wanted)));
    }
    TRUE
}

table! {
    /// Threads.
    pub(crate) TABLE:
        CreateThread, ExitThread, TerminateThread, ResumeThread, GetExitCodeThread, GetThreadId, GetThreadPriority,
        SetThreadPriority, GetCurrentThread, GetCurrentThreadId, GetCurrentProcess, GetCurrentProcessId, GetThreadTimes,
        GetProcessTimes, GetCurrentThreadStackLimits, SetThreadStackGuarantee
}
