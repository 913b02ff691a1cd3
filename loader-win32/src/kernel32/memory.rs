//! Virtual memory: an own book of what was reserved and committed; everything else (images, the host's memory) is
//! looked up where the host keeps its book.
//!
//! Unsafe because guest code asks for pages to be protected, thrown away and given back by address. Only reservations
//! in the book are ever unmapped.
#![allow(unsafe_code)]

use super::{Bool, TRUE, answer, error::code, fail};
use crate::{guest::Ptr, lock, teb};
use loader_core::{Addr, PAGE};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
use std::{collections::BTreeMap, ffi::c_void, ops::Range, ptr, sync::Mutex};

const GRANULARITY: u64 = 0x1_0000;
/// The highest address that is given out, and one more.
const TOP: u64 = 1 << 47;

const COMMIT: u32 = 0x1000;
const RESERVE: u32 = 0x2000;
const DECOMMIT: u32 = 0x4000;
const RELEASE: u32 = 0x8000;
const FREE: u32 = 0x1_0000;
const RESET: u32 = 0x8_0000;
const TOP_DOWN: u32 = 0x10_0000;
const PRIVATE: u32 = 0x2_0000;
const MAPPED: u32 = 0x4_0000;
const IMAGE: u32 = 0x100_0000;

const NOACCESS: u32 = 0x01;
const READONLY: u32 = 0x02;
const READWRITE: u32 = 0x04;
const WRITECOPY: u32 = 0x08;
const EXECUTE: u32 = 0x10;
const EXECUTE_READ: u32 = 0x20;
const EXECUTE_READWRITE: u32 = 0x40;
const EXECUTE_WRITECOPY: u32 = 0x80;

/// The host's rights for a Windows protection, or `None` where it is not one that is supported.
fn rights(protect: u32) -> Option<MprotectFlags> {
    use MprotectFlags as P;
    Some(match protect {
        NOACCESS => P::empty(),
        READONLY => P::READ,
        READWRITE | WRITECOPY => P::READ | P::WRITE,
        EXECUTE | EXECUTE_READ => P::READ | P::EXEC,
        EXECUTE_READWRITE | EXECUTE_WRITECOPY => P::READ | P::WRITE | P::EXEC,
        _ => return None,
    })
}

/// One reservation: its end, the protection it was made with, and the committed runs by start.
#[derive(Debug)]
struct Reservation {
    end: u64,
    protect: u32,
    committed: BTreeMap<u64, (u64, u32)>, // start -> end, protection; neighbours differ
}

impl Reservation {
    /// Gives `range` a protection, or takes it out with `None`.
    fn set(&mut self, range: Range<u64>, protect: Option<u32>) {
        for edge in [range.start, range.end] {
            let inside = self.committed.range(..edge).next_back();
            if let Some((&start, &(end, p))) = inside
                && end > edge
            {
                self.committed.insert(start, (edge, p));
                self.committed.insert(edge, (end, p));
            }
        }
        self.committed.retain(|start, _| !range.contains(start));
        if let Some(p) = protect {
            self.committed.insert(range.start, (range.end, p));
        }
        self.merge();
    }

    fn merge(&mut self) {
        let mut merged: BTreeMap<u64, (u64, u32)> = BTreeMap::new();
        for (start, (end, p)) in std::mem::take(&mut self.committed) {
            match merged.last_entry() {
                Some(mut last) if *last.get() == (start, p) => last.get_mut().0 = end,
                _ => drop(merged.insert(start, (end, p))),
            }
        }
        self.committed = merged;
    }

    /// The run that holds a page: where it ends and its protection, `None` for pages that are only reserved.
    fn run(&self, page: u64) -> (u64, Option<u32>) {
        if let Some((_, &(end, p))) = self.committed.range(..=page).next_back()
            && page < end
        {
            return (end, Some(p));
        }
        let next = self.committed.range(page..).next();
        (next.map_or(self.end, |(&start, _)| start), None)
    }

    /// Whether all of `range` is committed.
    fn holds(&self, range: &Range<u64>) -> bool {
        let mut at = range.start;
        while at < range.end {
            match self.run(at) {
                (end, Some(_)) => at = end,
                _ => return false,
            }
        }
        true
    }
}

/// What was reserved, by base.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<BTreeMap<u64, Reservation>>);

fn at(address: u64) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address as usize)
}

/// Reserves pages without rights at a multiple of the granularity: at `wanted`, or anywhere.
fn reserve(wanted: u64, len: u64) -> Result<u64, u32> {
    if wanted != 0 {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED_NOREPLACE;
        // SAFETY: FIXED_NOREPLACE takes nobody's pages.
        let got = unsafe { rustix::mm::mmap_anonymous(at(wanted), len as usize, ProtFlags::empty(), flags) };
        return got.map(|_| wanted).map_err(|_| code::INVALID_ADDRESS);
    }
    let room = len.checked_add(GRANULARITY).ok_or(code::NOT_ENOUGH_MEMORY)?;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: new pages at a place of the kernel's choice touch nobody's memory.
    let got =
        unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), room as usize, ProtFlags::empty(), flags) };
    let start = got.map_err(|_| code::NOT_ENOUGH_MEMORY)?.expose_provenance() as u64;
    let base = start.next_multiple_of(GRANULARITY);
    give_back(start..base);
    give_back(base + len..start + room);
    Ok(base)
}

/// Unmaps pages that `reserve` made.
fn give_back(range: Range<u64>) {
    if !range.is_empty() {
        // SAFETY: the range was mapped by `reserve` and is handed to nobody, or is taken out of the book by the caller.
        let _ = unsafe { rustix::mm::munmap(at(range.start), (range.end - range.start) as usize) };
    }
}

fn mprotect(range: &Range<u64>, rights: MprotectFlags) -> Result<(), u32> {
    // SAFETY: guest code asks for it: pages of its own reservations, or of an image, whose owner it is as much as we.
    let done = unsafe { rustix::mm::mprotect(at(range.start), (range.end - range.start) as usize, rights) };
    done.map_err(|e| super::error::from_os(e.raw_os_error()))
}

/// Throws the contents of pages away; reading them gives zeros.
fn discard(range: &Range<u64>) {
    let len = (range.end - range.start) as usize;
    // SAFETY: pages of a reservation in the book, whose contents the guest said it does not want.
    let _ = unsafe { rustix::mm::madvise(at(range.start), len, Advice::LinuxDontNeed) };
}

/// The pages that `len` bytes at `address` touch.
fn pages(address: u64, len: u64) -> Result<Range<u64>, u32> {
    let end = address.checked_add(len).filter(|&e| e <= TOP).ok_or(code::INVALID_PARAMETER)?;
    Ok(address & !(PAGE - 1)..end.next_multiple_of(PAGE))
}

impl Book {
    fn alloc(&self, address: u64, len: u64, kind: u32, protect: u32) -> Result<u64, u32> {
        let rights = rights(protect).ok_or(code::INVALID_PARAMETER)?;
        if len == 0
            || kind & (COMMIT | RESERVE | RESET) == 0
            || kind & !(COMMIT | RESERVE | RESET | TOP_DOWN) != 0
        {
            return Err(code::INVALID_PARAMETER);
        }
        if kind & RESET != 0 {
            return self.reset(address, len, kind);
        }
        if kind & RESERVE != 0 || address == 0 {
            return self.reserve(address, len, kind & COMMIT != 0, protect);
        }
        let range = pages(address, len)?;
        let mut book = lock(&self.0);
        let r = find(&mut book, &range).ok_or(code::INVALID_ADDRESS)?.1;
        mprotect(&range, rights)?;
        r.set(range.clone(), Some(protect));
        Ok(range.start)
    }

    fn reserve(&self, address: u64, len: u64, commit: bool, protect: u32) -> Result<u64, u32> {
        let base = address & !(GRANULARITY - 1);
        let range = pages(address, len)?;
        let len = range.end - if address == 0 { 0 } else { base };
        let base = reserve(base, len)?;
        let mut reservation = Reservation { end: base + len, protect, committed: BTreeMap::new() };
        if commit {
            // Memory that is committed at once is committed as a whole.
            let range = base..base + len;
            if let Some(rights) = rights(protect)
                && let Err(e) = mprotect(&range, rights)
            {
                give_back(range);
                return Err(e);
            }
            reservation.set(range, Some(protect));
        }
        lock(&self.0).insert(base, reservation);
        Ok(base)
    }

    /// The contents do not matter any more: they may stay or become zero.
    fn reset(&self, address: u64, len: u64, kind: u32) -> Result<u64, u32> {
        let range = pages(address, len)?;
        let mut book = lock(&self.0);
        let (_, r) = find(&mut book, &range).ok_or(code::INVALID_ADDRESS)?;
        match kind == RESET {
            true if r.holds(&range) => Ok(range.start),
            true => Err(code::INVALID_ADDRESS),
            false => Err(code::INVALID_PARAMETER),
        }
    }

    fn free(&self, address: u64, len: u64, kind: u32) -> Result<(), u32> {
        let mut book = lock(&self.0);
        match kind {
            RELEASE if len != 0 => Err(code::INVALID_PARAMETER),
            RELEASE => {
                let r = book.remove(&address).ok_or(code::INVALID_ADDRESS)?;
                give_back(address..r.end);
                Ok(())
            }
            DECOMMIT => {
                let range = pages(address, len.max(1))?;
                let (base, r) = find(&mut book, &range).ok_or(code::INVALID_ADDRESS)?;
                let range = match len {
                    0 if address == base => base..r.end,
                    0 => return Err(code::INVALID_PARAMETER),
                    _ => range,
                };
                mprotect(&range, MprotectFlags::empty())?;
                discard(&range);
                r.set(range, None);
                Ok(())
            }
            _ => Err(code::INVALID_PARAMETER),
        }
    }

    /// Changes the protection of committed pages and returns what the first one had; `None` where they are not ours.
    fn protect(&self, range: &Range<u64>, protect: u32, new: MprotectFlags) -> Option<Result<u32, u32>> {
        let mut book = lock(&self.0);
        let (_, r) = find(&mut book, range)?;
        let before = r.run(range.start).1;
        Some(match before {
            Some(before) if r.holds(range) => mprotect(range, new).map(|()| {
                r.set(range.clone(), Some(protect));
                before
            }),
            _ => Err(code::INVALID_ADDRESS),
        })
    }

    fn query(&self, page: u64) -> Option<Info> {
        let mut book = lock(&self.0);
        let (base, r) = find(&mut book, &(page..page + PAGE))?;
        let (end, protect) = r.run(page);
        Some(Info {
            base: page,
            allocation_base: base,
            allocation_protect: r.protect,
            partition: 0,
            size: end - page,
            state: if protect.is_some() { COMMIT } else { RESERVE },
            protect: protect.unwrap_or(0),
            kind: PRIVATE,
            _pad: 0,
        })
    }
}

/// The reservation that holds all of `range`, and its base.
fn find<'a>(
    book: &'a mut BTreeMap<u64, Reservation>,
    range: &Range<u64>,
) -> Option<(u64, &'a mut Reservation)> {
    let (&base, r) = book.range_mut(..=range.start).next_back()?;
    (range.end <= r.end).then_some((base, r))
}

impl Drop for Book {
    fn drop(&mut self) {
        for (&base, r) in lock(&self.0).iter() {
            give_back(base..r.end);
        }
    }
}

/// `MEMORY_BASIC_INFORMATION`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Info {
    base: u64,
    allocation_base: u64,
    allocation_protect: u32,
    partition: u32,
    size: u64,
    state: u32,
    protect: u32,
    kind: u32,
    _pad: u32,
}

/// A line of the host's own book.
#[derive(Clone, Debug)]
struct Line {
    range: Range<u64>,
    protect: u32,
    from_file: bool,
}

fn lines() -> Vec<Line> {
    let text = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    text.lines().filter_map(line).collect()
}

fn line(text: &str) -> Option<Line> {
    let mut words = text.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let number = |s| u64::from_str_radix(s, 16).ok();
    let rights = words.next()?.as_bytes();
    let inode = words.nth(2)?;
    let protect = match rights {
        [b'r', b'w', b'x', ..] => EXECUTE_READWRITE,
        [_, _, b'x', ..] => EXECUTE_READ,
        [_, b'w', ..] => READWRITE,
        [b'r', ..] => READONLY,
        _ => NOACCESS,
    };
    Some(Line { range: number(start)?..number(end)?, protect, from_file: inode != "0" })
}

/// What the host says of a page that is not in our book.
fn look_up(page: u64) -> Info {
    let module = |a: u64| teb::process().services().and_then(|s| s.module_at(Addr(a)));
    let lines = lines();
    let Some(first) = lines.iter().position(|l| l.range.contains(&page)) else {
        return hole(page, &lines);
    };
    let (line, owner) = (&lines[first], module(page));
    // Neighbours with the same rights are one region as long as the same image owns them.
    let same = |l: &&Line| l.protect == line.protect && module(l.range.start) == owner;
    let mut end = line.range.end;
    for next in lines[first + 1..].iter().take_while(same) {
        if next.range.start != end {
            break;
        }
        end = next.range.end;
    }
    Info {
        base: page,
        allocation_base: owner.map_or(line.range.start, |o| o.0),
        allocation_protect: if owner.is_some() { EXECUTE_WRITECOPY } else { line.protect },
        size: end - page,
        state: COMMIT,
        protect: line.protect,
        kind: match (owner, line.from_file) {
            (Some(_), _) => IMAGE,
            (None, true) => MAPPED,
            (None, false) => PRIVATE,
        },
        ..Info::default()
    }
}

fn hole(page: u64, lines: &[Line]) -> Info {
    let end = lines.iter().map(|l| l.range.start).find(|&s| s > page).unwrap_or(TOP);
    Info { base: page, size: end - page, state: FREE, protect: NOACCESS, ..Info::default() }
}

extern "win64" fn VirtualAlloc(address: u64, len: u64, kind: u32, protect: u32) -> u64 {
    match teb::process().memory.alloc(address, len, kind, protect) {
        Ok(base) => base,
        Err(code) => fail(code) as u64,
    }
}

extern "win64" fn VirtualFree(address: u64, len: u64, kind: u32) -> Bool {
    answer(teb::process().memory.free(address, len, kind))
}

fn protect(address: u64, len: u64, new: u32) -> Result<u32, u32> {
    let flags = rights(new).ok_or(code::INVALID_PARAMETER)?;
    if len == 0 {
        return Err(code::INVALID_PARAMETER);
    }
    let range = pages(address, len)?;
    if let Some(done) = teb::process().memory.protect(&range, new, flags) {
        return done;
    }
    let before = look_up(range.start);
    if before.state == FREE {
        return Err(code::INVALID_ADDRESS);
    }
    mprotect(&range, flags)?;
    Ok(before.protect)
}

extern "win64" fn VirtualProtect(address: u64, len: u64, new: u32, old: Ptr<u32>) -> Bool {
    if old.is_null() {
        return fail(998); // ERROR_NOACCESS: the old protection has nowhere to go
    }
    answer(protect(address, len, new).map(|before| old.set(before)))
}

extern "win64" fn VirtualQuery(address: u64, out: Ptr<Info>, room: usize) -> usize {
    if address >= TOP {
        return fail(code::INVALID_PARAMETER) as usize;
    }
    if room < size_of::<Info>() {
        return fail(24) as usize; // ERROR_BAD_LENGTH
    }
    let page = address & !(PAGE - 1);
    out.put(teb::process().memory.query(page).unwrap_or_else(|| look_up(page)));
    size_of::<Info>()
}

extern "win64" fn VirtualLock(address: u64, len: usize) -> Bool {
    // SAFETY: locking pages changes nothing about their contents; addresses that are not mapped are an error.
    let done = unsafe { rustix::mm::mlock(at(address), len) };
    answer(done.map_err(|e| super::error::from_os(e.raw_os_error())))
}

extern "win64" fn VirtualUnlock(address: u64, len: usize) -> Bool {
    // SAFETY: as in `VirtualLock`.
    let done = unsafe { rustix::mm::munlock(at(address), len) };
    answer(done.map_err(|_| 158)) // ERROR_NOT_LOCKED
}

/// This processor keeps its instruction cache in step by itself.
extern "win64" fn FlushInstructionCache(_process: usize, _address: usize, _len: usize) -> Bool {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    TRUE
}

table! {
    /// Virtual memory.
    pub(crate) TABLE: VirtualAlloc, VirtualFree, VirtualProtect, VirtualQuery, VirtualLock, VirtualUnlock, FlushInstructionCache
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_split_and_merge() {
        let mut r = Reservation { end: 100, protect: READWRITE, committed: BTreeMap::new() };
        r.set(0..100, Some(READWRITE));
        r.set(10..20, Some(READONLY));
        assert_eq!((r.run(0), r.run(15), r.run(50)), ((10, Some(4)), (20, Some(2)), (100, Some(4))));
        r.set(10..20, Some(READWRITE));
        assert_eq!(r.committed.len(), 1);
        r.set(30..40, None);
        assert_eq!((r.run(35), r.holds(&(0..30)), r.holds(&(0..31))), ((40, None), true, false));
    }

    #[test]
    fn reserve_commit_decommit_release() {
        let book = Book::default();
        let base = book.alloc(0, 0x1_2345, RESERVE, READWRITE).unwrap();
        assert_eq!(base % GRANULARITY, 0);
        assert_eq!(book.query(base).unwrap().size, 0x1_3000);
        assert_eq!(book.alloc(base + 0x1800, 1, COMMIT, READWRITE), Ok(base + 0x1000));
        assert_eq!(book.query(base + 0x1000).unwrap().protect, READWRITE);
        assert_eq!(book.free(base + 0x1000, 0x1000, DECOMMIT), Ok(()));
        assert_eq!(book.query(base).unwrap().size, 0x1_3000);
        assert_eq!(book.free(base, 1, RELEASE), Err(code::INVALID_PARAMETER));
        assert_eq!(book.free(base, 0, RELEASE), Ok(()));
        assert_eq!(book.free(base, 0, RELEASE), Err(code::INVALID_ADDRESS));
    }
}
