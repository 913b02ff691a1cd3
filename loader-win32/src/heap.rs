//! One heap for `malloc`, `HeapAlloc` and `LocalAlloc`: the host's.
//!
//! A block is the host's own `malloc` block, so it may be freed on either side. Its last word holds how much of it was
//! not asked for: that is how `HeapSize` and `_msize` know the exact length. Unsafe because freeing trusts the caller.
#![allow(unsafe_code)]

use crate::{guest::Ptr, lock};
use std::{
    collections::{HashMap, HashSet},
    mem::size_of,
    sync::Mutex,
};

const NOTE: usize = size_of::<usize>();

/// A block of the host's heap, which belongs to guest code.
pub(crate) type Block = Ptr<u8>;

/// `len` bytes, zeroed or not; null where there are none to be had.
pub(crate) fn alloc(len: usize, zeroed: bool) -> Block {
    let Some(room) = len.checked_add(NOTE) else {
        return Block::NULL;
    };
    let at = if zeroed {
        // SAFETY: asking for memory has no conditions.
        unsafe { libc::calloc(room, 1) }
    } else {
        // SAFETY: as above.
        unsafe { libc::malloc(room) }
    };
    noted(at, len)
}

/// `len` bytes at a multiple of `align`.
pub(crate) fn alloc_aligned(len: usize, align: usize) -> Block {
    let Some(room) = len.checked_add(NOTE).filter(|_| align.is_power_of_two()) else {
        return Block::NULL;
    };
    let mut at = std::ptr::null_mut();
    // SAFETY: the alignment is a power of two and a multiple of a pointer's size; the result goes to a local.
    let failed = unsafe { libc::posix_memalign(&raw mut at, align.max(NOTE), room) };
    noted(if failed == 0 { at } else { std::ptr::null_mut() }, len)
}

/// Gives a block back.
pub(crate) fn free(block: Block) {
    // SAFETY: guest code passes a block of this heap or null, and does not use it again, as `free` asks of it.
    unsafe { libc::free(block.raw().cast()) }
}

/// A block of another length with the same beginning; the old one stays where there is no memory.
pub(crate) fn resize(block: Block, len: usize, zeroed: bool) -> Block {
    if block.is_null() {
        return alloc(len, zeroed);
    }
    let Some(room) = len.checked_add(NOTE) else {
        return Block::NULL;
    };
    let before = size(block);
    // SAFETY: guest code passes a block of this heap and does not use the old one again, as `realloc` asks of it.
    let new = noted(unsafe { libc::realloc(block.raw().cast(), room) }, len);
    if zeroed && !new.is_null() && len > before {
        // SAFETY: `len` bytes are the block's, of which `before` keep what they hold.
        unsafe { new.at(before).raw().write_bytes(0, len - before) };
    }
    new
}

/// The exact length that was asked for.
pub(crate) fn size(block: Block) -> usize {
    let usable = usable(block);
    let spare = note(block, usable).get();
    usable.saturating_sub(spare.min(usable))
}

fn usable(block: Block) -> usize {
    // SAFETY: guest code passes a block of this heap, as `_msize` and `HeapSize` ask of it.
    unsafe { libc::malloc_usable_size(block.raw().cast()) }
}

/// The last word of a block.
fn note(block: Block, usable: usize) -> Ptr<usize> {
    block.at(usable.saturating_sub(NOTE)).cast()
}

fn noted(at: *mut libc::c_void, len: usize) -> Block {
    // SAFETY: null, or a new block of at least `len + NOTE` bytes.
    let block = unsafe { Block::new(at.cast()) };
    if !block.is_null() {
        let usable = usable(block);
        note(block, usable).set(usable - len);
    }
    block
}

/// The heaps that guest code made for itself: each knows its blocks, so that it can go with all of them.
#[derive(Default)]
pub(crate) struct Heaps(Mutex<HashMap<usize, HashSet<usize>>>);

impl Heaps {
    /// A new heap. Its handle is the address of a block of the common heap, so no two are equal.
    pub(crate) fn create(&self) -> usize {
        let name = alloc(1, true).addr();
        if name != 0 {
            lock(&self.0).insert(name, HashSet::new());
        }
        name
    }

    /// Removes a heap and frees all of its blocks.
    pub(crate) fn destroy(&self, heap: usize) -> bool {
        let Some(blocks) = lock(&self.0).remove(&heap) else {
            return false;
        };
        for block in blocks.into_iter().chain([heap]) {
            // SAFETY: the block was noted when it was made and removed when it was freed, so it is still one.
            free(unsafe { Block::new(std::ptr::with_exposed_provenance_mut(block)) });
        }
        true
    }

    /// Whether such a heap exists.
    pub(crate) fn knows(&self, heap: usize) -> bool {
        lock(&self.0).contains_key(&heap)
    }

    /// Notes that a block left a heap, and that another came.
    pub(crate) fn moved(&self, heap: usize, from: Block, to: Block) {
        if let Some(blocks) = lock(&self.0).get_mut(&heap) {
            blocks.remove(&from.addr());
            if !to.is_null() {
                blocks.insert(to.addr());
            }
        }
    }
}

impl Drop for Heaps {
    fn drop(&mut self) {
        let heaps: Vec<usize> = lock(&self.0).keys().copied().collect();
        for heap in heaps {
            self.destroy(heap);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        for len in (0..600).chain([4096, 1 << 20]) {
            let a = alloc(len, false);
            assert_eq!(size(a), len);
            let b = resize(a, len + 77, true);
            assert_eq!(size(b), len + 77);
            assert!(b.at(len).slice(77).iter().all(|&x| x == 0));
            free(b);
            let c = alloc_aligned(len, 256);
            assert_eq!((c.addr() % 256, size(c)), (0, len));
            free(c);
        }
        assert!(alloc(usize::MAX, false).is_null());
    }

    #[test]
    fn a_heap_goes_with_its_blocks() {
        let heaps = Heaps::default();
        let heap = heaps.create();
        let block = alloc(10, false);
        heaps.moved(heap, Block::NULL, block);
        assert!(heaps.destroy(heap));
        assert!(!heaps.destroy(heap));
    }
}
