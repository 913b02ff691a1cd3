//! Rows in the order of a key, which readers search without a lock while a writer changes them.
//!
//! Rows stand in chunks, and a directory names these. A change writes anew the chunk that it is in, elsewhere, and then the
//! directory: an entry for some fifty rows, so a change among ten thousand costs little more than among ten. There are two
//! directories of each order, of which the writer fills the one that nobody is told to read, and then changes the number that
//! says which. A reader who was overtaken asks again.
//!
//! `unsafe` because readers follow pointers that the writer publishes: to directories and chunks, which are never freed. They
//! are written again instead (directories grow by doubling, so what stays behind is less than what is in use).
#![allow(unsafe_code)]

use super::{Found, Listed};
use std::{
    ptr::{self, null_mut},
    sync::{
        Arc,
        atomic::{
            AtomicPtr, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release, SeqCst},
            fence,
        },
    },
};

/// Rows of a chunk at most.
const ROWS: usize = 64;

/// One module of a chunk. All of it is read while it may be written; the version tells whether it was.
#[derive(Default)]
pub(super) struct Row {
    key: AtomicU64,
    pub(super) start: AtomicU64,
    pub(super) end: AtomicU64,
    pub(super) unwind: AtomicU64,
    pub(super) link_map: AtomicU64,
    pub(super) listed: AtomicPtr<Listed>,
}

struct Chunk {
    len: AtomicUsize,
    rows: [Row; ROWS],
}

impl Default for Chunk {
    fn default() -> Self {
        Self { len: AtomicUsize::new(0), rows: std::array::from_fn(|_| Row::default()) }
    }
}

/// A chunk of a directory, and the key of its first row.
#[derive(Default)]
struct Slot {
    first: AtomicU64,
    chunk: AtomicPtr<Chunk>,
}

struct Directory {
    len: AtomicUsize,
    slots: Box<[Slot]>,
}

/// The directories to read are those that the lowest bit names.
static VERSION: AtomicUsize = AtomicUsize::new(0);

/// What readers see of one order.
pub(super) struct Order([AtomicPtr<Directory>; 2]);

impl Order {
    pub(super) const fn new() -> Self {
        Self([AtomicPtr::new(null_mut()), AtomicPtr::new(null_mut())])
    }

    /// What `read` says of the last row whose key is not above `key`: asked as often as it takes to be answered by rows that
    /// nobody wrote to meanwhile.
    pub(super) fn last<T>(&self, key: u64, read: impl Fn(&Row) -> Option<T>) -> Option<T> {
        loop {
            let version = VERSION.load(SeqCst);
            let answer = followed(&self.0[version & 1]).and_then(|d| d.last(key)).and_then(&read);
            fence(Acquire);
            if VERSION.load(Relaxed) == version {
                return answer;
            }
        }
    }
}

/// What a pointer of this file leads to.
fn followed<T>(pointer: &AtomicPtr<T>) -> Option<&'static T> {
    // SAFETY: it is null or leads to a directory or a chunk of `Tables`, of which none is ever freed.
    unsafe { pointer.load(Acquire).as_ref() }
}

impl Directory {
    fn last(&self, key: u64) -> Option<&Row> {
        let slots = self.slots.get(..self.len.load(Relaxed))?;
        let after = slots.partition_point(|slot| slot.first.load(Relaxed) <= key);
        let chunk = followed(&slots.get(after.checked_sub(1)?)?.chunk)?;
        let rows = chunk.rows.get(..chunk.len.load(Relaxed))?;
        rows.get(rows.partition_point(|row| row.key.load(Relaxed) <= key).checked_sub(1)?)
    }
}

/// What a row is made from.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) found: Found,
    pub(super) listed: Arc<Listed>,
}

/// The writer's side of all orders.
pub(super) struct Tables {
    orders: [Sorted; 2],
    spare: Spare,
}

impl Tables {
    pub(super) const fn new(orders: [Sorted; 2]) -> Self {
        Self { orders, spare: Spare { free: Vec::new(), left: Vec::new() } }
    }

    pub(super) fn insert(&mut self, entry: &Entry) {
        self.change(|sorted, spare| sorted.insert(entry.clone(), spare));
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        self.change(|sorted, spare| sorted.remove(entry, spare));
    }

    fn change(&mut self, change: impl Fn(&mut Sorted, &mut Spare)) {
        // Whoever still reads what is written from here on also sees that it was overtaken.
        fence(Release);
        let version = VERSION.load(Relaxed).wrapping_add(1);
        for sorted in &mut self.orders {
            change(sorted, &mut self.spare);
            sorted.publish(version & 1);
        }
        VERSION.store(version, SeqCst);
        self.spare.free.append(&mut self.spare.left);
    }
}

/// The writer's side of one order.
pub(super) struct Sorted {
    order: &'static Order,
    key: fn(&Entry) -> u64,
    parts: Vec<Part>,
}

/// Entries, at least one, and the chunk that shows them.
struct Part {
    entries: Vec<Entry>,
    chunk: &'static Chunk,
}

impl Sorted {
    /// Of entries by this key.
    pub(super) const fn new(order: &'static Order, key: fn(&Entry) -> u64) -> Self {
        Self { order, key, parts: Vec::new() }
    }

    fn insert(&mut self, entry: Entry, spare: &mut Spare) {
        let (key, of) = ((self.key)(&entry), self.key);
        let after = self.parts.partition_point(|part| part.entries.first().is_some_and(|e| of(e) <= key));
        let n = after.saturating_sub(1);
        let mut entries = self.entries(n);
        entries.insert(entries.partition_point(|e| of(e) <= key), entry);
        let rest = if entries.len() > ROWS { entries.split_off(ROWS / 2) } else { Vec::new() };
        self.put(n, [entries, rest], spare);
    }

    fn remove(&mut self, entry: &Entry, spare: &mut Spare) {
        let (key, of) = ((self.key)(entry), self.key);
        let before = self.parts.partition_point(|part| part.entries.last().is_some_and(|e| of(e) < key));
        let is_it = |e: &Entry| of(e) == key && Arc::ptr_eq(&e.listed, &entry.listed);
        // Another may have the key for a moment: who is put where one is about to be unlisted.
        let at = |n: usize| Some((n, self.parts[n].entries.iter().position(is_it)?));
        if let Some((n, place)) = (before..self.parts.len()).find_map(at) {
            let mut entries = self.entries(n);
            entries.remove(place);
            self.put(n, [entries, Vec::new()], spare);
        }
    }

    /// Takes the entries of a part that is about to be put again; none where there is no such part.
    fn entries(&mut self, n: usize) -> Vec<Entry> {
        self.parts.get_mut(n).map_or(Vec::new(), |part| std::mem::take(&mut part.entries))
    }

    /// Puts parts of these entries in the place of part `n`.
    fn put(&mut self, n: usize, entries: [Vec<Entry>; 2], spare: &mut Spare) {
        let there = n..self.parts.len().min(n + 1);
        let filled = entries.into_iter().filter(|entries| !entries.is_empty());
        let parts: Vec<_> =
            filled.map(|entries| Part { chunk: spare.filled(&entries, self.key), entries }).collect();
        spare.left.extend(self.parts.splice(there, parts).map(|part| part.chunk));
    }

    /// Writes one of the two directories.
    fn publish(&self, which: usize) {
        let pointer = &self.order.0[which];
        let existing = followed(pointer).filter(|directory| directory.slots.len() >= self.parts.len());
        let directory = existing.unwrap_or_else(|| larger(pointer, self.parts.len()));
        for (slot, Part { entries, chunk }) in directory.slots.iter().zip(&self.parts) {
            slot.first.store(entries.first().map_or(0, self.key), Relaxed);
            slot.chunk.store(ptr::from_ref(*chunk).cast_mut(), Release);
        }
        directory.len.store(self.parts.len(), Relaxed);
    }
}

/// An empty directory with room for `len` chunks; the one before is left to its readers for ever.
fn larger(pointer: &AtomicPtr<Directory>, len: usize) -> &'static Directory {
    let slots = (0..len.next_power_of_two()).map(|_| Slot::default()).collect();
    let directory = Box::leak(Box::new(Directory { len: AtomicUsize::new(0), slots }));
    pointer.store(directory, Release);
    directory
}

/// Chunks that the directories of the moment do not name.
struct Spare {
    free: Vec<&'static Chunk>,
    /// To be free once the change is seen.
    left: Vec<&'static Chunk>,
}

impl Spare {
    /// A chunk that shows these entries.
    fn filled(&mut self, entries: &[Entry], key: fn(&Entry) -> u64) -> &'static Chunk {
        let chunk = self.free.pop().unwrap_or_else(|| Box::leak(Box::default()));
        for (row, entry) in chunk.rows.iter().zip(entries) {
            row.key.store(key(entry), Relaxed);
            row.start.store(entry.found.start.0, Relaxed);
            row.end.store(entry.found.end.0, Relaxed);
            row.unwind.store(entry.found.unwind.0, Relaxed);
            row.link_map.store(entry.found.link_map.0, Relaxed);
            row.listed.store(Arc::as_ptr(&entry.listed).cast_mut(), Relaxed);
        }
        chunk.len.store(entries.len(), Relaxed);
        chunk
    }
}
