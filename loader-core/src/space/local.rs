//! This process. `unsafe` because pages are mapped, written and given back by address; every address is inside one
//! reservation that one [`LocalBlock`] owns, and every range was proved by [`MapPlan::check`].
#![allow(unsafe_code)]

use super::{AddressSpace, Backing, Block};
use crate::{
    Addr, ErrorKind, FileOffset, Fill, MapPlan, PAGE, Region, Rights, Rva, Wanted, addr::page_floor,
};
use rustix::{
    io::Errno,
    mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, munmap},
};
use std::{
    ffi::c_void,
    fs::File,
    io::{self, IoSliceMut},
    mem,
    ops::Range,
    os::fd::AsFd,
};

/// Size of a huge page, in bytes.
const HUGE: usize = 2 << 20;

/// From this many bytes on, what is to be written to is copied into huge pages: one fault and the clearing of two
/// megabytes cost no more than hundreds of pages that the kernel copies in one call, and are given back in less time (for
/// the 1.5 MB of libpython 5 to 10 % of the open, a third of the close).
const LARGE: usize = 1 << 20;

/// Writable pages of a file are all copied at once from this many bytes on: fixups touch most of them, and one call
/// costs less than a fault for each (a sixth to a third of map and relocate, measured on libcrypto and libpython).
const POPULATE: usize = 16 << 10;

/// The pages of a file up to this size are mapped by the time its tables are understood: the kernel maps some around
/// each that is looked at.
const SMALL: usize = 64 << 10;

/// The memory of this process: what is put here can run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

#[derive(Debug)]
struct LocalBlock {
    base: usize,
    len: usize,
    window: Range<usize>,
    /// What can be written to until `seal`: the window, or all of a copied image.
    open: Range<usize>,
    /// Pages outside the window that have their final rights since they were mapped.
    final_since_map: Vec<Range<Rva>>,
    /// Where the pages of the file begin that the reservation consists of; `None` where it consists of zeros.
    lent: Option<Lent>,
}

/// Pages of a file as a reservation.
#[derive(Clone, Copy, Debug)]
struct Lent {
    /// Where they begin in the file.
    offset: u64,
    rights: Rights,
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

fn indices(range: &Range<Rva>) -> Range<usize> {
    range.start.0 as usize..range.end.0 as usize
}

/// The part of an image that is copied as one, into huge pages where it is long enough.
#[derive(Debug)]
struct Copied {
    at: Range<usize>,
    huge: bool,
}

impl Copied {
    /// All of an image that is in a buffer, or whose parts are not in the file as they are in memory (those of Windows
    /// images are at multiples of 512 there); of any other file a window that is worth huge pages, else nothing.
    fn of(plan: &MapPlan, from: Backing<'_>) -> Self {
        let scattered =
            || plan.regions().iter().filter_map(|r| r.fill.as_ref()).any(|f| file_pages(f).is_none());
        let all = from.file.is_none() || scattered();
        let at = match plan.regions().last() {
            Some(last) if all => Rva(0)..last.at.end,
            _ => plan.window(),
        };
        let mut copied = Self { at: indices(&at), huge: false };
        copied.huge = copied.fills(plan).map(file_len).sum::<usize>() >= LARGE;
        match copied.huge || all {
            true => copied,
            false => Self { at: 0..0, huge: false },
        }
    }

    /// What the file has of it, lowest first.
    fn fills<'p>(&self, plan: &'p MapPlan) -> impl Iterator<Item = &'p Fill> {
        plan.regions().iter().filter(|r| self.has(r)).filter_map(|r| r.fill.as_ref())
    }

    fn has(&self, region: &Region) -> bool {
        let at = indices(&region.at);
        self.at.start <= at.start && at.end <= self.at.end
    }

    /// Whether nothing is left that has to be mapped.
    fn is_all_of(&self, plan: &MapPlan) -> bool {
        self.at == (0..plan.len().get() as usize)
    }

    /// Where the last huge page ends, counted from the image's first byte.
    fn reach(&self) -> usize {
        match self.huge {
            true => self.at.start + self.at.len().next_multiple_of(HUGE),
            false => 0,
        }
    }

    /// How the image's first byte is to be aligned: the first plus this many bytes is a multiple of the second.
    fn alignment(&self, plan: &MapPlan) -> (usize, usize) {
        let own = plan.align() as usize;
        match self.huge && own <= HUGE && self.at.start.is_multiple_of(own) {
            true => (self.at.start, HUGE),
            false => (0, own),
        }
    }
}

/// The pages that what the file has goes to.
fn pages(fill: &Fill) -> Range<usize> {
    let end = fill.at.0 + file_len(fill) as u64;
    page_floor(fill.at.0) as usize..end.next_multiple_of(PAGE) as usize
}

fn file_len(fill: &Fill) -> usize {
    (fill.file.end.0 - fill.file.start.0) as usize
}

/// What the file has of a part of an image at `base`, cut where huge pages of memory begin.
fn in_huge_pages(fill: &Fill, base: u64, mut each: impl FnMut(Fill)) {
    let Fill { file: mut rest, mut at } = fill.clone();
    while rest.start < rest.end {
        let room = HUGE as u64 - (base + at.0) % HUGE as u64;
        let len = room.min(rest.end.0 - rest.start.0);
        let cut = FileOffset(rest.start.0 + len);
        each(Fill { file: rest.start..cut, at });
        (rest.start, at) = (cut, Rva(at.0 + len));
    }
}

/// Fills all buffers from a place in a file on.
fn read_all(file: &File, mut buffers: &mut [IoSliceMut<'_>], mut from: u64) -> io::Result<()> {
    IoSliceMut::advance_slices(&mut buffers, 0); // past empty ones
    while !buffers.is_empty() {
        match rustix::io::preadv(file, buffers, from) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                from += n as u64;
                IoSliceMut::advance_slices(&mut buffers, n);
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Where in the file the pages begin that hold a part of an image, if they hold it as memory does.
fn file_pages(fill: &Fill) -> Option<u64> {
    let lead = fill.at.0 - page_floor(fill.at.0);
    fill.file.start.0.checked_sub(lead).filter(|start| start.is_multiple_of(PAGE))
}

/// The pages of a file that can be the reservation: where no page of the image lies outside a region, and all that is
/// not in the window comes from the file, the first byte too. What lies in the file as it does in memory needs no
/// mapping of its own then.
fn lent(plan: &MapPlan, copied: &Copied) -> Option<Lent> {
    let (first, window) = (plan.regions().first()?, plan.window());
    let offset = first.fill.as_ref().filter(|fill| fill.at.0 < PAGE).and_then(file_pages)?;
    let movable = plan.wanted() == Wanted::Anywhere && plan.align() == PAGE && copied.at.is_empty();
    let whole = plan.rights().iter().all(|(_, rights)| !rights.is_empty());
    let mut outside = plan.regions().iter().filter(|r| r.at.start < window.start || window.end < r.at.end);
    (movable && whole && outside.all(is_filled))
        .then_some(Lent { offset, rights: first.rights - Rights::WRITE })
}

/// Whether the file's bytes reach a region's last page.
fn is_filled(region: &Region) -> bool {
    region.fill.as_ref().is_some_and(|f| file_len(f) != 0 && pages(f).end as u64 >= region.at.end.0)
}

impl AddressSpace for Local {
    fn place(&self, plan: &MapPlan, from: Backing<'_>) -> Result<Box<dyn Block>, ErrorKind> {
        let copied = Copied::of(plan, from);
        let lent = from.file.zip(lent(plan, &copied));
        let mut block = match lent {
            Some((file, lent)) => LocalBlock::lend(plan, file, lent)?,
            None => LocalBlock::reserve(plan, &copied)?,
        };
        // From here on dropping the block gives the reservation back.
        block.fill(plan, from, &copied)?;
        block.cut(plan.len().get() as usize);
        Ok(Box::new(block))
    }
}

/// Reserves `len` bytes; byte number `phase` of them is at a multiple of `align`.
fn anywhere(len: usize, (phase, align): (usize, usize), rights: ProtFlags) -> Result<usize, ErrorKind> {
    let slack = align - PAGE as usize;
    // Not NORESERVE: the kernel is to refuse a window that it could never fill, as it does for every program.
    let flags = MapFlags::PRIVATE;
    let total = len.checked_add(slack).ok_or(space("reserve memory")(Errno::NOMEM))?;
    // SAFETY: a null hint lets the kernel choose free memory; no existing mapping is touched.
    let got = unsafe { mmap_anonymous(std::ptr::null_mut(), total, rights, flags) }
        .map_err(space("reserve memory"))?
        .addr();
    let base = (got + phase).next_multiple_of(align) - phase;
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
fn exactly(at: Addr, len: usize, rights: ProtFlags) -> Result<usize, Errno> {
    let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
    if !at.0.is_multiple_of(PAGE) || at.0 == 0 {
        return Err(Errno::INVAL);
    }
    // SAFETY: FIXED_NOREPLACE fails rather than replace an existing mapping.
    let got = unsafe { mmap_anonymous(at.0 as *mut c_void, len, rights, flags) }?.addr();
    if got as u64 == at.0 {
        return Ok(got);
    }
    // A kernel older than 4.17 takes the address as a hint.
    // SAFETY: the mapping was just made, and nobody else knows it.
    let _ = unsafe { munmap(got as *mut c_void, len) };
    Err(Errno::EXIST)
}

impl LocalBlock {
    /// Memory where the plan wants it, as far as the last huge page goes: without rights, unless all of it is copied.
    fn reserve(plan: &MapPlan, copied: &Copied) -> Result<Self, ErrorKind> {
        let len = plan.len().get() as usize;
        let rights = match copied.is_all_of(plan) {
            true => ProtFlags::READ | ProtFlags::WRITE,
            false => ProtFlags::empty(),
        };
        let exactly = |at| exactly(at, len, rights);
        let anywhere = || {
            let len = len.max(copied.reach());
            Ok((anywhere(len, copied.alignment(plan), rights)?, len))
        };
        let (base, len) = match plan.wanted() {
            Wanted::Anywhere => anywhere()?,
            Wanted::Preferred(at) => match exactly(at) {
                Ok(base) => (base, len),
                Err(_) => anywhere()?,
            },
            Wanted::Fixed(at) => match exactly(at) {
                Ok(base) => (base, len),
                Err(Errno::EXIST | Errno::PERM | Errno::INVAL) => {
                    return Err(ErrorKind::BaseTaken { base: at });
                }
                Err(e) => return Err(space("reserve memory")(e)),
            },
        };
        let window = indices(&plan.window());
        let open = if copied.at.is_empty() { window.clone() } else { copied.at.clone() };
        Ok(Self { base, len, window, open, final_since_map: Vec::new(), lent: None })
    }

    /// As many pages of a file as the image is long. Those behind the file's end are replaced before anybody looks.
    fn lend(plan: &MapPlan, file: &File, lent: Lent) -> Result<Self, ErrorKind> {
        let (len, window) = (plan.len().get() as usize, indices(&plan.window()));
        let (rights, flags) = (prot(lent.rights), MapFlags::PRIVATE);
        // SAFETY: a null hint lets the kernel choose free memory; no existing mapping is touched.
        let got = unsafe { mmap(std::ptr::null_mut(), len, rights, flags, file.as_fd(), lent.offset) };
        let base = got.map_err(space("map the file"))?.addr();
        Ok(Self { base, len, open: window.clone(), window, final_since_map: Vec::new(), lent: Some(lent) })
    }

    /// Gives back what lies behind the image.
    fn cut(&mut self, len: usize) {
        if len < self.len {
            // SAFETY: the range is the end of this block's reservation, behind all regions.
            let _ = unsafe { munmap(self.pointer(len), self.len - len) };
            self.len = len;
        }
    }

    fn pointer(&self, at: usize) -> *mut c_void {
        (self.base + at) as *mut c_void
    }

    /// Zeros that can be written to until `seal` gives them their final rights.
    fn make_writable(&self, at: Range<usize>) -> Result<(), ErrorKind> {
        if at.is_empty() {
            return Ok(());
        }
        if self.lent.is_some() {
            let (rights, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::FIXED);
            // SAFETY: replaces pages of this block's own reservation that nobody knows yet.
            let zeros = unsafe { mmap_anonymous(self.pointer(at.start), at.len(), rights, flags) };
            return zeros.map(drop).map_err(space("make memory writable"));
        }
        let flags = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: the range lies inside this block's reservation, and no code of the image runs yet.
        unsafe { mprotect(self.pointer(at.start), at.len(), flags) }.map_err(space("make memory writable"))
    }

    /// Tells the kernel how pages will be used. It may not know how to, and then nothing is lost but time.
    fn advise(&self, at: Range<usize>, advice: Advice) {
        // SAFETY: the range lies inside this block's reservation; neither advice used here changes what it holds.
        let _ = unsafe { madvise(self.pointer(at.start), at.len(), advice) };
    }

    fn set_rights(&self, at: &Range<Rva>, rights: Rights) -> Result<(), ErrorKind> {
        let (start, len) = (self.pointer(at.start.0 as usize), (at.end.0 - at.start.0) as usize);
        let flags = MprotectFlags::from_bits_retain(prot(rights).bits());
        // SAFETY: the plan proved that the range lies inside this block, and no reference to its bytes is alive.
        unsafe { mprotect(start, len, flags) }.map_err(space("set page rights"))
    }

    fn in_window(&self, at: &Range<Rva>) -> bool {
        at.start.0 as usize >= self.window.start && at.end.0 as usize <= self.window.end
    }

    /// Puts the regions in place, lowest first.
    fn fill(&mut self, plan: &MapPlan, from: Backing<'_>, copied: &Copied) -> Result<(), ErrorKind> {
        let together = copied.at.start..copied.at.end.max(copied.reach()).min(self.len);
        if !copied.is_all_of(plan) {
            self.make_writable(together.clone())?;
        }
        if copied.huge {
            self.advise(together, Advice::LinuxHugepage);
        }
        self.copy(copied.fills(plan), from)?;
        // How far the window can be written to: pages that are mapped need not be made writable before.
        let mut open = if copied.at.is_empty() { self.window.start } else { self.window.end };
        for region in plan.regions() {
            let Some(fill) = region.fill.as_ref().filter(|_| !copied.has(region)) else { continue };
            let (at, in_window) = (indices(&region.at), self.in_window(&region.at));
            match self.map_from_file(region, fill, from.file)? {
                Some(mapped) if in_window => {
                    self.make_writable(open..mapped.start)?;
                    open = mapped.end;
                }
                Some(_) => {}
                None => {
                    let start = if in_window { mem::replace(&mut open, at.end) } else { at.start };
                    self.make_writable(start..at.end)?;
                    self.copy([fill], from)?;
                }
            }
        }
        self.make_writable(open..self.window.end)
    }

    /// Maps the pages of a region that the file holds, where that is possible.
    fn map_from_file(
        &mut self,
        region: &Region,
        fill: &Fill,
        file: Option<&File>,
    ) -> Result<Option<Range<usize>>, ErrorKind> {
        let (inside, at) = (self.in_window(&region.at), pages(fill));
        let congruent = file_pages(fill).filter(|_| file_len(fill) != 0 && (inside || is_filled(region)));
        let (Some(file), Some(offset)) = (file, congruent) else { return Ok(None) };
        let in_place = |lent: &Lent| !inside && offset == lent.offset + at.start as u64;
        if let Some(lent) = self.lent.filter(in_place) {
            self.final_since_map.push(region.at.clone());
            return match lent.rights == region.rights {
                true => Ok(Some(at)),
                false => self.set_rights(&region.at, region.rights).map(|()| Some(at)),
            };
        }
        let rights = if inside { Rights::READ | Rights::WRITE } else { region.rights };
        // SAFETY: FIXED replaces pages of this block's own reservation only: the plan proved that the region and its
        // fill lie inside it, and no reference to its bytes is alive while `self` is borrowed mutably.
        unsafe {
            mmap(
                self.pointer(at.start),
                at.len(),
                prot(rights),
                MapFlags::PRIVATE | MapFlags::FIXED,
                file.as_fd(),
                offset,
            )
        }
        .map_err(space("map the file"))?;
        if inside {
            if at.len() >= POPULATE {
                self.advise(at.clone(), Advice::LinuxPopulateWrite);
            }
            // What follows the file's bytes on their last page is the file's next part; here it has to be zero.
            let tail = fill.at.0 as usize + file_len(fill);
            self.bytes(tail..at.end).fill(0);
        } else {
            self.final_since_map.push(region.at.clone());
        }
        Ok(Some(at))
    }

    /// Copies what the file has, lowest first, into pages that can be written to: one huge page after the other, whether
    /// it is one or not, for what the kernel has just cleared is in the processor's cache.
    fn copy<'p>(
        &mut self,
        fills: impl IntoIterator<Item = &'p Fill>,
        from: Backing<'_>,
    ) -> Result<(), ErrorKind> {
        const USUAL: usize = 16;
        let base = self.base as u64;
        let mut pieces = Vec::with_capacity(USUAL);
        fills.into_iter().for_each(|fill| in_huge_pages(fill, base, |piece| pieces.push(piece)));
        let huge_page = |piece: &Fill| (base + piece.at.0) / HUGE as u64;
        let mut pages = pieces.chunk_by(|a, b| huge_page(a) == huge_page(b));
        pages.try_for_each(|pieces| self.copy_together(pieces, from))
    }

    /// Copies a large file's parts without looking at its mapping.
    fn copy_together(&mut self, fills: &[Fill], from: Backing<'_>) -> Result<(), ErrorKind> {
        for run in fills.chunk_by(|a, b| pages(b).start <= pages(a).end) {
            self.provide(pages(&run[0]).start..pages(&run[run.len() - 1]).end);
        }
        match from.file {
            Some(file) if from.bytes.len() > SMALL => self.read(fills, file).map_err(|e| ErrorKind::Io {
                what: "read the file",
                os: e.raw_os_error().unwrap_or(libc::EIO),
            }),
            _ => {
                for fill in fills {
                    let source = &from.bytes[fill.file.start.0 as usize..][..file_len(fill)];
                    let start = fill.at.0 as usize;
                    self.bytes(start..start + source.len()).copy_from_slice(source);
                }
                Ok(())
            }
        }
    }

    /// Has the kernel bring the pages that will all be written to: one call costs less than a fault for each.
    fn provide(&self, at: Range<usize>) {
        if at.len() > PAGE as usize {
            self.advise(at, Advice::LinuxPopulateWrite);
        }
    }

    /// Reads parts of a file: in one call those that follow each other there.
    fn read(&mut self, fills: &[Fill], file: &File) -> io::Result<()> {
        const LONGEST: usize = 64; // far below IOV_MAX
        let runs = fills.chunk_by(|a, b| a.file.end == b.file.start);
        for run in runs.flat_map(|run| run.chunks(LONGEST)) {
            let (first, last) = (&run[0], &run[run.len() - 1]);
            let mut at = first.at.0 as usize;
            let mut rest = self.bytes(at..last.at.0 as usize + file_len(last));
            let mut parts = Vec::with_capacity(run.len());
            for fill in run {
                let (_, from_here) = rest.split_at_mut(fill.at.0 as usize - at);
                let (part, behind) = from_here.split_at_mut(file_len(fill));
                (at, rest) = (fill.at.0 as usize + part.len(), behind);
                parts.push(IoSliceMut::new(part));
            }
            read_all(file, &mut parts, first.file.start.0)?;
        }
        Ok(())
    }

    /// Bytes that can be written to: while the image is put in place, or of its window.
    fn bytes(&mut self, at: Range<usize>) -> &mut [u8] {
        let start = self.pointer(at.start).cast::<u8>();
        // SAFETY: the callers name private memory of this block that they have made readable and writable, and `self`
        // is borrowed as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(start, at.len()) }
    }
}

impl Block for LocalBlock {
    fn base(&self) -> Addr {
        Addr(self.base as u64)
    }

    fn name(&self, name: &str) {
        super::name::name(self.base..self.base + self.len, name);
    }

    fn window(&mut self) -> &mut [u8] {
        // Writable until `seal`: only that calls `protect` on it, and it consumes the only stage that calls `window`.
        self.bytes(self.window.clone())
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
        let opened = self.open.start < at.end.0 as usize && (at.start.0 as usize) < self.open.end;
        if rights.is_empty() && !opened || rights == Rights::READ | Rights::WRITE && opened {
            return Ok(()); // a hole that never had any, and what `fill` has made writable
        }
        self.set_rights(&at, rights)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileOffset, Layout, LinkAddr, maps::Maps};
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::os::unix::fs::FileExt;

    const R: Rights = Rights::READ;
    const RX: Rights = Rights::READ.union(Rights::EXECUTE);
    const RW: Rights = Rights::READ.union(Rights::WRITE);

    /// Pages of a region, what of the file goes where, rights.
    type Part = (Range<u64>, Option<(Range<u64>, u64)>, Rights);

    fn plan(parts: &[Part], window: Range<u64>) -> MapPlan {
        plan_of_file(parts, window, LEN)
    }

    fn plan_of_file(parts: &[Part], window: Range<u64>, file_len: u64) -> MapPlan {
        let pages = |r: &Range<u64>| Rva(r.start * PAGE)..Rva(r.end * PAGE);
        let regions = parts.iter().map(|(at, fill, rights)| Region {
            at: pages(at),
            fill: fill
                .clone()
                .map(|(file, at)| Fill { file: FileOffset(file.start)..FileOffset(file.end), at: Rva(at) }),
            rights: *rights,
        });
        let layout = Layout {
            link_base: LinkAddr(0),
            len: parts.iter().map(|(at, ..)| at.end * PAGE).max().unwrap_or(0),
            align: PAGE,
            wanted: Wanted::Anywhere,
            regions: regions.collect(),
            window: pages(&window),
            relro: None,
        };
        MapPlan::check(layout, file_len).unwrap()
    }

    /// Length of the file: its last page is not whole.
    const LEN: u64 = 6 * PAGE + 100;

    /// The rights of the page at `at`, and what is there; nothing where it cannot be read.
    fn peek(at: Addr) -> (String, Vec<u8>) {
        let page = Maps::of("self").0.into_iter().find(|m| m.at.contains(&at.0)).unwrap();
        let mut bytes = vec![0; if page.rights.starts_with('r') { PAGE as usize } else { 0 }];
        File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, at.0).unwrap();
        (page.rights, bytes)
    }

    #[test]
    fn what_is_larger_than_huge_pages_is_copied_whole() {
        const SECTOR: u64 = 512; // where the second part begins in the file
        const CODE: u64 = 2 * HUGE as u64 + 5000;
        let pages = 1 + CODE.div_ceil(PAGE);
        let parts: [Part; 2] =
            [(0..1, Some((0..100, 0)), RW), (1..pages, Some((SECTOR..SECTOR + CODE, PAGE)), RW)];
        let content: Vec<u8> = (0..SECTOR + CODE).map(|i| (i % 251) as u8 + 1).collect();
        let file = File::from(memfd_create(c"library", MemfdFlags::CLOEXEC).unwrap());
        file.write_all_at(&content, 0).unwrap();
        let plan = plan_of_file(&parts, 0..pages, SECTOR + CODE);
        for file in [Some(&file), None] {
            let mut block = Local.place(&plan, Backing { bytes: &content, file }).unwrap();
            let (head, code) = block.window().split_at(PAGE as usize);
            let (code, rest) = code.split_at(CODE as usize);
            assert!(head[..100] == content[..100] && head[100..].iter().all(|&b| b == 0));
            assert!(code == &content[SECTOR as usize..] && rest.iter().all(|&b| b == 0));
        }
    }

    #[test]
    fn a_file_and_a_buffer_come_to_the_same_memory() {
        let shifted = 5 * PAGE..LEN;
        let usual: [Part; 4] = [
            (0..1, Some((0..PAGE - 8, 0)), R),
            (1..3, Some((PAGE..3 * PAGE - 50, PAGE)), RX),
            (3..5, Some((3 * PAGE + 4..5 * PAGE, 3 * PAGE + 4)), R),
            (6..11, Some((shifted.clone(), 6 * PAGE)), RW), // what it leaves over is zero
        ];
        let whole: Vec<Part> = [usual[..3].to_vec(), vec![(5..10, Some((shifted, 5 * PAGE)), RW)]].concat();
        let code_first: [Part; 2] =
            [(0..3, Some((0..3 * PAGE, 0)), RX), (3..4, Some((4 * PAGE..5 * PAGE, 3 * PAGE)), RW)];
        let zeros: [Part; 3] = [
            (0..1, Some((0..PAGE, 0)), R),
            (1..2, None, R),
            (2..3, Some((2 * PAGE..3 * PAGE, 2 * PAGE)), RW),
        ];
        let data_first: [Part; 2] =
            [(0..1, Some((0..PAGE, 0)), RW), (1..3, Some((PAGE..3 * PAGE, PAGE)), RX)];
        let content: Vec<u8> = (0..LEN).map(|i| (i % 251) as u8 + 1).collect();
        let file = File::from(memfd_create(c"library", MemfdFlags::CLOEXEC).unwrap());
        file.write_all_at(&content, 0).unwrap();
        for (parts, window) in [
            (&usual[..], 6..11),
            (&whole[..], 5..10),
            (&code_first[..], 3..4),
            (&zeros[..], 2..3),
            (&data_first[..], 0..1),
        ] {
            let plan = plan(parts, window);
            for file in [Some(&file), None] {
                let mut block = Local.place(&plan, Backing { bytes: &content, file }).unwrap();
                for (at, rights) in plan.rights() {
                    block.protect(at.clone(), *rights).unwrap();
                }
                for page in 0..plan.len().get() / PAGE {
                    let (rights, there) = peek(Addr(block.base().0 + page * PAGE));
                    let part = parts.iter().find(|(at, ..)| at.contains(&page));
                    let expected = part.map_or(Rights::empty(), |(.., rights)| *rights);
                    assert_eq!(rights, expected.to_string(), "page {page} of {parts:?} from {file:?}");
                    let fill = part.and_then(|(_, fill, _)| fill.as_ref());
                    let from = |i: u64| {
                        let (file, at) = fill?;
                        Some(i.checked_sub(*at)? + file.start).filter(|offset| file.contains(offset))
                    };
                    for (i, byte) in (page * PAGE..).zip(there) {
                        match from(i) {
                            Some(offset) => assert_eq!(byte, content[offset as usize]),
                            // The rest of a file's page is nobody's, unless it can be written to.
                            None if expected == RW || fill.is_none() => assert_eq!(byte, 0, "{parts:?}"),
                            None => {}
                        }
                    }
                }
            }
        }
    }
}
