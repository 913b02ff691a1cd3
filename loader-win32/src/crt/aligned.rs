//! Blocks at addresses that a program chooses the alignment of, or of a place inside them. Before each lies the address of
//! the block of the heap that it is in.

use super::invalid::invalid;
use crate::{
    guest::Ptr,
    heap::{self, Block},
};

const POINTER: usize = size_of::<usize>();

/// How a block is to lie: the place `offset` bytes on is a multiple of `to`.
#[derive(Clone, Copy)]
struct Alignment {
    to: usize,
    offset: usize,
}

impl Alignment {
    /// One that can be, for a block of `len` bytes; none (0) is that of a pointer.
    fn of(to: usize, offset: usize, len: usize) -> Option<Self> {
        let fits = (to == 0 || to.is_power_of_two()) && (offset == 0 || offset < len);
        if !fits {
            invalid();
        }
        fits.then(|| Self { to: to.max(POINTER), offset })
    }

    /// How many bytes more than the program's own the heap is asked for.
    fn extra(self) -> usize {
        POINTER + self.to - 1
    }

    fn allocate(self, len: usize, zeroed: bool) -> Block {
        let whole = len.checked_add(self.extra()).map_or(Block::NULL, |room| heap::alloc(room, zeroed));
        if whole.is_null() {
            super::set_errno(libc::ENOMEM);
            return whole;
        }
        // The heap gave room for as much as this can be.
        let first = whole.addr().wrapping_add(POINTER).wrapping_add(self.offset);
        let ahead = first.wrapping_neg() & (self.to - 1);
        let block = whole.at(POINTER + ahead);
        around(block).set(whole.addr());
        block
    }

    /// Another block with the same beginning; null where there is none to be had, and then the old one stays.
    fn resize(self, block: Block, len: usize, zeroed: bool) -> Block {
        if block.is_null() {
            return self.allocate(len, zeroed);
        }
        if len == 0 {
            _aligned_free(block);
            return Block::NULL;
        }
        let new = self.allocate(len, zeroed);
        if !new.is_null() {
            let whole = Block::from_guest(around(block).get() as u64);
            // Without zeros behind it all of it may be copied, however it was aligned.
            let old = match zeroed {
                true => size(block, self.to),
                false => heap::size(whole).saturating_sub(block.addr().wrapping_sub(whole.addr())),
            };
            new.fill(&block.slice(old.min(len)));
            _aligned_free(block);
        }
        new
    }
}

/// Where the heap's block around a block is kept.
fn around(block: Block) -> Ptr<usize> {
    Ptr::from_guest(block.addr().wrapping_sub(POINTER) as u64)
}

/// How many bytes a program asked for, with this alignment.
fn size(block: Block, to: usize) -> usize {
    let whole = Block::from_guest(around(block).get() as u64);
    heap::size(whole).saturating_sub(Alignment { to: to.max(POINTER), offset: 0 }.extra())
}

/// The length of so many elements; too many are refused.
fn product(n: usize, len: usize) -> Option<usize> {
    let all = n.checked_mul(len);
    if all.is_none() {
        super::set_errno(libc::ENOMEM);
    }
    all
}

extern "win64" fn _aligned_offset_malloc(len: usize, to: usize, offset: usize) -> Block {
    Alignment::of(to, offset, len).map_or(Block::NULL, |alignment| alignment.allocate(len, false))
}

extern "win64" fn _aligned_malloc(len: usize, to: usize) -> Block {
    _aligned_offset_malloc(len, to, 0)
}

extern "win64" fn _aligned_offset_realloc(block: Block, len: usize, to: usize, offset: usize) -> Block {
    let alignment = if len == 0 { Alignment::of(to, 0, len) } else { Alignment::of(to, offset, len) };
    alignment.map_or(Block::NULL, |alignment| alignment.resize(block, len, false))
}

extern "win64" fn _aligned_realloc(block: Block, len: usize, to: usize) -> Block {
    _aligned_offset_realloc(block, len, to, 0)
}

extern "win64" fn _aligned_offset_recalloc(
    block: Block,
    n: usize,
    len: usize,
    to: usize,
    offset: usize,
) -> Block {
    let Some(len) = product(n, len) else { return Block::NULL };
    Alignment::of(to, if len == 0 { 0 } else { offset }, len)
        .map_or(Block::NULL, |alignment| alignment.resize(block, len, true))
}

extern "win64" fn _aligned_recalloc(block: Block, n: usize, len: usize, to: usize) -> Block {
    _aligned_offset_recalloc(block, n, len, to, 0)
}

extern "win64" fn _aligned_msize(block: Block, to: usize, _offset: usize) -> usize {
    if block.is_null() {
        invalid();
        return usize::MAX;
    }
    size(block, to)
}

extern "win64" fn _aligned_free(block: Block) {
    if !block.is_null() {
        heap::free(Block::from_guest(around(block).get() as u64));
    }
}

table! {
    /// Aligned blocks.
    pub(crate) TABLE:
        _aligned_malloc, _aligned_offset_malloc, _aligned_realloc, _aligned_offset_realloc, _aligned_recalloc,
        _aligned_offset_recalloc, _aligned_msize, _aligned_free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_sizes() {
        for (to, offset) in [(0, 0), (1, 0), (8, 3), (16, 0), (64, 63), (4096, 17)] {
            for len in [64, 100, 5000] {
                let alignment = Alignment { to: if to == 0 { POINTER } else { to.max(POINTER) }, offset };
                let block = alignment.allocate(len, false);
                assert_eq!((block.at(offset).addr() % alignment.to, size(block, to)), (0, len));
                (0..len).for_each(|i| block.at(i).set(i as u8));
                let longer = alignment.resize(block, len + 100, true);
                assert_eq!((longer.at(offset).addr() % alignment.to, size(longer, to)), (0, len + 100));
                assert!((0..len).all(|i| longer.at(i).get() == i as u8));
                assert!(longer.at(len).slice(100).iter().all(|&byte| byte == 0));
                let shorter = alignment.resize(longer, 10, false);
                assert!((0..10).all(|i| shorter.at(i).get() == i as u8));
                assert!(alignment.resize(shorter, 0, false).is_null());
            }
        }
    }
}
