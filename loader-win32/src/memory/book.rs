//! The book: what was reserved, what of it is committed, with which protection. Safe code without system calls: what
//! has to happen to the pages themselves is asked of [`Pages`], and written down once it has happened.
//!
//! The rules are those of the `VirtualAlloc` family. A failure changes nothing; errors are Win32 numbers.

use super::{GRANULARITY, Info, TOP, protect::Protect, runs::Runs};
use crate::{kernel32::error::code, services::ImagePages};
use loader_core::{PAGE, Rights};
use std::{
    collections::BTreeMap,
    fs::File,
    iter,
    ops::{Bound, Range},
    sync::Arc,
};

pub(crate) const COMMIT: u32 = 0x1000;
pub(crate) const RESERVE: u32 = 0x2000;
pub(crate) const DECOMMIT: u32 = 0x4000;
pub(crate) const RELEASE: u32 = 0x8000;
pub(crate) const FREE: u32 = 0x1_0000;
pub(crate) const PRIVATE: u32 = 0x2_0000;
pub(crate) const MAPPED: u32 = 0x4_0000;
pub(crate) const RESET: u32 = 0x8_0000;
pub(crate) const TOP_DOWN: u32 = 0x10_0000;
pub(crate) const WRITE_WATCH: u32 = 0x20_0000;
pub(crate) const PHYSICAL: u32 = 0x40_0000;
pub(crate) const RESET_UNDO: u32 = 0x100_0000;
pub(crate) const IMAGE: u32 = 0x100_0000;
pub(crate) const LARGE_PAGES: u32 = 0x2000_0000;

/// The size of a large page.
pub(crate) const LARGE_PAGE: u64 = 2 << 20;

/// The host has no more of what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// What is shown through a view: a part of a file, as a copy or as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'f> {
    pub file: &'f File,
    pub offset: u64,
    /// Writing changes the view alone.
    pub copy: bool,
}

/// The pages behind a book: this process's, another's, or a test's. Ranges are whole pages, and were claimed before.
pub(crate) trait Pages {
    /// One long stretch of address space without rights that reservations are carved from, where there is room for it.
    fn arena(&self) -> Option<Range<u64>>;

    /// Takes free address space, without rights: there and nowhere else, or anywhere at a multiple of the granularity.
    ///
    /// # Errors
    /// Somebody has it, or there is none.
    fn claim(&self, at: Option<u64>, len: u64) -> Result<u64, Full>;

    /// Gives up address space that was claimed.
    fn give_back(&self, range: Range<u64>);

    /// Says what may be done with pages; their contents stay.
    ///
    /// # Errors
    /// There is no memory behind them to be had.
    fn protect(&self, range: Range<u64>, rights: Rights) -> Result<(), Full>;

    /// Throws pages' contents away; what stays is address space without rights.
    ///
    /// # Errors
    /// The system's own book is full.
    fn clear(&self, range: Range<u64>) -> Result<(), Full>;

    /// Shows a part of a file in claimed address space, instead of what is there.
    ///
    /// # Errors
    /// The system refuses.
    fn show(&self, range: Range<u64>, shown: Shown<'_>, rights: Rights) -> Result<(), Full>;

    /// Keeps pages in memory.
    ///
    /// # Errors
    /// The process may not lock that many.
    fn lock(&self, range: Range<u64>) -> Result<(), Full>;

    /// Lets pages go again.
    fn unlock(&self, range: Range<u64>);

    /// Whether writes can be watched.
    fn can_watch(&self) -> bool;

    /// Begins to watch: none of these pages was written to.
    ///
    /// # Errors
    /// The system refuses.
    fn watch(&self, range: Range<u64>) -> Result<(), Full>;

    /// Which watched pages were written to since this was last asked.
    ///
    /// # Errors
    /// The system refuses.
    fn written(&self, range: Range<u64>) -> Result<Vec<Range<u64>>, Full>;
}

/// What an allocation is made of.
#[derive(Clone, Debug)]
enum Kind {
    /// Memory of its own; where writes are watched, the pages that were found written to.
    Private { written: Option<Runs<()>> },
    /// Address space for physical pages, which nobody has the privilege to put there.
    Physical,
    /// A view of a section.
    /// A view of a section, and its pages that show copies although the view does not.
    View(View, Runs<()>),
}

/// What may become of a view.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// What its pages may at most ask of the section.
    pub most: Rights,
    /// Whether it shows a file that has a name; else it is memory that others may share.
    pub named: bool,
    /// Whether its pages are committed at once.
    pub committed: bool,
    /// What it shows together with others, from where on; nothing where writing changes the view alone.
    pub shared: Option<(Arc<File>, u64)>,
}

/// One allocation: from its base, by which the book knows it, to its end.
#[derive(Clone, Debug)]
struct Allocation {
    end: u64,
    protect: Protect,
    kind: Kind,
    committed: Runs<Protect>,
}

impl Allocation {
    /// What pages of it may be given.
    fn accepts(&self, protect: Protect) -> Result<Protect, u32> {
        let fine = match &self.kind {
            Kind::Private { .. } => !protect.copies(),
            Kind::Physical => false,
            Kind::View(view, _) => view.most.contains(protect.needs()),
        };
        if fine { Ok(protect) } else { Err(code::INVALID_PARAMETER) }
    }

    fn is_view(&self) -> bool {
        matches!(self.kind, Kind::View(..))
    }
}

/// Pages of an image whose protection somebody changed.
#[derive(Debug)]
struct Changed {
    id: u64,
    end: u64,
    protect: Runs<Protect>,
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Allocations: what `VirtualAlloc` reserved and what `MapViewOfFile` mapped.
    pub allocations: usize,
    /// Views among them.
    pub views: usize,
    /// Bytes that are reserved, the committed ones included.
    pub reserved: u64,
    /// Bytes that are committed.
    pub committed: u64,
    /// Bytes that are locked in memory.
    pub locked: u64,
    /// Heaps that were created, without the common one.
    pub heaps: usize,
    /// Bytes that their blocks have.
    pub heap_bytes: u64,
}

/// What was allocated, by base.
#[derive(Debug)]
pub(crate) struct Book<P: Pages> {
    pages: P,
    arena: Option<Range<u64>>,
    allocations: BTreeMap<u64, Allocation>,
    images: BTreeMap<u64, Changed>,
    locked: Runs<()>,
}

/// What a call of `VirtualAlloc` asks for.
enum Wish {
    Reset,
    Commit,
    Reserve { commit: bool, top_down: bool, kind: Kind },
}

/// The pages that `len` bytes at `address` touch.
pub(crate) fn pages(address: u64, len: u64) -> Result<Range<u64>, u32> {
    let end = address.checked_add(len).filter(|&e| len != 0 && e <= TOP).ok_or(code::INVALID_PARAMETER)?;
    Ok(address & !(PAGE - 1)..end.next_multiple_of(PAGE))
}

/// The same with the rest of the last granule, which nobody else may have.
fn granules(range: &Range<u64>) -> Range<u64> {
    range.start & !(GRANULARITY - 1)..range.end.next_multiple_of(GRANULARITY)
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Reads `flAllocationType`.
fn wish(address: u64, len: u64, kind: u32, protect: Protect) -> Result<Wish, u32> {
    const ALL: u32 = COMMIT | RESERVE | TOP_DOWN | WRITE_WATCH | PHYSICAL | LARGE_PAGES;
    let has = |flag| kind & flag != 0;
    match kind {
        RESET | RESET_UNDO => return Ok(Wish::Reset),
        _ if kind & !ALL != 0 || !has(COMMIT | RESERVE) => return Err(code::INVALID_PARAMETER),
        _ => {}
    }
    if has(LARGE_PAGES) {
        let whole = has(RESERVE) && has(COMMIT) && (address | len).is_multiple_of(LARGE_PAGE);
        return Err(if whole { code::PRIVILEGE_NOT_HELD } else { code::INVALID_PARAMETER });
    }
    let alone = kind & !TOP_DOWN == RESERVE | PHYSICAL && protect.bits() == super::protect::READWRITE;
    if has(PHYSICAL) && !alone || has(WRITE_WATCH) && !has(RESERVE) {
        return Err(code::INVALID_PARAMETER);
    }
    if !has(RESERVE) && address != 0 {
        return Ok(Wish::Commit);
    }
    let kind = match () {
        () if has(PHYSICAL) => Kind::Physical,
        () => Kind::Private { written: has(WRITE_WATCH).then(Runs::default) },
    };
    Ok(Wish::Reserve { commit: has(COMMIT), top_down: has(TOP_DOWN), kind })
}

impl<P: Pages> Book<P> {
    /// An empty book.
    pub(crate) fn new(pages: P) -> Self {
        Self {
            pages,
            arena: None,
            allocations: BTreeMap::new(),
            images: BTreeMap::new(),
            locked: Runs::default(),
        }
    }

    /// `VirtualAlloc`: where the first page is that is reserved, committed or reset.
    pub(crate) fn allocate(&mut self, address: u64, len: u64, kind: u32, protect: u32) -> Result<u64, u32> {
        let protect = Protect::new(protect)?;
        if address != 0 && address < GRANULARITY {
            return Err(code::INVALID_PARAMETER);
        }
        let range = pages(address, len)?;
        match wish(address, len, kind, protect)? {
            Wish::Reset => self.reset(range),
            Wish::Commit => self.commit(range, protect),
            // Of memory of nobody else's there are no copies to be made.
            Wish::Reserve { .. } if protect.copies() => Err(code::INVALID_PARAMETER),
            Wish::Reserve { commit, top_down, kind } => {
                if matches!(kind, Kind::Private { written: Some(_) }) && !self.pages.can_watch() {
                    return Err(code::NOT_SUPPORTED);
                }
                let range = self.take(range, top_down)?;
                let fresh = Allocation { end: range.end, protect, kind, committed: Runs::default() };
                self.allocations.insert(range.start, fresh);
                if commit && let Err(e) = self.commit(range.clone(), protect) {
                    self.drop_allocation(range.start)?;
                    return Err(e);
                }
                Ok(range.start)
            }
        }
    }

    /// Address space for a new allocation: the wanted pages and all before them in their granule, or as many anywhere.
    fn take(&mut self, wanted: Range<u64>, top_down: bool) -> Result<Range<u64>, u32> {
        if self.arena.is_none() {
            self.arena = self.pages.arena();
        }
        let room = granules(&wanted);
        let arena = self.arena.clone().unwrap_or_default();
        if wanted.start < GRANULARITY {
            let len = room.end;
            let base = match self.gap(&arena, len, top_down) {
                Some(base) => base,
                None => self.pages.claim(None, len).map_err(|_| code::NOT_ENOUGH_MEMORY)?,
            };
            return Ok(base..base + wanted.end);
        }
        let last = self.allocations.range(..room.end).next_back();
        if last.is_some_and(|(_, a)| a.end.next_multiple_of(GRANULARITY) > room.start) {
            return Err(code::INVALID_ADDRESS);
        }
        if !overlap(&room, &arena) {
            self.pages.claim(Some(room.start), room.end - room.start).map_err(|_| code::INVALID_ADDRESS)?;
        } else if room.start < arena.start || room.end > arena.end {
            return Err(code::INVALID_ADDRESS);
        }
        Ok(room.start..wanted.end)
    }

    /// Where the arena has `len` free bytes: the lowest such place, or the highest.
    fn gap(&self, arena: &Range<u64>, len: u64, top_down: bool) -> Option<u64> {
        let taken = || self.allocations.range(arena.clone()).map(|(&base, a)| granules(&(base..a.end)));
        if top_down {
            let mut end = arena.end;
            let fits = |t: Range<u64>| {
                let found = end.checked_sub(len).filter(|&at| at >= t.end);
                end = t.start;
                found
            };
            return taken().rev().chain(iter::once(arena.start..arena.start)).find_map(fits);
        }
        let mut at = arena.start;
        taken().chain(iter::once(arena.end..arena.end)).find_map(|t| {
            let found = (t.start - at >= len).then_some(at);
            at = t.end;
            found
        })
    }

    fn commit(&mut self, range: Range<u64>, protect: Protect) -> Result<u64, u32> {
        let (base, a) = find(&mut self.allocations, &range).ok_or(code::INVALID_ADDRESS)?;
        match &a.kind {
            Kind::Physical => return Err(code::INVALID_ADDRESS),
            Kind::View(view, _) if view.named => return Err(code::ACCESS_DENIED), // all of it is committed
            _ => {}
        }
        let protect = a.accepts(protect)?;
        part_with(&self.pages, (base, a), &range, protect)?;
        let gaps = a.committed.gaps(&range);
        let watched = matches!(a.kind, Kind::Private { written: Some(_) });
        let watch = |pages: &P| match watched {
            true => gaps.iter().try_for_each(|gap| pages.watch(gap.clone())),
            false => Ok(()),
        };
        // Watched before anybody can write.
        if watch(&self.pages).and_then(|()| self.pages.protect(range.clone(), protect.rights())).is_err() {
            put_back(&self.pages, a, range);
            return Err(code::COMMITMENT_LIMIT);
        }
        a.committed.set(range.clone(), Some(protect));
        Ok(range.start)
    }

    /// The contents do not matter any more, or do again. They are kept, which both wishes allow: so the second can
    /// always be granted.
    fn reset(&mut self, range: Range<u64>) -> Result<u64, u32> {
        let (_, a) = find(&mut self.allocations, &range).ok_or(code::INVALID_ADDRESS)?;
        match &a.kind {
            Kind::View(view, _) if view.named => Err(code::USER_MAPPED_FILE),
            _ if !a.committed.cover(&range) => Err(code::INVALID_ADDRESS),
            _ => Ok(range.start),
        }
    }

    /// `VirtualFree`.
    pub(crate) fn free(&mut self, address: u64, len: u64, kind: u32) -> Result<(), u32> {
        if ![DECOMMIT, RELEASE].contains(&kind) || kind == RELEASE && len != 0 {
            return Err(code::INVALID_PARAMETER);
        }
        let range = pages(address, len.max(1))?;
        let first = range.start..range.start + PAGE;
        let (base, a) = find(&mut self.allocations, &first).ok_or(code::INVALID_ADDRESS)?;
        if a.is_view() {
            return Err(code::INVALID_PARAMETER);
        }
        let range = match len {
            0 if range.start == base => base..a.end,
            0 => return Err(code::INVALID_ADDRESS),
            _ if range.end > a.end => return Err(code::INVALID_PARAMETER),
            _ => range,
        };
        if kind == RELEASE {
            return self.drop_allocation(base);
        }
        harvest(&self.pages, a, &range)?;
        self.pages.clear(range.clone()).map_err(|_| code::NOT_ENOUGH_MEMORY)?;
        a.committed.set(range.clone(), None);
        self.locked.set(range, None);
        Ok(())
    }

    /// Ends an allocation; its address space is free again.
    fn drop_allocation(&mut self, base: u64) -> Result<(), u32> {
        let end = self.allocations.get(&base).map_or(base, |a| a.end);
        let room = granules(&(base..end));
        if self.arena.as_ref().is_some_and(|arena| overlap(arena, &room)) {
            self.pages.clear(base..end).map_err(|_| code::NOT_ENOUGH_MEMORY)?;
        } else {
            self.pages.give_back(room);
        }
        self.allocations.remove(&base);
        self.locked.set(base..end, None);
        Ok(())
    }

    /// `VirtualProtect`: what the first page had before; `None` where the first page is in no allocation.
    pub(crate) fn protect(&mut self, range: Range<u64>, protect: Protect) -> Result<Option<u32>, u32> {
        let first = range.start..range.start + PAGE;
        let Some((base, a)) = find(&mut self.allocations, &first) else { return Ok(None) };
        if range.end > a.end || !a.committed.cover(&range) {
            return Err(code::INVALID_ADDRESS);
        }
        let protect = a.accepts(protect)?;
        let before = a.committed.run(range.start, range.end).1;
        part_with(&self.pages, (base, a), &range, protect)?;
        if self.pages.protect(range.clone(), protect.rights()).is_err() {
            put_back(&self.pages, a, range);
            return Err(code::COMMITMENT_LIMIT);
        }
        a.committed.set(range, Some(protect));
        Ok(before.map(Protect::bits))
    }

    /// The same for pages of an image.
    pub(crate) fn protect_image(
        &mut self,
        image: &ImagePages,
        range: Range<u64>,
        protect: Protect,
    ) -> Result<u32, u32> {
        let whole = image.range();
        if range.end > whole.end {
            return Err(code::INVALID_ADDRESS);
        }
        let mut now = self.image_runs(image);
        let before = now.run(range.start, range.end).1.ok_or(code::INVALID_ADDRESS)?;
        let protect = protect.copying();
        if self.pages.protect(range.clone(), protect.rights()).is_err() {
            for (run, was) in now.within(range) {
                let _ = self.pages.protect(run, was.map_or(Rights::empty(), Protect::rights));
            }
            return Err(code::COMMITMENT_LIMIT);
        }
        now.set(range, Some(protect));
        self.images.retain(|&base, old| !overlap(&(base..old.end), &whole)); // of images that are gone
        self.images.insert(whole.start, Changed { id: image.id, end: whole.end, protect: now });
        Ok(before.bits())
    }

    /// The protection of every page of an image: as it was mapped, or as it was changed since.
    fn image_runs(&self, image: &ImagePages) -> Runs<Protect> {
        if let Some(changed) = self.images.get(&image.range().start).filter(|c| c.id == image.id) {
            return changed.protect.clone();
        }
        let mut runs = Runs::default();
        for (at, rights) in &image.rights {
            runs.set(at.clone(), Some(Protect::of_image(*rights)));
        }
        runs
    }

    /// `VirtualQuery` of a page in the book, or of free space in the arena.
    pub(crate) fn query(&self, page: u64) -> Option<Info> {
        let before = self.allocations.range(..=page).next_back();
        if let Some((&base, a)) = before
            && page < a.end
        {
            let (end, protect) = a.committed.run(page, a.end);
            return Some(Info {
                base: page,
                allocation_base: base,
                allocation_protect: a.protect.bits(),
                size: end - page,
                state: if protect.is_some() { COMMIT } else { RESERVE },
                protect: protect.map_or(0, Protect::bits),
                kind: if a.is_view() { MAPPED } else { PRIVATE },
                ..Info::default()
            });
        }
        let granule = before.map_or(page, |(_, a)| a.end.next_multiple_of(GRANULARITY));
        let arena = self.arena.clone().unwrap_or_default();
        (arena.contains(&page) || page < granule).then(|| {
            let limit = if arena.contains(&page) { arena.end } else { granule };
            Info::free(page..self.next(page).min(limit))
        })
    }

    /// Whether nothing in the book, and nothing that it could give out, touches a range.
    pub(crate) fn is_outside(&self, range: &Range<u64>) -> bool {
        self.query(range.start).is_none() && range.end <= self.next(range.start)
    }

    /// Where the next allocation after a page, or the arena, begins.
    pub(crate) fn next(&self, page: u64) -> u64 {
        let after = (Bound::Excluded(page), Bound::Unbounded);
        let next = self.allocations.range(after).next().map_or(TOP, |(&base, _)| base);
        let arena = self.arena.as_ref().map_or(TOP, |a| a.start);
        if arena > page { next.min(arena) } else { next }
    }

    /// `VirtualQuery` of a page of an image.
    pub(crate) fn query_image(&self, image: &ImagePages, page: u64) -> Info {
        let whole = image.range();
        let (end, protect) = self.image_runs(image).run(page, whole.end);
        Info {
            base: page,
            allocation_base: whole.start,
            allocation_protect: super::protect::EXECUTE_WRITECOPY,
            size: end - page,
            state: COMMIT,
            protect: protect.map_or(super::protect::NOACCESS, Protect::bits),
            kind: IMAGE,
            ..Info::default()
        }
    }

    /// Whether an address is in a guard page of an allocation, or could be in one of an image.
    pub(crate) fn may_guard(&self, address: u64) -> bool {
        let page = address & !(PAGE - 1);
        match self.query(page) {
            Some(known) => known.protect & super::protect::GUARD != 0,
            None => self.images.range(..=page).next_back().is_some_and(|(_, changed)| page < changed.end),
        }
    }

    /// Tells whether an access hit a guard page, of an allocation or of the image that is there. If so, the page is none
    /// any more: a guard tells once.
    pub(crate) fn guard_hit(&mut self, address: u64, image: Option<u64>) -> bool {
        let page = address & !(PAGE - 1);
        let range = page..page.saturating_add(PAGE);
        let runs = match find(&mut self.allocations, &range) {
            Some((_, a)) => &mut a.committed,
            None => match self.images.range_mut(..=page).next_back() {
                Some((_, changed)) if page < changed.end && image == Some(changed.id) => &mut changed.protect,
                _ => return false,
            },
        };
        let Some(guard) = runs.run(page, range.end).1.filter(|p| p.is_guard()) else { return false };
        let after = guard.without_guard();
        let opened = self.pages.protect(range.clone(), after.rights()).is_ok();
        if opened {
            runs.set(range, Some(after));
        }
        opened
    }

    /// `GetWriteWatch`: at most `limit` pages that were written to; with `reset` they count as not written to again.
    pub(crate) fn written(&mut self, range: &Range<u64>, reset: bool, limit: usize) -> Result<Vec<u64>, u32> {
        let (_, a) = find(&mut self.allocations, range).ok_or(code::INVALID_PARAMETER)?;
        harvest(&self.pages, a, range)?;
        let Kind::Private { written: Some(written) } = &mut a.kind else {
            return Err(code::INVALID_PARAMETER);
        };
        let hit = written.within(range.clone()).filter(|(_, hit)| hit.is_some());
        let found: Vec<u64> = hit.flat_map(|(run, _)| run.step_by(PAGE as usize)).take(limit).collect();
        for &page in found.iter().filter(|_| reset) {
            written.set(page..page + PAGE, None);
        }
        Ok(found)
    }

    /// `VirtualLock` of pages that are committed and can be read.
    pub(crate) fn lock(&mut self, range: Range<u64>) -> Result<(), u32> {
        let readable = |(_, p): (_, Option<Protect>)| p.is_some_and(|p| !p.rights().is_empty());
        let fine = match find(&mut self.allocations, &range) {
            Some((_, a)) => a.committed.within(range.clone()).all(readable),
            None => self.is_outside(&range),
        };
        if !fine {
            return Err(code::NOACCESS);
        }
        self.pages.lock(range.clone()).map_err(|_| code::WORKING_SET_QUOTA)?;
        self.locked.set(range, Some(()));
        Ok(())
    }

    /// `VirtualUnlock`.
    pub(crate) fn unlock(&mut self, range: Range<u64>) -> Result<(), u32> {
        if !self.locked.cover(&range) {
            return Err(code::NOT_LOCKED);
        }
        self.pages.unlock(range.clone());
        self.locked.set(range, None);
        Ok(())
    }

    /// `MapViewOfFileEx`: shows a part of a file at a place, or anywhere for 0.
    pub(crate) fn map(
        &mut self,
        address: u64,
        len: u64,
        shown: Shown<'_>,
        view: View,
        protect: Protect,
    ) -> Result<u64, u32> {
        if !(address | shown.offset).is_multiple_of(GRANULARITY) {
            return Err(code::MAPPED_ALIGNMENT);
        }
        let range = self.take(pages(address, len)?, false)?;
        let rights = if view.committed { protect.rights() } else { Rights::empty() };
        let mut committed = Runs::default();
        if view.committed {
            committed.set(range.clone(), Some(protect));
        }
        let kind = Kind::View(view, Runs::default());
        self.allocations.insert(range.start, Allocation { end: range.end, protect, kind, committed });
        if self.pages.show(range.clone(), shown, rights).is_err() {
            self.drop_allocation(range.start)?;
            return Err(code::NOT_ENOUGH_MEMORY);
        }
        Ok(range.start)
    }

    /// The view that holds an address.
    pub(crate) fn view(&self, address: u64) -> Option<Range<u64>> {
        let (&base, a) = self.allocations.range(..=address).next_back()?;
        (a.is_view() && address < a.end).then_some(base..a.end)
    }

    /// `UnmapViewOfFile`: any address in the view will do.
    pub(crate) fn unmap(&mut self, address: u64) -> Result<(), u32> {
        let view = self.view(address).ok_or(code::INVALID_ADDRESS)?;
        self.drop_allocation(view.start)
    }

    /// How much there is of everything.
    pub(crate) fn usage(&self) -> MemoryUse {
        let each = || self.allocations.iter();
        MemoryUse {
            allocations: self.allocations.len(),
            views: each().filter(|(_, a)| a.is_view()).count(),
            reserved: each().map(|(base, a)| a.end - base).sum(),
            committed: each().map(|(_, a)| a.committed.bytes()).sum(),
            locked: self.locked.bytes(),
            ..MemoryUse::default()
        }
    }

    /// The pages behind it.
    pub(crate) fn pages(&self) -> &P {
        &self.pages
    }
}

/// The allocation that holds all of `range`, and its base.
fn find<'a>(
    allocations: &'a mut BTreeMap<u64, Allocation>,
    range: &Range<u64>,
) -> Option<(u64, &'a mut Allocation)> {
    let (&base, a) = allocations.range_mut(..=range.start).next_back()?;
    (range.end <= a.end).then_some((base, a))
}

/// Gives pages the rights again that the book says they have.
fn put_back<P: Pages>(pages: &P, a: &Allocation, range: Range<u64>) {
    for (run, protect) in a.committed.within(range) {
        let _ = match protect {
            Some(protect) => pages.protect(run, protect.rights()),
            None => pages.clear(run),
        };
    }
}

/// Pages of a shared view that are to be copied on write no longer show what others write, whatever they allow later.
fn part_with<P: Pages>(
    pages: &P,
    (base, a): (u64, &mut Allocation),
    range: &Range<u64>,
    protect: Protect,
) -> Result<(), u32> {
    let Kind::View(View { shared: Some((file, from)), .. }, copies) = &mut a.kind else { return Ok(()) };
    if !protect.copies() {
        return Ok(());
    }
    for gap in copies.gaps(range) {
        let shown = Shown { file, offset: *from + (gap.start - base), copy: true };
        pages.show(gap.clone(), shown, Rights::empty()).map_err(|_| code::NOT_ENOUGH_MEMORY)?;
        copies.set(gap, Some(()));
    }
    Ok(())
}

/// Brings what the host knows of written pages into the book, where writes are watched.
fn harvest<P: Pages>(pages: &P, a: &mut Allocation, range: &Range<u64>) -> Result<(), u32> {
    let Kind::Private { written: Some(written) } = &mut a.kind else { return Ok(()) };
    for (run, _) in a.committed.within(range.clone()).filter(|(_, p)| p.is_some()) {
        for hit in pages.written(run).map_err(|_| code::NOT_ENOUGH_MEMORY)? {
            written.set(hit, Some(()));
        }
    }
    Ok(())
}

impl<P: Pages> Drop for Book<P> {
    fn drop(&mut self) {
        let arena = self.arena.take().unwrap_or_default();
        for (&base, a) in self.allocations.iter().filter(|&(base, _)| !arena.contains(base)) {
            self.pages.give_back(granules(&(base..a.end)));
        }
        if !arena.is_empty() {
            self.pages.give_back(arena);
        }
    }
}
