//! Virtual memory: `VirtualAlloc` and its kin, for this process by itself or by a handle of it.

use super::{
    Bool, FALSE, TRUE, answer,
    child::Child,
    error::code,
    fail,
    system::{may, process_of},
};
use crate::{
    guest::Ptr,
    memory::{Info, TOP, book::LARGE_PAGE, host, protect},
    teb,
};

const PROCESS_VM_OPERATION: u32 = 8;
const PROCESS_VM_READ: u32 = 0x10;
const PROCESS_VM_WRITE: u32 = 0x20;
const PROCESS_QUERY_INFORMATION: u32 = 0x400;

/// Turns a result into an address, or null and the last error.
fn address(result: Result<u64, u32>) -> u64 {
    result.unwrap_or_else(|e| fail(e) as u64)
}

extern "win64" fn VirtualAlloc(at: u64, len: u64, kind: u32, protect: u32) -> u64 {
    address(teb::process().memory.allocate(at, len, kind, protect))
}

pub(crate) extern "win64" fn VirtualAllocEx(
    process: usize,
    at: u64,
    len: u64,
    kind: u32,
    protect: u32,
) -> u64 {
    address(process_of(process, PROCESS_VM_OPERATION).and_then(|child| match child {
        None => teb::process().memory.allocate(at, len, kind, protect),
        Some(child) => child.alive()?.allocate(at, len, kind, protect),
    }))
}

extern "win64" fn VirtualFree(at: u64, len: u64, kind: u32) -> Bool {
    answer(teb::process().memory.free(at, len, kind))
}

pub(crate) extern "win64" fn VirtualFreeEx(process: usize, at: u64, len: u64, kind: u32) -> Bool {
    answer(process_of(process, PROCESS_VM_OPERATION).and_then(|child| match child {
        None => teb::process().memory.free(at, len, kind),
        Some(child) => child.alive()?.free(at, len, kind),
    }))
}

fn protect(child: Option<&Child>, at: u64, len: u64, new: u32, old: Ptr<u32>) -> Result<(), u32> {
    if old.is_null() {
        return Err(code::NOACCESS); // the old protection has nowhere to go
    }
    let before = match child {
        None => teb::process().memory.protect(at, len, new),
        Some(child) => child.alive()?.protect(at, len, new),
    };
    before.map(|before| old.set(before))
}

extern "win64" fn VirtualProtect(at: u64, len: u64, new: u32, old: Ptr<u32>) -> Bool {
    answer(protect(None, at, len, new, old))
}

pub(crate) extern "win64" fn VirtualProtectEx(
    process: usize,
    at: u64,
    len: u64,
    new: u32,
    old: Ptr<u32>,
) -> Bool {
    let child = process_of(process, PROCESS_VM_OPERATION);
    answer(child.and_then(|child| protect(child.as_deref(), at, len, new, old)))
}

fn query(child: Option<&Child>, at: u64, out: Ptr<Info>, room: usize) -> Result<usize, u32> {
    if at >= TOP {
        return Err(code::INVALID_PARAMETER);
    }
    if room < size_of::<Info>() {
        return Err(code::BAD_LENGTH);
    }
    if out.is_null() {
        return Err(code::NOACCESS);
    }
    out.set(match child {
        None => teb::process().memory.query(at),
        Some(child) => child.alive()?.query(at)?,
    });
    Ok(size_of::<Info>())
}

/// How long the allocation is that begins at an address.
pub(crate) fn extent(process: usize, start: u64) -> Option<u64> {
    let child = process_of(process, PROCESS_QUERY_INFORMATION).ok()?;
    let info = |at: u64| match &child {
        None => Some(teb::process().memory.query(at)),
        Some(child) => child.alive().ok()?.query(at).ok(),
    };
    let mut end = start;
    while let Some(part) =
        info(end).filter(|part| end < TOP && part.allocation_base == start && part.size > 0)
    {
        end = part.base.saturating_add(part.size);
    }
    Some(end - start)
}

extern "win64" fn VirtualQuery(at: u64, out: Ptr<Info>, room: usize) -> usize {
    query(None, at, out, room).unwrap_or_else(|e| fail(e) as usize)
}

pub(crate) extern "win64" fn VirtualQueryEx(process: usize, at: u64, out: Ptr<Info>, room: usize) -> usize {
    let child = process_of(process, PROCESS_QUERY_INFORMATION);
    child.and_then(|child| query(child.as_deref(), at, out, room)).unwrap_or_else(|e| fail(e) as usize)
}

pub(crate) extern "win64" fn VirtualLock(at: u64, len: u64) -> Bool {
    answer(teb::process().memory.lock(at, len))
}

pub(crate) extern "win64" fn VirtualUnlock(at: u64, len: u64) -> Bool {
    answer(teb::process().memory.unlock(at, len))
}

// Write watch.

const WRITE_WATCH_FLAG_RESET: u32 = 1;

/// What `GetWriteWatch` and `ResetWriteWatch` return.
fn watched(outcome: Result<(), u32>) -> u32 {
    match outcome {
        Ok(()) => 0,
        Err(e) => {
            fail(e);
            u32::MAX
        }
    }
}

fn write_watch(
    flags: u32,
    at: u64,
    len: u64,
    to: Ptr<u64>,
    count: Ptr<usize>,
    granularity: Ptr<u32>,
) -> Result<(), u32> {
    if count.is_null() || granularity.is_null() || to.is_null() {
        return Err(code::NOACCESS);
    }
    if flags & !WRITE_WATCH_FLAG_RESET != 0 || count.get() == 0 {
        return Err(code::INVALID_PARAMETER);
    }
    let found = teb::process().memory.written(at, len, flags != 0, count.get())?;
    to.fill(&found);
    count.set(found.len());
    granularity.set(4096);
    Ok(())
}

pub(crate) extern "win64" fn GetWriteWatch(
    flags: u32,
    at: u64,
    len: u64,
    to: Ptr<u64>,
    count: Ptr<usize>,
    granularity: Ptr<u32>,
) -> u32 {
    watched(write_watch(flags, at, len, to, count, granularity))
}

pub(crate) extern "win64" fn ResetWriteWatch(at: u64, len: u64) -> u32 {
    watched(teb::process().memory.written(at, len, true, usize::MAX).map(drop))
}

// Another process's memory.

fn all(copied: usize, len: usize, done: Ptr<usize>) -> Result<(), u32> {
    done.put(copied);
    if copied == len { Ok(()) } else { Err(code::PARTIAL_COPY) }
}

pub(crate) extern "win64" fn ReadProcessMemory(
    process: usize,
    from: u64,
    to: Ptr<u8>,
    len: usize,
    done: Ptr<usize>,
) -> Bool {
    done.put(0);
    answer(process_of(process, PROCESS_VM_READ).and_then(|child| {
        let owner = owner(child.as_deref())?;
        all(host::peek(owner, from, to, len), len, done)
    }))
}

/// The host's number of the process whose memory is meant, as long as it has any.
fn owner(child: Option<&Child>) -> Result<u32, u32> {
    match child {
        None => Ok(std::process::id()),
        Some(child) => child.alive().map(|_| child.id()),
    }
}

/// Code is written to as well: pages that are only to be run are opened for as long as it takes.
fn write_memory(
    child: Option<&Child>,
    to: u64,
    from: Ptr<u8>,
    len: usize,
    done: Ptr<usize>,
) -> Result<(), u32> {
    let process = teb::process();
    let protect = |new| match child {
        None => process.memory.protect(to, len as u64, new),
        Some(child) => child.alive()?.protect(to, len as u64, new),
    };
    let now = match child {
        None => process.memory.query(to),
        Some(child) => child.alive()?.query(to)?,
    };
    let code = matches!(now.protect, protect::EXECUTE | protect::EXECUTE_READ);
    let opened = code && protect(protect::EXECUTE_READWRITE).is_ok();
    let copied = host::poke(owner(child)?, to, from, len);
    if opened {
        protect(now.protect)?;
    }
    all(copied, len, done)
}

pub(crate) extern "win64" fn WriteProcessMemory(
    process: usize,
    to: u64,
    from: Ptr<u8>,
    len: usize,
    done: Ptr<usize>,
) -> Bool {
    done.put(0);
    let child = process_of(process, PROCESS_VM_WRITE | PROCESS_VM_OPERATION);
    answer(child.and_then(|child| write_memory(child.as_deref(), to, from, len, done)))
}

// Large and physical pages need a privilege (SeLockMemoryPrivilege) that nobody here has.

extern "win64" fn GetLargePageMinimum() -> u64 {
    LARGE_PAGE
}

extern "win64" fn AllocateUserPhysicalPages(
    _process: usize,
    _count: Ptr<usize>,
    _frames: Ptr<usize>,
) -> Bool {
    fail(code::PRIVILEGE_NOT_HELD)
}

/// There are none that could be freed.
extern "win64" fn FreeUserPhysicalPages(_process: usize, _count: Ptr<usize>, _frames: Ptr<usize>) -> Bool {
    fail(code::INVALID_PARAMETER)
}

/// There are none that could be mapped.
extern "win64" fn MapUserPhysicalPages(_at: u64, _count: usize, _frames: Ptr<usize>) -> Bool {
    fail(code::INVALID_PARAMETER)
}

/// Whether the caller may read there: asked of the kernel, one byte a page, without touching it.
extern "win64" fn IsBadReadPtr(at: u64, len: u64) -> Bool {
    let pages = (at & !4095..at.saturating_add(len)).step_by(4096);
    let bad = len != 0 && !pages.into_iter().all(|page| host::is_readable(page.max(at)));
    if bad { TRUE } else { FALSE }
}

/// Whether the caller may write there: what is there is written again, one byte a page.
extern "win64" fn IsBadWritePtr(at: u64, len: u64) -> Bool {
    let pages = (at & !4095..at.saturating_add(len)).step_by(4096);
    let bad = len != 0 && !pages.into_iter().all(|page| host::is_writable(page.max(at)));
    if bad { TRUE } else { FALSE }
}

extern "win64" fn IsBadCodePtr(at: u64) -> Bool {
    IsBadReadPtr(at, 1)
}

/// Whether a text cannot be read up to its end, or as far as the caller cares.
fn is_bad_text<T: Copy + Default + PartialEq>(at: Ptr<T>, limit: u64) -> Bool {
    let size = size_of::<T>() as u64;
    let begins_page = |n: u64| n == 0 || (at.addr() as u64 + n * size) % 4096 < size;
    for n in 0..limit {
        let unit = at.at(n as usize);
        if begins_page(n) && IsBadReadPtr(unit.addr() as u64, size) == TRUE {
            return TRUE;
        }
        if unit.get() == T::default() {
            break;
        }
    }
    FALSE
}

pub(crate) extern "win64" fn IsBadStringPtrA(at: Ptr<u8>, limit: u64) -> Bool {
    is_bad_text(at, limit)
}

pub(crate) extern "win64" fn IsBadStringPtrW(at: Ptr<u16>, limit: u64) -> Bool {
    is_bad_text(at, limit)
}

/// This processor keeps its instruction cache in step by itself.
extern "win64" fn FlushInstructionCache(process: usize, _at: usize, _len: usize) -> Bool {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    answer(may(process, 0))
}

table! {
    /// Virtual memory.
    pub(crate) TABLE:
        VirtualAlloc, VirtualAllocEx, VirtualFree, VirtualFreeEx, VirtualProtect, VirtualProtectEx, VirtualQuery,
        VirtualQueryEx, VirtualLock, VirtualUnlock, GetWriteWatch, ResetWriteWatch, ReadProcessMemory,
        WriteProcessMemory, GetLargePageMinimum, AllocateUserPhysicalPages, FreeUserPhysicalPages,
        MapUserPhysicalPages, IsBadReadPtr, IsBadWritePtr, IsBadCodePtr, IsBadStringPtrA, IsBadStringPtrW,
        FlushInstructionCache
}
