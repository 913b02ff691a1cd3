//! The rules of the `VirtualAlloc` family, one test a rule, over pages that are only numbers; then random calls against
//! a model that keeps one state a page and knows nothing of ranges. Expected values are those of Microsoft's reference
//! ("VirtualAlloc", "VirtualFree", "VirtualProtect", "VirtualQuery", "GetWriteWatch") unless another source is named.

use super::{
    GRANULARITY, Info, TOP,
    book::*,
    protect::{self, EXECUTE_READ, GUARD, NOACCESS, Protect, READONLY, READWRITE},
};
use crate::services::ImagePages;
use loader_core::{Addr, PAGE, Rights};
use proptest::prelude::*;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fs::File,
    ops::Range,
    sync::Arc,
};

/// Pages that are only numbers: the rights of each page that has any, and those that a test wrote to.
#[derive(Default)]
struct Numbers {
    rights: RefCell<BTreeMap<u64, Rights>>,
    claimed: RefCell<Vec<Range<u64>>>,
    dirty: RefCell<BTreeSet<u64>>,
    watched: RefCell<BTreeSet<u64>>,
    cannot_watch: bool,
    /// How many more pages may be given rights.
    left: Cell<Option<u64>>,
}

const ARENA: Range<u64> = 0x10_0000..0x50_0000;

fn each(range: Range<u64>) -> impl Iterator<Item = u64> {
    range.step_by(PAGE as usize)
}

impl Numbers {
    fn write(&self, address: u64) {
        let page = address & !(PAGE - 1);
        if self.watched.borrow().contains(&page) {
            self.dirty.borrow_mut().insert(page);
        }
    }

    fn may(&self, page: u64) -> Rights {
        self.rights.borrow().get(&page).copied().unwrap_or_default()
    }
}

impl Pages for Numbers {
    fn arena(&self) -> Option<Range<u64>> {
        Some(ARENA)
    }
    fn claim(&self, at: Option<u64>, len: u64) -> Result<u64, Full> {
        let at = at.unwrap_or(0x1000_0000);
        let taken = |r: &Range<u64>| r.start < at + len && at < r.end;
        if len > 1 << 40 || self.claimed.borrow().iter().any(taken) {
            return Err(Full);
        }
        self.claimed.borrow_mut().push(at..at + len);
        Ok(at)
    }
    fn give_back(&self, range: Range<u64>) {
        self.rights.borrow_mut().retain(|page, _| !range.contains(page));
        self.claimed.borrow_mut().retain(|r| r.start != range.start);
    }
    fn protect(&self, range: Range<u64>, rights: Rights) -> Result<(), Full> {
        for page in each(range) {
            let fresh = self.may(page).is_empty() && !rights.is_empty();
            match self.left.get() {
                Some(0) if fresh => return Err(Full), // half-way, as a kernel may
                Some(n) if fresh => self.left.set(Some(n - 1)),
                _ => {}
            }
            self.rights.borrow_mut().insert(page, rights);
        }
        Ok(())
    }
    fn clear(&self, range: Range<u64>) -> Result<(), Full> {
        for page in each(range) {
            self.rights.borrow_mut().remove(&page);
            self.dirty.borrow_mut().remove(&page);
            self.watched.borrow_mut().remove(&page);
        }
        Ok(())
    }
    fn show(&self, range: Range<u64>, _shown: Shown<'_>, rights: Rights) -> Result<(), Full> {
        self.protect(range, rights)
    }
    fn lock(&self, range: Range<u64>) -> Result<(), Full> {
        if range.end - range.start > 0x10_0000 { Err(Full) } else { Ok(()) }
    }
    fn unlock(&self, _range: Range<u64>) {}
    fn can_watch(&self) -> bool {
        !self.cannot_watch
    }
    fn watch(&self, range: Range<u64>) -> Result<(), Full> {
        self.watched.borrow_mut().extend(each(range));
        Ok(())
    }
    fn written(&self, range: Range<u64>) -> Result<Vec<Range<u64>>, Full> {
        let hit: Vec<u64> = self.dirty.borrow().range(range).copied().collect();
        self.dirty.borrow_mut().retain(|page| !hit.contains(page));
        Ok(hit.into_iter().map(|page| page..page + PAGE).collect())
    }
}

type TestBook = Book<Numbers>;

fn book() -> TestBook {
    Book::new(Numbers::default())
}

/// A reservation of that many pages, committed or not.
fn reserved(book: &mut TestBook, pages: u64) -> u64 {
    book.allocate(0, pages * PAGE, RESERVE, READWRITE).unwrap()
}

fn committed(book: &mut TestBook, pages: u64) -> u64 {
    book.allocate(0, pages * PAGE, RESERVE | COMMIT, READWRITE).unwrap()
}

/// State, size and protection of a page's region.
fn seen(book: &TestBook, at: u64) -> (u32, u64, u32) {
    let info = book.query(at & !(PAGE - 1)).unwrap();
    (info.state, info.size, info.protect)
}

// Reserving.

#[test]
fn reserved_pages_are_without_rights_and_committed_ones_have_them() {
    let mut b = book();
    let base = reserved(&mut b, 0x20);
    assert_eq!(seen(&b, base + 0x5000), (RESERVE, 0x1b000, 0));
    assert_eq!(b.pages().may(base), Rights::empty());
    assert_eq!(b.allocate(base, PAGE, COMMIT, READWRITE), Ok(base));
    assert_eq!(b.pages().may(base), Rights::READ | Rights::WRITE);
    assert_eq!(
        b.query(base).unwrap(),
        Info {
            base,
            allocation_base: base,
            allocation_protect: READWRITE,
            size: PAGE,
            state: COMMIT,
            protect: READWRITE,
            kind: PRIVATE,
            ..Info::default()
        }
    );
}

#[test]
fn reservations_begin_at_multiples_of_64k_and_end_with_a_page() {
    let mut b = book();
    let (one, two) = (b.allocate(0, 1, RESERVE, READWRITE).unwrap(), reserved(&mut b, 1));
    assert_eq!((one % GRANULARITY, two % GRANULARITY, two - one), (0, 0, GRANULARITY));
    assert_eq!(seen(&b, one), (RESERVE, PAGE, 0));
    assert_eq!(seen(&b, one + PAGE), (FREE, GRANULARITY - PAGE, NOACCESS), "the rest of the granule");
    assert_eq!(b.allocate(one + PAGE, PAGE, RESERVE, READWRITE), Err(487), "which nobody can have");
    assert_eq!(b.allocate(one + PAGE, PAGE, COMMIT, READWRITE), Err(487));
}

#[test]
fn a_wanted_address_is_rounded_down_and_the_size_grows_by_that() {
    let mut b = book();
    let free = ARENA.start + 0x8_0000;
    assert_eq!(b.allocate(free + 0x1_1234, PAGE, RESERVE, READWRITE), Ok(free + 0x1_0000));
    assert_eq!(seen(&b, free + 0x1_0000), (RESERVE, 0x3000, 0));
    let outside = 0x7000_0000;
    assert_eq!(b.allocate(outside + 1, PAGE, RESERVE | COMMIT, READWRITE), Ok(outside));
    assert_eq!(seen(&b, outside), (COMMIT, 2 * PAGE, READWRITE));
    assert_eq!(b.free(outside, 0, RELEASE), Ok(()));
    assert!(b.pages().claimed.borrow().is_empty(), "the host has it back");
}

#[test]
fn what_is_reserved_cannot_be_reserved_again() {
    let mut b = book();
    let base = reserved(&mut b, 0x20);
    assert_eq!(b.allocate(base, PAGE, RESERVE, READWRITE), Err(487));
    assert_eq!(b.allocate(base + 0x1_0000, PAGE, RESERVE | COMMIT, READWRITE), Err(487));
}

#[test]
fn committing_without_an_address_reserves_too() {
    let mut b = book();
    let base = b.allocate(0, PAGE, COMMIT, READWRITE).unwrap();
    assert_eq!((base % GRANULARITY, seen(&b, base)), (0, (COMMIT, PAGE, READWRITE)));
}

#[test]
fn top_down_gives_the_highest_free_addresses() {
    let mut b = book();
    let low = committed(&mut b, 1);
    let kind = RESERVE | COMMIT | TOP_DOWN;
    let high = b.allocate(0, 0x11 * PAGE, kind, READWRITE).unwrap();
    let second = b.allocate(0, PAGE, kind, READWRITE).unwrap();
    assert_eq!((low, high, second), (ARENA.start, ARENA.end - 0x2_0000, ARENA.end - 0x3_0000));
    b.free(high, 0, RELEASE).unwrap();
    assert_eq!(b.allocate(0, PAGE, kind, READWRITE), Ok(ARENA.end - 0x1_0000), "the highest that is free");
}

#[test]
fn more_than_the_arena_has_comes_from_the_host() {
    let mut b = book();
    let base = b.allocate(0, ARENA.end - ARENA.start + 1, RESERVE, READWRITE).unwrap();
    assert_eq!(base, 0x1000_0000);
    assert_eq!(b.free(base, 0, RELEASE), Ok(()));
    assert_eq!(b.allocate(0, 1 << 41, RESERVE, READWRITE), Err(8), "ERROR_NOT_ENOUGH_MEMORY");
}

// Allocation types.

/// The numbers are those of `AllocationType` in the declaration of `VirtualFreeEx` for P/Invoke.
#[test]
fn the_flags_have_their_values() {
    let flags = [COMMIT, RESERVE, DECOMMIT, RELEASE, RESET, PHYSICAL, TOP_DOWN, WRITE_WATCH, LARGE_PAGES];
    let values = [0x1000, 0x2000, 0x4000, 0x8000, 0x8_0000, 0x40_0000, 0x10_0000, 0x20_0000, 0x2000_0000];
    assert_eq!(flags, values);
}

#[test]
fn allocation_types_that_mean_nothing_are_refused() {
    let mut b = book();
    let wrong = [
        0,
        TOP_DOWN,
        WRITE_WATCH,
        WRITE_WATCH | COMMIT,
        PHYSICAL,
        PHYSICAL | RESERVE | COMMIT,
        LARGE_PAGES,
        LARGE_PAGES | COMMIT,
        LARGE_PAGES | COMMIT | RESERVE, // of a size that is no multiple of a large page
        RESET | COMMIT,
        RESET | RESERVE,
        RESET | RESET_UNDO,
        DECOMMIT,
        RELEASE,
        COMMIT | DECOMMIT,
        FREE,
        0x8000_0000,
        1,
        0x4_0000,
    ];
    for kind in wrong {
        assert_eq!(b.allocate(0, PAGE, kind, READWRITE), Err(87), "{kind:#x}");
    }
    assert_eq!(b.usage(), MemoryUse::default());
}

#[test]
fn sizes_and_addresses_outside_are_refused() {
    let mut b = book();
    for (at, len) in [
        (0, 0),
        (0, u64::MAX),
        (0, 1 << 48),
        (0, 0x7fff_ffff_ffff),
        (0x1000, PAGE),
        (0xffff_8000_0000_0000, PAGE),
        (TOP - GRANULARITY, 2 * GRANULARITY),
    ] {
        assert_eq!(b.allocate(at, len, RESERVE, READWRITE), Err(87), "{at:#x} {len:#x}");
    }
    assert_eq!(b.allocate(0, PAGE, RESERVE, 0), Err(87), "no protection");
    assert_eq!(b.allocate(0, PAGE, RESERVE, protect::WRITECOPY), Err(87), "there is nothing to copy");
}

#[test]
fn large_pages_need_a_privilege() {
    let kind = LARGE_PAGES | RESERVE | COMMIT;
    assert_eq!(book().allocate(0, LARGE_PAGE, kind, READWRITE), Err(1314), "ERROR_PRIVILEGE_NOT_HELD");
}

/// "MEM_PHYSICAL: Reserves an address range … must be used with MEM_RESERVE and no other values", PAGE_READWRITE.
#[test]
fn physical_memory_is_address_space_that_nothing_is_put_into() {
    let mut b = book();
    assert_eq!(b.allocate(0, PAGE, RESERVE | PHYSICAL, READONLY), Err(87));
    let base = b.allocate(0, PAGE, RESERVE | PHYSICAL, READWRITE).unwrap();
    assert_eq!(seen(&b, base), (RESERVE, PAGE, 0));
    assert_eq!(b.allocate(base, PAGE, COMMIT, READWRITE), Err(487));
    assert_eq!(b.free(base, 0, RELEASE), Ok(()));
}

// Committing.

#[test]
fn committing_again_is_fine_and_changes_the_protection() {
    let mut b = book();
    let base = committed(&mut b, 6);
    b.protect(base + 3 * PAGE..base + 5 * PAGE, Protect::new(READONLY).unwrap()).unwrap();
    assert_eq!(b.allocate(base, 6 * PAGE, COMMIT, READWRITE), Ok(base));
    assert_eq!(seen(&b, base), (COMMIT, 6 * PAGE, READWRITE));
}

#[test]
fn committing_rounds_to_the_pages_that_are_touched() {
    let mut b = book();
    let base = reserved(&mut b, 0x31);
    assert_eq!(b.allocate(base + 0x1fff, 2, COMMIT, READWRITE), Ok(base + 0x1000));
    assert_eq!(seen(&b, base + 0x1234), (COMMIT, 0x2000, READWRITE));
}

#[test]
fn only_reserved_pages_can_be_committed() {
    let mut b = book();
    let base = reserved(&mut b, 0x20);
    assert_eq!(b.allocate(base + 0x1_f000, 0x2000, COMMIT, READWRITE), Err(487), "past the end");
    b.free(base, 0, RELEASE).unwrap();
    assert_eq!(b.allocate(base, PAGE, COMMIT, READWRITE), Err(487), "free memory");
}

#[test]
fn a_commit_that_fails_half_way_changes_nothing() {
    let mut b = book();
    let base = reserved(&mut b, 8);
    b.allocate(base + PAGE, PAGE, COMMIT, READONLY).unwrap();
    b.pages().left.set(Some(3));
    assert_eq!(b.allocate(base, 8 * PAGE, COMMIT, READWRITE), Err(1455), "ERROR_COMMITMENT_LIMIT");
    assert_eq!(seen(&b, base), (RESERVE, PAGE, 0));
    assert_eq!(seen(&b, base + PAGE), (COMMIT, PAGE, READONLY));
    let rights: Vec<Rights> = (0..8).map(|n| b.pages().may(base + n * PAGE)).collect();
    assert_eq!(rights[1], Rights::READ);
    assert!(rights.iter().enumerate().all(|(n, r)| n == 1 || r.is_empty()), "{rights:?}");
    let before = b.usage();
    b.pages().left.set(Some(3));
    assert_eq!(b.allocate(0, 8 * PAGE, RESERVE | COMMIT, READWRITE), Err(1455));
    assert_eq!(b.usage(), before, "and a reservation that was to be committed at once is none");
}

// Freeing.

#[test]
fn decommit_leaves_the_pages_reserved_and_empties_them() {
    let mut b = book();
    let base = committed(&mut b, 0x40);
    assert_eq!(b.free(base + 0x1fff, 1, DECOMMIT), Ok(()), "the page that is touched");
    assert_eq!(seen(&b, base), (COMMIT, PAGE, READWRITE));
    assert_eq!(seen(&b, base + PAGE), (RESERVE, PAGE, 0));
    assert_eq!(seen(&b, base + 2 * PAGE), (COMMIT, 0x3e * PAGE, READWRITE));
    assert_eq!(b.pages().may(base + PAGE), Rights::empty());
    assert_eq!(b.allocate(base + PAGE, PAGE, COMMIT, READWRITE), Ok(base + PAGE));
}

#[test]
fn decommit_of_what_is_not_committed_does_not_fail() {
    let mut b = book();
    let base = reserved(&mut b, 4);
    assert_eq!((b.free(base, PAGE, DECOMMIT), b.free(base, PAGE, DECOMMIT)), (Ok(()), Ok(())));
}

#[test]
fn decommit_of_size_zero_is_the_whole_region_and_needs_its_base() {
    let mut b = book();
    let base = committed(&mut b, 0x20);
    assert_eq!(b.free(base + PAGE, 0, DECOMMIT), Err(487));
    assert_eq!(b.free(base, 0, DECOMMIT), Ok(()));
    assert_eq!(seen(&b, base), (RESERVE, 0x20 * PAGE, 0));
}

#[test]
fn decommit_does_not_leave_its_region() {
    let mut b = book();
    let base = committed(&mut b, 0x40);
    let neighbour = committed(&mut b, 1);
    assert_eq!(neighbour, base + 0x4_0000);
    assert_eq!(b.free(base + 0x3_f000, 0x2000, DECOMMIT), Err(87));
    assert_eq!(seen(&b, base), (COMMIT, 0x40 * PAGE, READWRITE));
}

#[test]
fn release_needs_size_zero_and_the_base() {
    let mut b = book();
    let base = committed(&mut b, 0x40);
    assert_eq!((b.free(base, 0x4_0000, RELEASE), b.free(base, 1, RELEASE)), (Err(87), Err(87)));
    assert_eq!((b.free(base + PAGE, 0, RELEASE), b.free(base + 0x1_0000, 0, RELEASE)), (Err(487), Err(487)));
    assert_eq!(b.free(base + 1, 0, RELEASE), Ok(()), "any byte of the first page is the base");
    assert_eq!(seen(&b, base), (FREE, ARENA.end - ARENA.start, NOACCESS));
}

#[test]
fn release_takes_reserved_and_committed_pages_alike() {
    let mut b = book();
    let base = reserved(&mut b, 8);
    b.allocate(base + PAGE, PAGE, COMMIT, READONLY).unwrap();
    assert_eq!(b.free(base, 0, RELEASE), Ok(()));
    assert_eq!((b.usage(), b.pages().may(base + PAGE)), (MemoryUse::default(), Rights::empty()));
}

#[test]
fn what_is_free_cannot_be_freed() {
    let mut b = book();
    let base = committed(&mut b, 1);
    b.free(base, 0, RELEASE).unwrap();
    for (at, len, kind) in
        [(base, 0, RELEASE), (base, 0, DECOMMIT), (base, PAGE, DECOMMIT), (0, 0, RELEASE), (0, 0, DECOMMIT)]
    {
        assert_eq!(b.free(at, len, kind), Err(487), "{at:#x} {len:#x} {kind:#x}");
    }
}

/// Of the nine flags in `AllocationType`, two are `dwFreeType`s, and never both at once.
#[test]
fn only_decommit_and_release_are_free_types() {
    let mut b = book();
    let base = committed(&mut b, 1);
    let wrong = [
        0,
        COMMIT,
        RESERVE,
        DECOMMIT | RELEASE,
        FREE,
        RESET,
        TOP_DOWN,
        WRITE_WATCH,
        PHYSICAL,
        LARGE_PAGES,
        RELEASE | TOP_DOWN,
        0x8000_0000,
    ];
    for kind in wrong {
        assert_eq!(b.free(base, 0, kind), Err(87), "{kind:#x}");
    }
    assert_eq!(seen(&b, base), (COMMIT, PAGE, READWRITE));
}

// Resetting.

#[test]
fn reset_keeps_pages_committed_and_can_be_undone() {
    let mut b = book();
    let base = committed(&mut b, 4);
    assert_eq!(b.allocate(base, PAGE, RESET, NOACCESS), Ok(base));
    assert_eq!(seen(&b, base), (COMMIT, 4 * PAGE, READWRITE), "its protection argument is not used");
    assert_eq!(b.allocate(base, PAGE, RESET_UNDO, NOACCESS), Ok(base));
    assert_eq!(b.allocate(base + 3 * PAGE, 2 * PAGE, RESET, NOACCESS), Err(487), "past the end");
    assert_eq!(b.allocate(0, PAGE, RESET, READWRITE), Err(487), "of nothing");
    b.free(base, PAGE, DECOMMIT).unwrap();
    assert_eq!(b.allocate(base, PAGE, RESET, NOACCESS), Err(487), "of what is only reserved");
}

// Protecting.

#[test]
fn protect_tells_what_the_first_page_had() {
    let mut b = book();
    let base = committed(&mut b, 4);
    let set = |b: &mut TestBook, from: u64, to: u64, p: u32| {
        b.protect(base + from * PAGE..base + to * PAGE, Protect::new(p).unwrap())
    };
    assert_eq!(set(&mut b, 1, 2, READONLY), Ok(Some(READWRITE)));
    assert_eq!(set(&mut b, 1, 4, EXECUTE_READ), Ok(Some(READONLY)));
    assert_eq!(seen(&b, base + PAGE), (COMMIT, 3 * PAGE, EXECUTE_READ));
    assert_eq!(b.pages().may(base + 3 * PAGE), Rights::READ | Rights::EXECUTE);
    b.free(base + 2 * PAGE, PAGE, DECOMMIT).unwrap();
    assert_eq!(set(&mut b, 0, 4, READONLY), Err(487), "all pages must be committed");
    assert_eq!(seen(&b, base), (COMMIT, PAGE, READWRITE), "and nothing was changed");
    assert_eq!(set(&mut b, 3, 4, protect::WRITECOPY), Err(87), "private memory is not copied");
}

#[test]
fn protect_does_not_reach_into_another_allocation() {
    let mut b = book();
    let (one, two) = (committed(&mut b, 0x10), committed(&mut b, 0x10));
    assert_eq!(two, one + 0x1_0000);
    let both = one + 0xf000..two + PAGE;
    assert_eq!(b.protect(both, Protect::new(READONLY).unwrap()), Err(487));
    assert_eq!(seen(&b, one).1, 0x1_0000, "and a query does not either");
    assert_eq!(b.protect(0x9000..0xa000, Protect::new(READONLY).unwrap()), Ok(None), "not in the book");
}

#[test]
fn a_guard_page_tells_once() {
    let mut b = book();
    let base = b.allocate(0, 2 * PAGE, RESERVE | COMMIT, READWRITE | GUARD).unwrap();
    assert_eq!(b.pages().may(base), Rights::empty());
    assert_eq!((b.guard_hit(base + 5, None), b.guard_hit(base + 5, None)), (true, false));
    assert_eq!(seen(&b, base), (COMMIT, PAGE, READWRITE));
    assert_eq!(seen(&b, base + PAGE), (COMMIT, PAGE, READWRITE | GUARD), "one page at a time");
    assert_eq!(b.query(base).unwrap().allocation_protect, READWRITE | GUARD);
    assert_eq!(b.pages().may(base), Rights::READ | Rights::WRITE);
    assert!(!b.guard_hit(u64::MAX, None));
}

#[test]
fn images_are_told_with_what_was_made_of_them() {
    let mut b = book();
    let (read, write) = (Rights::READ, Rights::READ | Rights::WRITE);
    let rights = vec![(0x8000..0x9000, read), (0x9000..0xc000, write)];
    let image = ImagePages { id: 1, base: Addr(0x8000), len: 0x4000, rights };
    assert_eq!(
        b.query_image(&image, 0xa000),
        Info {
            base: 0xa000,
            allocation_base: 0x8000,
            allocation_protect: protect::EXECUTE_WRITECOPY,
            size: 0x2000,
            state: COMMIT,
            protect: protect::WRITECOPY,
            kind: IMAGE,
            ..Info::default()
        }
    );
    let new = Protect::new(READWRITE).unwrap();
    assert_eq!(b.protect_image(&image, 0x8000..0x9000, new), Ok(READONLY));
    assert_eq!(b.query_image(&image, 0x8000).size, 0x4000);
    assert_eq!(b.protect_image(&image, 0xb000..0xd000, new), Err(487), "behind its end");
    let guard = Protect::new(READWRITE | GUARD).unwrap();
    assert_eq!(b.protect_image(&image, 0x9000..0xa000, guard), Ok(protect::WRITECOPY));
    assert!(!b.guard_hit(0x9000, Some(2)), "the image that it was set for is gone");
    assert!(b.guard_hit(0x9000, Some(1)) && !b.guard_hit(0x9000, Some(1)));
    let another = ImagePages { id: 2, ..image };
    assert_eq!(b.query_image(&another, 0x8000).protect, READONLY, "what came to the same place is fresh");
}

// Watching writes.

fn watched(b: &mut TestBook, pages: u64) -> u64 {
    b.allocate(0, pages * PAGE, RESERVE | COMMIT | WRITE_WATCH, READWRITE).unwrap()
}

#[test]
fn written_pages_are_told_until_they_are_reset() {
    let mut b = book();
    let base = watched(&mut b, 8);
    let all = base..base + 8 * PAGE;
    [0, 0x3000, 0x3001, 0x7fff].iter().for_each(|at| b.pages().write(base + at));
    let pages = vec![base, base + 0x3000, base + 0x7000];
    assert_eq!(b.written(&all, false, 32), Ok(pages.clone()));
    assert_eq!(b.written(&all, true, 2), Ok(pages[..2].to_vec()), "only what is told is reset");
    assert_eq!(b.written(&all, false, 32), Ok(pages[2..].to_vec()));
    assert_eq!(b.written(&(base..base + PAGE), true, 32), Ok(vec![]), "only the range");
    assert_eq!(b.written(&all, true, 32), Ok(pages[2..].to_vec()));
    assert_eq!(b.written(&all, true, 32), Ok(vec![]));
}

#[test]
fn writes_are_remembered_beyond_decommit_and_protect() {
    let mut b = book();
    let base = watched(&mut b, 8);
    let all = base..base + 8 * PAGE;
    b.pages().write(base + PAGE);
    b.free(base + PAGE, PAGE, DECOMMIT).unwrap();
    assert_eq!(b.written(&all, false, 9), Ok(vec![base + PAGE]));
    b.allocate(base + PAGE, PAGE, COMMIT, READWRITE).unwrap();
    b.written(&all, true, 9).unwrap();
    b.pages().write(base + PAGE);
    assert_eq!(b.written(&all, false, 9), Ok(vec![base + PAGE]), "and it is watched again");
    b.pages().write(base + 2 * PAGE);
    b.protect(base + 2 * PAGE..base + 3 * PAGE, Protect::new(NOACCESS).unwrap()).unwrap();
    b.allocate(base, 8 * PAGE, COMMIT, READWRITE).unwrap();
    assert_eq!(b.written(&all, false, 9), Ok(vec![base + PAGE, base + 2 * PAGE]));
}

#[test]
fn only_watched_allocations_are_asked() {
    let mut b = book();
    let (base, plain) = (watched(&mut b, 8), committed(&mut b, 1));
    assert_eq!(b.written(&(base..base + 9 * PAGE), false, 9), Err(87), "beyond the region");
    assert_eq!(b.written(&(plain..plain + PAGE), false, 9), Err(87));
    let mut b = Book::new(Numbers { cannot_watch: true, ..Numbers::default() });
    let refused = b.allocate(0, PAGE, RESERVE | WRITE_WATCH, READWRITE);
    assert_eq!((refused, b.usage()), (Err(50), MemoryUse::default()), "ERROR_NOT_SUPPORTED");
}

// Locking.

#[test]
fn locks_are_of_readable_pages_and_are_given_back_once() {
    let mut b = book();
    let base = committed(&mut b, 2);
    let page = base..base + PAGE;
    assert_eq!((b.lock(page.clone()), b.lock(page.clone()), b.usage().locked), (Ok(()), Ok(()), PAGE));
    assert_eq!((b.unlock(page.clone()), b.unlock(page.clone())), (Ok(()), Err(158)), "ERROR_NOT_LOCKED");
    b.lock(base..base + 2 * PAGE).unwrap();
    b.free(base, PAGE, DECOMMIT).unwrap();
    assert_eq!(
        (b.usage().locked, b.unlock(page.clone())),
        (PAGE, Err(158)),
        "a page that goes is not locked"
    );
    assert_eq!(b.lock(page), Err(998), "ERROR_NOACCESS");
    b.free(base, 0, RELEASE).unwrap();
    assert_eq!(b.usage().locked, 0);
    let large = committed(&mut b, 0x101);
    assert_eq!(b.lock(large..large + 0x101 * PAGE), Err(1453), "ERROR_WORKING_SET_QUOTA");
}

// Views.

fn view(b: &mut TestBook, view: View, protect: u32) -> Result<u64, u32> {
    let file = File::open("/dev/null").unwrap();
    let shown = Shown { file: &file, offset: 0, copy: view.shared.is_none() };
    b.map(0, 3 * PAGE - 1, shown, view, Protect::new(protect).unwrap())
}

fn shared() -> View {
    let shared = Some((Arc::new(File::open("/dev/null").unwrap()), 0));
    View { most: Rights::READ | Rights::WRITE, named: false, committed: true, shared }
}

#[test]
fn views_are_mapped_memory_that_only_unmapping_frees() {
    let mut b = book();
    let base = view(&mut b, shared(), READWRITE).unwrap();
    let info = b.query(base).unwrap();
    assert_eq!((info.kind, info.size, info.protect), (MAPPED, 3 * PAGE, READWRITE));
    assert_eq!((b.free(base, 0, RELEASE), b.free(base, PAGE, DECOMMIT)), (Err(87), Err(87)));
    assert_eq!(b.allocate(base, PAGE, COMMIT, READWRITE), Ok(base), "committed memory stays so");
    assert_eq!(b.protect(base..base + PAGE, Protect::new(READONLY).unwrap()), Ok(Some(READWRITE)));
    assert_eq!((b.usage().views, b.unmap(base + PAGE), b.unmap(base)), (1, Ok(()), Err(487)));
    assert_eq!(b.usage(), MemoryUse::default());
}

#[test]
fn a_view_allows_no_more_than_it_was_made_with() {
    let mut b = book();
    let file = View { most: Rights::READ, named: true, ..shared() };
    let base = view(&mut b, file, READONLY).unwrap();
    assert_eq!(b.protect(base..base + PAGE, Protect::new(READWRITE).unwrap()), Err(87));
    assert_eq!(
        b.allocate(base, PAGE, COMMIT, READONLY),
        Err(5),
        "ERROR_ACCESS_DENIED: a file's are committed"
    );
    assert_eq!(b.allocate(base, PAGE, RESET, READONLY), Err(1224), "ERROR_USER_MAPPED_FILE");
    let copy = View { shared: None, most: Rights::READ, ..shared() };
    let base = view(&mut b, copy, protect::WRITECOPY).unwrap();
    assert_eq!(b.protect(base..base + PAGE, Protect::new(READONLY).unwrap()), Ok(Some(protect::WRITECOPY)));
    assert_eq!(b.protect(base..base + PAGE, Protect::new(READWRITE).unwrap()), Err(87));
}

#[test]
fn a_reserved_section_is_committed_by_those_who_need_it() {
    let mut b = book();
    let base = view(&mut b, View { committed: false, ..shared() }, READWRITE).unwrap();
    assert_eq!(seen(&b, base), (RESERVE, 3 * PAGE, 0));
    assert_eq!(b.allocate(base + PAGE, PAGE, COMMIT, READWRITE), Ok(base + PAGE));
    assert_eq!(seen(&b, base + PAGE), (COMMIT, PAGE, READWRITE));
}

#[test]
fn views_go_to_multiples_of_64k() {
    let mut b = book();
    let file = File::open("/dev/null").unwrap();
    let mut map = |at, offset| {
        let shown = Shown { file: &file, offset, copy: false };
        b.map(at, PAGE, shown, shared(), Protect::new(READWRITE).unwrap())
    };
    assert_eq!((map(0x7000_1000, 0), map(0, 0x1000)), (Err(1132), Err(1132)), "ERROR_MAPPED_ALIGNMENT");
    assert_eq!((map(0x7000_0000, 0x1_0000), map(0x7000_0000, 0)), (Ok(0x7000_0000), Err(487)));
}

// Random calls, and a model of them.

/// What may be done with a page, for which base, if it belongs to anyone; with the rest of the granule it stops.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Page {
    base: u64,
    protect: Option<u32>,
}

/// One entry a page, and nothing clever.
#[derive(Default)]
struct Model(BTreeMap<u64, Page>);

impl Model {
    fn allocate(&mut self, at: u64, pages: u64, kind: u32, protect: u32) -> Result<u64, u32> {
        let range = at..at + pages * PAGE;
        if kind & RESERVE != 0 {
            let base = at & !0xffff;
            let last = (range.end + 0xffff) & !0xffff;
            let base_taken = |page: u64| {
                let granule = page & !0xffff;
                self.0.range(granule..granule + 0x1_0000).next().is_some()
            };
            if each(base..last).any(base_taken) {
                return Err(487);
            }
            let state = (kind & COMMIT != 0).then_some(protect);
            self.0.extend(each(base..range.end).map(|page| (page, Page { base, protect: state })));
            return Ok(base);
        }
        let base = self.0.get(&at).ok_or(487u32)?.base;
        if each(range.clone()).any(|page| self.0.get(&page).is_none_or(|p| p.base != base)) {
            return Err(487);
        }
        each(range).for_each(|page| self.0.get_mut(&page).unwrap().protect = Some(protect));
        Ok(at)
    }

    fn free(&mut self, at: u64, pages: u64, kind: u32) -> Result<(), u32> {
        if kind == RELEASE && pages != 0 {
            return Err(87);
        }
        let base = self.0.get(&at).ok_or(487u32)?.base;
        if kind == RELEASE || pages == 0 {
            if base != at {
                return Err(487);
            }
            match kind {
                RELEASE => self.0.retain(|_, p| p.base != base),
                _ => self.0.values_mut().filter(|p| p.base == base).for_each(|p| p.protect = None),
            }
            return Ok(());
        }
        let range = at..at + pages * PAGE;
        if each(range.clone()).any(|page| self.0.get(&page).is_none_or(|p| p.base != base)) {
            return Err(87);
        }
        each(range).for_each(|page| self.0.get_mut(&page).unwrap().protect = None);
        Ok(())
    }

    fn protect(&mut self, at: u64, pages: u64, protect: u32) -> Result<Option<u32>, u32> {
        let Some(&first) = self.0.get(&at) else { return Ok(None) };
        let range = at..at + pages * PAGE;
        let fine = |p: &Page| p.base == first.base && p.protect.is_some();
        if each(range.clone()).any(|page| !self.0.get(&page).is_some_and(fine)) {
            return Err(487);
        }
        each(range).for_each(|page| self.0.get_mut(&page).unwrap().protect = Some(protect));
        Ok(first.protect)
    }

    /// The region of a page: state, size, protection.
    fn region(&self, page: u64) -> (u32, u64, u32) {
        let Some(&first) = self.0.get(&page) else {
            let end = self.0.range(page..).next().map_or(ARENA.end, |(&next, _)| next);
            return (FREE, end - page, NOACCESS);
        };
        let pages = (page..).step_by(PAGE as usize).take_while(|p| self.0.get(p) == Some(&first)).count();
        let state = if first.protect.is_some() { COMMIT } else { RESERVE };
        (state, pages as u64 * PAGE, first.protect.unwrap_or(0))
    }
}

#[derive(Clone, Debug)]
enum Call {
    Allocate(u64, u64, u32, u32),
    Free(u64, u64, u32),
    Protect(u64, u64, u32),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    const PAGES: u64 = (ARENA.end - ARENA.start) / PAGE;
    let at =
        || prop_oneof![(0..PAGES / 16).prop_map(|g| g * 16), 0..PAGES].prop_map(|n| ARENA.start + n * PAGE);
    let len = || 1..40u64;
    let protect =
        || prop::sample::select(vec![NOACCESS, READONLY, READWRITE, EXECUTE_READ, READWRITE | GUARD]);
    let kind = prop::sample::select(vec![RESERVE, RESERVE | COMMIT, COMMIT, COMMIT]);
    let fitting = |(at, len): (u64, u64)| at + len * PAGE <= ARENA.end - 0x1_0000;
    let place = || (at(), len()).prop_filter("inside the arena", move |&p| fitting(p));
    let call = prop_oneof![
        (place(), kind, protect()).prop_map(|((at, len), kind, p)| Call::Allocate(at, len, kind, p)),
        (place(), any::<bool>()).prop_map(|((at, len), all)| Call::Free(
            at,
            if all { 0 } else { len },
            DECOMMIT
        )),
        at().prop_map(|at| Call::Free(at, 0, RELEASE)),
        (place(), protect()).prop_map(|((at, len), p)| Call::Protect(at, len, p)),
    ];
    prop::collection::vec(call, 1..120)
}

proptest! {
    #[test]
    fn random_calls_do_what_a_page_by_page_model_does(calls in calls()) {
        let (mut b, mut model) = (book(), Model::default());
        b.allocate(0, PAGE, RESERVE, READWRITE).and_then(|at| b.free(at, 0, RELEASE)).unwrap(); // makes the arena
        for call in calls {
            match call {
                Call::Allocate(at, len, kind, p) => {
                    prop_assert_eq!(b.allocate(at, len * PAGE, kind, p), model.allocate(at, len, kind, p));
                }
                Call::Free(at, len, kind) => {
                    prop_assert_eq!(b.free(at, len * PAGE, kind), model.free(at, len, kind));
                }
                Call::Protect(at, len, p) => {
                    let new = Protect::new(p).unwrap();
                    prop_assert_eq!(b.protect(at..at + len * PAGE, new), model.protect(at, len, p));
                }
            }
        }
        let mut at = ARENA.start;
        while at < ARENA.end {
            let region = model.region(at);
            prop_assert_eq!(seen(&b, at), region, "{:#x}", at);
            at += region.1;
        }
        for page in each(ARENA) {
            let protect = model.0.get(&page).and_then(|p| p.protect);
            let rights = protect.map_or(Rights::empty(), |p| Protect::new(p).unwrap().rights());
            prop_assert_eq!(b.pages().may(page), rights, "{:#x}", page);
        }
        let committed = model.0.values().filter(|p| p.protect.is_some()).count() as u64 * PAGE;
        let bases: BTreeSet<u64> = model.0.values().map(|p| p.base).collect();
        prop_assert_eq!(b.usage(), MemoryUse {
            allocations: bases.len(),
            reserved: model.0.len() as u64 * PAGE,
            committed,
            ..MemoryUse::default()
        });
    }
}
