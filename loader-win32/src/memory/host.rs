//! The pages of this process, and what the system says of those that are in no book.
//!
//! Unsafe because pages are taken, protected, thrown away and given back by address. The book hands in nothing but
//! address space that was claimed here, or images and memory that guest code asks to have protected.
#![allow(unsafe_code)]

use super::{
    GRANULARITY,
    book::{Full, Pages, Shown},
    watch::Watch,
};
use crate::guest::Ptr;
use loader_core::{PAGE, Rights, memory};
use rustix::mm::{MapFlags, MprotectFlags, MsyncFlags, ProtFlags};
use std::{ffi::c_void, ops::Range, ptr, sync::OnceLock};

/// Reservations are carved from this many bytes while they last: a process of the usual size never needs more.
const ARENA: u64 = 1 << 38;
/// Less than this is no arena.
const SMALLEST_ARENA: u64 = 1 << 30;

/// This process.
#[derive(Debug, Default)]
pub(crate) struct Host {
    watch: OnceLock<Option<Watch>>,
}

/// A place in memory as the host's functions take it.
pub(crate) fn place(address: u64) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address as usize)
}

fn len(range: &Range<u64>) -> usize {
    (range.end - range.start) as usize
}

fn prot(rights: Rights) -> ProtFlags {
    let mut p = ProtFlags::empty();
    p.set(ProtFlags::READ, rights.contains(Rights::READ));
    p.set(ProtFlags::WRITE, rights.contains(Rights::WRITE));
    p.set(ProtFlags::EXEC, rights.contains(Rights::EXECUTE));
    p
}

/// Maps address space without rights. Not `NORESERVE`: so the kernel counts what is committed later, and refuses what
/// it could never give.
fn map_nothing(at: u64, len: usize, flags: MapFlags) -> Result<u64, Full> {
    // SAFETY: without FIXED, new address space is nobody's; the one caller that passes FIXED names what is ours.
    let got =
        unsafe { rustix::mm::mmap_anonymous(place(at), len, ProtFlags::empty(), flags | MapFlags::PRIVATE) };
    Ok(got.map_err(|_| Full)?.expose_provenance() as u64)
}

fn unmap(range: &Range<u64>) {
    if !range.is_empty() {
        // SAFETY: address space that was claimed here and is given up, or was just claimed and is handed to nobody.
        let _ = unsafe { rustix::mm::munmap(place(range.start), len(range)) };
    }
}

/// Takes address space at a place and nowhere else.
fn exactly(range: &Range<u64>) -> Result<u64, Full> {
    let got = map_nothing(range.start, len(range), MapFlags::FIXED_NOREPLACE)?;
    if got == range.start {
        return Ok(got);
    }
    unmap(&(got..got + (range.end - range.start))); // a kernel that takes the address as a hint
    Err(Full)
}

/// Takes address space at a multiple of the granularity.
fn anywhere(len: u64) -> Result<u64, Full> {
    let room = len.checked_add(GRANULARITY).ok_or(Full)?;
    let start = map_nothing(0, room as usize, MapFlags::empty())?;
    let base = start.next_multiple_of(GRANULARITY);
    unmap(&(start..base));
    unmap(&(base + len..start + room));
    Ok(base)
}

impl Host {
    fn watch(&self) -> Result<&Watch, Full> {
        self.watch.get_or_init(Watch::open).as_ref().ok_or(Full)
    }
}

impl Pages for Host {
    fn arena(&self) -> Option<Range<u64>> {
        let sizes = std::iter::successors(Some(ARENA), |size| Some(size / 2));
        let mut sizes = sizes.take_while(|&size| size >= SMALLEST_ARENA);
        sizes.find_map(|size| anywhere(size).ok().map(|at| at..at + size))
    }

    fn claim(&self, at: Option<u64>, len: u64) -> Result<u64, Full> {
        match at {
            Some(at) => exactly(&(at..at + len)),
            None => anywhere(len),
        }
    }

    fn give_back(&self, range: Range<u64>) {
        unmap(&range);
    }

    fn protect(&self, range: Range<u64>, rights: Rights) -> Result<(), Full> {
        let flags = MprotectFlags::from_bits_truncate(prot(rights).bits());
        // SAFETY: guest code asks for it: pages of its own, or of an image or of the host, which it could reach anyway.
        unsafe { rustix::mm::mprotect(place(range.start), len(&range), flags) }.map_err(|_| Full)
    }

    fn clear(&self, range: Range<u64>) -> Result<(), Full> {
        map_nothing(range.start, len(&range), MapFlags::FIXED).map(drop)
    }

    fn show(&self, range: Range<u64>, shown: Shown<'_>, rights: Rights) -> Result<(), Full> {
        let kind = if shown.copy { MapFlags::PRIVATE } else { MapFlags::SHARED };
        // SAFETY: the range was claimed for this view; what was shown there goes, as guest code asked.
        let done = unsafe {
            let flags = kind | MapFlags::FIXED;
            rustix::mm::mmap(place(range.start), len(&range), prot(rights), flags, shown.file, shown.offset)
        };
        done.map(drop).map_err(|_| Full)
    }

    fn lock(&self, range: Range<u64>) -> Result<(), Full> {
        // SAFETY: locking changes nothing about pages' contents; where nothing is mapped it is an error.
        unsafe { rustix::mm::mlock(place(range.start), len(&range)) }.map_err(|_| Full)
    }

    fn unlock(&self, range: Range<u64>) {
        // SAFETY: as in `lock`.
        let _ = unsafe { rustix::mm::munlock(place(range.start), len(&range)) };
    }

    fn can_watch(&self) -> bool {
        self.watch().is_ok()
    }

    fn watch(&self, range: Range<u64>) -> Result<(), Full> {
        self.watch()?.begin(range)
    }

    fn written(&self, range: Range<u64>) -> Result<Vec<Range<u64>>, Full> {
        self.watch()?.take(range)
    }
}

/// Whether something is mapped in every page of a range.
pub(crate) fn is_mapped(range: &Range<u64>) -> bool {
    // SAFETY: `msync` with MS_ASYNC writes nothing; it only says whether all of the range is mapped.
    unsafe { rustix::mm::msync(place(range.start), len(range), MsyncFlags::ASYNC) }.is_ok()
}

/// Whether nothing is mapped in any page of a range: whether it could be claimed.
pub(crate) fn is_free(range: &Range<u64>) -> bool {
    let got = exactly(range).is_ok();
    if got {
        unmap(range);
    }
    got
}

/// Copies what can be read at `from` of a process, without ever faulting, and says how much that was.
pub(crate) fn peek(process: u32, from: u64, to: Ptr<u8>, len: usize) -> usize {
    // SAFETY: an address of the caller's, who wants it written to.
    unsafe { memory::read(process.cast_signed(), from, to.raw(), len) }
}

/// Copies to an address of a process as far as can be written there, without ever faulting, and says how far that was.
pub(crate) fn poke(process: u32, to: u64, from: Ptr<u8>, len: usize) -> usize {
    // SAFETY: as above.
    unsafe { memory::write(process.cast_signed(), to, from.raw(), len) }
}

/// Whether a page can be read.
pub(crate) fn is_readable(page: u64) -> bool {
    let mut byte = 0;
    // SAFETY: a local of one byte, which is all that is copied.
    let to = unsafe { Ptr::new(&raw mut byte) };
    peek(std::process::id(), page, to, 1) == 1
}

/// Whether a byte can be written. It is, with what is there.
pub(crate) fn is_writable(at: u64) -> bool {
    let mut byte = 0;
    // SAFETY: a local of one byte, which is all that is copied.
    let byte = unsafe { Ptr::new(&raw mut byte) };
    let this = std::process::id();
    peek(this, at, byte, 1) == 1 && poke(this, at, byte, 1) == 1
}

/// The pages after `page`, up to `limit`, of which `all` holds; found by doubling and halving, for rules that hold of
/// every part of what they hold of.
pub(crate) fn stretch(page: u64, limit: u64, all: impl Fn(&Range<u64>) -> bool) -> u64 {
    let mut end = page + PAGE;
    let mut step = PAGE;
    while step >= PAGE {
        let next = end.saturating_add(step).min(limit);
        if next > end && all(&(end..next)) {
            end = next;
            step = step.saturating_mul(2);
        } else {
            step /= 2;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_ends_where_the_rule_does() {
        for end in [1, 2, 3, 17, 1000] {
            assert_eq!(stretch(0, 1 << 40, |r| r.end <= end * PAGE), end * PAGE);
        }
        assert_eq!(stretch(0, 5 * PAGE, |_| true), 5 * PAGE);
    }

    #[test]
    fn what_is_mapped_and_what_is_free() {
        let base = anywhere(4 * PAGE).unwrap();
        let all = base..base + 4 * PAGE;
        assert_eq!((is_mapped(&all), is_free(&all), is_readable(base)), (true, false, false));
        unmap(&(base + PAGE..base + 2 * PAGE));
        assert_eq!((is_mapped(&all), is_free(&all)), (false, false));
        assert!(exactly(&(base + PAGE..base + 3 * PAGE)).is_err(), "one page of it is taken");
        unmap(&all);
    }
}
