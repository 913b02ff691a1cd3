//! The memory that both sides see: requests, replies, events, the record of a fault, and how the guest ended.
//!
//! The user's side never maps it. It reads and writes it as a file, so that whatever the helper does to it meanwhile,
//! what was read is the user's own; and a reply is only looked at after its length was checked.

use crate::{os::Window, report::Record};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::{
    fs::File,
    io,
    ops::Range,
    os::{fd::OwnedFd, unix::fs::FileExt},
    ptr::NonNull,
};

/// Words at the beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Word {
    /// The number of the last request, and its length.
    Request = 0,
    RequestLen = 8,
    /// The number of the request that was answered last, and the answer's length.
    Reply = 16,
    ReplyLen = 24,
    /// How the guest's process ended: the system's status, and a bit above it that says that it did.
    Ending = 32,
    /// How many faults there were.
    Faults = 40,
    /// How many events there were.
    Events = 48,
}

/// The bit of [`Word::Ending`] that says that there is one.
pub(crate) const ENDED: u64 = 1 << 32;

const PAGE: usize = 4096;
/// Where the fault handler writes.
pub(crate) const RECORD: Range<usize> = PAGE..17 * PAGE;
const REQUEST: Range<usize> = RECORD.end..RECORD.end + (256 << 10);
const REPLY: Range<usize> = REQUEST.end..REQUEST.end + (1 << 20);
const EVENTS: Range<usize> = REPLY.end..REPLY.end + SLOT * SLOTS;
/// All of it. Only what is used of it takes memory.
pub(crate) const LEN: usize = EVENTS.end;
/// An event is cut to this; when there are more than this many that nobody has read, the oldest are lost.
pub(crate) const SLOT: usize = 768;
pub(crate) const SLOTS: usize = 8192;

/// The user's side.
#[derive(Debug)]
pub(crate) struct Shared(File);

impl Shared {
    pub(crate) fn new() -> io::Result<Self> {
        let file = memfd_create("sandbox", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, LEN as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(Self(file.into()))
    }

    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    pub(crate) fn word(&self, word: Word) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, word as u64)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Writes a request; false if there is no room for it.
    pub(crate) fn ask(&self, number: u64, request: &[u8]) -> io::Result<bool> {
        if request.len() > REQUEST.len() {
            return Ok(false);
        }
        self.0.write_all_at(request, REQUEST.start as u64)?;
        self.0.write_all_at(&(request.len() as u64).to_ne_bytes(), Word::RequestLen as u64)?;
        self.0.write_all_at(&number.to_ne_bytes(), Word::Request as u64)?;
        Ok(true)
    }

    /// The answer to a request, if it is there. An answer that is longer than there is room is none.
    pub(crate) fn answer(&self, number: u64) -> io::Result<Option<Vec<u8>>> {
        if self.word(Word::Reply)? != number {
            return Ok(None);
        }
        let len = self.word(Word::ReplyLen)?.min(REPLY.len() as u64);
        let mut reply = vec![0; len as usize];
        self.0.read_exact_at(&mut reply, REPLY.start as u64)?;
        Ok(Some(reply))
    }

    /// What the fault handler wrote.
    pub(crate) fn record(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; RECORD.len()];
        self.0.read_exact_at(&mut bytes, RECORD.start as u64)?;
        Ok(bytes)
    }

    /// An event, by its number.
    pub(crate) fn event(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; SLOT];
        self.0.read_exact_at(&mut bytes, slot(number) as u64)?;
        Ok(bytes)
    }
}

fn slot(number: u64) -> usize {
    EVENTS.start + number as usize % SLOTS * SLOT
}

/// The helper's side.
#[derive(Debug)]
pub(crate) struct Mapped(Window);

impl Mapped {
    pub(crate) fn open(file: &OwnedFd) -> io::Result<Self> {
        Window::open(file, LEN).map(Self)
    }

    fn word(&self, word: Word) -> u64 {
        let mut bytes = [0; 8];
        self.0.get(word as usize, &mut bytes);
        u64::from_ne_bytes(bytes)
    }

    /// The last request and its number.
    pub(crate) fn request(&self) -> (u64, Vec<u8>) {
        let len = (self.word(Word::RequestLen) as usize).min(REQUEST.len());
        let mut request = vec![0; len];
        self.0.get(REQUEST.start, &mut request);
        (self.word(Word::Request), request)
    }

    /// Writes the answer to a request; false if there is no room for it.
    pub(crate) fn reply(&self, number: u64, reply: &[u8]) -> bool {
        let fits = reply.len() <= REPLY.len();
        if fits {
            self.0.put(REPLY.start, reply);
            self.0.publish(Word::ReplyLen as usize, reply.len() as u64);
            self.0.publish(Word::Reply as usize, number);
        }
        fits
    }

    /// Adds an event; what is too long is cut.
    pub(crate) fn tell(&self, event: &[u8]) {
        let event = &event[..event.len().min(SLOT)];
        let number = self.0.add(Word::Events as usize, 1);
        self.0.put(slot(number), event);
    }

    /// In a copy of the helper: what is told from here on is told to nobody.
    pub(crate) fn part(&self) -> io::Result<()> {
        self.0.part()
    }

    /// Says how the guest's process ended, if nobody has said it: its own warden knows better than that one's.
    pub(crate) fn ended(&self, status: u32) {
        if self.word(Word::Ending) == 0 {
            self.0.publish(Word::Ending as usize, ENDED | u64::from(status));
        }
    }

    /// Where the record of a fault is written.
    pub(crate) fn record_place(&self) -> NonNull<Record> {
        const { assert!(Record::SIZE <= RECORD.end - RECORD.start) };
        self.0.place_of(RECORD.start)
    }

    /// Says that there is a record of a fault.
    pub(crate) fn faulted(&self) {
        self.0.add(Word::Faults as usize, 1);
    }
}
