//! This process. `unsafe` because pages are mapped, written and given back by address; every address is inside one
//! reservation that one [`LocalBlock`] owns, and every range was proved by [`MapPlan::check`].
#![allow(unsafe_code)]

use super::{AddressSpace, Backing, Block};
use crate::{Addr, ErrorKind, Fill, MapPlan, PAGE, Region, Rights, Rva, Wanted, addr::page_floor};
use rustix::{
    io::Errno,
    mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, munmap},
};
use std::{ffi::c_void, fs::File, ops::Range, os::fd::AsFd};

/// Size of a huge page, in bytes.
const HUGE: usize = 2 << 20;

/// Writable pages of a file are all copied at once from this many bytes on: fixups touch most of them, and one call
/// costs less than a fault for each (a sixth to a third of map and relocate, measured on libcrypto and libpython).
const POPULATE: usize = 64 << 10;

/// The memory of this process: what is put here can run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

#[derive(Debug)]
struct LocalBlock {
    base: usize,
    len: usize,
    window: Range<usize>,
    /// Pages outside the window that have their final rights since they were mapped.
    final_since_map: Vec<Range<Rva>>,
}

fn space(what: &'static str) -> impl Fn(Errno) -> ErrorKind {
    move |e| ErrorKind::Space { what, os: e.raw_os_error() }
}

fn prot(rights: Rights) -> ProtFlags {
    let mut p = ProtFlags::empty();
    p.set(ProtFlags::READ, rights.contains(Rights::READ));
    p.set(ProtFlags::WRITE, rights.contains(Rights::WRITE));
    p.set(ProtFlags::EXEC, rights.contains(Rights::EXECUTE));
    p
}

impl AddressSpace for Local {
    fn reserve(&self, plan: &MapPlan) -> Result<Box<dyn Block>, ErrorKind> {
        let len = plan.len().get() as usize;
        let window = plan.window().start.0 as usize..plan.window().end.0 as usize;
        let whole = window == (0..len);
        let rights = if whole { Rights::READ | Rights::WRITE } else { Rights::empty() };
        let align = (plan.align() as usize).max(if len >= HUGE { HUGE } else { 0 });
        let base = match plan.wanted() {
            Wanted::Anywhere => anywhere(len, align, rights)?,
            Wanted::Preferred(at) => match exactly(at, len, rights) {
                Ok(base) => base,
                Err(_) => anywhere(len, align, rights)?,
            },
            Wanted::Fixed(at) => exactly(at, len, rights).map_err(|e| match e {
                Errno::EXIST | Errno::PERM | Errno::INVAL => ErrorKind::BaseTaken { base: at },
                e => space("reserve memory")(e),
            })?,
        };
        // From here on dropping the block gives the reservation back.
        let block = LocalBlock { base, len, window, final_since_map: Vec::new() };
        if !whole && !block.window.is_empty() {
            block.make_writable(block.window.start, block.window.len())?;
        }
        Ok(Box::new(block))
    }
}

/// Reserves `len` bytes at a multiple of `align`.
fn anywhere(len: usize, align: usize, rights: Rights) -> Result<usize, ErrorKind> {
    let slack = align - PAGE as usize;
    // Not NORESERVE: the kernel is to refuse a window that it could never fill, as it does for every program.
    let flags = MapFlags::PRIVATE;
    let total = len.checked_add(slack).ok_or(space("reserve memory")(Errno::NOMEM))?;
    // SAFETY: a null hint lets the kernel choose free memory; no existing mapping is touched.
    let got = unsafe { mmap_anonymous(std::ptr::null_mut(), total, prot(rights), flags) }
        .map_err(space("reserve memory"))?
        .addr();
    let base = got.next_multiple_of(align);
    let give_back = |at: usize, len: usize| {
        if len != 0 {
            // SAFETY: the range is a part of the mapping made above that is not handed on.
            let _ = unsafe { munmap(at as *mut c_void, len) };
        }
    };
    give_back(got, base - got);
    give_back(base + len, got + total - (base + len));
    Ok(base)
}

/// Reserves `len` bytes at `at` and nowhere else.
fn exactly(at: Addr, len: usize, rights: Rights) -> Result<usize, Errno> {
    let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
    if !at.0.is_multiple_of(PAGE) || at.0 == 0 {
        return Err(Errno::INVAL);
    }
    // SAFETY: FIXED_NOREPLACE fails rather than replace an existing mapping.
    let got = unsafe { mmap_anonymous(at.0 as *mut c_void, len, prot(rights), flags) }?.addr();
    if got as u64 == at.0 {
        return Ok(got);
    }
    // A kernel older than 4.17 takes the address as a hint.
    // SAFETY: the mapping was just made, and nobody else knows it.
    let _ = unsafe { munmap(got as *mut c_void, len) };
    Err(Errno::EXIST)
}

impl LocalBlock {
    fn pointer(&self, at: usize) -> *mut c_void {
        (self.base + at) as *mut c_void
    }

    /// Lets pages be written until `seal` gives them their final rights.
    fn make_writable(&self, start: usize, len: usize) -> Result<(), ErrorKind> {
        let flags = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: the range lies inside this block's reservation, and no code of the image runs yet.
        unsafe { mprotect(self.pointer(start), len, flags) }.map_err(space("make memory writable"))
    }

    /// Tells the kernel how pages will be used. It may not know how to, and then nothing is lost but time.
    fn advise(&self, start: usize, len: usize, advice: Advice) {
        // SAFETY: the range lies inside this block's reservation; neither advice used here changes what it holds.
        let _ = unsafe { madvise(self.pointer(start), len, advice) };
    }

    fn in_window(&self, at: &Range<Rva>) -> bool {
        at.start.0 as usize >= self.window.start && at.end.0 as usize <= self.window.end
    }

    /// Maps the pages of a region that the file holds; true where that was possible.
    fn map_from_file(&mut self, region: &Region, fill: &Fill, file: &File) -> Result<bool, ErrorKind> {
        let inside = self.in_window(&region.at);
        let lead = fill.at.0 - page_floor(fill.at.0);
        let bytes = fill.file.end.0 - fill.file.start.0;
        let end = (fill.at.0 + bytes).next_multiple_of(PAGE);
        let congruent = fill.file.start.0.checked_sub(lead).filter(|o| o.is_multiple_of(PAGE));
        let covers = end >= region.at.end.0;
        let Some(offset) = congruent.filter(|_| bytes != 0 && (inside || covers)) else {
            return Ok(false);
        };
        let start = page_floor(fill.at.0);
        let rights = if inside { Rights::READ | Rights::WRITE } else { region.rights };
        // SAFETY: FIXED replaces pages of this block's own reservation only: the plan proved that the region and its
        // fill lie inside it, and no reference to its bytes is alive while `self` is borrowed mutably.
        unsafe {
            mmap(
                self.pointer(start as usize),
                (end - start) as usize,
                prot(rights),
                MapFlags::PRIVATE | MapFlags::FIXED,
                file.as_fd(),
                offset,
            )
        }
        .map_err(space("map the file"))?;
        if inside {
            if (end - start) as usize >= POPULATE {
                self.advise(start as usize, (end - start) as usize, Advice::LinuxPopulateWrite);
            }
            // What follows the file's bytes on their last page is the file's next part; here it has to be zero.
            let tail = (fill.at.0 + bytes) as usize - self.window.start..end as usize - self.window.start;
            self.window()[tail].fill(0);
        } else {
            self.final_since_map.push(region.at.clone());
        }
        Ok(true)
    }

    /// Copies the bytes of a region into anonymous pages.
    fn copy(&mut self, region: &Region, source: &[u8], at: Rva) -> Result<(), ErrorKind> {
        let (start, len) = (region.at.start.0 as usize, (region.at.end.0 - region.at.start.0) as usize);
        if !self.in_window(&region.at) {
            self.make_writable(start, len)?;
        }
        if len >= HUGE {
            self.advise(start, len, Advice::LinuxHugepage); // thousands of faults less
        }
        let to = self.pointer(at.0 as usize).cast::<u8>();
        // SAFETY: the plan proved that the destination lies inside the region, which is writable now and which no
        // reference points into; the source is a different object.
        unsafe { std::ptr::copy_nonoverlapping(source.as_ptr(), to, source.len()) };
        Ok(())
    }
}

impl Block for LocalBlock {
    fn base(&self) -> Addr {
        Addr(self.base as u64)
    }

    fn name(&self, name: &str) {
        super::name::name(self.base..self.base + self.len, name);
    }

    fn fill(&mut self, region: &Region, from: Backing<'_>) -> Result<(), ErrorKind> {
        let Some(fill) = &region.fill else {
            return Ok(());
        };
        if let Some(file) = from.file
            && self.map_from_file(region, fill, file)?
        {
            return Ok(());
        }
        let source = &from.bytes[fill.file.start.0 as usize..fill.file.end.0 as usize];
        self.copy(region, source, fill.at)
    }

    fn window(&mut self) -> &mut [u8] {
        let at = self.pointer(self.window.start).cast::<u8>();
        // SAFETY: the window is private memory of this block, readable and writable until `seal`; only `seal` calls
        // `protect` on it, and it consumes the only stage that can call `window`.
        unsafe { std::slice::from_raw_parts_mut(at, self.window.len()) }
    }

    fn patch(&mut self, at: Rva, value: u64) -> Result<(), ErrorKind> {
        let end = at.0.saturating_add(8);
        if (at.0 as usize) < self.window.start || end > self.window.end as u64 {
            return Err(ErrorKind::WriteOutside { at, len: 8 });
        }
        let slot = self.pointer(at.0 as usize).cast::<u64>();
        // SAFETY: the slot lies in the window, which stays writable until the image's late fixups are done.
        unsafe { slot.write_unaligned(value) };
        Ok(())
    }

    fn protect(&mut self, at: Range<Rva>, rights: Rights) -> Result<(), ErrorKind> {
        let has_them = |r: &Range<Rva>| r.start <= at.start && at.end <= r.end;
        if self.final_since_map.iter().any(has_them) {
            return Ok(());
        }
        if rights.is_empty() && !self.in_window(&at) {
            return Ok(()); // a hole outside the window never had any
        }
        let mut p = region::Protection::NONE;
        p.set(region::Protection::READ, rights.contains(Rights::READ));
        p.set(region::Protection::WRITE, rights.contains(Rights::WRITE));
        p.set(region::Protection::EXECUTE, rights.contains(Rights::EXECUTE));
        let (start, len) = (self.pointer(at.start.0 as usize), (at.end.0 - at.start.0) as usize);
        // SAFETY: the plan proved that the range lies inside this block, and no reference to its bytes is alive.
        unsafe { region::protect(start.cast::<u8>(), len, p) }.map_err(|e| {
            let os = match e {
                region::Error::SystemCall(os) => os,
                _ => libc::EINVAL,
            };
            ErrorKind::Space { what: "set page rights", os }
        })
    }

    fn close_off(&mut self) -> Result<(), ErrorKind> {
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: replaces pages of this block's own reservation, which no code and no reference uses any more.
        unsafe { mmap_anonymous(self.pointer(0), self.len, ProtFlags::empty(), flags) }
            .map(drop)
            .map_err(space("close memory off"))
    }
}

impl Drop for LocalBlock {
    fn drop(&mut self) {
        // SAFETY: the reservation belongs to this block alone; whoever drops it promises that no code of the image
        // runs any more and no reference into it is left (`LoadSet::close` says what callers must see to).
        let _ = unsafe { munmap(self.pointer(0), self.len) };
    }
}
