//! An allocator that uses thread-local variables of loaded images itself, as a preloaded `malloc` may: making a block
//! asks it for memory, and it asks for another block.
//!
//! `unsafe` because it is an allocator.
#![allow(missing_docs, unsafe_code)]

use loader_core::{
    Rva, TlsHome, TlsTemplate,
    tls::{TlsSlot, address},
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
};

const SLOTS: usize = 20;
static FIRST: AtomicU32 = AtomicU32::new(u32::MAX);
static CALLS: AtomicUsize = AtomicUsize::new(0);

struct Recursive;

impl Recursive {
    /// Each call touches one variable more, until all are.
    fn touch() {
        let first = FIRST.load(Relaxed);
        if first != u32::MAX {
            let next = CALLS.fetch_add(1, Relaxed);
            if next < SLOTS {
                let _ = address(TlsHome::Slot(first + next as u32), 0);
            }
        }
    }
}

// SAFETY: it is the system's allocator; what it does besides, it does before.
unsafe impl GlobalAlloc for Recursive {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::touch();
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's block.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Recursive = Recursive;

#[test]
fn making_a_block_may_ask_for_other_blocks() {
    let template = TlsTemplate { init: Rva(0)..Rva(1), size: 64, align: 8, skew: 0, index_at: None };
    let slots: Vec<_> = (0..SLOTS).map(|_| TlsSlot::reserve(&template).unwrap()).collect();
    slots.iter().for_each(|slot| slot.arm(b"r").unwrap());
    let homes: Vec<TlsHome> = slots.iter().map(TlsSlot::home).collect();
    let TlsHome::Slot(first) = homes[0] else { unreachable!() };
    assert_eq!(homes[SLOTS - 1], TlsHome::Slot(first + SLOTS as u32 - 1), "they are taken in order");
    FIRST.store(first, Relaxed);
    let last = address(homes[SLOTS - 1], 0);
    assert!(CALLS.load(Relaxed) >= SLOTS, "the allocator was asked again while it was asked");
    assert_eq!(address(homes[SLOTS - 1], 0), last, "a thread has one block of each");
    for home in homes {
        // SAFETY: the block is this thread's.
        let start = unsafe { std::ptr::with_exposed_provenance::<u8>(address(home, 0) as usize).read() };
        assert_eq!(start, b'r');
    }
}
