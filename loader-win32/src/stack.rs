//! The stack of a thread or of a fiber: where it is, and the pages at its end that are kept back, so that there is room to tell of an
//! overflow and to handle it.
//!
//! The last pages that the thread may use have no rights. Who touches them first gets them, and Windows code is told so
//! by an exception (`EXCEPTION_STACK_OVERFLOW`); the host's code just goes on. Beyond is what was there before: the
//! host's own guard, and its own report.
//!
//! Unsafe because pages of the stack in use are protected by address.
#![allow(unsafe_code)]

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::{cell::Cell, ffi::c_void, ops::Range, ptr};

/// How much is kept back.
pub(crate) const KEPT: u64 = 0x2_0000;
/// Stacks shorter than this keep nothing back; the system's own ones, when they may grow for ever, neither.
const SHORTEST: u64 = 4 * KEPT;
const LONGEST: u64 = 1 << 32;

/// What nobody may touch below a stack that was [made](Stack::of_length).
const GUARD: u64 = 0x1_0000;

/// A stack, of the system's making or of our own.
#[derive(Debug)]
pub(crate) struct Stack {
    low: u64,
    high: u64,
    /// It is the system's own, of the first thread, which grows when it is used.
    grows: bool,
    keeps: Cell<bool>,
    /// It could grow into the last pages since they were kept back.
    grew: Cell<bool>,
    /// The pages are given back with it.
    made: bool,
}

fn place(at: u64) -> *mut c_void {
    ptr::with_exposed_provenance_mut(at as usize)
}

impl Stack {
    /// The calling thread's, with nothing kept back.
    pub(crate) fn new() -> Self {
        let (low, high) = bounds();
        let mut stack = Self::at(low, high);
        stack.grows = rustix::thread::gettid() == rustix::process::getpid();
        stack
    }

    /// A new one of at least a length, or none where there is no room for it.
    pub(crate) fn of_length(bytes: usize) -> Option<Self> {
        let len = bytes.checked_next_multiple_of(GUARD as usize)?.checked_add(GUARD as usize)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::STACK;
        // SAFETY: new pages at a place of the kernel's choice touch nobody's memory.
        let pages =
            unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags) };
        let at = pages.ok()?.expose_provenance() as u64;
        let mut stack = Self::at(at + GUARD, at + len as u64);
        stack.made = true;
        // SAFETY: the first of those pages, which nobody uses.
        unsafe { mprotect(place(at), GUARD as usize, MprotectFlags::empty()) }.is_ok().then_some(stack)
    }

    fn at(low: u64, high: u64) -> Self {
        Self { low, high, grows: false, keeps: Cell::new(false), grew: Cell::new(false), made: false }
    }

    /// All of it.
    pub(crate) fn all(&self) -> Range<u64> {
        self.low..self.high
    }

    /// The pages that are kept back; none if there are none.
    pub(crate) fn kept(&self) -> Range<u64> {
        self.low..self.low + if self.keeps.get() { KEPT } else { 0 }
    }

    /// Whether an address is just beyond the last page.
    pub(crate) fn ends_before(&self, at: u64) -> bool {
        (self.low.saturating_sub(KEPT)..self.low).contains(&at)
    }

    /// Keeps the last pages back, unless they are in use. `false` if nothing is kept back.
    pub(crate) fn keep(&self) -> bool {
        let local = 0u8;
        let here = ptr::from_ref(&local).addr() as u64;
        let fits = (SHORTEST..LONGEST).contains(&(self.high - self.low));
        let unused = (self.low + 2 * KEPT..self.high).contains(&here);
        if !self.keeps.get() && fits && unused {
            self.keeps.set(if self.grows { self.close_off() } else { self.protect(MprotectFlags::empty()) });
        }
        self.keeps.get()
    }

    /// Gives the last pages to the thread. For signal handlers, too.
    pub(crate) fn give(&self) {
        if self.keeps.replace(false) {
            match self.grows {
                true => self.open(),
                false => drop(self.protect(MprotectFlags::READ | MprotectFlags::WRITE)),
            }
        }
    }

    fn protect(&self, rights: MprotectFlags) -> bool {
        // SAFETY: the thread's own stack: far below what is in use of it when rights are taken, and with those that it
        // had when they are given.
        unsafe { mprotect(place(self.low), KEPT as usize, rights) }.is_ok()
    }

    /// Has something without rights in the way of a stack that grows.
    fn close_off(&self) -> bool {
        if self.grew.get() {
            self.open(); // it may have come that far
            self.grew.set(false);
        }
        let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE | MapFlags::NORESERVE;
        let at = place(self.low);
        // SAFETY: where anything is mapped this fails.
        unsafe { mmap_anonymous(at, KEPT as usize, ProtFlags::empty(), flags) }.is_ok_and(|got| got == at)
    }

    /// Lets it grow.
    fn open(&self) {
        self.grew.set(true);
        // SAFETY: nothing but the end of the stack, of which nothing is in use, and what `close_off` mapped is there.
        let _ = unsafe { munmap(place(self.low), KEPT as usize) };
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.made {
            let at = self.low - GUARD;
            // SAFETY: the pages that `of_length` mapped; what owned the stack ran on it, and nobody does any more.
            let _ = unsafe { munmap(place(at), (self.high - at) as usize) };
        }
    }
}

/// The lowest and the highest address of the calling thread's stack.
fn bounds() -> (u64, u64) {
    let mut attr = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: no conditions.
    let me = unsafe { libc::pthread_self() };
    // SAFETY: the calling thread exists; the attributes are ours to be written.
    if unsafe { libc::pthread_getattr_np(me, attr.as_mut_ptr()) } != 0 {
        return (0, u64::MAX);
    }
    let (mut low, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the attributes were written by the call above.
    unsafe { libc::pthread_attr_getstack(attr.as_ptr(), &raw mut low, &raw mut size) };
    // SAFETY: as above; they are not used afterwards.
    unsafe { libc::pthread_attr_destroy(attr.as_mut_ptr()) };
    (low.addr() as u64, (low.addr() + size) as u64)
}

/// From now on the calling thread's signal handlers run on this stack, unless they have a longer one, or run on one at the
/// moment.
pub(crate) fn handle_signals_on(stack: Range<usize>) {
    // SAFETY: a `stack_t` is plain numbers, for which zeros are valid.
    let mut before: libc::stack_t = unsafe { std::mem::zeroed() };
    // SAFETY: asks only.
    unsafe { libc::sigaltstack(ptr::null(), &raw mut before) };
    if before.ss_flags & libc::SS_DISABLE != 0 || before.ss_size < stack.len() {
        let new = libc::stack_t { ss_sp: place(stack.start as u64), ss_flags: 0, ss_size: stack.len() };
        // SAFETY: the pages are the thread's own until it ends.
        unsafe { libc::sigaltstack(&raw const new, ptr::null_mut()) };
    }
}

/// The stack is about to go.
pub(crate) fn no_longer_on(stack: Range<usize>) {
    // SAFETY: as above.
    let mut before: libc::stack_t = unsafe { std::mem::zeroed() };
    // SAFETY: asks only.
    unsafe { libc::sigaltstack(ptr::null(), &raw mut before) };
    if before.ss_sp.addr() == stack.start {
        before.ss_flags = libc::SS_DISABLE;
        // SAFETY: takes away what `handle_signals_on` gave.
        unsafe { libc::sigaltstack(&raw const before, ptr::null_mut()) };
    }
}
