//! Threads by their NT names: made, opened, stopped, ended, called; and what can be said of one and asked of it.

use super::{
    file::Attributes,
    objects::{done, give, object_for},
    status::{self, ACCESS_VIOLATION, INVALID_PARAMETER, SUCCESS},
};
use crate::{
    guest::Ptr,
    kernel32::{
        calls,
        processors::{all as all_processors, change as set_processors},
        suspend::SuspendThread,
        system::is_this_process,
        thread::{self, ResumeThread, Start, TerminateThread, set_priority},
        time::file_time,
        wait::SwitchToThread,
    },
    lock,
    object::{Call, Object, Thread, current_thread_id},
    rtl::counted::Text,
    teb,
};
use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
};

/// What a handle of a thread may be used for.
pub(crate) mod right {
    pub(crate) const TERMINATE: u32 = 1;
    pub(crate) const SUSPEND_RESUME: u32 = 2;
    pub(crate) const GET_CONTEXT: u32 = 8;
    pub(crate) const SET_CONTEXT: u32 = 0x10;
    pub(crate) const SET: u32 = 0x20;
    pub(crate) const QUERY: u32 = 0x40;
    /// [`SET`] is more than this.
    pub(crate) const SET_LIMITED: u32 = 0x400;
    /// [`QUERY`] is more than this.
    pub(crate) const QUERY_LIMITED: u32 = 0x800;
}

/// What can be asked of a thread that no wait depends on.
#[derive(Default)]
pub(crate) struct Facts {
    /// When it was made and when it ended, as file times.
    pub created: AtomicI64,
    pub ended: AtomicI64,
    /// What it had used of the processor when it ended, in the kernel and outside.
    used: [AtomicI64; 2],
    /// The function that it began with.
    pub start: AtomicUsize,
    /// Its thread block.
    pub block: AtomicUsize,
    /// What it was called.
    pub description: Mutex<Vec<u16>>,
    /// Its priority is not raised for a while when what it waited for comes.
    pub unboosted: AtomicBool,
    /// Debuggers learn nothing of it.
    pub hidden: AtomicBool,
    /// The processor that it would like best.
    pub ideal: AtomicU32,
}

impl Facts {
    /// The calling thread, whose facts these are, comes to its end.
    pub(crate) fn note_end(&self) {
        let own = of_host(current_thread_id()).unwrap_or_default();
        self.used.iter().zip(own).for_each(|(to, time)| to.store(time, Relaxed));
        self.ended.store(file_time(), Relaxed);
    }
}

impl Thread {
    /// When it was made and when it ended, and how long it was in the kernel and outside.
    pub(crate) fn times(&self) -> [i64; 4] {
        let Facts { created, ended, used, .. } = &self.facts;
        let [created, ended] = [created, ended].map(|time| time.load(Relaxed));
        let running = if ended == 0 { of_host(self.id.load(Relaxed)) } else { None };
        let [kernel, user] = running.unwrap_or_else(|| used.each_ref().map(|time| time.load(Relaxed)));
        [created, ended, kernel, user]
    }
}

/// A thread's times in the kernel and in user code, as the kernel tells them.
fn of_host(id: u32) -> Option<[i64; 2]> {
    let stat = fs::read_to_string(format!("/proc/self/task/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i)?.parse::<i64>().ok();
    let second = i64::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100).max(1);
    let hundred_ns = |t: i64| t.saturating_mul(10_000_000) / second;
    Some([hundred_ns(ticks(12)?), hundred_ns(ticks(11)?)])
}

/// The thread behind a handle that gives the right. Errors are statuses.
pub(crate) fn thread_for(handle: usize, wanted: u32) -> Result<Arc<Object>, u32> {
    let object = object_for(handle, 0)?;
    if object.thread().is_none() {
        return Err(status::OBJECT_TYPE_MISMATCH);
    }
    let granted = teb::process().objects.access(handle).unwrap_or(0);
    let more = |all, part| if granted & all != 0 { part } else { 0 };
    let granted = granted | more(right::SET, right::SET_LIMITED) | more(right::QUERY, right::QUERY_LIMITED);
    if granted & wanted == wanted { Ok(object) } else { Err(status::ACCESS_DENIED) }
}

/// `CLIENT_ID`: the numbers of a process and a thread.
type ClientId = [usize; 2];

/// One attribute of a `PS_ATTRIBUTE_LIST`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Attribute {
    kind: usize,
    size: usize,
    to: Ptr<usize>,
    len: Ptr<usize>,
}

/// What the caller of `NtCreateThreadEx` wants to know: the thread's numbers, its block.
fn tell(list: Ptr<usize>, thread: &Thread) -> Result<(), u32> {
    const CLIENT_ID: usize = 0x1_0003;
    const BLOCK: usize = 0x1_0004;
    if list.is_null() {
        return Ok(());
    }
    let n = list.get().saturating_sub(8) / size_of::<Attribute>();
    let first = list.at(1).cast::<Attribute>();
    for attribute in (0..n).map(|nth| first.at(nth).get()) {
        let words: &[usize] = match attribute.kind {
            CLIENT_ID => &[std::process::id() as usize, thread.id.load(Relaxed) as usize],
            BLOCK => &[thread.facts.block.load(Relaxed)],
            _ => return Err(INVALID_PARAMETER),
        };
        if attribute.size < size_of_val(words) || attribute.to.is_null() {
            return Err(INVALID_PARAMETER);
        }
        attribute.to.fill(words);
        attribute.len.put(size_of_val(words));
    }
    Ok(())
}

const CREATE_SUSPENDED: u32 = 4;

extern "win64" fn NtCreateThreadEx(
    out: Ptr<usize>,
    access: u32,
    attributes: Ptr<Attributes>,
    process: usize,
    start: Option<Start>,
    argument: usize,
    flags: u32,
    _zero_bits: usize,
    commit: usize,
    reserve: usize,
    list: Ptr<usize>,
) -> u32 {
    const SUSPENDED: u32 = 1;
    const HIDDEN: u32 = 4;
    if out.is_null() {
        return ACCESS_VIOLATION;
    }
    out.set(0);
    let suspended = if flags & SUSPENDED != 0 { CREATE_SUSPENDED } else { 0 };
    let made = is_this_process(process).and_then(|()| {
        // It waits until all is known of it.
        thread::create(commit.max(reserve), start, argument, CREATE_SUSPENDED)
    });
    done(made.map_err(status::of).and_then(|(object, _)| {
        let Some(thread) = object.thread() else { return Err(INVALID_PARAMETER) };
        thread.facts.hidden.store(flags & HIDDEN != 0, Relaxed);
        let told = tell(list, thread);
        give(out, Arc::clone(&object), access, attributes);
        if told.is_err() {
            TerminateThread(out.get(), 0);
        }
        if suspended == 0 || told.is_err() {
            ResumeThread(out.get());
        }
        told
    }))
}

extern "win64" fn RtlCreateUserThread(
    process: usize,
    _descriptor: usize,
    suspended: u8,
    _zero_bits: usize,
    reserve: usize,
    commit: usize,
    start: Option<Start>,
    argument: usize,
    out: Ptr<usize>,
    id: Ptr<ClientId>,
) -> u32 {
    let flags = if suspended == 0 { 0 } else { CREATE_SUSPENDED };
    let made =
        is_this_process(process).and_then(|()| thread::create(commit.max(reserve), start, argument, flags));
    done(made.map_err(status::of).map(|(object, number)| {
        id.put([std::process::id() as usize, number as usize]);
        if !out.is_null() {
            out.set(teb::process().objects.add(object));
        }
    }))
}

/// Threads of other processes have no handles here.
extern "win64" fn NtOpenThread(
    out: Ptr<usize>,
    access: u32,
    attributes: Ptr<Attributes>,
    id: Ptr<ClientId>,
) -> u32 {
    if out.is_null() || id.is_null() {
        return ACCESS_VIOLATION;
    }
    out.set(0);
    let [process, thread] = id.get();
    let thread = u32::try_from(thread).ok().filter(|_| [0, std::process::id() as usize].contains(&process));
    match thread.and_then(open) {
        Some(object) => {
            give(out, object, access, attributes);
            SUCCESS
        }
        None => status::INVALID_CID,
    }
}

/// The thread of that number.
pub(crate) fn open(id: u32) -> Option<Arc<Object>> {
    let objects = &teb::process().objects;
    match id {
        0 => None,
        id if id == current_thread_id() => Some(objects.current_thread()),
        id => objects.known_thread(id),
    }
}

/// What a function of KERNEL32 said that answers with the count before, or the greatest number.
fn counted(answer: u32, before: Ptr<u32>) -> u32 {
    if answer == u32::MAX {
        return status::last();
    }
    before.put(answer);
    SUCCESS
}

extern "win64" fn NtSuspendThread(handle: usize, before: Ptr<u32>) -> u32 {
    counted(SuspendThread(handle), before)
}

extern "win64" fn NtResumeThread(handle: usize, before: Ptr<u32>) -> u32 {
    counted(ResumeThread(handle), before)
}

extern "win64" fn NtTerminateThread(handle: usize, code: u32) -> u32 {
    if handle == 0 {
        thread::exit(code);
        return status::CANT_TERMINATE_SELF;
    }
    if TerminateThread(handle, code) == 0 { status::last() } else { SUCCESS }
}

extern "win64" fn RtlExitUserThread(code: u32) {
    thread::exit(code);
}

extern "win64" fn NtQueueApcThread(handle: usize, function: usize, a: usize, b: usize, c: usize) -> u32 {
    done(thread_for(handle, right::SET_CONTEXT).and_then(|object| {
        if function == 0 && object.thread().is_some_and(|t| !t.is_gone()) {
            return Ok(()); // there is nothing to call
        }
        let left = object.call(Call { function, arguments: [a, b, c] });
        if left { Ok(()) } else { Err(status::UNSUCCESSFUL) } // it has ended
    }))
}

/// Makes the calls that are left for the calling thread.
extern "win64" fn NtTestAlert() -> u32 {
    calls::make();
    SUCCESS
}

extern "win64" fn NtYieldExecution() -> u32 {
    SwitchToThread();
    SUCCESS
}

/// Sets something of a thread.
extern "win64" fn NtSetInformationThread(handle: usize, class: u32, from: Ptr<u32>, len: u32) -> u32 {
    const BASE_PRIORITY: u32 = 3;
    const AFFINITY: u32 = 4;
    const IMPERSONATION: u32 = 5;
    const PRIORITY_BOOST: u32 = 14;
    const HIDE: u32 = 17;
    const GROUP: u32 = 30;
    const NAME: u32 = 38;
    let (size, right) = match class {
        BASE_PRIORITY | PRIORITY_BOOST => (4, right::SET_LIMITED),
        AFFINITY => (8, right::SET_LIMITED),
        IMPERSONATION => (8, 0x80),
        HIDE => (0, right::SET),
        GROUP => (16, right::SET_LIMITED),
        NAME => (16, right::SET_LIMITED),
        _ => return status::INVALID_INFO_CLASS,
    };
    if len != size {
        return status::INFO_LENGTH_MISMATCH;
    }
    if size != 0 && from.is_null() {
        return ACCESS_VIOLATION;
    }
    let wide = || from.cast::<u64>().get();
    done(thread_for(handle, right).and_then(|object| {
        let Some(thread) = object.thread() else { return Err(status::OBJECT_TYPE_MISMATCH) };
        match class {
            BASE_PRIORITY => set_priority(thread, from.get().cast_signed()).map_err(status::of),
            // All that a mask of 32 bits can name are all that there are.
            AFFINITY if wide() as u32 == u32::MAX => {
                set_processors(thread, all_processors()).map(drop).map_err(status::of)
            }
            AFFINITY => set_processors(thread, wide()).map(drop).map_err(status::of),
            PRIORITY_BOOST => {
                thread.facts.unboosted.store(from.get() != 0, Relaxed);
                Ok(())
            }
            HIDE => {
                thread.facts.hidden.store(true, Relaxed);
                Ok(())
            }
            // Everybody acts for the user whose process this is; to do so no longer changes nothing.
            IMPERSONATION if wide() == 0 => Ok(()),
            IMPERSONATION => Err(status::NOT_SUPPORTED),
            GROUP if from.at(2).get() as u16 != 0 => Err(INVALID_PARAMETER),
            GROUP => set_processors(thread, wide()).map(drop).map_err(status::of),
            _ => {
                let name = from.cast::<Text>().get();
                if name.at.is_null() && name.length != 0 {
                    return Err(ACCESS_VIOLATION);
                }
                *lock(&thread.facts.description) = name.units();
                Ok(())
            }
        }
    }))
}

table! {
    /// Threads.
    pub(crate) TABLE:
        NtCreateThreadEx, ZwCreateThreadEx = NtCreateThreadEx, RtlCreateUserThread, NtOpenThread, ZwOpenThread = NtOpenThread,
        NtSuspendThread, ZwSuspendThread = NtSuspendThread, NtResumeThread, ZwResumeThread = NtResumeThread,
        NtAlertResumeThread = NtResumeThread,
        NtTerminateThread, ZwTerminateThread = NtTerminateThread, RtlExitUserThread, NtQueueApcThread,
        ZwQueueApcThread = NtQueueApcThread, NtTestAlert, ZwTestAlert = NtTestAlert, NtYieldExecution,
        ZwYieldExecution = NtYieldExecution, NtSetInformationThread,
        ZwSetInformationThread = NtSetInformationThread
}
