//! The heap of the C runtime: the common one.

use super::{
    invalid::{invalid, refused},
    set_errno,
};
use crate::{
    guest::Ptr,
    heap::{self, Block},
    teb,
};
use std::sync::atomic::Ordering::Relaxed;

const ENOMEM: i32 = 12;

fn told(block: Block) -> Block {
    if block.is_null() {
        set_errno(ENOMEM);
    }
    block
}

pub(crate) extern "win64" fn malloc(len: usize) -> Block {
    told(heap::alloc(len, false))
}

extern "win64" fn calloc(n: usize, len: usize) -> Block {
    told(n.checked_mul(len).map_or(Block::NULL, |all| heap::alloc(all, true)))
}

pub(crate) extern "win64" fn free(block: Block) {
    heap::free(block);
}

/// A length of zero frees, as Windows does it.
extern "win64" fn realloc(block: Block, len: usize) -> Block {
    if len == 0 && !block.is_null() {
        heap::free(block);
        return Block::NULL;
    }
    told(heap::resize(block, len, false))
}

extern "win64" fn _recalloc(block: Block, n: usize, len: usize) -> Block {
    told(n.checked_mul(len).map_or(Block::NULL, |all| heap::resize(block, all, true)))
}

extern "win64" fn _msize(block: Block) -> usize {
    if block.is_null() {
        invalid();
        return usize::MAX;
    }
    heap::size(block)
}

/// `operator new`: asks the handler for memory as long as there is none and a handler; then null, as old libraries expect.
extern "win64" fn operator_new(len: usize) -> Block {
    loop {
        let block = malloc(len);
        if !block.is_null() || _callnewh(len) == 0 {
            return block;
        }
    }
}

/// Asks the handler that `_set_new_handler` set for memory; zero without one: there is none to be had.
extern "win64" fn _callnewh(len: usize) -> i32 {
    let handler = teb::process().runtime.new_handler.load(Relaxed);
    if handler == 0 {
        return 0;
    }
    #[allow(unsafe_code)]
    // SAFETY: guest code set the handler with `_set_new_handler`, which takes functions of this type.
    let handler: unsafe extern "win64" fn(usize) -> i32 = unsafe { std::mem::transmute(handler) };
    #[allow(unsafe_code)]
    // SAFETY: as above; no lock is held and nothing owned.
    unsafe {
        handler(len)
    }
}

extern "win64" fn _set_new_handler(handler: usize) -> usize {
    teb::process().runtime.new_handler.swap(handler, Relaxed)
}

/// Blocks do not grow where they are: one stays if it is long enough.
extern "win64" fn _expand(block: Block, len: usize) -> Block {
    if block.is_null() || len > heap::size(block) { Block::NULL } else { block }
}

/// The heap is whole (-2): what is wrong with it shows otherwise.
extern "win64" fn _heapchk() -> i32 {
    -2
}

/// Whether `malloc` calls the handler too: it never does here, and the mode that was before says so.
extern "win64" fn _set_new_mode(mode: i32) -> i32 {
    if mode != 0 {
        return refused();
    }
    0
}

extern "win64" fn _heapmin() -> i32 {
    0 // the host's heap gives back what it can by itself
}

extern "win64" fn _get_heap_handle() -> usize {
    crate::kernel32::heaps::GetProcessHeap()
}

/// A copy of some bytes and a zero in a new block.
pub(crate) fn copy_z(bytes: &[u8]) -> Block {
    let block = malloc(bytes.len() + 1);
    if !block.is_null() {
        block.fill(bytes);
        block.at(bytes.len()).set(0);
    }
    block
}

pub(crate) extern "win64" fn strdup(text: Ptr<u8>) -> Block {
    if text.is_null() { Block::NULL } else { copy_z(text.text()) }
}

extern "win64" fn _wcsdup(text: Ptr<u16>) -> Ptr<u16> {
    if text.is_null() {
        return Ptr::NULL;
    }
    let units = text.text();
    let block = malloc((units.len() + 1) * 2).cast::<u16>();
    block.fill(&units);
    block.at(units.len()).put(0);
    block
}

/// C++'s operators for memory, as msvcrt exports them: new, delete, and both for arrays.
pub(crate) const OPERATORS: loader_core::HostTable = &[
    ("??2@YAPEAX_K@Z", loader_core::HostFn::new(operator_new as *const ())),
    ("??3@YAXPEAX@Z", loader_core::HostFn::new(free as *const ())),
    ("??_U@YAPEAX_K@Z", loader_core::HostFn::new(operator_new as *const ())),
    ("??_V@YAXPEAX@Z", loader_core::HostFn::new(free as *const ())),
];

table! {
    /// The heap.
    pub(crate) TABLE:
        malloc, calloc, free, realloc, _recalloc, _msize, _callnewh,
        _set_new_handler, _set_new_mode, _heapmin, _heapchk, _expand, _get_heap_handle, _strdup = strdup, strdup, _wcsdup, _free_base = free,
        _malloc_base = malloc, _calloc_base = calloc, _realloc_base = realloc
}
