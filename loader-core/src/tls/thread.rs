//! The table of blocks that a thread has, and its end.
//!
//! A table is pages of its own: making one asks no allocator, which may be foreign code that uses TLS itself. It goes
//! in the last round of the thread's key destructors, so that destructors of thread-local objects, and of other keys,
//! still find their values.
//!
//! `unsafe` because a table is reached by address, from assembly too. It belongs to its thread; entries are atomic,
//! and others reach them only through [`Threads`], which a table leaves before it goes.
#![allow(unsafe_code)]

use super::{SLOTS, registry, reserve};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::{
    cell::Cell,
    ffi::c_void,
    ptr::{null, null_mut},
    sync::{
        OnceLock,
        atomic::{AtomicI64, AtomicPtr, Ordering::Relaxed},
    },
};

/// In a table's address, as the thread keeps it: taken away again by the same bit of the module words that code adds.
pub(super) const BIAS: usize = 1 << 63;

/// What this engine keeps for a thread. The table comes first: code indexes it.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) table: [AtomicPtr<u8>; SLOTS],
    previous: Cell<*const Thread>,
    next: Cell<*const Thread>,
    /// How often the key's destructor was called.
    rounds: Cell<usize>,
}

/// From the thread pointer to the word that holds the thread's table, plus [`BIAS`]; 0 where there is no such word,
/// and the key says where the table is.
pub(super) static CELL: AtomicI64 = AtomicI64::new(0);

/// All threads that have a table.
#[derive(Debug)]
pub(super) struct Threads {
    first: *const Thread,
}

// SAFETY: threads in the list are mapped, and only their links and atomic entries are reached through it.
unsafe impl Send for Threads {}

impl Threads {
    pub(super) const fn new() -> Self {
        Self { first: null() }
    }

    fn insert(&mut self, thread: &Thread) {
        thread.next.set(self.first);
        // SAFETY: what is in the list is mapped.
        if let Some(first) = unsafe { self.first.as_ref() } {
            first.previous.set(thread);
        }
        self.first = thread;
    }

    fn remove(&mut self, thread: &Thread) {
        let (previous, next) = (thread.previous.get(), thread.next.get());
        // SAFETY: what is in the list is mapped.
        match unsafe { previous.as_ref() } {
            Some(p) => p.next.set(next),
            None => self.first = next,
        }
        // SAFETY: as above.
        if let Some(n) = unsafe { next.as_ref() } {
            n.previous.set(previous);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Thread> {
        // SAFETY: what is in the list is mapped as long as the list is borrowed.
        let at = |t: *const Thread| unsafe { t.as_ref() };
        std::iter::successors(at(self.first), move |t| at(t.next.get()))
    }
}

/// The key whose destructor takes a thread's blocks away.
fn key() -> libc::pthread_key_t {
    static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: the destructor takes what `Thread::new` stores.
        match unsafe { libc::pthread_key_create(&raw mut key, Some(end)) } {
            0 => key,
            error => fail("make a key for thread-local blocks", error),
        }
    })
}

/// From the thread pointer to the word for [`CELL`], where there is one.
fn cell() -> Option<i64> {
    static KNOWN: OnceLock<Option<i64>> = OnceLock::new();
    *KNOWN.get_or_init(reserve::cell)
}

/// Makes both of the above, unless they are made.
pub(super) fn make_once() {
    key();
    cell();
}

/// Foreign code cannot be told that there is no memory for its thread-local variables.
pub(super) fn fail(what: &str, error: i32) -> ! {
    log::error!("cannot {what}: {}", std::io::Error::from_raw_os_error(error));
    std::process::abort()
}

impl Thread {
    /// The calling thread's.
    pub(super) fn current() -> &'static Thread {
        let known = match CELL.load(Relaxed) {
            // SAFETY: no conditions; a key that was never set has no value.
            0 => unsafe { libc::pthread_getspecific(key()) }.cast::<Thread>().cast_const(),
            // SAFETY: the offset is of a word that every thread has.
            cell => match unsafe { word(cell).read() } {
                0 => null(),
                biased => std::ptr::with_exposed_provenance(biased ^ BIAS),
            },
        };
        // SAFETY: a thread's own `Thread` lives as long as it is kept in these places.
        unsafe { known.as_ref() }.unwrap_or_else(Self::new)
    }

    #[cold]
    fn new() -> &'static Thread {
        let len = size_of::<Thread>();
        // SAFETY: new pages at a place of the kernel's choice touch nobody's memory.
        let pages =
            unsafe { mmap_anonymous(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
        let pages = pages.unwrap_or_else(|e| fail("map a table of thread-local blocks", e.raw_os_error()));
        // SAFETY: zeroed pages are a valid `Thread`; they stay mapped until the thread's end.
        let thread: &'static Thread = unsafe { &*pages.cast::<Thread>() };
        if let Some(cell) = cell() {
            CELL.store(cell, Relaxed);
            // SAFETY: the offset is of a word that every thread has and only this engine uses.
            unsafe { word(cell).write(pages.expose_provenance() ^ BIAS) };
        }
        // SAFETY: the value is this thread's own.
        let error = unsafe { libc::pthread_setspecific(key(), pages) };
        if error != 0 {
            fail("keep a table of thread-local blocks", error);
        }
        registry().threads.insert(thread);
        super::make_eager(thread);
        thread
    }
}

/// The calling thread's word at a distance from the thread pointer.
fn word(offset: i64) -> *mut usize {
    let at = reserve::thread_pointer().wrapping_add_signed(offset);
    std::ptr::with_exposed_provenance_mut(at as usize)
}

/// Called by the C library when a thread ends, after the destructors of its thread-local objects.
unsafe extern "C" fn end(thread: *mut c_void) {
    /// `PTHREAD_DESTRUCTOR_ITERATIONS`: how often keys that are set again are asked again.
    const ROUNDS: usize = 4;
    // SAFETY: `Thread::new` stored it, and it is unmapped below and nowhere else.
    let this = unsafe { &*thread.cast::<Thread>() };
    this.rounds.set(this.rounds.get() + 1);
    if this.rounds.get() < ROUNDS {
        // SAFETY: the value is this thread's own.
        unsafe { libc::pthread_setspecific(key(), thread) };
        return;
    }
    registry().threads.remove(this);
    super::release_all(this);
    match CELL.load(Relaxed) {
        0 => {}
        // SAFETY: as in `new`.
        cell => unsafe { word(cell).write(0) },
    }
    // SAFETY: the pages are those of `new`; nobody knows them any more. A late comer gets new ones, for ever.
    let _ = unsafe { munmap(thread, size_of::<Thread>()) };
}
