//! Singly linked lists that several threads push to and pop from. The header is 16 bytes; ours holds the first entry,
//! the number of entries and a lock bit, because images never look inside.

use crate::guest::Ptr;
use std::sync::atomic::{
    AtomicU32, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

/// The header.
#[repr(C, align(16))]
pub(crate) struct Header {
    first: AtomicUsize,
    depth: AtomicU32,
    busy: AtomicU32,
}

const _: () = assert!(size_of::<Header>() == 16);

/// An entry: the next one comes first.
type Entry = Ptr<usize>;

/// Runs `f` while no other thread changes the list.
fn locked<R>(list: &Header, f: impl FnOnce() -> R) -> R {
    while list.busy.compare_exchange_weak(0, 1, Acquire, Relaxed).is_err() {
        std::thread::yield_now(); // what is done under the lock is a few loads and stores
    }
    let result = f();
    list.busy.store(0, Release);
    result
}

#[allow(unsafe_code)]
fn entry(at: usize) -> Entry {
    // SAFETY: guest code pushed that address as an entry, and keeps it one until it is popped.
    unsafe { Ptr::new(std::ptr::with_exposed_provenance_mut(at)) }
}

pub(crate) extern "win64" fn InitializeSListHead(list: Ptr<Header>) {
    let list = list.shared();
    list.first.store(0, Relaxed);
    list.depth.store(0, Relaxed);
    list.busy.store(0, Release);
}

pub(crate) extern "win64" fn InterlockedPushEntrySList(list: Ptr<Header>, new: Entry) -> usize {
    let list = list.shared();
    locked(list, || {
        let before = list.first.swap(new.addr(), Relaxed);
        new.set(before);
        list.depth.fetch_add(1, Relaxed);
        before
    })
}

/// Several entries at once, which are a list already.
pub(crate) extern "win64" fn InterlockedPushListSListEx(
    list: Ptr<Header>,
    first: Entry,
    last: Entry,
    count: u32,
) -> usize {
    let list = list.shared();
    locked(list, || {
        let before = list.first.swap(first.addr(), Relaxed);
        last.set(before);
        list.depth.fetch_add(count, Relaxed);
        before
    })
}

/// The first entry, which stays where it is.
pub(crate) extern "win64" fn RtlFirstEntrySList(list: Ptr<Header>) -> usize {
    list.shared().first.load(Relaxed)
}

pub(crate) extern "win64" fn InterlockedPopEntrySList(list: Ptr<Header>) -> usize {
    let list = list.shared();
    locked(list, || {
        let first = list.first.load(Relaxed);
        if first != 0 {
            list.first.store(entry(first).get(), Relaxed);
            list.depth.fetch_sub(1, Relaxed);
        }
        first
    })
}

pub(crate) extern "win64" fn InterlockedFlushSList(list: Ptr<Header>) -> usize {
    let list = list.shared();
    locked(list, || {
        list.depth.store(0, Relaxed);
        list.first.swap(0, Relaxed)
    })
}

pub(crate) extern "win64" fn QueryDepthSList(list: Ptr<Header>) -> u16 {
    list.shared().depth.load(Relaxed) as u16 // the count wraps at 65536, as Windows' does
}

table! {
    /// Lists.
    pub(crate) TABLE:
        InitializeSListHead, InterlockedPushEntrySList, InterlockedPopEntrySList, InterlockedFlushSList,
        InterlockedPushListSList = InterlockedPushListSListEx, InterlockedPushListSListEx, QueryDepthSList
}
