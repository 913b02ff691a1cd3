//! The loader's lists: what Windows code finds behind the process block without asking, and who of it is told when libraries
//! come and go.
//!
//! Unsafe because the lists run through records that images walk, and may write to, without asking anyone. Records are
//! made and taken out under one lock; as on Windows, who walks them keeps loads and unloads away by the loader lock.
#![allow(unsafe_code)]
#![allow(non_snake_case)]

use crate::{
    guest::Ptr,
    lock,
    path::Drives,
    peb::{Ldr, UnicodeString},
    teb, text,
};
use loader_core::Addr;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    mem::offset_of,
    path::Path,
    ptr,
    sync::{
        Mutex,
        atomic::{
            AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
};

/// A library that came.
#[derive(Clone, Debug)]
pub struct Listed<'a> {
    /// Its base.
    pub base: Addr,
    /// Its length in bytes.
    pub len: u64,
    /// Its file, or the name that it was loaded by.
    pub file: Cow<'a, Path>,
}

/// `LIST_ENTRY`: the next one and the one before, in a ring through the list's head. Zeroes are in no list.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Link {
    next: AtomicUsize,
    previous: AtomicUsize,
}

impl Link {
    fn address(&self) -> usize {
        ptr::from_ref(self).expose_provenance()
    }

    /// The link at an address that another link holds.
    fn at<'l>(address: usize) -> &'l Self {
        // SAFETY: the links of a ring lie in records that are there as long as they are in it, and in its head.
        unsafe { &*ptr::with_exposed_provenance(address) }
    }

    /// Makes it the head of an empty ring.
    pub(crate) fn close(&self) {
        self.next.store(self.address(), Relaxed);
        self.previous.store(self.address(), Relaxed);
    }

    /// Adds a link at the end of this ring.
    fn push(&self, link: &Self) {
        let last = self.previous.load(Acquire);
        link.next.store(self.address(), Relaxed);
        link.previous.store(last, Relaxed);
        Self::at(last).next.store(link.address(), Release);
        self.previous.store(link.address(), Release);
    }

    /// Takes this link out of its ring, if it is in one.
    fn leave(&self) {
        let (next, previous) = (self.next.swap(0, AcqRel), self.previous.swap(0, AcqRel));
        if next != 0 {
            Self::at(previous).next.store(next, Release);
            Self::at(next).previous.store(previous, Release);
        }
    }
}

/// `LDR_DATA_TABLE_ENTRY`, up to what is known to be read.
#[repr(C)]
#[derive(Debug)]
struct Entry {
    links: [Link; 3], // in load order, by address, in the order of initialisation
    base: usize,
    entry_point: usize,
    size: u32,
    full_name: UnicodeString,
    name: UnicodeString,
    flags: u32,
    load_count: u16,
    tls_index: u16,
    _hash: Link,
    stamp: u32,
    _84: [u8; 0x138 - 0x84],
    // What the names point to is ours.
    _full_text: Box<[u16]>,
}

const _: () = {
    assert!(offset_of!(Entry, base) == 0x30);
    assert!(offset_of!(Entry, size) == 0x40);
    assert!(offset_of!(Entry, full_name) == 0x48);
    assert!(offset_of!(Entry, name) == 0x58);
    assert!(offset_of!(Entry, load_count) == 0x6c);
    assert!(offset_of!(Entry, stamp) == 0x80);
};

// SAFETY: the names point to text that the record owns; the rest is numbers.
unsafe impl Send for Entry {}

const LOAD: usize = 0;
const MEMORY: usize = 1;
const INITIALISATION: usize = 2;

impl Entry {
    fn new(module: &Listed<'_>, drives: &Drives) -> Box<Self> {
        let word = |at: u64| Ptr::<u32>::from_guest(module.base.0 + at).get();
        let header = u64::from(word(0x3c));
        let entry_point = match word(header + 0x28) {
            0 => 0,
            rva => module.base.0 as usize + rva as usize,
        };
        let full = drives.to_guest(&module.file.to_string_lossy());
        let full_text: Box<[u16]> = text::wide_z(&full).into();
        let name_at = full_text.iter().rposition(|&unit| unit == u16::from(b'\\')).map_or(0, |n| n + 1);
        Box::new(Self {
            links: Default::default(),
            base: module.base.0 as usize,
            entry_point,
            size: u32::try_from(module.len).unwrap_or(u32::MAX),
            full_name: UnicodeString::of(&full_text),
            name: UnicodeString::of(&full_text[name_at..]),
            flags: 0x4, // LDRP_IMAGE_DLL
            load_count: 1,
            tls_index: 0,
            _hash: Link::default(),
            stamp: word(header + 8),
            _84: [0; 0x138 - 0x84],
            _full_text: full_text,
        })
    }
}

/// `LDR_DLL_NOTIFICATION_DATA`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Notice {
    flags: u32,
    full_name: *const UnicodeString,
    name: *const UnicodeString,
    base: usize,
    size: u32,
}

/// What wants to be told: `void f(reason, notice, context)`.
pub(crate) type Callback = unsafe extern "win64" fn(u32, *const Notice, usize);

const LOADED: u32 = 1;
const UNLOADED: u32 = 2;

/// A registered callback.
#[derive(Clone, Copy)]
struct Listener {
    cookie: usize,
    callback: Callback,
    context: usize,
}

/// What is listed, and who is told.
#[derive(Default)]
pub(crate) struct Lists {
    entries: Mutex<BTreeMap<Addr, Box<Entry>>>,
    listeners: Mutex<Vec<Listener>>,
    cookies: AtomicUsize,
}

/// What is known of a listed library.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub base: usize,
    pub size: u32,
    pub entry_point: usize,
}

impl Lists {
    /// All that are listed, in the order of their addresses.
    pub(crate) fn known(&self) -> Vec<Known> {
        let entries = lock(&self.entries);
        let known = |e: &Entry| Known { base: e.base, size: e.size, entry_point: e.entry_point };
        entries.values().map(|entry| known(entry)).collect()
    }

    /// The record of the library that holds an address.
    pub(crate) fn entry(&self, at: u64) -> Option<usize> {
        let entries = lock(&self.entries);
        let (base, entry) = entries.range(..=Addr(at)).next_back()?;
        (at - base.0 < entry.size.into()).then(|| ptr::from_ref(&**entry).expose_provenance())
    }

    /// Lists libraries that came, and tells whoever wants to know.
    pub(crate) fn add(&self, ldr: &Ldr, drives: &Drives, modules: &[Listed<'_>]) {
        let mut entries = lock(&self.entries);
        for module in modules {
            let entry = Entry::new(module, drives);
            ldr.lists[LOAD].push(&entry.links[LOAD]);
            ldr.lists[MEMORY].push(&entry.links[MEMORY]);
            entries.insert(module.base, entry);
        }
        drop(entries);
        self.tell(LOADED, modules.iter().map(|m| m.base));
    }

    /// Lists a library among those that are initialised.
    pub(crate) fn starts(&self, ldr: &Ldr, base: Addr) {
        if let Some(entry) = lock(&self.entries).get(&base) {
            ldr.lists[INITIALISATION].push(&entry.links[INITIALISATION]);
        }
    }

    /// Tells whoever wants to know that libraries go, and takes them out.
    pub(crate) fn remove(&self, bases: &[Addr]) {
        self.tell(UNLOADED, bases.iter().copied());
        let mut entries = lock(&self.entries);
        for entry in bases.iter().filter_map(|base| entries.remove(base)) {
            entry.links.iter().for_each(Link::leave);
        }
    }

    fn tell(&self, reason: u32, bases: impl Iterator<Item = Addr>) {
        for base in bases {
            let notice = lock(&self.entries).get(&base).map(|entry| Notice {
                flags: 0,
                full_name: &raw const entry.full_name,
                name: &raw const entry.name,
                base: entry.base,
                size: entry.size,
            });
            let Some(notice) = notice else { continue };
            let listeners = lock(&self.listeners).clone();
            for Listener { callback, context, .. } in listeners {
                // SAFETY: guest code registered it to be called so; the record stays until everybody is told, and no
                // lock of ours is held.
                unsafe { callback(reason, &raw const notice, context) };
            }
        }
    }

    /// Whether anybody wants to be told.
    pub(crate) fn has_listeners(&self) -> bool {
        !lock(&self.listeners).is_empty()
    }
}

/// Statuses of `ntstatus.h`.
const INVALID_PARAMETER: u32 = 0xc000_000d;
const DLL_NOT_FOUND: u32 = 0xc000_0135;

pub(crate) extern "win64" fn LdrRegisterDllNotification(
    flags: u32,
    callback: Option<Callback>,
    context: usize,
    out: Ptr<usize>,
) -> u32 {
    let Some(callback) = callback.filter(|_| flags == 0 && !out.is_null()) else {
        return INVALID_PARAMETER;
    };
    let process = teb::process();
    let cookie = process.lists.cookies.fetch_add(16, Relaxed) + 16; // looks like an address, is none
    lock(&process.lists.listeners).push(Listener { cookie, callback, context });
    out.set(cookie);
    0
}

pub(crate) extern "win64" fn LdrUnregisterDllNotification(cookie: usize) -> u32 {
    if cookie == 0 {
        return INVALID_PARAMETER;
    }
    let process = teb::process();
    let mut listeners = lock(&process.lists.listeners);
    let before = listeners.len();
    listeners.retain(|l| l.cookie != cookie);
    if listeners.len() < before { 0 } else { DLL_NOT_FOUND }
}
