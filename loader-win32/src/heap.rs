//! One heap for `malloc`, `HeapAlloc` and `LocalAlloc`: the host's.
//!
//! A block is the host's own `malloc` block, so it may be freed on either side. Its last word holds how much of it was
//! not asked for: that is how `HeapSize` and `_msize` know the exact length. Unsafe because freeing trusts the caller.
#![allow(unsafe_code)]

use crate::{guest::Ptr, lock};
use std::{
    collections::BTreeMap,
    mem::size_of,
    ops::Bound,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicUsize,
            Ordering::{Acquire, Release},
        },
    },
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

/// Gives what is free back to the system.
pub(crate) fn trim() {
    // SAFETY: no conditions; blocks in use stay where they are.
    unsafe { libc::malloc_trim(0) };
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

/// Where the blocks of a heap come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The common heap.
    Common,
    /// Pages of their own that may be run.
    Executable,
}

/// A heap that guest code made for itself: it knows its blocks, so that it can go with all of them.
#[derive(Debug)]
struct Own {
    from: From,
    /// Whether threads keep out of each other's way.
    serialized: bool,
    /// How many bytes all blocks together may have, where that is fixed.
    most: Option<usize>,
    used: usize,
    blocks: BTreeMap<usize, usize>, // address -> length
}

/// A block of a heap of a fixed size is shorter than a megabyte less one page (`HeapCreate`: "slightly less than 1,024 KB").
const LARGEST: usize = 0xf_f000;

/// The heaps that guest code made for itself, by handle.
#[derive(Debug, Default)]
pub(crate) struct Heaps(Mutex<BTreeMap<usize, Own>>, Locks);

/// The thread that has a heap for itself, and how often.
type Held = BTreeMap<usize, (u32, u32)>;

/// Who has which heap.
#[derive(Debug, Default)]
struct Locks {
    held: Mutex<Held>,
    /// How many are held: most programs never lock a heap.
    count: AtomicUsize,
    freed: Condvar,
}

impl Locks {
    /// Waits until no other thread than this one has the heap.
    fn turn(&self, heap: usize, thread: u32) -> MutexGuard<'_, Held> {
        let taken = |held: &mut Held| held.get(&heap).is_some_and(|(owner, _)| *owner != thread);
        self.freed.wait_while(lock(&self.held), taken).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heaps {
    /// A new heap. Its handle is the address of a block of the common heap, so no two are equal.
    pub(crate) fn create(&self, from: From, most: Option<usize>, serialized: bool) -> usize {
        let name = alloc(1, true).addr();
        if name != 0 {
            lock(&self.0).insert(name, Own { from, serialized, most, used: 0, blocks: BTreeMap::new() });
        }
        name
    }

    /// `HeapLock`: other threads' calls for this heap wait until it is unlocked as often. Functions of the C runtime do not,
    /// for the host's heap has no such lock.
    pub(crate) fn lock(&self, heap: usize, thread: u32) {
        if !self.is_serialized(heap) {
            return; // each lets the others do what they want
        }
        let mut held = self.1.turn(heap, thread);
        held.entry(heap).or_insert((thread, 0)).1 += 1;
        self.1.count.store(held.len(), Release);
    }

    fn is_serialized(&self, heap: usize) -> bool {
        lock(&self.0).get(&heap).is_none_or(|own| own.serialized)
    }

    /// `HeapUnlock`; false where the thread has not locked it.
    pub(crate) fn unlock(&self, heap: usize, thread: u32) -> bool {
        if !self.is_serialized(heap) {
            return true;
        }
        let mut held = lock(&self.1.held);
        let Some((_, depth)) = held.get_mut(&heap).filter(|(owner, _)| *owner == thread) else {
            return false;
        };
        *depth -= 1;
        if *depth == 0 {
            held.remove(&heap);
            self.1.count.store(held.len(), Release);
            self.1.freed.notify_all();
        }
        true
    }

    /// Waits while another thread has locked a heap.
    pub(crate) fn wait_turn(&self, heap: usize, thread: impl FnOnce() -> u32) {
        if self.1.count.load(Acquire) != 0 {
            drop(self.1.turn(heap, thread()));
        }
    }

    /// Takes a heap out: where its blocks came from, and the blocks, which the caller frees.
    pub(crate) fn remove(&self, heap: usize) -> Option<(From, Vec<Block>)> {
        let own = lock(&self.0).remove(&heap)?;
        free(block(heap));
        Some((own.from, own.blocks.into_keys().map(block).collect()))
    }

    /// Where a heap's blocks come from, if there is such a heap.
    pub(crate) fn from(&self, heap: usize) -> Option<From> {
        lock(&self.0).get(&heap).map(|own| own.from)
    }

    /// Claims room in a heap for a block to come; false where a fixed heap has no more.
    pub(crate) fn claim(&self, heap: usize, len: usize) -> bool {
        let mut heaps = lock(&self.0);
        let Some(own) = heaps.get_mut(&heap) else { return false };
        let used = own.used.checked_add(len);
        let used = used.filter(|&used| own.most.is_none_or(|most| used <= most && len < LARGEST));
        used.map(|used| own.used = used).is_some()
    }

    /// Gives claimed room back: no block came.
    pub(crate) fn disclaim(&self, heap: usize, len: usize) {
        if let Some(own) = lock(&self.0).get_mut(&heap) {
            own.used -= len;
        }
    }

    /// Notes a block, for which room was claimed.
    pub(crate) fn note(&self, heap: usize, block: Block, len: usize) {
        if let Some(own) = lock(&self.0).get_mut(&heap) {
            own.blocks.insert(block.addr(), len);
        }
    }

    /// Says that a block is shorter than it was.
    pub(crate) fn shorten(&self, heap: usize, block: Block, len: usize) {
        if let Some(own) = lock(&self.0).get_mut(&heap)
            && let Some(now) = own.blocks.get_mut(&block.addr())
        {
            own.used -= now.saturating_sub(len);
            *now = len.min(*now);
        }
    }

    /// Takes a block out of a heap's list, with its room; false where it is not in there.
    pub(crate) fn forget(&self, heap: usize, block: Block) -> bool {
        let mut heaps = lock(&self.0);
        let Some(own) = heaps.get_mut(&heap) else { return false };
        own.blocks.remove(&block.addr()).map(|len| own.used -= len).is_some()
    }

    /// The length of a block of a heap.
    pub(crate) fn size(&self, heap: usize, block: Block) -> Option<usize> {
        lock(&self.0).get(&heap)?.blocks.get(&block.addr()).copied()
    }

    /// The block after an address, lowest first, and its length.
    pub(crate) fn next(&self, heap: usize, after: usize) -> Option<(usize, usize)> {
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        lock(&self.0).get(&heap)?.blocks.range(behind).next().map(|(&at, &len)| (at, len))
    }

    /// The handles of all heaps.
    pub(crate) fn all(&self) -> Vec<usize> {
        lock(&self.0).keys().copied().collect()
    }

    /// How many heaps there are, and how many bytes their blocks have.
    pub(crate) fn usage(&self) -> (usize, u64) {
        let heaps = lock(&self.0);
        (heaps.len(), heaps.values().map(|own| own.used as u64).sum())
    }
}

/// A block that a heap noted.
fn block(at: usize) -> Block {
    // SAFETY: a block is noted when it was made, and taken out when it is freed: so it still is one.
    unsafe { Block::new(std::ptr::with_exposed_provenance_mut(at)) }
}

impl Drop for Heaps {
    fn drop(&mut self) {
        for heap in self.all() {
            if let Some((From::Common, blocks)) = self.remove(heap) {
                blocks.into_iter().for_each(free);
            }
        }
        // Executable blocks are pages of the process, which go with all its pages.
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
        }
        assert!(alloc(usize::MAX, false).is_null());
    }

    #[test]
    fn a_heap_goes_with_its_blocks() {
        let heaps = Heaps::default();
        let heap = heaps.create(From::Common, Some(100), true);
        assert_eq!(
            (heaps.claim(heap, 101), heaps.claim(heap, 60), heaps.claim(heap, 41)),
            (false, true, false)
        );
        let block = alloc(60, false);
        heaps.note(heap, block, 60);
        assert_eq!((heaps.size(heap, block), heaps.next(heap, 0)), (Some(60), Some((block.addr(), 60))));
        assert_eq!((heaps.next(heap, block.addr()), heaps.usage()), (None, (1, 60)));
        let (from, blocks) = heaps.remove(heap).unwrap();
        assert_eq!((from, blocks.len(), heaps.usage()), (From::Common, 1, (0, 0)));
        blocks.into_iter().for_each(free);
        assert!(heaps.remove(heap).is_none());
    }
}
