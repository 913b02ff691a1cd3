//! `dlopen`, `dlmopen`, `dlsym`, `dlvsym`, `dlclose` and `dlerror` for loaded code, as glibc documents them, answered by
//! the engine that loaded the caller.
//!
//! `unsafe` because they are C functions: their arguments are the word of foreign code.
#![allow(unsafe_code)]

use super::{Guest, told_their_caller};
use crate::{Error, ErrorKind, FoundSymbol, Handle, HostModule, Mode, Origin, Rules, Stage, locator::need};
use loader_core::{
    Dialect, LoadSet, ModuleId, ModuleInfo, Query, Request,
    index::{LinkMap, Reading},
};
use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::{CStr, CString, c_char, c_int, c_long, c_void},
    os::unix::ffi::OsStrExt,
    ptr::{null, null_mut},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
};

pub(super) fn offer(module: HostModule) -> HostModule {
    module
        .function("dlopen", dlopen as *const ())
        .function("dlmopen", dlmopen as *const ())
        .function("dlsym", dlsym as *const ())
        .function("dlvsym", dlvsym as *const ())
        .function("dlclose", dlclose as *const ())
        .function("dlerror", dlerror as *const ())
}

told_their_caller! {
    dlopen => dlopen_from, "rdx";
    dlmopen => dlmopen_from, "rcx";
    dlsym => dlsym_from, "rdx";
    dlvsym => dlvsym_from, "rcx";
    dlclose => dlclose_from, "rsi";
    dlerror => dlerror_from, "rdi";
}

/// What loaded code has opened. It knows a library by the address of its `link_map`, as with glibc: the same until it is
/// closed as often as it was opened.
struct Opened {
    set: Weak<LoadSet>,
    /// `None` for the main program.
    target: Option<ModuleId>,
    handles: Vec<Handle>,
    /// Of what is the host's own: the engine keeps no `link_map` of those.
    _own: Option<Box<Named>>,
}

/// A `link_map` with its name.
struct Named {
    link_map: LinkMap,
    _name: CString,
}

// SAFETY: the pointers lead to the name beside them; nothing is read through them here.
unsafe impl Send for Named {}

/// By the address that loaded code knows them by.
static OPENED: LazyLock<Mutex<HashMap<usize, Opened>>> = LazyLock::new(Mutex::default);

/// For the time of a `fork`.
pub(super) fn hold() -> impl Sized + use<> {
    opened()
}

fn opened() -> MutexGuard<'static, HashMap<usize, Opened>> {
    OPENED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The address that stands for a handle of the load set from now on.
fn keep(set: &Arc<LoadSet>, handle: Handle) -> *mut c_void {
    let module = set.target(handle);
    let target = module.as_ref().map(|m| m.id);
    let mut opened = opened();
    let known = opened.iter_mut().find(|(_, o)| o.target == target && o.set.as_ptr() == Arc::as_ptr(set));
    if let Some((&at, known)) = known {
        known.handles.push(handle);
        return std::ptr::with_exposed_provenance_mut(at);
    }
    let (at, own) = match module.as_ref().and_then(listed) {
        Some(at) => (at, None),
        None => {
            let own = named(module.as_ref());
            ((&raw const own.link_map).expose_provenance(), Some(own))
        }
    };
    opened.insert(at, Opened { set: Arc::downgrade(set), target, handles: vec![handle], _own: own });
    std::ptr::with_exposed_provenance_mut(at)
}

/// A load set goes, and every handle of it.
pub(super) fn forget(set: &Weak<LoadSet>) {
    opened().retain(|_, opened| !opened.set.ptr_eq(set));
}

/// Where the engine keeps the `link_map` of a module that it loaded.
fn listed(module: &ModuleInfo) -> Option<usize> {
    Reading::begin().at(module.at.base).map(|listed| (&raw const listed.link_map).expose_provenance())
}

fn named(module: Option<&ModuleInfo>) -> Box<Named> {
    let path = module.and_then(|m| m.path.as_ref()).map(|p| p.as_os_str().as_bytes());
    let name = CString::new(path.unwrap_or_default()).unwrap_or_default();
    let link_map = LinkMap {
        addr: module.map_or(0, |m| m.at.slide()),
        name: name.as_ptr(),
        dynamic: null(),
        next: null(),
        prev: null(),
    };
    Box::new(Named { link_map, _name: name })
}

/// The handle behind an address, and its load set.
pub(super) fn behind(at: *mut c_void) -> Result<(Arc<LoadSet>, Handle, Option<ModuleId>), Error> {
    let known = opened();
    let found = known.get(&at.addr()).and_then(|o| Some((o.set.upgrade()?, *o.handles.last()?, o.target)));
    found.ok_or_else(|| Error::new("", Stage::Request, ErrorKind::InvalidHandle))
}

/// Takes one open back.
fn give_back(at: *mut c_void) -> Option<(Arc<LoadSet>, Handle)> {
    let mut opened = opened();
    let entry = opened.get_mut(&at.addr())?;
    let handle = entry.handles.pop()?;
    let set = entry.set.upgrade();
    if entry.handles.is_empty() {
        opened.remove(&at.addr());
    }
    Some((set?, handle))
}

/// What this thread's `dlerror` says next, and what it said last.
#[derive(Default)]
struct Said {
    next: Option<CString>,
    last: Option<CString>,
}

thread_local! {
    static SAID: RefCell<Said> = const { RefCell::new(Said { next: None, last: None }) };
}

/// A call's result; of what went wrong `dlerror` speaks next, or of nothing.
pub(super) fn settle<T>(result: Result<T, Error>) -> Option<T> {
    let (value, error) = match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(CString::new(error.to_string()).unwrap_or_default())),
    };
    let _ = SAID.try_with(|said| said.borrow_mut().next = error); // a thread that is ending hears nothing
    value
}

/// A C string; what is not UTF-8 is no name of a library or of a symbol.
///
/// # Safety
/// `text` is null or ends with a zero byte, and stays while it is used.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a CStr> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

impl Guest {
    /// Opens for the caller: relative to its own search path, `LOCAL` and `GLOBAL` as POSIX has them.
    fn open(&self, name: Option<&CStr>, flags: c_int) -> Result<*mut c_void, Error> {
        let name = name.filter(|name| !name.is_empty()).map(CStr::to_str);
        let blame = |kind| Error::new(name.and_then(Result::ok).unwrap_or_default(), Stage::Request, kind);
        let mode = Mode::from_rtld(flags.cast_unsigned()).map_err(blame)?;
        self.engine.host.adopt_into(&self.set);
        let Some(name) = name else {
            return Ok(keep(&self.set, self.set.main_program(Dialect::Posix)));
        };
        let opened = self.set.open(&Request {
            need: need(name.map_err(|_| blame(ErrorKind::BadName))?),
            source: None,
            mode,
            rules: Rules { dialect: Dialect::Posix, ..self.engine.rules },
            origin: Origin::Open,
            by: self.module.as_ref(),
        });
        match opened {
            Ok(handle) => Ok(keep(&self.set, handle)),
            // `RTLD_NOLOAD` asked whether it is loaded: no is an answer.
            Err(Error { kind: ErrorKind::NotLoaded, .. }) => Ok(null_mut()),
            Err(error) => Err(error),
        }
    }

    fn symbol(&self, handle: *mut c_void, query: &Query<'_>) -> Result<*mut c_void, Error> {
        self.engine.host.adopt_into(&self.set);
        let found = match handle {
            libc::RTLD_DEFAULT => self.set.symbol_seen_by(self.module.as_ref(), query),
            libc::RTLD_NEXT => self.set.symbol_after(self.module.as_ref(), query),
            _ => match behind(handle) {
                Ok((set, handle, Some(_))) => set.symbol(handle, query),
                Ok((set, ..)) => set.symbol_seen_by(None, query), // the main program
                Err(error) => Err(error),
            },
        };
        Ok(std::ptr::with_exposed_provenance_mut(self.own_for(found?, query).at.0 as usize))
    }

    /// What the process offers by a name that the engine has a function for is not for loaded code.
    fn own_for(&self, found: FoundSymbol, query: &Query<'_>) -> FoundSymbol {
        match self.set.owner(found.at) {
            Some(_) => found,
            None => self.set.symbol_in(self.engine.own, query).unwrap_or(found),
        }
    }
}

unsafe extern "C-unwind" fn dlopen_from(
    file: *const c_char,
    flags: c_int,
    caller: *const c_void,
) -> *mut c_void {
    let Some(guest) = Guest::calling(caller) else {
        // SAFETY: the caller's own arguments.
        return unsafe { libc::dlopen(file, flags) };
    };
    // SAFETY: as `dlopen` asks of its callers.
    let name = unsafe { text(file) };
    settle(guest.open(name, flags)).unwrap_or(null_mut())
}

unsafe extern "C-unwind" fn dlmopen_from(
    namespace: c_long,
    file: *const c_char,
    flags: c_int,
    caller: *const c_void,
) -> *mut c_void {
    let Some(guest) = Guest::calling(caller) else {
        // SAFETY: the caller's own arguments.
        return unsafe { libc::dlmopen(namespace, file, flags) };
    };
    if namespace != libc::LM_ID_BASE {
        // What would be loaded there could not be told from what is here by those who find it: names, `dlsym`'s
        // default. A program that wants a load set apart makes another engine.
        let what = "a namespace other than LM_ID_BASE";
        let kind = ErrorKind::Unsupported { what, value: namespace.cast_unsigned() };
        return settle(Err(Error::new("dlmopen", Stage::Request, kind))).unwrap_or(null_mut());
    }
    // SAFETY: as `dlmopen` asks of its callers.
    let name = unsafe { text(file) };
    settle(guest.open(name, flags)).unwrap_or(null_mut())
}

unsafe extern "C-unwind" fn dlsym_from(
    handle: *mut c_void,
    name: *const c_char,
    caller: *const c_void,
) -> *mut c_void {
    let Some(guest) = Guest::calling(caller) else {
        // SAFETY: the caller's own arguments.
        return unsafe { libc::dlsym(handle, name) };
    };
    // SAFETY: as `dlsym` asks of its callers.
    let name = unsafe { text(name) }.unwrap_or_default();
    settle(guest.symbol(handle, &Query::name(name.to_bytes()))).unwrap_or(null_mut())
}

unsafe extern "C-unwind" fn dlvsym_from(
    handle: *mut c_void,
    name: *const c_char,
    version: *const c_char,
    caller: *const c_void,
) -> *mut c_void {
    let Some(guest) = Guest::calling(caller) else {
        // SAFETY: the caller's own arguments.
        return unsafe { libc::dlvsym(handle, name, version) };
    };
    // SAFETY: as `dlvsym` asks of its callers.
    let name = unsafe { text(name) }.unwrap_or_default();
    // SAFETY: as above.
    let version = unsafe { text(version) }.map(CStr::to_bytes);
    settle(guest.symbol(handle, &Query { version, ..Query::name(name.to_bytes()) })).unwrap_or(null_mut())
}

unsafe extern "C-unwind" fn dlclose_from(handle: *mut c_void, caller: *const c_void) -> c_int {
    let closed = match give_back(handle) {
        Some((set, handle)) => set.close(handle).map(drop),
        None if Guest::calling(caller).is_some() => {
            Err(Error::new("", Stage::Close, ErrorKind::InvalidHandle))
        }
        // SAFETY: the caller's own argument.
        None => return unsafe { libc::dlclose(handle) },
    };
    settle(closed).map_or(-1, |()| 0)
}

/// What went wrong in this thread since this was last asked; null for nothing.
unsafe extern "C-unwind" fn dlerror_from(caller: *const c_void) -> *mut c_char {
    if Guest::calling(caller).is_none() {
        // SAFETY: no arguments.
        return unsafe { libc::dlerror() };
    }
    let answer = SAID.try_with(|said| {
        let mut said = said.borrow_mut();
        said.last = said.next.take();
        said.last.as_ref().map(|text| text.as_ptr().cast_mut())
    });
    answer.ok().flatten().unwrap_or(null_mut())
}
