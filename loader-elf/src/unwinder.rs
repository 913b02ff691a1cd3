//! The process's unwinder asks this engine too.
//!
//! An unwinder that meets an address asks the system's loader whose it is: `_dl_find_object` (GCC 12 and later), or
//! `dl_iterate_phdr` (before that, and libunwind). Its own slot for that function, found through its relocations, is
//! what is changed here, and nobody else's: the process's throws go on as before, but for one lookup in the
//! [index], and the functions themselves stay what they are for everybody else.
//!
//! A room for `unsafe`: slots are written in libraries that the system's loader has mapped, while it holds its list;
//! and the functions that take the slots are called by C code, with C's promises about their arguments.
#![allow(unsafe_code)]

use crate::{
    exports::Tables,
    host::{InPlace, Loaded, each},
    relocate::Rela,
};
use goblin::elf::reloc::{R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT};
use loader_core::{
    Addr, ErrorKind, PAGE, Query,
    index::{self, Listed, Reading},
    page_floor, tls,
};
use std::{
    ffi::{CStr, c_int, c_void},
    mem,
    ptr::{self, null_mut},
    sync::{
        Mutex, MutexGuard, Once, PoisonError,
        atomic::{
            AtomicPtr,
            Ordering::{Acquire, Release},
        },
    },
};

/// `struct dl_find_object` (`<dlfcn.h>`), as far as the system fills it in on x86-64.
#[derive(Debug)]
#[repr(C)]
pub struct FoundObject {
    flags: u64,
    start: *const c_void,
    end: *const c_void,
    link_map: *const c_void,
    unwind: *const c_void,
}

type FindObject = unsafe extern "C-unwind" fn(*const c_void, *mut FoundObject) -> c_int;

/// What `dl_iterate_phdr` calls for every module.
pub type Visit = unsafe extern "C-unwind" fn(*mut libc::dl_phdr_info, libc::size_t, *mut c_void) -> c_int;
type Iterate = unsafe extern "C-unwind" fn(Visit, *mut c_void) -> c_int;

/// A function of the system's loader that unwinders call, and what this engine has in its place.
struct Hook {
    name: &'static CStr,
    ours: fn() -> *mut c_void,
    /// What the slots held before, for everything that is not of this engine.
    before: AtomicPtr<c_void>,
    /// A library that imports the function is an unwinder if it has one of these as well.
    among: &'static [&'static CStr],
}

/// Nobody but unwinders asks for this.
static FIND_OBJECT: Hook = Hook {
    name: c"_dl_find_object",
    ours: || find_object as FindObject as *mut c_void,
    before: AtomicPtr::new(null_mut()),
    among: &[],
};
static ITERATE: Hook = Hook {
    name: c"dl_iterate_phdr",
    ours: || iterate as Iterate as *mut c_void,
    before: AtomicPtr::new(null_mut()),
    among: &[c"_Unwind_Find_FDE", c"_Unwind_RaiseException", c"_ULx86_64_step"],
};

static HOOKS: [&Hook; 2] = [&FIND_OBJECT, &ITERATE];

/// While what this gives lives, no other thread connects unwinders.
pub(crate) fn hold() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has every unwinder that the process has by now ask this engine too; those that do already are left alone.
///
/// The library that this code is part of is kept in the process from then on. Where no unwinder has such a slot, what is
/// thrown in loaded code is caught nowhere: the process ends, as it does for code without unwind tables.
pub fn connect() {
    let _alone = hold();
    // Asked before the list is held: the system's `dlsym` takes the locks the other way round.
    let real = HOOKS.map(|hook| {
        // SAFETY: the name ends in a zero.
        unsafe { libc::dlsym(libc::RTLD_DEFAULT, hook.name.as_ptr()) }
    });
    let mut taken = 0;
    each(&mut |info| {
        let library = Loaded::of(info, false);
        match take_slots(&library, real) {
            Ok(slots) => taken += slots,
            Err(why) => log::debug!("{}: not asked for an unwinder: {why}", library.path().display()),
        }
        true
    });
    static KEPT: Once = Once::new();
    static TOLD: Once = Once::new();
    match taken {
        0 => {
            TOLD.call_once(|| log::warn!("no unwinder to connect: nothing can be thrown through loaded code"))
        }
        _ => KEPT.call_once(keep_this_code),
    }
}

/// The slots of unwinders lead here: this code must stay.
fn keep_this_code() {
    let mut info = mem::MaybeUninit::<libc::Dl_info>::uninit();
    let here = (FIND_OBJECT.ours)();
    // SAFETY: `dladdr` fills the structure in, or says that it did not.
    if unsafe { libc::dladdr(here, info.as_mut_ptr()) } == 0 {
        return;
    }
    // SAFETY: it was filled in.
    let info = unsafe { info.assume_init() };
    let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
    // SAFETY: the name ends in a zero, and the library is loaded: no initialiser runs. The program itself is not found
    // by its name; it stays anyway.
    unsafe { libc::dlopen(info.dli_fname, flags) };
}

/// Takes the slots of an unwinder; returns how many are this engine's now.
fn take_slots(library: &Loaded, real: [*mut c_void; 2]) -> Result<usize, ErrorKind> {
    let (here, _) = library.in_place()?;
    let tables = here.tables()?;
    let mut taken = 0;
    for (hook, real) in HOOKS.into_iter().zip(real) {
        let import = tables.import(here.bytes, hook.name.to_bytes());
        let Some(index) = import.filter(|_| hook.is_for(&here, &tables)) else {
            continue;
        };
        let is_slot = |r: &Rela| {
            let kind = matches!(r.kind, R_X86_64_JUMP_SLOT | R_X86_64_GLOB_DAT | R_X86_64_64);
            kind && r.symbol == index && r.addend == 0
        };
        for r in here.fixups()?.other(here.bytes).filter(is_slot) {
            taken += usize::from(hook.take(Addr(r.at.wrapping_add(here.at.slide())), real, &here)?);
        }
    }
    Ok(taken)
}

impl Hook {
    /// Whether a library that imports the function is an unwinder.
    fn is_for(&self, library: &InPlace, tables: &Tables) -> bool {
        let has = |name: &&CStr| {
            let name = name.to_bytes();
            tables.definition(library.bytes, name, &Query::name(name)).is_some()
        };
        self.among.is_empty() || self.among.iter().any(has)
    }

    /// Changes a slot; true if it is this engine's then.
    fn take(&self, Addr(slot): Addr, real: *mut c_void, library: &InPlace) -> Result<bool, ErrorKind> {
        let at = library.at;
        let outside = at.rva_of(Addr(slot)).is_none_or(|rva| rva.0 + 8 > at.len);
        if outside || !slot.is_multiple_of(8) {
            return Err(crate::malformed("slot outside the library", slot));
        }
        // SAFETY: an aligned word of a library that is mapped while the list is held; others may read it, and the
        // system's loader write it, so it is accessed as the atomic that it is to them.
        let place = unsafe { AtomicPtr::<c_void>::from_ptr(ptr::with_exposed_provenance_mut(slot as usize)) };
        let (now, ours) = (place.load(Acquire), (self.ours)());
        if now == ours {
            return Ok(true);
        }
        let unresolved = at.rva_of(Addr(now.addr() as u64)).is_some(); // it still leads to its own linkage table
        let before = if unresolved || now == real { real } else { now };
        match self.before.compare_exchange(null_mut(), before, Release, Acquire) {
            Ok(_) => {}
            Err(known) if known == before => {}
            Err(_) => return Ok(false), // somebody else has changed this one in another way: two cannot be gone on to
        }
        if !library.relro().contains(&slot) {
            place.store(ours, Release);
            return Ok(true);
        }
        protect(page_floor(slot), libc::PROT_READ | libc::PROT_WRITE)?;
        place.store(ours, Release);
        protect(page_floor(slot), libc::PROT_READ)?;
        Ok(true)
    }

    fn before(&self) -> *mut c_void {
        self.before.load(Acquire)
    }
}

fn protect(page: u64, rights: c_int) -> Result<(), ErrorKind> {
    let at = ptr::with_exposed_provenance_mut(page as usize);
    // SAFETY: a page of RELRO data, which is readable before and after, and has no code.
    match unsafe { libc::mprotect(at, PAGE as usize, rights) } {
        0 => Ok(()),
        _ => {
            let os = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
            Err(ErrorKind::Space { what: "make an unwinder's slot writable", os })
        }
    }
}

/// `_dl_find_object` for unwinders and for loaded code: modules of this engine first, then those of the host. It takes
/// no lock and may be called in a signal handler.
///
/// # Safety
/// `result` can be written to.
pub unsafe extern "C-unwind" fn find_object(pc: *const c_void, result: *mut FoundObject) -> c_int {
    let Some(found) = index::find(Addr(pc.addr() as u64)) else {
        // SAFETY: the caller's promise is the one that is asked for.
        return unsafe { find_in_host(pc, result) };
    };
    let live = |at: Addr| ptr::with_exposed_provenance::<c_void>(at.0 as usize);
    let found = FoundObject {
        flags: 0,
        start: live(found.start),
        end: live(found.end),
        link_map: live(found.link_map),
        unwind: live(found.unwind),
    };
    // SAFETY: the caller's promise.
    unsafe { result.write(found) };
    0
}

/// What the slots led to before; for loaded code in a process without one, what the system has.
unsafe fn find_in_host(pc: *const c_void, result: *mut FoundObject) -> c_int {
    let mut before = FIND_OBJECT.before();
    if before.is_null() {
        // SAFETY: the name ends in a zero.
        before = unsafe { libc::dlsym(libc::RTLD_DEFAULT, FIND_OBJECT.name.as_ptr()) };
    }
    if before.is_null() {
        return -1; // a C library before 2.35
    }
    // SAFETY: it is the function of that name and signature.
    let before = unsafe { mem::transmute::<*mut c_void, FindObject>(before) };
    // SAFETY: the caller of `find_object` promises what this asks for.
    unsafe { before(pc, result) }
}

unsafe extern "C-unwind" {
    fn dl_iterate_phdr(visit: Visit, data: *mut c_void) -> c_int;
}

/// The system's `dl_iterate_phdr`, whoever took its place in the slot that this code calls it through.
///
/// # Safety
/// `visit` may be called with `data`.
pub(crate) unsafe fn iterate_host(visit: Visit, data: *mut c_void) -> c_int {
    let iterate = match ITERATE.before() {
        before if before.is_null() => dl_iterate_phdr as Iterate,
        // SAFETY: the slots of unwinders held the function of that name and signature.
        before => unsafe { mem::transmute::<*mut c_void, Iterate>(before) },
    };
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { iterate(visit, data) }
}

/// `dl_iterate_phdr` for unwinders and for loaded code: the host's modules first, then those of this engine, in the
/// order in which they came. No lock of this engine is held while `visit` runs.
///
/// # Safety
/// `visit` may be called with `data`.
pub unsafe extern "C-unwind" fn iterate(visit: Visit, data: *mut c_void) -> c_int {
    /// Whom to show the host's lines to, and its counters as they were last seen.
    struct Host(Visit, *mut c_void, (u64, u64));
    unsafe extern "C-unwind" fn show(
        info: *mut libc::dl_phdr_info,
        size: libc::size_t,
        host: *mut c_void,
    ) -> c_int {
        // SAFETY: it is what `iterate` passed, which lives as long as the call.
        let Host(visit, data, counts) = unsafe { &mut *host.cast::<Host>() };
        // SAFETY: the system gives a line that is valid until this returns.
        let mut info = unsafe { info.read() };
        *counts = (info.dlpi_adds, info.dlpi_subs);
        count(&mut info, *counts);
        // SAFETY: the caller of `iterate` promises that it may be called.
        unsafe { visit(&raw mut info, size, *data) }
    }
    let mut host = Host(visit, data, (0, 0));
    // SAFETY: `show` has the signature, and `host` outlives the call.
    let ended = unsafe { iterate_host(show, (&raw mut host).cast()) };
    if ended != 0 {
        return ended;
    }
    let reading = Reading::begin();
    let mut serial = 0;
    while let Some(listed) = reading.after(serial) {
        serial = listed.serial;
        let mut info = line(listed);
        count(&mut info, host.2);
        // SAFETY: as above.
        let ended = unsafe { visit(&raw mut info, size_of::<libc::dl_phdr_info>(), data) };
        if ended != 0 {
            return ended;
        }
    }
    0
}

/// What `dl_iterate_phdr` says of a module of this engine.
fn line(listed: &Listed) -> libc::dl_phdr_info {
    let headers = listed.image.outline().headers;
    libc::dl_phdr_info {
        dlpi_addr: listed.at.slide(),
        dlpi_name: listed.name.as_ptr(),
        dlpi_phdr: headers.as_ptr().cast(),
        dlpi_phnum: (headers.len() / size_of::<libc::Elf64_Phdr>()) as u16,
        dlpi_adds: 0,
        dlpi_subs: 0,
        dlpi_tls_modid: listed.tls.map_or(0, |home| home.module_word() as usize),
        dlpi_tls_data: listed.tls.map_or(null_mut(), |home| tls::block_if_any(home).cast()),
    }
}

/// Everything that came and went: what the host has, and what this engine has.
fn count(info: &mut libc::dl_phdr_info, host: (u64, u64)) {
    let (adds, subs) = index::generation();
    info.dlpi_adds = host.0.wrapping_add(adds);
    info.dlpi_subs = host.1.wrapping_add(subs);
}
