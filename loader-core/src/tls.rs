//! Thread-local blocks of loaded images: slots, templates, and a table of blocks per thread.
//!
//! A slot is a small number. Every thread that asks has one table of pointers, indexed by slot, that never moves
//! (`thread`): code of ELF images reaches it through [`tls_get_addr`] and descriptors (`access`), code of Windows
//! images through their TEB. Blocks are made when a thread first asks; those of images that look without asking
//! ([`TlsTemplate::index_at`]) exist in every thread that has a table. A block that code finds without any of this, at
//! a distance from the thread pointer, is a piece of the `reserve`.
//!
//! No lock is held while memory is asked for or given back on behalf of running code: an allocator may have
//! thread-local variables of its own.
//!
//! `unsafe` because blocks are reached by address from foreign code. The registry is process-wide, like the threads.
#![allow(unsafe_code)]

mod access;
mod donor;
mod reserve;
mod thread;

pub use access::{TlsIndex, descriptor, tls_get_addr};
pub use donor::DONOR;
pub use reserve::{STATIC_TLS, only_thread};

use crate::{ErrorKind, TlsHome, TlsTemplate, registers};
use reserve::Piece;
use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ptr::null_mut,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicPtr, Ordering::Relaxed},
    },
};
use thread::{Thread, Threads};

/// How many modules with thread-local storage can be loaded at once in one process.
pub const SLOTS: usize = 4096;

/// Blocks are asked for at this alignment and aligned within. The allocator gives large ones as pages of zeroes that
/// nobody has touched; at any other alignment it would write every byte of what may be gigabytes.
const PLAIN: usize = 16;

/// What the blocks of a slot look like.
#[derive(Clone, Copy, Debug)]
struct Shape {
    size: u64,
    align: u64,
    skew: u64,
    /// Of the memory around a block of its own: room for [`PLAIN`] bytes before it, and for its alignment.
    layout: Layout,
    eager: bool,
}

/// A slot of which threads can have blocks.
#[derive(Debug)]
struct Armed {
    shape: Shape,
    /// What a block starts as, once the image is relocated; the rest is zero.
    init: Box<[u8]>,
    /// Where every thread's block is, if not in memory of its own.
    fixed: Option<Piece>,
}

#[derive(Debug)]
enum Slot {
    Free,
    Reserved(Shape, Option<Piece>),
    Armed(Arc<Armed>),
}

struct Registry {
    slots: Vec<Slot>,
    threads: Threads,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { slots: Vec::new(), threads: Threads::new() });

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes what a process has once, unless it is made. Before a `fork`: its child would wait for ever for another thread
/// of the parent that was making it.
pub fn make_once() {
    thread::make_once();
}

/// While what this gives lives, no other thread changes the registry: for the time of a `fork`.
#[must_use]
pub fn hold() -> impl Sized + use<> {
    (registry(), reserve::hold())
}

impl Registry {
    fn armed(&self, slot: usize) -> Option<&Arc<Armed>> {
        match self.slots.get(slot)? {
            Slot::Armed(armed) => Some(armed),
            Slot::Free | Slot::Reserved(..) => None,
        }
    }
}

impl Shape {
    fn of(template: &TlsTemplate) -> Result<Self, ErrorKind> {
        let bad = |at| ErrorKind::Malformed { what: "thread-local template", at };
        let &TlsTemplate { size, skew, .. } = template;
        let align = template.align.max(1);
        if !align.is_power_of_two() || skew >= align {
            return Err(bad(template.align));
        }
        let around = size
            .checked_add(skew)
            .and_then(|n| n.checked_add(align.max(PLAIN as u64))?.checked_add(PLAIN as u64));
        let layout = around.and_then(|n| Layout::from_size_align(usize::try_from(n).ok()?, PLAIN).ok());
        let layout = layout.ok_or(bad(size))?;
        Ok(Self { size, align, skew, layout, eager: template.index_at.is_some() })
    }
}

impl Armed {
    /// The calling thread's block, new unless all threads' blocks exist from the start.
    fn block(&self) -> Option<*mut u8> {
        match &self.fixed {
            Some(piece) => Some(piece.here()),
            None => self.new_block(),
        }
    }

    fn new_block(&self) -> Option<*mut u8> {
        // SAFETY: the layout's size is not zero (`Shape::of` adds to it).
        let whole = unsafe { alloc_zeroed(self.shape.layout) };
        if whole.is_null() {
            return None;
        }
        let align = (self.shape.align as usize).max(PLAIN);
        let gap = (whole.addr() + PLAIN).next_multiple_of(align) - whole.addr();
        // SAFETY: the gap is at least PLAIN bytes; where the memory starts is kept there, for `start_of`.
        unsafe { whole.wrapping_add(gap - PLAIN).cast::<*mut u8>().write(whole) };
        let block = whole.wrapping_add(gap + self.shape.skew as usize);
        // SAFETY: the layout has room for gap, skew and size, and `arm` saw that init is no longer; the memory is new.
        unsafe { std::ptr::copy_nonoverlapping(self.init.as_ptr(), block, self.init.len()) };
        Some(block)
    }

    /// Where the memory around a block starts.
    ///
    /// # Safety
    /// The block was made by [`Armed::new_block`] of this slot, and lives.
    unsafe fn start_of(&self, block: *mut u8) -> *mut u8 {
        // SAFETY: the caller says so, and `new_block` left it there.
        unsafe { block.wrapping_sub(self.shape.skew as usize + PLAIN).cast::<*mut u8>().read() }
    }

    /// Gives a block back that was taken out of its table.
    fn release(&self, block: *mut u8) {
        if block.is_null() || self.fixed.is_some() {
            return;
        }
        // SAFETY: blocks in tables were made by `new_block` of their slot.
        let whole = unsafe { self.start_of(block) };
        // SAFETY: as above; nobody has the block any more.
        unsafe { dealloc(whole, self.shape.layout) };
    }
}

/// The calling thread's table of blocks, indexed by slot. It never moves and lives as long as the thread; entries of
/// slots that the thread has not touched are null.
#[must_use]
pub fn thread_table() -> *mut *mut u8 {
    Thread::current().table.as_ptr().cast::<*mut u8>().cast_mut()
}

/// The calling thread's block of a slot; null for a slot that nobody has.
fn block(slot: usize) -> *mut u8 {
    let Some(entry) = Thread::current().table.get(slot) else {
        return null_mut();
    };
    match entry.load(Relaxed) {
        block if !block.is_null() => block,
        _ => first_touch(slot, entry),
    }
}

#[cold]
fn first_touch(slot: usize, entry: &AtomicPtr<u8>) -> *mut u8 {
    let Some(armed) = registry().armed(slot).cloned() else {
        return null_mut();
    };
    let block = armed.block().unwrap_or_else(|| thread::fail("make a thread-local block", libc::ENOMEM));
    let registry = registry();
    let current = registry.armed(slot).is_some_and(|now| Arc::ptr_eq(now, &armed));
    // Memory may have come from an allocator that asked for this very block meanwhile.
    let there = entry.load(Relaxed);
    if current && there.is_null() {
        entry.store(block, Relaxed);
        return block;
    }
    drop(registry);
    armed.release(block);
    there
}

/// Makes the blocks of a new thread that code finds without asking.
fn make_eager(thread: &Thread) {
    let slots = registry().slots.len();
    for (slot, entry) in thread.table.iter().enumerate().take(slots) {
        if registry().armed(slot).is_some_and(|a| a.shape.eager) {
            first_touch(slot, entry);
        }
    }
}

/// Gives all blocks of a thread back that ends.
fn release_all(thread: &Thread) {
    let slots = registry().slots.len();
    for (slot, entry) in thread.table.iter().enumerate().take(slots) {
        // Both under one lock: the slot might change hands in between.
        let taken = {
            let registry = registry();
            registry.armed(slot).map(|a| (a.clone(), entry.swap(null_mut(), Relaxed)))
        };
        if let Some((armed, block)) = taken {
            armed.release(block);
        }
    }
}

/// The calling thread's address of a thread-local variable.
#[must_use]
pub fn address(home: TlsHome, offset: u64) -> u64 {
    let index = TlsIndex { module: home.module_word(), offset };
    // SAFETY: the pair was made from a module that is loaded now.
    unsafe { tls_get_addr(&raw const index) }.addr() as u64
}

impl TlsHome {
    /// How far the block is from the thread pointer, where that is known to be the same in every thread.
    fn known_offset(self) -> Option<i64> {
        match self {
            Self::Host { thread_pointer_offset, .. } => thread_pointer_offset,
            Self::Slot(n) => match registry().slots.get(n as usize)? {
                Slot::Reserved(_, piece) => piece.as_ref().map(Piece::offset),
                Slot::Armed(armed) => armed.fixed.as_ref().map(Piece::offset),
                Slot::Free => None,
            },
        }
    }

    /// How far the block is from the thread pointer of every thread. A block of this engine becomes a part of static
    /// TLS when this is first asked.
    ///
    /// # Errors
    /// [`ErrorKind::StaticTlsExhausted`]; [`ErrorKind::Unsupported`] for a block that threads have already, each its
    /// own.
    pub fn thread_pointer_offset(self) -> Result<i64, ErrorKind> {
        if let Some(known) = self.known_offset() {
            return Ok(known);
        }
        match self {
            Self::Slot(n) => fix(n as usize),
            Self::Host { module, .. } => Err(ErrorKind::Unsupported {
                what: "static TLS (initial-exec) of a library of the host without any",
                value: module,
            }),
        }
    }
}

/// Gives all threads' blocks of a slot one place.
fn fix(slot: usize) -> Result<i64, ErrorKind> {
    let mut locked = registry();
    let armed = match locked.slots.get_mut(slot) {
        Some(Slot::Reserved(shape, fixed)) => return Ok(fixed.insert(Piece::take(shape)?).offset()),
        Some(Slot::Armed(armed)) => armed.clone(),
        _ => return Err(ErrorKind::Inconsistent { what: "a thread-local slot that nobody has" }),
    };
    drop(locked); // the system's loader has a lock of its own
    let piece = Piece::take(&armed.shape)?;
    piece.fill(&armed.init)?;
    piece.spread(&armed.init)?;
    let offset = piece.offset();
    let moved = Arc::new(Armed { shape: armed.shape, init: armed.init.clone(), fixed: Some(piece) });
    let Registry { slots, threads } = &mut *registry();
    let untouched = threads.iter().all(|t| t.table[slot].load(Relaxed).is_null());
    match &mut slots[slot] {
        Slot::Armed(now) if Arc::ptr_eq(now, &armed) && untouched => {
            *now = moved;
            Ok(offset)
        }
        _ => Err(ErrorKind::Unsupported {
            what: "static TLS (initial-exec) of a block that threads have already",
            value: armed.shape.size,
        }),
    }
}

/// Gives a block of static TLS its start in the threads that run already. Before this, only the calling thread and
/// those that start after it was armed have it.
///
/// # Errors
/// [`ErrorKind::Space`] where the system does not help.
pub(crate) fn spread(home: TlsHome) -> Result<(), ErrorKind> {
    let TlsHome::Slot(n) = home else {
        return Ok(());
    };
    let armed = registry().armed(n as usize).cloned();
    armed.map_or(Ok(()), |a| a.fixed.as_ref().map_or(Ok(()), |piece| piece.spread(&a.init)))
}

/// The calling thread's block, if it has been made.
#[must_use]
pub fn block_if_any(home: TlsHome) -> *mut u8 {
    match home {
        TlsHome::Slot(n) => {
            Thread::current().table.get(n as usize).map_or(null_mut(), |entry| entry.load(Relaxed))
        }
        TlsHome::Host { .. } => null_mut(),
    }
}

/// A slot of one module. Dropping it frees every thread's block.
#[derive(Debug)]
pub struct TlsSlot(u32);

impl TlsSlot {
    /// Takes a free slot.
    ///
    /// # Errors
    /// [`ErrorKind::TlsExhausted`]; [`ErrorKind::Malformed`] for a template that contradicts itself.
    pub fn reserve(template: &TlsTemplate) -> Result<Self, ErrorKind> {
        registers::prepare();
        let shape = Shape::of(template)?;
        let slots = &mut registry().slots;
        let free = slots.iter().position(|s| matches!(s, Slot::Free)).unwrap_or(slots.len());
        if free == SLOTS {
            return Err(ErrorKind::TlsExhausted { slots: SLOTS });
        }
        slots.resize_with(slots.len().max(free + 1), || Slot::Free);
        slots[free] = Slot::Reserved(shape, None);
        Ok(Self(free as u32))
    }

    /// The block's home.
    #[must_use]
    pub fn home(&self) -> TlsHome {
        TlsHome::Slot(self.0)
    }

    /// Says what blocks start as; from here on threads can have them.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for an `init` that is longer than the block, [`ErrorKind::Space`].
    pub fn arm(&self, init: &[u8]) -> Result<(), ErrorKind> {
        let slot = self.0 as usize;
        let (shape, fixed) = match &mut registry().slots[slot] {
            Slot::Reserved(shape, fixed) => (*shape, fixed.take()),
            _ => return Err(ErrorKind::Inconsistent { what: "a thread-local slot that is armed twice" }),
        };
        if init.len() as u64 > shape.size {
            return Err(ErrorKind::Malformed { what: "thread-local template", at: init.len() as u64 });
        }
        if let Some(piece) = &fixed {
            piece.fill(init)?;
        }
        let armed = Arc::new(Armed { shape, init: init.into(), fixed });
        let Registry { slots, threads } = &mut *registry();
        slots[slot] = Slot::Armed(armed.clone());
        for thread in threads.iter().filter(|_| shape.eager) {
            let none = ErrorKind::Space { what: "reserve thread-local memory", os: libc::ENOMEM };
            thread.table[slot].store(armed.new_block().ok_or(none)?, Relaxed); // dropping the slot frees what is there
        }
        Ok(())
    }
}

impl Drop for TlsSlot {
    fn drop(&mut self) {
        let slot = self.0 as usize;
        let mut blocks = Vec::new();
        let mut registry = registry();
        let old = std::mem::replace(&mut registry.slots[slot], Slot::Free);
        blocks.extend(registry.threads.iter().map(|t| t.table[slot].swap(null_mut(), Relaxed)));
        drop(registry);
        if let Slot::Armed(armed) = old {
            blocks.into_iter().for_each(|block| armed.release(block));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rva;
    use std::sync::mpsc;

    fn template(align: u64, skew: u64, eager: bool) -> TlsTemplate {
        let index_at = eager.then_some(Rva(0));
        TlsTemplate { init: Rva(0)..Rva(3), size: 40, align, skew, index_at }
    }

    #[test]
    fn every_thread_has_its_own_block_and_they_go_with_the_slot() {
        let slot = TlsSlot::reserve(&template(64, 8, false)).unwrap();
        slot.arm(b"abc").unwrap();
        let here = address(slot.home(), 0);
        assert_eq!(here % 64, 8, "p_vaddr's skew is kept");
        let there = std::thread::spawn({
            let home = slot.home();
            move || {
                let at = address(home, 0);
                assert_eq!(address(home, 5), at + 5);
                at
            }
        });
        assert_ne!(here, there.join().unwrap());
        let TlsHome::Slot(number) = slot.home() else { unreachable!() };
        drop(slot);
        assert!(block(number as usize).is_null(), "the entry went with the slot");
    }

    #[test]
    fn eager_blocks_exist_before_anybody_asks() {
        let table = thread_table();
        let slot = TlsSlot::reserve(&template(16, 0, true)).unwrap();
        slot.arm(b"xyz").unwrap();
        let TlsHome::Slot(n) = slot.home() else { unreachable!() };
        // SAFETY: the table has SLOTS entries and belongs to this thread.
        let block = unsafe { *table.wrapping_add(n as usize) };
        // SAFETY: the block is 40 bytes long.
        let start = unsafe { std::slice::from_raw_parts(block, 4) };
        assert_eq!(start, b"xyz\0");
    }

    /// A thread that was there before, and reads the word at a distance from its thread pointer whenever asked.
    fn reader() -> (mpsc::Sender<i64>, mpsc::Receiver<u64>) {
        let (ask, asked) = mpsc::channel::<i64>();
        let (answer, answers) = mpsc::channel();
        std::thread::spawn(move || asked.iter().for_each(|offset| answer.send(word(offset)).unwrap()));
        (ask, answers)
    }

    /// The calling thread's word at a distance from its thread pointer, as initial-exec code reads it.
    fn word(offset: i64) -> u64 {
        let at = reserve::thread_pointer().wrapping_add_signed(offset);
        // SAFETY: the distance leads to a block of static TLS.
        unsafe { std::ptr::with_exposed_provenance::<u64>(at as usize).read_unaligned() }
    }

    #[test]
    fn static_blocks_start_from_the_template_in_running_and_in_later_threads_each_time() {
        let (ask, answers) = reader();
        for round in 1_u64..4 {
            let template = TlsTemplate { size: 2632, ..template(8, 0, false) };
            let slot = TlsSlot::reserve(&template).unwrap();
            let offset = slot.home().thread_pointer_offset().unwrap();
            let init = [round; 300].map(u64::to_le_bytes);
            slot.arm(init.as_flattened()).unwrap();
            spread(slot.home()).unwrap();
            for (at, expected) in [(0, round), (299 * 8, round), (300 * 8, 0), (2624, 0)] {
                ask.send(offset + at).unwrap();
                assert_eq!(answers.recv().unwrap(), expected, "a thread that ran before, at {at}");
                let later = std::thread::spawn(move || word(offset + at));
                assert_eq!(later.join().unwrap(), expected, "a thread that starts later, at {at}");
                assert_eq!(word(offset + at), expected, "this thread, at {at}");
            }
            // All three ways lead to the same storage.
            let here = address(slot.home(), 0);
            assert_eq!(here, reserve::thread_pointer().wrapping_add_signed(offset));
            // SAFETY: the block is this thread's.
            unsafe { std::ptr::with_exposed_provenance_mut::<u64>(here as usize + 2624).write(9) };
            assert_eq!(word(offset + 2624), 9);
        }
    }

    #[test]
    fn static_blocks_keep_their_alignment_and_skew() {
        let mut slots = Vec::new();
        for (align, skew) in [(1, 0), (64, 0), (8, 3), (64, 8), (32, 31), (16, 0)] {
            let slot = TlsSlot::reserve(&template(align, skew, false)).unwrap();
            let offset = slot.home().thread_pointer_offset().unwrap();
            slot.arm(b"x").unwrap();
            let at = move || reserve::thread_pointer().wrapping_add_signed(offset);
            assert_eq!(at() % align, skew);
            assert_eq!(std::thread::spawn(at).join().unwrap() % align, skew);
            slots.push((slot, offset));
        }
        let mut offsets: Vec<i64> = slots.iter().map(|s| s.1).collect();
        offsets.sort_unstable();
        assert!(offsets.windows(2).all(|w| w[1] - w[0] >= 40), "each has its 40 bytes: {offsets:?}");
        let page = TlsSlot::reserve(&template(4096, 0, false)).unwrap();
        let error = page.home().thread_pointer_offset().unwrap_err();
        assert!(matches!(error, ErrorKind::StaticTlsExhausted { align: 4096, .. }), "{error}");
    }

    #[test]
    fn static_tls_that_does_not_fit_is_refused_with_its_size() {
        let template = TlsTemplate { size: 785_760, ..template(64, 0, false) };
        let slot = TlsSlot::reserve(&template).unwrap();
        let error = slot.home().thread_pointer_offset().unwrap_err();
        let ErrorKind::StaticTlsExhausted { size: 785_760, align: 64, left } = error else {
            panic!("{error}");
        };
        assert!(left <= STATIC_TLS as u64);
    }

    /// Calls `tls_get_addr` with a stack that is `off` bytes from where it should be: what it returns, and what it
    /// left of registers that were all full.
    fn full_registers(index: &TlsIndex, off: u64) -> (u64, [u64; 8], [f64; 16]) {
        let mut general = [1, 2, 3, std::ptr::from_ref(index).expose_provenance() as u64, 5, 6, 7, 8];
        let mut vectors = std::array::from_fn(|n| n as f64 + 0.5);
        let answer: u64;
        // SAFETY: the function takes its argument in rdi; the stack pointer is as it was at the end.
        unsafe {
            std::arch::asm!(
                "sub rsp, r12", "call {f}", "add rsp, r12",
                f = sym tls_get_addr, in("r12") off, out("rax") answer,
                inout("rcx") general[0], inout("rdx") general[1], inout("rsi") general[2], inout("rdi") general[3],
                inout("r8") general[4], inout("r9") general[5], inout("r10") general[6], inout("r11") general[7],
                inout("xmm0") vectors[0], inout("xmm1") vectors[1], inout("xmm2") vectors[2],
                inout("xmm3") vectors[3], inout("xmm4") vectors[4], inout("xmm5") vectors[5],
                inout("xmm6") vectors[6], inout("xmm7") vectors[7], inout("xmm8") vectors[8],
                inout("xmm9") vectors[9], inout("xmm10") vectors[10], inout("xmm11") vectors[11],
                inout("xmm12") vectors[12], inout("xmm13") vectors[13], inout("xmm14") vectors[14],
                inout("xmm15") vectors[15],
            );
        }
        (answer, general, vectors)
    }

    #[test]
    fn tls_get_addr_keeps_all_registers_and_takes_any_stack_first_and_later() {
        let slot = TlsSlot::reserve(&template(8, 0, false)).unwrap();
        slot.arm(b"abc").unwrap();
        let home = slot.home();
        let index = TlsIndex { module: home.module_word(), offset: 16 };
        for off in [0, 8] {
            let asked = move || {
                let first = full_registers(&index, off);
                assert_eq!(full_registers(&index, off), first, "the second time");
                assert_eq!(first.0, address(home, 16));
                let kept = [1, 2, 3, (&raw const index).expose_provenance() as u64, 5, 6, 7, 8];
                assert_eq!((first.1, first.2), (kept, std::array::from_fn(|n| n as f64 + 0.5)));
            };
            std::thread::spawn(asked).join().unwrap(); // where nothing was touched before
        }
    }

    /// What the destructors of a thread saw of its block.
    static SEEN: Mutex<Vec<&str>> = Mutex::new(Vec::new());

    fn see(home: TlsHome, who: &'static str) {
        // SAFETY: the block is 40 bytes long and this thread's.
        let value = unsafe { std::ptr::with_exposed_provenance::<u8>(address(home, 0) as usize).read() };
        SEEN.lock().unwrap().push(if value == b'z' { who } else { "a block that starts anew" });
    }

    struct Object(TlsHome);

    impl Drop for Object {
        fn drop(&mut self) {
            see(self.0, "an object");
        }
    }

    thread_local!(static OBJECT: std::cell::RefCell<Option<Object>> = const { std::cell::RefCell::new(None) });

    unsafe extern "C" fn key_destructor(home: *mut libc::c_void) {
        see(TlsHome::Slot(home.addr() as u32 - 1), "a key");
    }

    #[test]
    fn blocks_outlive_the_threads_objects_and_keys() {
        let slot = TlsSlot::reserve(&template(8, 0, false)).unwrap();
        slot.arm(b"abc").unwrap();
        let home = slot.home();
        let TlsHome::Slot(n) = home else { unreachable!() };
        let mut keys = [0; 2];
        let key = |key: &mut u32| {
            // SAFETY: the destructor takes what the thread below stores.
            assert_eq!(unsafe { libc::pthread_key_create(key, Some(key_destructor)) }, 0);
        };
        key(&mut keys[0]);
        let set = move |key: u32| {
            let value = std::ptr::without_provenance::<libc::c_void>(n as usize + 1);
            // SAFETY: the key is this test's.
            assert_eq!(unsafe { libc::pthread_setspecific(key, value) }, 0);
        };
        let thread = std::thread::spawn(move || {
            OBJECT.set(Some(Object(home))); // registered before the thread has a table
            set(keys[0]);
            // SAFETY: the block is 40 bytes long and this thread's.
            unsafe { std::ptr::with_exposed_provenance_mut::<u8>(address(home, 0) as usize).write(b'z') };
            key(&mut keys[1]);
            set(keys[1]);
        });
        thread.join().unwrap();
        assert_eq!(*SEEN.lock().unwrap(), ["an object", "a key", "a key"]);
        assert!(
            registry().threads.iter().all(|t| t.table[n as usize].load(Relaxed).is_null()),
            "it is given back"
        );
    }
}
