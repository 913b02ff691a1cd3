//! Virtual memory: the process's [`Book`] of allocations over the pages of the [`Host`].
//!
//! Read in this order: `protect` (page protections) → `runs` (how the states of pages are kept) → [`book`] (the rules) →
//! `host` and `watch` (system calls) → here, where the book meets images and memory that is in no book.
//!
//! What a query says, without ever reading the host's own list of mappings:
//! - allocations and views: exactly what the book has;
//! - images of the engine: what they were mapped with, and what `VirtualProtect` made of it. Pages that can be written
//!   to count as `PAGE_WRITECOPY`, as on Windows before the first write;
//! - the rest is the host's, which Windows has no words for: what is mapped is `MEM_PRIVATE`, committed and
//!   `PAGE_READWRITE`, or `PAGE_NOACCESS` where it cannot be read, told granule by granule (a thread's own stack as one);
//!   what is not mapped is free.

pub(crate) mod book;
pub(crate) mod host;
pub(crate) mod protect;
pub(crate) mod puppet;
mod runs;
mod watch;

#[cfg(test)]
mod tests;

use crate::{kernel32::error::code, lock, services::ImagePages, teb};
use book::{Book, COMMIT, FREE, MemoryUse, PRIVATE, Pages, RESERVE, Shown, View};
use host::{Host, is_free, is_mapped, is_readable, stretch};
use loader_core::{Addr, PAGE};
use protect::{NOACCESS, Protect, READWRITE};
use std::{ops::Range, sync::Mutex};

/// Address space is given out in units of this.
pub(crate) const GRANULARITY: u64 = 0x1_0000;
/// The highest address that Windows code can have, and one more.
pub(crate) const TOP: u64 = 0x7fff_ffff_0000;

/// `MEMORY_BASIC_INFORMATION`: a range of pages that are alike.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Where they begin.
    pub base: u64,
    /// Where the allocation begins that they belong to.
    pub allocation_base: u64,
    /// The protection that the allocation began with.
    pub allocation_protect: u32,
    /// The partition.
    pub partition: u32,
    /// How many bytes.
    pub size: u64,
    /// `MEM_COMMIT`, `MEM_RESERVE` or `MEM_FREE`.
    pub state: u32,
    /// Their protection.
    pub protect: u32,
    /// `MEM_PRIVATE`, `MEM_MAPPED` or `MEM_IMAGE`.
    pub kind: u32,
    #[doc(hidden)]
    pub _pad: u32,
}

impl Info {
    pub(crate) fn free(range: Range<u64>) -> Self {
        let size = range.end - range.start;
        Self { base: range.start, size, state: FREE, protect: NOACCESS, ..Self::default() }
    }
}

/// The virtual memory of one process.
#[derive(Debug)]
pub(crate) struct Memory(Mutex<Book<Host>>);

impl Default for Memory {
    fn default() -> Self {
        Self(Mutex::new(Book::new(Host::default())))
    }
}

/// The image that holds an address. The engine is asked, so no lock may be held.
fn image_at(address: u64) -> Option<ImagePages> {
    teb::process().services()?.image_pages(Addr(address))
}

impl Memory {
    /// `VirtualAlloc`.
    pub(crate) fn allocate(&self, address: u64, len: u64, kind: u32, protect: u32) -> Result<u64, u32> {
        match lock(&self.0).allocate(address, len, kind, protect) {
            Err(code::INVALID_ADDRESS) if kind & (COMMIT | RESERVE) == COMMIT => {}
            done => return done,
        }
        // An image's pages are committed already.
        Err(if image_at(address).is_some() { code::ACCESS_DENIED } else { code::INVALID_ADDRESS })
    }

    /// `VirtualFree`.
    pub(crate) fn free(&self, address: u64, len: u64, kind: u32) -> Result<(), u32> {
        match lock(&self.0).free(address, len, kind) {
            Err(code::INVALID_ADDRESS) => {}
            done => return done,
        }
        Err(if image_at(address).is_some() { code::INVALID_PARAMETER } else { code::INVALID_ADDRESS })
    }

    /// `VirtualProtect`: what the first page had before.
    pub(crate) fn protect(&self, address: u64, len: u64, protect: u32) -> Result<u32, u32> {
        let (range, protect) = (book::pages(address, len)?, Protect::new(protect)?);
        if let Some(before) = lock(&self.0).protect(range.clone(), protect)? {
            return Ok(before);
        }
        if let Some(image) = image_at(range.start) {
            return lock(&self.0).protect_image(&image, range, protect);
        }
        // The host's memory: its heap's blocks are guest code's too.
        let book = lock(&self.0);
        let host = book.is_outside(&range) && is_mapped(&range);
        let before = if host { query_host(&book, range.start).protect } else { 0 };
        match host && book.pages().protect(range, protect.rights()).is_ok() {
            true => Ok(before),
            false => Err(code::INVALID_ADDRESS),
        }
    }

    /// `VirtualQuery`.
    pub(crate) fn query(&self, address: u64) -> Info {
        let page = address & !(PAGE - 1);
        let known = lock(&self.0).query(page);
        known.unwrap_or_else(|| match image_at(page) {
            Some(image) => lock(&self.0).query_image(&image, page),
            None => query_host(&lock(&self.0), page),
        })
    }

    /// Whether an address is in memory that guest code allocated or mapped.
    pub(crate) fn has(&self, address: u64) -> bool {
        lock(&self.0).query(address & !(PAGE - 1)).is_some()
    }

    /// Whether [`Memory::guard_hit`] could say so, whatever image is there.
    pub(crate) fn may_guard(&self, address: u64) -> bool {
        lock(&self.0).may_guard(address)
    }

    /// As [`Process::guard_hit`](crate::Process::guard_hit), where this image is.
    pub(crate) fn guard_hit(&self, address: u64, image: Option<u64>) -> bool {
        lock(&self.0).guard_hit(address, image)
    }

    /// `GetWriteWatch`.
    pub(crate) fn written(&self, address: u64, len: u64, reset: bool, limit: usize) -> Result<Vec<u64>, u32> {
        lock(&self.0).written(&book::pages(address, len)?, reset, limit)
    }

    /// `VirtualLock`.
    pub(crate) fn lock(&self, address: u64, len: u64) -> Result<(), u32> {
        lock(&self.0).lock(book::pages(address, len)?)
    }

    /// `VirtualUnlock`.
    pub(crate) fn unlock(&self, address: u64, len: u64) -> Result<(), u32> {
        lock(&self.0).unlock(book::pages(address, len)?)
    }

    /// `MapViewOfFileEx`.
    pub(crate) fn map(
        &self,
        address: u64,
        len: u64,
        shown: Shown<'_>,
        view: View,
        protect: Protect,
    ) -> Result<u64, u32> {
        lock(&self.0).map(address, len, shown, view, protect)
    }

    /// The view that holds an address.
    pub(crate) fn view(&self, address: u64) -> Option<Range<u64>> {
        lock(&self.0).view(address)
    }

    /// `UnmapViewOfFile`.
    pub(crate) fn unmap(&self, address: u64) -> Result<(), u32> {
        lock(&self.0).unmap(address)
    }

    /// How much there is of everything.
    pub(crate) fn usage(&self) -> MemoryUse {
        lock(&self.0).usage()
    }
}

/// What is said of a page that is in no book. The book stays locked meanwhile: free space is found by trying to claim it,
/// which whoever wants an address of their choice must not notice.
fn query_host(book: &Book<Host>, page: u64) -> Info {
    let next = book.next(page);
    if page < GRANULARITY || !is_mapped(&(page..page + PAGE)) {
        // Nobody gets the lowest granule.
        let from = page.max(GRANULARITY - PAGE);
        return Info::free(page..stretch(from, next, is_free));
    }
    let stack = teb::with(|t| t.stack_limit.get() as u64..t.stack_base.get() as u64);
    let inside = stack.contains(&page);
    let (end, protect) = match inside {
        true => (stack.end, READWRITE),
        false if is_readable(page) => (granule_end(page, next, true), READWRITE),
        false => (granule_end(page, next, false), NOACCESS),
    };
    Info {
        base: page,
        allocation_base: if inside { stack.start } else { page & !(GRANULARITY - 1) },
        allocation_protect: READWRITE,
        size: end - page,
        state: COMMIT,
        protect,
        kind: PRIVATE,
        ..Info::default()
    }
}

/// Where the pages end, in this granule and before `limit`, that are mapped and can be read, or cannot.
fn granule_end(page: u64, limit: u64, readable: bool) -> u64 {
    let limit = limit.min((page + 1).next_multiple_of(GRANULARITY));
    let same = |at: &u64| is_mapped(&(*at..at + PAGE)) && is_readable(*at) == readable;
    let after = (page + PAGE..limit).step_by(PAGE as usize).find(|at| !same(at));
    after.unwrap_or(limit)
}
