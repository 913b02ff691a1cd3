//! The modules of all load sets of this process, by address: what an unwinder, `dladdr` and a debugger ask for.
//!
//! A module is listed from before its first instruction runs until after its last ([`Listing`]). Questions take no
//! lock and allocate nothing, so that they can be asked in a signal handler, by an unwinder, and while any other
//! thread opens, closes or forks: `rows.rs` has them, to be searched while they may be written.
//!
//! `unsafe` because readers follow pointers to [`Listed`] modules, which are not freed while anybody is [`Reading`]. The index
//! is one per process, like the unwinder that asks it.
#![allow(unsafe_code)]

use crate::{Addr, Image, Placement, Rva, TlsHome, module::Identity};
use rows::{Entry, Order, Row, Sorted, Tables};
use std::{
    ffi::{CString, c_char, c_void},
    os::unix::ffi::OsStrExt,
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Relaxed, Release, SeqCst},
        },
    },
};

mod rows;

/// The part of `struct link_map` that the system's headers show (`<link.h>`).
#[derive(Debug)]
#[repr(C)]
pub struct LinkMap {
    /// How far the image is from where it was linked to be.
    pub addr: u64,
    /// Its name.
    pub name: *const c_char,
    /// Its dynamic section; null where it has none.
    pub dynamic: *const c_void,
    /// Null: modules of this engine are in no list of the system's loader.
    pub next: *const LinkMap,
    /// Null.
    pub prev: *const LinkMap,
}

/// A module that is listed.
#[derive(Debug)]
pub struct Listed {
    /// Its file, or the name it was opened by where it has none.
    pub name: CString,
    /// Its image.
    pub image: Arc<dyn Image>,
    /// Where that is.
    pub at: Placement,
    /// Its thread-local blocks.
    pub tls: Option<TlsHome>,
    /// Whose it is: what calls its code has this number.
    pub of: u64,
    /// What C code is given to know it by.
    pub link_map: LinkMap,
    /// The live address of its unwind table's header (`PT_GNU_EH_FRAME`).
    pub unwind: Option<Addr>,
    /// Its place in the order in which modules were listed.
    pub serial: u64,
}

// SAFETY: the pointers of `link_map` lead to the name beside it and into the image; nothing is read through them here.
unsafe impl Send for Listed {}
// SAFETY: as above.
unsafe impl Sync for Listed {}

impl Listed {
    fn found(&self) -> Found {
        Found {
            start: self.at.base,
            end: Addr(self.at.base.0.saturating_add(self.at.len)),
            unwind: self.unwind.unwrap_or(Addr(0)),
            link_map: Addr(ptr::from_ref(&self.link_map).addr() as u64),
        }
    }
}

/// What an unwinder needs to know of the module that an address lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its first address.
    pub start: Addr,
    /// The address after its last.
    pub end: Addr,
    /// Its unwind table's header; 0 where it has none.
    pub unwind: Addr,
    /// Its [`LinkMap`].
    pub link_map: Addr,
}

/// The modules by their first address.
static BY_ADDRESS: Order = Order::new();
/// The modules by [`newness`].
static BY_AGE: Order = Order::new();
static READERS: AtomicUsize = AtomicUsize::new(0);
static ADDS: AtomicU64 = AtomicU64::new(0);
static SUBS: AtomicU64 = AtomicU64::new(0);
static WRITER: Mutex<Writer> = Mutex::new(Writer {
    tables: Tables::new([
        Sorted::new(&BY_ADDRESS, |e| e.found.start.0),
        Sorted::new(&BY_AGE, |e| newness(e.listed.serial)),
    ]),
    retired: Vec::new(),
    serial: 0,
});

/// Lower for what was listed later: rows are found by the last key that is not too high.
const fn newness(serial: u64) -> u64 {
    !serial
}

fn writer() -> MutexGuard<'static, Writer> {
    WRITER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While what this gives lives, no other thread changes the index: for the time of a `fork`.
#[must_use]
pub fn hold() -> impl Sized + use<> {
    writer()
}

struct Writer {
    tables: Tables,
    /// Listed no more, but somebody may be reading them.
    retired: Vec<Arc<Listed>>,
    /// The last number that was given out.
    serial: u64,
}

impl Writer {
    /// Frees what was listed once, if nobody is reading.
    fn sweep(&mut self) -> Vec<Arc<Listed>> {
        // Whoever begins to read from here on reads the new rows.
        match READERS.load(SeqCst) {
            0 => std::mem::take(&mut self.retired),
            _ => Vec::new(),
        }
    }
}

/// What `read` says of the module that an address lies in.
fn module_at<T>(at: Addr, read: impl Fn(&Row) -> T) -> Option<T> {
    BY_ADDRESS.last(at.0, |row| (at.0 < row.end.load(Relaxed)).then(|| read(row)))
}

/// The module that an address lies in, if it is one of this engine's: without a lock, in any place and at any time.
///
/// Whoever asks about code that runs, or about data in use, is told of what stays for as long as that does.
#[must_use]
pub fn find(at: Addr) -> Option<Found> {
    let word = |word: &AtomicU64| Addr(word.load(Relaxed));
    module_at(at, |row| Found {
        start: word(&row.start),
        end: word(&row.end),
        unwind: word(&row.unwind),
        link_map: word(&row.link_map),
    })
}

/// While one of these lives, no [`Listed`] that it found is freed, though its module may be unmapped.
#[derive(Debug)]
pub struct Reading(());

impl Reading {
    /// From here on.
    #[must_use]
    pub fn begin() -> Self {
        // A writer who does not see this reader has published what this reader will read: all four accesses are in one order.
        READERS.fetch_add(1, SeqCst);
        Self(())
    }

    /// The module that an address lies in.
    #[must_use]
    pub fn at(&self, at: Addr) -> Option<&Listed> {
        self.follow(module_at(at, |row| row.listed.load(Relaxed)))
    }

    /// The module that was listed next after number `serial`; 0 is before the first.
    #[must_use]
    pub fn after(&self, serial: u64) -> Option<&Listed> {
        let newer = newness(serial).checked_sub(1)?;
        self.follow(BY_AGE.last(newer, |row| Some(row.listed.load(Relaxed))))
    }

    fn follow(&self, listed: Option<*mut Listed>) -> Option<&Listed> {
        // SAFETY: the rows of the moment had it, so it was not retired before this reader began, and what is retired
        // later is kept while there are readers.
        listed.and_then(|listed| unsafe { listed.as_ref() })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        READERS.fetch_sub(1, Release);
    }
}

/// How many modules were listed so far, and how many of them are not any more.
#[must_use]
pub fn generation() -> (u64, u64) {
    (ADDS.load(Relaxed), SUBS.load(Relaxed))
}

/// Lists a module of the caller of number `of`: from here on it is found.
#[must_use]
pub fn list(
    identity: &Identity,
    image: Arc<dyn Image>,
    at: Placement,
    tls: Option<TlsHome>,
    of: u64,
) -> Listing {
    let name = identity.path.as_ref().map_or(identity.name.as_bytes(), |p| p.as_os_str().as_bytes());
    let name = CString::new(name).unwrap_or_default();
    let live = |rva: Rva| ptr::with_exposed_provenance(at.addr(rva).0 as usize);
    let link_map = LinkMap {
        addr: at.slide(),
        name: name.as_ptr(),
        dynamic: image.outline().dynamic.map_or(ptr::null(), live),
        next: ptr::null(),
        prev: ptr::null(),
    };
    let unwind = image.outline().unwind.map(|rva| at.addr(rva));
    let mut writer = writer();
    writer.serial += 1;
    let serial = writer.serial;
    let listed = Arc::new(Listed { name, image, at, tls, of, link_map, unwind, serial });
    let entry = Entry { found: listed.found(), listed };
    writer.tables.insert(&entry);
    ADDS.fetch_add(1, Relaxed);
    Listing { entry }
}

/// Keeps a module listed.
#[derive(Debug)]
pub struct Listing {
    entry: Entry,
}

impl Drop for Listing {
    fn drop(&mut self) {
        let mut writer = writer();
        writer.tables.remove(&self.entry);
        SUBS.fetch_add(1, Relaxed);
        writer.retired.push(self.entry.listed.clone());
        let free = writer.sweep();
        drop(writer);
        drop(free); // with no lock held: an image may be the last to hold a file
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HostModule, LinkAddr, PAGE};
    use std::thread;

    /// Addresses that no process has: the tests of other modules may list real ones.
    fn listed(page: u64) -> (Listing, Addr) {
        let base = Addr((1 << 60) + page * PAGE);
        let identity = Identity { name: "m".into(), keys: Vec::new(), path: None, file: None, source: None };
        let at = Placement { link_base: LinkAddr(0), base, len: PAGE };
        (list(&identity, Arc::new(HostModule::new("m")), at, None, 0), base)
    }

    #[test]
    fn an_address_is_found_from_the_first_byte_to_the_last_and_no_longer_than_it_is_listed() {
        let (listing, base) = listed(7);
        assert_eq!(find(Addr(base.0 - 1)), None);
        for at in [base.0, base.0 + PAGE - 1] {
            let found = find(Addr(at)).unwrap();
            assert_eq!((found.start, found.end), (base, Addr(base.0 + PAGE)));
            assert_eq!(found.unwind, Addr(0), "it has no table");
        }
        assert_eq!(find(Addr(base.0 + PAGE)), None);
        let reading = Reading::begin();
        let record = reading.at(base).unwrap();
        drop(listing);
        assert_eq!(find(base), None);
        assert!(reading.at(base).is_none());
        assert_eq!(record.name.to_bytes(), b"m", "kept while somebody is reading");
    }

    #[test]
    fn who_is_put_where_another_was_is_found_though_that_one_is_listed_a_little_longer() {
        for first_goes in [true, false] {
            let [(one, base), (two, _)] = [300, 300].map(listed);
            let (goes, stays) = if first_goes { (one, two) } else { (two, one) };
            drop(goes);
            assert_eq!(Reading::begin().at(base).unwrap().serial, stays.entry.listed.serial);
            drop(stays);
            assert_eq!(find(base), None);
        }
    }

    #[test]
    fn each_is_found_among_many_that_came_and_went_in_any_order() {
        // 7 and 499 have no common divisor: every place once, all over the range.
        let mut listings: Vec<_> = (0..499).map(|n| Some(listed(2_000 + n * 7 % 499))).collect();
        for n in (0..499).chain((0..499).rev()) {
            let goes = n % 3 != 0;
            if goes && let Some((listing, base)) = listings[n].take() {
                drop(listing);
                assert_eq!(find(base), None);
            }
        }
        let (reading, mut serial, mut walked) = (Reading::begin(), 0, Vec::new());
        while let Some(record) = reading.after(serial) {
            serial = record.serial;
            walked.push(record.at.base);
        }
        let there: Vec<_> = listings.iter().flatten().map(|(_, base)| *base).collect();
        assert!(there.iter().all(|&base| find(Addr(base.0 + 1)).is_some_and(|found| found.start == base)));
        walked.retain(|base| there.contains(base));
        assert_eq!(walked, there);
    }

    #[test]
    fn modules_are_walked_in_the_order_in_which_they_were_listed() {
        let bases = [130, 110, 120];
        let listings = bases.map(listed);
        let (reading, mut serial, mut seen) = (Reading::begin(), 0, Vec::new());
        while let Some(record) = reading.after(serial) {
            serial = record.serial;
            seen.extend(listings.iter().position(|l| l.1 == record.at.base));
        }
        assert_eq!(seen, [0, 1, 2]);
    }

    #[test]
    fn readers_are_right_while_writers_come_and_go() {
        let (_stays, there) = listed(1000);
        let done = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut asked = 0;
                        while !done.load(Relaxed) {
                            let found = find(Addr(there.0 + 5)).expect("it stays");
                            assert_eq!((found.start, found.end), (there, Addr(there.0 + PAGE)));
                            let reading = Reading::begin();
                            assert_eq!(reading.at(there).expect("it stays").at.base, there);
                            asked += 1;
                        }
                        asked
                    })
                })
                .collect();
            for n in 0..2_000 {
                // Around it on both sides, so that its row moves; now and then enough for another table.
                let count = if n % 500 == 0 { 40 } else { 3 };
                let others: Vec<_> = (0..count).map(|k| listed(900 + k * 7)).collect();
                assert!(others.iter().all(|(_, base)| find(*base).is_some()));
            }
            done.store(true, Relaxed);
            assert!(readers.into_iter().all(|r| r.join().unwrap() > 0));
        });
    }
}
