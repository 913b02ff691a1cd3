//! What a debugger sees of loaded images: a list like the system loader's, in a namespace of its own.
//!
//! The system's loader keeps for each of its namespaces an `r_debug`, with a list of `link_map`s, for debuggers; from
//! glibc 2.35 on they are chained (`struct r_debug_extended` of `<link.h>`, version 2). The first image that is listed
//! puts one more `r_debug` at the end of that chain, where it stays, with an empty list when nothing is loaded. The
//! system loader's own lists are never touched; it follows the chain only to append to it.
//!
//! A room for `unsafe`: the chain belongs to the system's loader and is found by address. What debuggers read is never
//! freed while it can be reached, and only written through atomics.
#![allow(unsafe_code)]

mod probe;

use crate::{dynamic::DT_DEBUG, host};
use loader_core::{Addr, InMemory, Placement, Source};
use rustix::fs::{MemfdFlags, memfd_create};
use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    fs::File,
    io::{self, Write},
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::{self, Path},
    ptr,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI32, AtomicPtr, Ordering},
    },
};

/// `RT_CONSISTENT`, `RT_ADD`, `RT_DELETE` of `<link.h>`: what is happening to the list.
const CONSISTENT: i32 = 0;
const ADD: i32 = 1;
const DELETE: i32 = 2;

/// The instruction that debuggers put where they want to be told.
const BREAKPOINT: u8 = 0xcc;

/// `struct r_debug_extended` of `<link.h>`.
#[repr(C)]
#[derive(Debug)]
struct RDebug {
    version: AtomicI32,
    map: AtomicPtr<LinkMap>,
    /// A function that does nothing: debuggers stop in it when a list changes.
    brk: usize,
    state: AtomicI32,
    ldbase: usize,
    next: AtomicPtr<RDebug>,
}

/// The public part of `struct link_map` of `<link.h>`.
#[repr(C)]
#[derive(Debug)]
struct LinkMap {
    addr: u64,
    name: usize,
    ld: u64,
    next: AtomicPtr<LinkMap>,
    prev: AtomicPtr<LinkMap>,
}

/// One image in the list, and what its line leads to.
#[derive(Debug)]
struct Entry {
    map: LinkMap,
    _name: CString,
    /// A copy of an image that has no file.
    _copy: Option<File>,
}

/// The process's list of our images.
#[derive(Debug)]
struct List {
    own: &'static RDebug,
    /// Where debuggers wait that do not wait in `brk`: at the end of an unload by the system's loader.
    probe: Option<usize>,
    entries: Mutex<BTreeMap<Addr, Box<Entry>>>,
}

/// A process has one chain, and we have one place in it.
static LIST: OnceLock<Option<List>> = OnceLock::new();

fn list() -> Option<&'static List> {
    LIST.get_or_init(|| {
        let list = List::link();
        if list.is_none() {
            log::debug!("images are not shown to debuggers: needs glibc 2.35");
        }
        list
    })
    .as_ref()
}

/// Shows images to debuggers, those with a file and, where `copies` says so, those without: these are copied to memory
/// files until they go, because a debugger reads symbols from files only. What is shown already is not shown twice.
pub fn show(modules: &[InMemory<'_>], copies: bool) {
    let wanted = |m: &&InMemory<'_>| copies || m.path.is_some();
    // Others have no place in a list of ELF images.
    let known = |m: &&InMemory<'_>| m.image.outline().dynamic.is_some();
    let mut shown = modules.iter().filter(wanted).filter(known).peekable();
    if let (Some(_), Some(list)) = (shown.peek(), list()) {
        list.add(shown);
    }
}

/// Takes images off the list, where they are on it.
pub fn hide(modules: &[InMemory<'_>]) {
    if let Some(Some(list)) = LIST.get() {
        list.remove(modules.iter().map(|m| m.at.base));
    }
}

/// Makes the list, unless it is made. Before a `fork`: its child would wait for ever for another thread of the parent
/// that was making it.
pub fn make_once() {
    list();
}

/// While what this gives lives, no other thread changes the list: for the time of a `fork`.
#[must_use]
pub fn hold() -> impl Sized + use<> {
    LIST.get().and_then(Option::as_ref).map(List::lock)
}

/// Whether a debugger waits to be told of libraries that come and go.
#[must_use]
pub fn is_listening() -> bool {
    list().is_some_and(List::is_watched)
}

impl List {
    /// Puts an empty list at the end of the system loader's chain. None where there is no chain.
    fn link() -> Option<Self> {
        let head = ptr::with_exposed_provenance::<RDebug>(host::main_program(DT_DEBUG)? as usize);
        if head.is_null() || !head.is_aligned() {
            return None;
        }
        // SAFETY: the system's loader put the address of its `r_debug` there, which lives as long as the process and
        // starts with the version.
        let version = unsafe { &*head.cast::<AtomicI32>() };
        if version.load(Ordering::Relaxed) < 2 && !has_chain() {
            return None;
        }
        // SAFETY: as above; this one is long enough to have `next`, and the system's loader writes to it as long as the
        // process lives, so its page is writable.
        let head = unsafe { &*head };
        // It is never freed: a debugger may read the chain at any time.
        let own: &'static RDebug = Box::leak(Box::new(RDebug {
            version: AtomicI32::new(2),
            map: AtomicPtr::default(),
            brk: head.brk,
            state: AtomicI32::new(CONSISTENT),
            ldbase: head.ldbase,
            next: AtomicPtr::default(),
        }));
        let mut last = head;
        let end = || ptr::from_ref(own).cast_mut();
        while let Err(next) =
            last.next.compare_exchange(ptr::null_mut(), end(), Ordering::AcqRel, Ordering::Acquire)
        {
            // SAFETY: what is in the chain stays there, whoever put it there: namespaces are never taken out.
            last = unsafe { &*next };
        }
        version.fetch_max(2, Ordering::Release);
        let probe = unload_probe(own.ldbase as u64).map(|at| at as usize);
        (own.brk != 0).then(|| Self { own, probe, entries: Mutex::default() })
    }

    fn add<'a>(&self, modules: impl Iterator<Item = &'a InMemory<'a>>) {
        self.change(ADD, |entries| {
            for m in modules {
                if entries.contains_key(&m.at.base) {
                    continue;
                }
                match Entry::new(m) {
                    Ok(entry) => self.insert(entries, m.at, Box::new(entry)),
                    Err(why) => log::warn!("{}: not shown to debuggers: {why}", m.name),
                }
            }
        });
    }

    fn remove(&self, bases: impl Iterator<Item = Addr>) {
        self.change(DELETE, |entries| {
            for base in bases {
                if let Some(gone) = entries.remove(&base) {
                    let (before, after) = neighbours(entries, base);
                    self.after(before).store(gone.map.next.load(Ordering::Relaxed), Ordering::Release);
                    if let Some(after) = after {
                        after.map.prev.store(gone.map.prev.load(Ordering::Relaxed), Ordering::Release);
                    }
                }
            }
        });
    }

    /// Puts an entry at its place: lowest address first.
    fn insert(&self, entries: &mut BTreeMap<Addr, Box<Entry>>, at: Placement, entry: Box<Entry>) {
        let (before, after) = neighbours(entries, at.base);
        let this = entry.pointer();
        entry.map.prev.store(before.map_or(ptr::null_mut(), |e| e.pointer()), Ordering::Relaxed);
        entry.map.next.store(after.map_or(ptr::null_mut(), |e| e.pointer()), Ordering::Relaxed);
        // From here on debuggers can see it.
        self.after(before).store(this, Ordering::Release);
        if let Some(after) = after {
            after.map.prev.store(this, Ordering::Release);
        }
        entries.insert(at.base, entry);
    }

    /// What leads to the entry after `before`.
    fn after<'a>(&'a self, before: Option<&'a Entry>) -> &'a AtomicPtr<LinkMap> {
        before.map_or(&self.own.map, |e| &e.map.next)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Addr, Box<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the list as debuggers expect it: they are told before and after.
    fn change(&self, what: i32, edit: impl FnOnce(&mut BTreeMap<Addr, Box<Entry>>)) {
        let mut entries = self.lock();
        self.tell(what);
        edit(&mut entries);
        self.tell(CONSISTENT);
        drop(entries);
        if self.probe.is_some_and(has_breakpoint) {
            unload_something();
        }
    }

    fn tell(&self, state: i32) {
        self.own.state.store(state, Ordering::Release);
        let stop = ptr::with_exposed_provenance::<()>(self.own.brk);
        // SAFETY: `<link.h>`: `r_brk` is the address of a function that the system's loader calls without arguments.
        let stop = unsafe { std::mem::transmute::<*const (), extern "C" fn()>(stop) };
        stop();
    }

    fn is_watched(&self) -> bool {
        has_breakpoint(self.own.brk) || self.probe.is_some_and(has_breakpoint)
    }
}

/// Whether a debugger waits at an instruction of the system's loader.
fn has_breakpoint(at: usize) -> bool {
    let code = ptr::with_exposed_provenance::<u8>(at);
    // SAFETY: callers name code of the system's loader, which can be read as long as the process lives. A debugger may
    // change it at any time, which is what is asked.
    unsafe { code.read_volatile() == BREAKPOINT }
}

/// Where the system's loader is after it has unloaded something, if it was built with probes.
fn unload_probe(base: u64) -> Option<u64> {
    let loader = host::at(base)?;
    let file = Source::mapped(&File::open(loader.path()).ok()?).ok()?;
    let at = probe::find(file.bytes(), "rtld", "unmap_complete")?.wrapping_add(base);
    loader.has_code(at).then_some(at)
}

/// Makes the system's loader unload something: debuggers that wait at its probes read all lists after that.
fn unload_something() {
    // Parts of glibc that have been empty since 2.34: whichever is not loaded will do.
    const EMPTY: [&CStr; 4] = [c"libutil.so.1", c"libanl.so.1", c"librt.so.1", c"libdl.so.2"];
    let open = |name: &CStr, flags| {
        // SAFETY: the name ends in a zero, and these libraries' initialisers do nothing.
        unsafe { libc::dlopen(name.as_ptr(), flags | libc::RTLD_LAZY) }
    };
    for name in EMPTY {
        let loaded = open(name, libc::RTLD_NOLOAD);
        let handle = if loaded.is_null() { open(name, libc::RTLD_LOCAL) } else { loaded };
        if !handle.is_null() {
            // SAFETY: the handle was just made, and is given back once.
            unsafe { libc::dlclose(handle) };
        }
        if loaded.is_null() && !handle.is_null() {
            return;
        }
    }
}

fn neighbours(entries: &BTreeMap<Addr, Box<Entry>>, base: Addr) -> (Option<&Entry>, Option<&Entry>) {
    let before = entries.range(..base).next_back();
    let after = entries.range(base..).next();
    (before.map(|(_, e)| &**e), after.map(|(_, e)| &**e))
}

impl Entry {
    fn new(module: &InMemory<'_>) -> io::Result<Self> {
        let outline = module.image.outline();
        let copy = module.path.is_none().then(|| copied(module.name, outline.file)).transpose()?;
        let name = match (module.path, &copy) {
            (Some(path), _) => path::absolute(path)?.into_os_string().as_bytes().to_vec(),
            (None, Some(copy)) => format!("/proc/{}/fd/{}", std::process::id(), copy.as_raw_fd()).into(),
            (None, None) => Vec::new(),
        };
        let name = CString::new(name)?;
        let map = LinkMap {
            addr: module.at.slide(),
            name: name.as_ptr().expose_provenance(),
            ld: outline.dynamic.map_or(0, |at| module.at.addr(at).0),
            next: AtomicPtr::default(),
            prev: AtomicPtr::default(),
        };
        Ok(Self { map, _name: name, _copy: copy })
    }

    fn pointer(&self) -> *mut LinkMap {
        ptr::from_ref(&self.map).cast_mut()
    }
}

/// A file in memory with these bytes.
fn copied(name: &str, bytes: &[u8]) -> io::Result<File> {
    let name = Path::new(name).file_name().unwrap_or_default();
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}

/// Whether the C library chains its `r_debug`s: glibc 2.35 and later do, as soon as there is more than one.
fn has_chain() -> bool {
    // SAFETY: returns a text that is part of the C library.
    let text = unsafe { libc::gnu_get_libc_version() };
    // SAFETY: as above; it ends in a zero.
    let version = unsafe { CStr::from_ptr(text) }.to_str().unwrap_or_default();
    let mut numbers = version.split('.').map_while(|n| n.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(2), Some(35))
}
