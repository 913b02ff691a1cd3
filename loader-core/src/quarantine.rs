//! What went and is not given back: its addresses stay reserved without any rights, so that whoever still uses them
//! meets a fault that can be given a name.
//!
//! A room for `unsafe`: [`report_use_after_unload`] handles SIGSEGV. A process has one such handler of this kind, so what
//! it reads is one fixed table, written without locks.
#![allow(unsafe_code)]

use crate::{Addr, Placement, Rva, module::Identity, signals::Link, space::Block};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

/// An address in a library that is no longer loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unloaded {
    /// The library.
    pub name: Box<str>,
    /// Where in its image.
    pub at: Rva,
}

/// The last few that went, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    /// How many may be here.
    pub(crate) limit: usize,
    held: VecDeque<Held>,
}

#[derive(Debug)]
struct Held {
    identity: Arc<Identity>,
    at: Placement,
    _slot: Option<Listed>,
    /// Dropped last: its addresses are somebody else's then.
    _block: Box<dyn Block>,
}

impl Quarantine {
    /// Takes the memory of a library in, and lets go of the oldest beyond the limit. Where the system will not take
    /// the pages back, they are unmapped at once.
    pub(crate) fn admit(&mut self, identity: Arc<Identity>, at: Placement, mut block: Box<dyn Block>) {
        if block.close_off().is_err() {
            return;
        }
        let _slot = Listed::new(&identity.name, at);
        self.held.push_back(Held { identity, at, _slot, _block: block });
        let over = self.held.len().saturating_sub(self.limit);
        self.held.drain(..over);
    }

    /// Whose an address was.
    pub(crate) fn named(&self, at: Addr) -> Option<Unloaded> {
        let held = self.held.iter().find(|h| h.at.contains(at))?;
        Some(Unloaded { name: held.identity.name.clone(), at: held.at.rva_of(at)? })
    }
}

/// How many libraries the handler can name, and how long a name it tells.
const SLOTS: usize = 256;
const LONGEST: usize = 64;

/// One line of the handler's table. It is valid while `end` is not 0.
struct Slot {
    start: AtomicU64,
    end: AtomicU64,
    name: [AtomicU8; LONGEST],
}

static SLOT: [Slot; SLOTS] = [const {
    Slot { start: AtomicU64::new(0), end: AtomicU64::new(0), name: [const { AtomicU8::new(0) }; LONGEST] }
}; SLOTS];

/// A library that the handler can name, for as long as this lives.
#[derive(Debug)]
struct Listed(usize);

impl Listed {
    /// Takes a free line; none where there is none.
    fn new(name: &str, at: Placement) -> Option<Self> {
        // A line is taken by giving it a start; it is read only once it has an end.
        let take =
            |slot: &Slot| slot.start.compare_exchange(0, at.base.0, Ordering::AcqRel, Ordering::Relaxed);
        let nth = SLOT.iter().position(|slot| take(slot).is_ok())?;
        let bytes = name.bytes().chain(std::iter::repeat(0));
        SLOT[nth].name.iter().zip(bytes).for_each(|(to, byte)| to.store(byte, Ordering::Relaxed));
        SLOT[nth].end.store(at.base.0 + at.len, Ordering::Release);
        Some(Self(nth))
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        SLOT[self.0].end.store(0, Ordering::Release);
        SLOT[self.0].start.store(0, Ordering::Release);
    }
}

static LINK: Link = Link::new(libc::SIGSEGV);

/// From now on a fault in the memory of a library that is in quarantine says so on standard error: `use after unload of
/// libz.so.1 at image+0x4711`. Whoever handled SIGSEGV before then handles the fault. Once for a process.
pub fn report_use_after_unload() {
    LINK.install(faulted);
}

/// The handler: names the fault if it can, and leaves it to whoever was there before.
extern "C" fn faulted(_: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands a handler of this kind what it knows of the fault, until the handler returns.
    let info = unsafe { &mut *info };
    // SAFETY: of a SIGSEGV it knows the address.
    let at = unsafe { info.si_addr() }.addr() as u64;
    let there = |slot: &&Slot| {
        let end = slot.end.load(Ordering::Acquire);
        (slot.start.load(Ordering::Relaxed)..end).contains(&at)
    };
    if let Some(slot) = SLOT.iter().find(there) {
        let mut line = Line { bytes: [0; 160], len: 0 };
        line.push(b"use after unload of ");
        slot.name
            .iter()
            .map(|b| b.load(Ordering::Relaxed))
            .take_while(|&b| b != 0)
            .for_each(|b| line.push(&[b]));
        line.push(b" at image+0x");
        line.hex(at - slot.start.load(Ordering::Relaxed));
        line.push(b"\n");
        // SAFETY: writes the line's own bytes.
        unsafe { libc::write(libc::STDERR_FILENO, line.bytes.as_ptr().cast(), line.len) };
    }
    LINK.pass_on(info, context);
}

/// A line that is put together without the allocator.
struct Line {
    bytes: [u8; 160],
    len: usize,
}

impl Line {
    fn push(&mut self, more: &[u8]) {
        if let Some(to) = self.bytes.get_mut(self.len..self.len + more.len()) {
            to.copy_from_slice(more);
            self.len += more.len();
        }
    }

    fn hex(&mut self, number: u64) {
        let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
        for nth in (0..digits).rev() {
            self.push(&[b"0123456789abcdef"[(number >> (4 * nth) & 0xf) as usize]]);
        }
    }
}
