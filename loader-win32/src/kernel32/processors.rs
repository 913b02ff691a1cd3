//! Which processors there are, and which of them threads may use. There is one group of up to 64, and one node.

use super::{Bool, TRUE, answer, error::code, fail, system::is_this_process, thread::with_thread};
use crate::{
    guest::Ptr,
    nt::{
        status,
        thread::{right, thread_for},
    },
    object::Thread,
    process, text,
};
use rustix::{
    fs::{CWD, Dir, Mode, OFlags, openat},
    thread::{CpuSet, MembarrierCommand, Pid, membarrier, sched_getaffinity, sched_setaffinity},
};
use std::sync::atomic::{Ordering::SeqCst, fence};

/// A group has that many.
const GROUP: usize = 64;

fn mask_of(set: &CpuSet) -> u64 {
    (0..GROUP).filter(|&n| set.is_set(n)).fold(0, |mask, n| mask | 1 << n)
}

fn set_of(mask: u64) -> CpuSet {
    let mut set = CpuSet::new();
    (0..GROUP).filter(|&n| mask >> n & 1 != 0).for_each(|n| set.set(n));
    set
}

/// The processors that a thread may use, the calling one where none is named.
fn affinity(thread: Option<Pid>) -> u64 {
    sched_getaffinity(thread).map_or(1, |set| mask_of(&set))
}

/// The processors that this process was given when it was first asked.
pub(crate) fn all() -> u64 {
    static ALL: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *ALL.get_or_init(|| affinity(None))
}

/// Only processors that are there can be asked for, and at least one of them.
fn valid(mask: u64) -> Result<CpuSet, u32> {
    if mask != 0 && mask & !all() == 0 { Ok(set_of(mask)) } else { Err(code::INVALID_PARAMETER) }
}

/// All threads of this process.
fn threads() -> Vec<Pid> {
    let folder = openat(CWD, "/proc/self/task", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let entries = folder.and_then(Dir::new).into_iter().flatten().flatten();
    entries.filter_map(|e| Pid::from_raw(e.file_name().to_str().ok()?.parse().ok()?)).collect()
}

extern "win64" fn GetProcessAffinityMask(handle: usize, ours: Ptr<u64>, system: Ptr<u64>) -> Bool {
    answer(is_this_process(handle).map(|()| {
        all();
        ours.put(affinity(None));
        system.put(all());
    }))
}

/// For every thread that there is, those of the host among them: it is their process too.
extern "win64" fn SetProcessAffinityMask(handle: usize, mask: u64) -> Bool {
    answer(is_this_process(handle).and_then(|()| valid(mask)).map(|set| {
        threads().into_iter().for_each(|thread| _ = sched_setaffinity(Some(thread), &set));
    }))
}

/// The processors that a thread of that number may use.
pub(crate) fn of(id: u32) -> u64 {
    all();
    affinity(Pid::from_raw(id.cast_signed()))
}

/// Sets which processors a thread may use; returns which it could use before.
pub(crate) fn change(thread: &Thread, mask: u64) -> Result<u64, u32> {
    let set = valid(mask)?;
    let thread = Pid::from_raw(thread.id.load(SeqCst).cast_signed()).ok_or(code::INVALID_HANDLE)?;
    let before = affinity(Some(thread));
    sched_setaffinity(Some(thread), &set).map_err(|_| code::INVALID_PARAMETER)?;
    Ok(before)
}

/// The same of the thread behind a handle.
fn change_of(handle: usize, mask: u64) -> Result<u64, u32> {
    let object = thread_for(handle, right::SET_LIMITED).map_err(status::dos_error)?;
    object.thread().ok_or(code::INVALID_HANDLE).and_then(|thread| change(thread, mask))
}

extern "win64" fn SetThreadAffinityMask(handle: usize, mask: u64) -> u64 {
    let mask = if mask as u32 == u32::MAX { all() } else { mask }; // all of them, whichever there are
    change_of(handle, mask).unwrap_or_else(|e| fail(e) as u64)
}

/// `GROUP_AFFINITY`.
#[repr(C)]
#[derive(Clone, Copy)]
struct GroupAffinity {
    mask: u64,
    group: u16,
    reserved: [u16; 3],
}

impl GroupAffinity {
    fn new(mask: u64) -> Self {
        Self { mask, group: 0, reserved: [0; 3] }
    }
}

extern "win64" fn GetThreadGroupAffinity(handle: usize, out: Ptr<GroupAffinity>) -> Bool {
    if out.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    let id = with_thread(handle, right::QUERY_LIMITED, 0, |t| t.id.load(SeqCst));
    match Pid::from_raw(id.cast_signed()) {
        Some(thread) => {
            all();
            out.put(GroupAffinity::new(affinity(Some(thread))));
            TRUE
        }
        None => super::FALSE, // the handle is none, and the last error says so
    }
}

extern "win64" fn SetThreadGroupAffinity(
    handle: usize,
    wanted: Ptr<GroupAffinity>,
    before: Ptr<GroupAffinity>,
) -> Bool {
    if wanted.is_null() {
        return fail(code::NOACCESS);
    }
    let wanted = wanted.get();
    if wanted.group != 0 || wanted.reserved != [0; 3] {
        return fail(code::INVALID_PARAMETER);
    }
    answer(change_of(handle, wanted.mask).map(|mask| before.put(GroupAffinity::new(mask))))
}

extern "win64" fn GetNumaHighestNodeNumber(out: Ptr<u32>) -> Bool {
    out.put(0);
    TRUE
}

/// No processors for a node that there is not, as documented.
extern "win64" fn GetNumaNodeProcessorMaskEx(node: u16, out: Ptr<GroupAffinity>) -> Bool {
    out.put(GroupAffinity::new(if node == 0 { all() } else { 0 }));
    TRUE
}

extern "win64" fn GetActiveProcessorCount(_group: u16) -> u32 {
    process::processors()
}

extern "win64" fn GetActiveProcessorGroupCount() -> u16 {
    1
}

pub(crate) extern "win64" fn GetCurrentProcessorNumber() -> u32 {
    text::length(rustix::thread::sched_getcpu())
}

/// `PROCESSOR_NUMBER`: group, number in the group, nothing.
extern "win64" fn GetCurrentProcessorNumberEx(out: Ptr<[u8; 4]>) {
    out.put([0, 0, GetCurrentProcessorNumber() as u8, 0]);
}

/// What this thread has written is seen by every processor that runs a thread of the process.
extern "win64" fn FlushProcessWriteBuffers() {
    let _ = membarrier(MembarrierCommand::Global); // a kernel without it has the fence
    fence(SeqCst);
}

table! {
    /// Processors.
    pub(crate) TABLE:
        GetProcessAffinityMask, SetProcessAffinityMask, SetThreadAffinityMask, GetThreadGroupAffinity,
        SetThreadGroupAffinity, GetNumaHighestNodeNumber, GetNumaNodeProcessorMaskEx, GetActiveProcessorCount,
        GetActiveProcessorGroupCount, GetCurrentProcessorNumber, GetCurrentProcessorNumberEx,
        FlushProcessWriteBuffers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_sets_are_the_same() {
        assert_eq!(mask_of(&set_of(0x8000_0000_0000_0005)), 0x8000_0000_0000_0005);
        assert_eq!(affinity(None) & !all(), 0);
        assert!(valid(0).is_err() && valid(all()).is_ok());
        assert!(threads().len() > 1, "a test has a thread of its own");
    }
}
