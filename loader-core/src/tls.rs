//! Thread-local blocks of loaded images: slots, templates, and a table of blocks per thread.
//!
//! A slot is a small number. Every thread that asks has one table of pointers, indexed by slot, that never moves:
//! code of ELF images reaches it through [`tls_get_addr`], code of Windows images through their TEB. Blocks are made
//! when a thread first asks; those of images that look without asking ([`TlsTemplate::index_at`]) exist in every
//! thread that has a table.
//!
//! `unsafe` because blocks are reached by address from foreign code. The registry is process-wide, like the threads.
#![allow(unsafe_code)]

use crate::{ErrorKind, TlsHome, TlsTemplate};
use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    cell::Cell,
    ptr::null_mut,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicPtr, Ordering::Relaxed},
    },
};

/// How many modules with thread-local storage can be loaded at once in one process.
pub const SLOTS: usize = 4096;

type Table = Box<[AtomicPtr<u8>]>;

/// Blocks are asked for at this alignment and aligned within. The allocator gives large ones as pages of zeroes that
/// nobody has touched; at any other alignment it would write every byte of what may be gigabytes.
const PLAIN: usize = 16;

/// What a block starts as, once the image is relocated.
#[derive(Debug)]
struct Armed {
    init: Box<[u8]>,
    /// Of the memory around a block: room for [`PLAIN`] bytes before it, and for its alignment.
    layout: Layout,
    align: usize,
    skew: usize,
    eager: bool,
}

#[derive(Debug)]
enum Slot {
    Free,
    Reserved,
    Armed(Armed),
}

struct Registry {
    slots: Vec<Slot>,
    tables: Vec<*const AtomicPtr<u8>>,
}

// SAFETY: the table pointers lead to `AtomicPtr`s of tables that remove themselves under the registry's lock.
unsafe impl Send for Registry {}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { slots: Vec::new(), tables: Vec::new() });

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// The calling thread's table; the fast path of every access.
    static TABLE: Cell<*const AtomicPtr<u8>> = const { Cell::new(std::ptr::null()) };
    static OWNER: Owner = Owner::new();
}

/// Owns the calling thread's table and takes its blocks away when the thread ends.
struct Owner(Table);

impl Owner {
    fn new() -> Self {
        let table: Table = (0..SLOTS).map(|_| AtomicPtr::new(null_mut())).collect();
        let mut registry = registry();
        registry.tables.push(table.as_ptr());
        for (slot, into) in registry.slots.iter().zip(&table) {
            if let Slot::Armed(a) = slot
                && a.eager
            {
                into.store(a.block(), Relaxed);
            }
        }
        TABLE.set(table.as_ptr());
        Self(table)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut registry = registry();
        registry.tables.retain(|&t| t != self.0.as_ptr());
        for (slot, from) in registry.slots.iter().zip(&self.0) {
            if let Slot::Armed(a) = slot {
                a.free(from.swap(null_mut(), Relaxed));
            }
        }
        TABLE.set(std::ptr::null());
    }
}

impl Armed {
    /// A new block; the process ends where there is no memory for it, because foreign code cannot be told.
    fn block(&self) -> *mut u8 {
        self.try_block().unwrap_or_else(|| handle_alloc_error(self.layout))
    }

    fn try_block(&self) -> Option<*mut u8> {
        // SAFETY: the layout's size is not zero (`TlsSlot::arm` sees to it).
        let whole = unsafe { alloc_zeroed(self.layout) };
        if whole.is_null() {
            return None;
        }
        let gap = (whole.addr() + PLAIN).next_multiple_of(self.align) - whole.addr();
        // SAFETY: the gap is at least PLAIN bytes; where the memory starts is kept there, for `free`.
        unsafe { whole.wrapping_add(gap - PLAIN).cast::<*mut u8>().write(whole) };
        let block = whole.wrapping_add(gap + self.skew);
        // SAFETY: `arm` proved that gap + skew + init fit the layout; the memory is new.
        unsafe { std::ptr::copy_nonoverlapping(self.init.as_ptr(), block, self.init.len()) };
        Some(block)
    }

    fn free(&self, block: *mut u8) {
        if !block.is_null() {
            // SAFETY: every block in a table was made by `block` of the same armed slot, which left this there.
            let whole = unsafe { block.wrapping_sub(self.skew + PLAIN).cast::<*mut u8>().read() };
            // SAFETY: as above; it is taken out of the table first.
            unsafe { dealloc(whole, self.layout) };
        }
    }
}

/// The calling thread's table of blocks, indexed by slot. It never moves and lives as long as the thread; entries of
/// slots that the thread has not touched are null.
#[must_use]
pub fn thread_table() -> *mut *mut u8 {
    table().cast::<*mut u8>().cast_mut()
}

fn table() -> *const AtomicPtr<u8> {
    match TABLE.get() {
        t if !t.is_null() => t,
        _ => OWNER.try_with(|o| o.0.as_ptr()).unwrap_or_else(|_| late_table()),
    }
}

/// A table for a thread that is ending and has given its own back: never freed.
#[cold]
fn late_table() -> *const AtomicPtr<u8> {
    let table: Table = (0..SLOTS).map(|_| AtomicPtr::new(null_mut())).collect();
    let at = Box::leak(table).as_ptr();
    TABLE.set(at);
    at
}

/// The calling thread's block of a slot.
fn block(slot: usize) -> *mut u8 {
    debug_assert!(slot < SLOTS);
    let entry = table().wrapping_add(slot % SLOTS);
    // SAFETY: a table has SLOTS entries and lives as long as its thread, which is the calling one.
    let entry = unsafe { &*entry };
    match entry.load(Relaxed) {
        b if !b.is_null() => b,
        _ => first_touch(slot, entry),
    }
}

#[cold]
fn first_touch(slot: usize, entry: &AtomicPtr<u8>) -> *mut u8 {
    let registry = registry();
    let Some(Slot::Armed(a)) = registry.slots.get(slot) else {
        return null_mut();
    };
    let block = a.block();
    entry.store(block, Relaxed);
    block
}

/// The pair that compiled code hands to `__tls_get_addr`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TlsIndex {
    /// [`TlsHome::module_word`].
    pub module: u64,
    /// Bytes from the start of the block.
    pub offset: u64,
}

unsafe extern "C" {
    fn __tls_get_addr(index: *const TlsIndex) -> *mut u8;
}

/// `__tls_get_addr` for loaded images: own slots are answered here, modules of the host by the system.
///
/// # Safety
/// `index` is a pair that `DTPMOD64` and `DTPOFF64` relocations of a loaded image filled in.
pub unsafe extern "C" fn tls_get_addr(index: *const TlsIndex) -> *mut u8 {
    // SAFETY: the caller's promise.
    let pair = unsafe { index.read() };
    if pair.module & TlsHome::OURS != 0 {
        return block((pair.module & !TlsHome::OURS) as usize).wrapping_add(pair.offset as usize);
    }
    // SAFETY: a module word without our mark is one that the system gave.
    unsafe { __tls_get_addr(index) }
}

/// The calling thread's address of a thread-local variable.
#[must_use]
pub fn address(home: TlsHome, offset: u64) -> u64 {
    let index = TlsIndex { module: home.module_word(), offset };
    // SAFETY: the pair was made from a module that is loaded now.
    unsafe { tls_get_addr(&raw const index) }.addr() as u64
}

/// A slot of one module. Dropping it frees every thread's block.
#[derive(Debug)]
pub struct TlsSlot(u32);

impl TlsSlot {
    /// Takes a free slot.
    ///
    /// # Errors
    /// [`ErrorKind::TlsExhausted`].
    pub fn reserve() -> Result<Self, ErrorKind> {
        let slots = &mut registry().slots;
        let free = slots.iter().position(|s| matches!(s, Slot::Free)).unwrap_or(slots.len());
        if free == SLOTS {
            return Err(ErrorKind::TlsExhausted { slots: SLOTS });
        }
        slots.resize_with(slots.len().max(free + 1), || Slot::Free);
        slots[free] = Slot::Reserved;
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
    /// [`ErrorKind::Malformed`] for a template that contradicts itself, [`ErrorKind::Space`].
    pub fn arm(&self, template: &TlsTemplate, init: &[u8]) -> Result<(), ErrorKind> {
        let bad = |at| ErrorKind::Malformed { what: "thread-local template", at };
        let whole = template.size.checked_add(template.skew).ok_or(bad(template.size))?;
        if template.skew >= template.align.max(1) || init.len() as u64 > template.size {
            return Err(bad(template.skew));
        }
        let align = usize::try_from(template.align.max(PLAIN as u64)).ok().filter(|a| a.is_power_of_two());
        let align = align.ok_or(bad(template.align))?;
        let layout = usize::try_from(whole)
            .ok()
            .and_then(|size| size.checked_add(align)?.checked_add(PLAIN))
            .and_then(|size| Layout::from_size_align(size, PLAIN).ok())
            .ok_or(bad(template.size))?;
        let armed = Armed {
            init: init.into(),
            layout,
            align,
            skew: template.skew as usize,
            eager: template.index_at.is_some(),
        };
        let Registry { slots, tables } = &mut *registry();
        slots[self.0 as usize] = Slot::Armed(armed);
        let Slot::Armed(armed) = &slots[self.0 as usize] else { return Ok(()) };
        for &table in tables.iter().filter(|_| armed.eager) {
            // SAFETY: tables leave the registry, under its lock, before they are freed.
            let entry = unsafe { &*table.wrapping_add(self.0 as usize) };
            let none = ErrorKind::Space { what: "reserve thread-local memory", os: libc::ENOMEM };
            entry.store(armed.try_block().ok_or(none)?, Relaxed); // dropping the slot frees what is there
        }
        Ok(())
    }
}

impl Drop for TlsSlot {
    fn drop(&mut self) {
        let mut registry = registry();
        let slot = std::mem::replace(&mut registry.slots[self.0 as usize], Slot::Free);
        if let Slot::Armed(a) = slot {
            for &table in &registry.tables {
                // SAFETY: as in `arm`.
                let entry = unsafe { &*table.wrapping_add(self.0 as usize) };
                a.free(entry.swap(null_mut(), Relaxed));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rva;

    fn template(align: u64, skew: u64, eager: bool) -> TlsTemplate {
        let index_at = eager.then_some(Rva(0));
        TlsTemplate { init: Rva(0)..Rva(3), size: 40, align, skew, index_at }
    }

    #[test]
    fn every_thread_has_its_own_block_and_they_go_with_the_slot() {
        let slot = TlsSlot::reserve().unwrap();
        slot.arm(&template(64, 8, false), b"abc").unwrap();
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
        let slot = TlsSlot::reserve().unwrap();
        slot.arm(&template(16, 0, true), b"xyz").unwrap();
        let TlsHome::Slot(n) = slot.home() else { unreachable!() };
        // SAFETY: the table has SLOTS entries and belongs to this thread.
        let block = unsafe { *table.wrapping_add(n as usize) };
        // SAFETY: the block is 40 bytes long.
        let start = unsafe { std::slice::from_raw_parts(block, 4) };
        assert_eq!(start, b"xyz\0");
    }
}
