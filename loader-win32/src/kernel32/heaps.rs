//! Heaps, and the older names of the same thing.

use super::{Bool, FALSE, TRUE, answer, error::code, fail};
use crate::{
    guest::Ptr,
    heap::{self, Block, From},
    memory::{book, protect::EXECUTE_READWRITE},
    nt::status,
    object::current_thread_id,
    teb,
    text::length,
};
use std::iter;

const ZERO_MEMORY: u32 = 8;
const IN_PLACE_ONLY: u32 = 0x10;
const NOT_A_SIZE: usize = usize::MAX;

/// The common heap. It lives as long as the program.
pub(crate) extern "win64" fn GetProcessHeap() -> usize {
    teb::process().peb().heap()
}

const NO_SERIALIZE: u32 = 1;
const ENABLE_EXECUTE: u32 = 0x4_0000;

/// What a handle stands for.
enum Which {
    Common,
    Own(From),
}

/// While another thread has locked the heap, this one waits.
fn which(heap: usize) -> Result<Which, u32> {
    let process = teb::process();
    process.heaps.wait_turn(heap, current_thread_id);
    if heap == process.peb().heap() {
        return Ok(Which::Common);
    }
    process.heaps.from(heap).map(Which::Own).ok_or(code::INVALID_HANDLE)
}

/// A block or null, with the last error.
fn block(result: Result<Block, u32>) -> Block {
    result.unwrap_or_else(|e| {
        fail(e);
        Block::NULL
    })
}

/// Memory for a block.
fn fresh(from: From, len: usize, zeroed: bool) -> Result<Block, u32> {
    let new = match from {
        From::Common => heap::alloc(len, zeroed),
        From::Executable => {
            let kind = book::COMMIT | book::RESERVE;
            let at = teb::process().memory.allocate(0, len.max(1) as u64, kind, EXECUTE_READWRITE)?;
            Block::of_pages(at)
        }
    };
    if new.is_null() { Err(code::NOT_ENOUGH_MEMORY) } else { Ok(new) }
}

/// Gives the memory of a block back.
fn drop_block(from: From, block: Block) {
    match from {
        From::Common => heap::free(block),
        // An address that is not in the book is nobody's to free.
        From::Executable => drop(teb::process().memory.free(block.addr() as u64, 0, book::RELEASE)),
    }
}

/// A new block of a heap that keeps a list.
fn own_block(heap: usize, from: From, len: usize, zeroed: bool) -> Result<Block, u32> {
    let heaps = &teb::process().heaps;
    if !heaps.claim(heap, len) {
        return Err(code::NOT_ENOUGH_MEMORY);
    }
    let new = fresh(from, len, zeroed).inspect_err(|_| heaps.disclaim(heap, len))?;
    heaps.note(heap, new, len);
    Ok(new)
}

/// `dwMaximumSize`: 0 for a heap that grows; else it is rounded up to pages, and fixed.
extern "win64" fn HeapCreate(options: u32, initial: usize, maximum: usize) -> usize {
    if maximum != 0 && initial > maximum {
        return fail(code::INVALID_PARAMETER) as usize;
    }
    let from = if options & ENABLE_EXECUTE != 0 { From::Executable } else { From::Common };
    let most = (maximum != 0).then(|| maximum.saturating_add(0xfff) & !0xfff);
    match teb::process().heaps.create(from, most, options & NO_SERIALIZE == 0) {
        0 => fail(code::NOT_ENOUGH_MEMORY) as usize,
        heap => heap,
    }
}

extern "win64" fn HeapDestroy(heap: usize) -> Bool {
    let Some((from, blocks)) = teb::process().heaps.remove(heap) else {
        return fail(code::INVALID_HANDLE);
    };
    blocks.into_iter().for_each(|block| drop_block(from, block));
    TRUE
}

pub(crate) extern "win64" fn HeapAlloc(heap: usize, flags: u32, len: usize) -> Block {
    let zeroed = flags & ZERO_MEMORY != 0;
    block(which(heap).and_then(|which| match which {
        Which::Common => fresh(From::Common, len, zeroed),
        Which::Own(from) => own_block(heap, from, len, zeroed),
    }))
}

/// Null is success; a block of another heap is refused where that can be seen.
pub(crate) extern "win64" fn HeapFree(heap: usize, _flags: u32, block: Block) -> Bool {
    if block.is_null() {
        return TRUE;
    }
    answer(which(heap).and_then(|which| match which {
        Which::Common => {
            heap::free(block);
            Ok(())
        }
        Which::Own(from) if teb::process().heaps.forget(heap, block) => {
            drop_block(from, block);
            Ok(())
        }
        Which::Own(_) => Err(code::INVALID_PARAMETER),
    }))
}

/// A block of another length with the same beginning.
fn resize(heap: usize, old: Block, len: usize, zeroed: bool) -> Result<Block, u32> {
    let from = match which(heap)? {
        Which::Common => {
            let new = heap::resize(old, len, zeroed);
            return if new.is_null() { Err(code::NOT_ENOUGH_MEMORY) } else { Ok(new) };
        }
        Which::Own(from) => from,
    };
    let heaps = &teb::process().heaps;
    let before = heaps.size(heap, old).ok_or(code::INVALID_PARAMETER)?;
    if len <= before {
        heaps.shorten(heap, old, len); // it stays where it is
        return Ok(old);
    }
    let new = own_block(heap, from, len, zeroed)?;
    new.fill(&old.slice(before.min(len)));
    if heaps.forget(heap, old) {
        drop_block(from, old);
    }
    Ok(new)
}

pub(crate) extern "win64" fn HeapReAlloc(heap: usize, flags: u32, old: Block, len: usize) -> Block {
    if old.is_null() {
        teb::set_last_error(0);
        return Block::NULL; // not `realloc`: there is nothing to change
    }
    if flags & IN_PLACE_ONLY != 0 {
        let now = HeapSize(heap, 0, old);
        // Growing in place is never promised, and shrinking changes nothing.
        return if now != NOT_A_SIZE && len <= now { old } else { block(Err(code::NOT_ENOUGH_MEMORY)) };
    }
    block(resize(heap, old, len, flags & ZERO_MEMORY != 0))
}

pub(crate) extern "win64" fn HeapSize(heap: usize, _flags: u32, block: Block) -> usize {
    let size = which(heap).and_then(|which| match which {
        _ if block.is_null() => Err(code::INVALID_HANDLE),
        Which::Common => Ok(heap::size(block)),
        Which::Own(_) => teb::process().heaps.size(heap, block).ok_or(code::INVALID_PARAMETER),
    });
    size.unwrap_or_else(|e| {
        fail(e);
        NOT_A_SIZE
    })
}

/// Whether the heap exists, and has that block; one of the common heap is believed.
extern "win64" fn HeapValidate(heap: usize, _flags: u32, block: Block) -> Bool {
    match which(heap) {
        Ok(Which::Own(_)) if !block.is_null() => teb::process().heaps.size(heap, block).is_some().into(),
        Ok(_) => TRUE,
        Err(_) => FALSE,
    }
}

/// What is free is given back, so that no free block is left to tell the size of: 0 without an error.
extern "win64" fn HeapCompact(heap: usize, _flags: u32) -> usize {
    let done = which(heap).map(|_| heap::trim());
    teb::set_last_error(done.err().unwrap_or(0));
    0
}

/// All heaps: the common one first.
extern "win64" fn GetProcessHeaps(room: u32, to: Ptr<usize>) -> u32 {
    let own = teb::process().heaps.all();
    let all: Vec<usize> = iter::once(GetProcessHeap()).chain(own).collect();
    if all.len() <= room as usize {
        to.fill(&all);
    }
    length(all.len())
}

/// `PROCESS_HEAP_ENTRY`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    data: usize,
    len: u32,
    overhead: u8,
    region: u8,
    flags: u16,
    more: [u64; 3],
}

const _: () = assert!(size_of::<Entry>() == 40);
const ENTRY_BUSY: u16 = 4;

/// The block after the one that the entry tells of. Only heaps that were created can be walked: the common one is the
/// host's, which has no such list.
extern "win64" fn HeapWalk(heap: usize, entry: Ptr<Entry>) -> Bool {
    answer(which(heap).and_then(|which| match which {
        Which::Common => Err(code::NOT_SUPPORTED),
        Which::Own(_) => {
            let next = teb::process().heaps.next(heap, entry.get().data);
            let (data, len) = next.ok_or(259u32)?; // ERROR_NO_MORE_ITEMS
            let len = length(len);
            entry.set(Entry { data, len, overhead: 0, region: 0, flags: ENTRY_BUSY, more: [0; 3] });
            Ok(())
        }
    }))
}

extern "win64" fn HeapLock(heap: usize) -> Bool {
    answer(which(heap).map(|_| teb::process().heaps.lock(heap, current_thread_id())))
}

extern "win64" fn HeapUnlock(heap: usize) -> Bool {
    let done = which(heap).map(|_| teb::process().heaps.unlock(heap, current_thread_id()));
    answer(done.and_then(|held| if held { Ok(()) } else { Err(code::NOT_LOCKED) }))
}

/// `RTL_HEAP_WALK_ENTRY`.
#[repr(C)]
#[derive(Clone, Copy)]
struct WalkEntry {
    data: usize,
    len: usize,
    overhead: u8,
    region: u8,
    flags: u16,
    more: [u64; 3],
}

/// The same walk by NT's name, with longer lengths.
extern "win64" fn RtlWalkHeap(heap: usize, entry: Ptr<WalkEntry>) -> u32 {
    const BUSY: u16 = 1;
    const NO_MORE_ENTRIES: u32 = 0x8000_001a;
    match which(heap) {
        Err(_) => status::INVALID_PARAMETER,
        Ok(Which::Common) => status::NOT_SUPPORTED,
        Ok(Which::Own(_)) => match teb::process().heaps.next(heap, entry.get().data) {
            None => NO_MORE_ENTRIES,
            Some((data, len)) => {
                entry.set(WalkEntry { data, len, overhead: 0, region: 0, flags: BUSY, more: [0; 3] });
                status::SUCCESS
            }
        },
    }
}

/// The front end that every heap is said to have: the low-fragmentation one, as on Windows.
extern "win64" fn HeapQueryInformation(
    heap: usize,
    class: u32,
    out: Ptr<u32>,
    room: usize,
    needed: Ptr<usize>,
) -> Bool {
    answer(which(heap).and_then(|_| {
        if class != 0 {
            return Err(code::INVALID_PARAMETER);
        }
        needed.put(size_of::<u32>());
        if room < size_of::<u32>() {
            return Err(code::INSUFFICIENT_BUFFER);
        }
        out.put(2);
        Ok(())
    }))
}

/// The host's heap has one kind, and ends the program on corruption by itself: both wishes are granted, others refused.
extern "win64" fn HeapSetInformation(_heap: usize, class: u32, _info: usize, _len: usize) -> Bool {
    match class {
        0 | 1 => TRUE,
        _ => fail(code::INVALID_PARAMETER),
    }
}

// LocalAlloc and GlobalAlloc: fixed blocks only. A movable block's handle is its address, so locking it is easy.
const LMEM_ZEROINIT: u32 = 0x40;

extern "win64" fn LocalAlloc(flags: u32, len: usize) -> Block {
    let block = heap::alloc(len, flags & LMEM_ZEROINIT != 0);
    if block.is_null() {
        fail(code::NOT_ENOUGH_MEMORY);
    }
    block
}

/// Null is success.
extern "win64" fn LocalFree(block: Block) -> Block {
    heap::free(block);
    Block::NULL
}

extern "win64" fn LocalReAlloc(block: Block, len: usize, flags: u32) -> Block {
    heap::resize(block, len, flags & LMEM_ZEROINIT != 0)
}

extern "win64" fn LocalSize(block: Block) -> usize {
    if block.is_null() { 0 } else { heap::size(block) }
}

extern "win64" fn GlobalLock(block: Block) -> Block {
    block
}

/// The handle of the block that begins at an address.
extern "win64" fn GlobalHandle(at: Block) -> Block {
    at
}

/// Neither locked nor discarded: a fixed block.
extern "win64" fn GlobalFlags(_block: Block) -> u32 {
    0
}

/// The lock count of a fixed block is always zero.
extern "win64" fn GlobalUnlock(_block: Block) -> Bool {
    teb::set_last_error(0);
    TRUE
}

table! {
    /// Heaps.
    pub(crate) TABLE:
        GetProcessHeap, HeapCreate, HeapDestroy, HeapAlloc, HeapFree, HeapReAlloc, HeapSize, HeapValidate,
        HeapWalk, HeapLock, HeapUnlock, HeapCompact, HeapQueryInformation, HeapSetInformation, GetProcessHeaps, LocalAlloc, LocalFree, LocalReAlloc, LocalSize, GlobalAlloc = LocalAlloc,
        GlobalFree = LocalFree, GlobalReAlloc = LocalReAlloc, GlobalSize = LocalSize, GlobalLock, GlobalUnlock,
        GlobalHandle, GlobalFlags, LocalLock = GlobalLock, LocalUnlock = GlobalUnlock, LocalHandle = GlobalHandle,
        LocalFlags = GlobalFlags
}

table! {
    /// What only ntdll has.
    pub(crate) RTL_HEAPS: RtlWalkHeap, RtlLockHeap = HeapLock, RtlUnlockHeap = HeapUnlock
}
