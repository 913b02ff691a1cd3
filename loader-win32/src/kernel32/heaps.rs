//! Heaps, and the older names of the same thing.

use super::{Bool, FALSE, TRUE, error::code, fail};
use crate::{
    heap::{self, Block},
    teb,
};

const ZERO_MEMORY: u32 = 8;
const IN_PLACE_ONLY: u32 = 0x10;
const NOT_A_SIZE: usize = usize::MAX;

/// The common heap. It lives as long as the program.
pub(crate) extern "win64" fn GetProcessHeap() -> usize {
    teb::process().peb().heap()
}

/// What is known of a heap by its handle.
enum Which {
    Common,
    Own,
}

fn which(heap: usize) -> Result<Which, u32> {
    let process = teb::process();
    if heap == process.peb().heap() {
        Ok(Which::Common)
    } else if process.heaps.knows(heap) {
        Ok(Which::Own)
    } else {
        Err(code::INVALID_HANDLE)
    }
}

/// Carries a block from one place to another in the book of a heap that keeps one.
fn moved(heap: usize, kind: &Which, from: Block, to: Block) {
    if matches!(kind, Which::Own) {
        teb::process().heaps.moved(heap, from, to);
    }
}

extern "win64" fn HeapCreate(_options: u32, _initial: usize, _maximum: usize) -> usize {
    match teb::process().heaps.create() {
        0 => fail(code::NOT_ENOUGH_MEMORY) as usize,
        heap => heap,
    }
}

extern "win64" fn HeapDestroy(heap: usize) -> Bool {
    if teb::process().heaps.destroy(heap) { TRUE } else { fail(code::INVALID_HANDLE) }
}

pub(crate) extern "win64" fn HeapAlloc(heap: usize, flags: u32, len: usize) -> Block {
    let Ok(kind) = which(heap) else {
        fail(code::INVALID_HANDLE);
        return Block::NULL;
    };
    let block = heap::alloc(len, flags & ZERO_MEMORY != 0);
    moved(heap, &kind, Block::NULL, block);
    block
}

pub(crate) extern "win64" fn HeapFree(heap: usize, _flags: u32, block: Block) -> Bool {
    let Ok(kind) = which(heap) else {
        return fail(code::INVALID_HANDLE);
    };
    moved(heap, &kind, block, Block::NULL);
    heap::free(block);
    TRUE
}

pub(crate) extern "win64" fn HeapReAlloc(heap: usize, flags: u32, block: Block, len: usize) -> Block {
    let Ok(kind) = which(heap) else {
        fail(code::INVALID_HANDLE);
        return Block::NULL;
    };
    if block.is_null() {
        return Block::NULL; // not `realloc`: there is nothing to change
    }
    if flags & IN_PLACE_ONLY != 0 && len > heap::size(block) {
        fail(code::NOT_ENOUGH_MEMORY);
        return Block::NULL; // growing in place is never promised
    }
    let new = heap::resize(block, len, flags & ZERO_MEMORY != 0);
    if !new.is_null() {
        moved(heap, &kind, block, new);
    }
    new
}

pub(crate) extern "win64" fn HeapSize(heap: usize, _flags: u32, block: Block) -> usize {
    if which(heap).is_err() || block.is_null() {
        fail(code::INVALID_HANDLE);
        return NOT_A_SIZE;
    }
    heap::size(block)
}

/// Whether the heap exists; a block is believed.
extern "win64" fn HeapValidate(heap: usize, _flags: u32, _block: usize) -> Bool {
    which(heap).map_or(FALSE, |_| TRUE)
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

/// The lock count of a fixed block is always zero.
extern "win64" fn GlobalUnlock(_block: Block) -> Bool {
    teb::set_last_error(0);
    TRUE
}

table! {
    /// Heaps.
    pub(crate) TABLE:
        GetProcessHeap, HeapCreate, HeapDestroy, HeapAlloc, HeapFree, HeapReAlloc, HeapSize, HeapValidate,
        HeapSetInformation, LocalAlloc, LocalFree, LocalReAlloc, LocalSize, GlobalAlloc = LocalAlloc,
        GlobalFree = LocalFree, GlobalReAlloc = LocalReAlloc, GlobalSize = LocalSize, GlobalLock, GlobalUnlock
}
