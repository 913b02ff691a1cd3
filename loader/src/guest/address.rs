//! What is at an address, and what a module is: `dladdr`, `dladdr1`, `dlinfo`, `dl_iterate_phdr`, `_dl_find_object`.
//!
//! Modules of every engine of this process are known by the [index], those of the host by the system's
//! functions: code that asks gets the two mixed. No lock of any engine is taken.
//!
//! `unsafe` because C code passes pointers that are written through, as the functions' manual pages have it.
#![allow(unsafe_code)]

use super::dl::{behind, settle};
use loader_core::{
    Addr, HostModule, ModuleInfo, Origin,
    index::{Listed, Reading},
    tls,
};
use std::{
    ffi::{CStr, CString, c_char, c_int, c_uint, c_void},
    os::unix::ffi::OsStrExt,
    path::Path,
    ptr,
};

/// The functions, for the imports of loaded code.
pub(super) fn offer(module: HostModule) -> HostModule {
    module
        .function("dladdr", dladdr as *const ())
        .function("dladdr1", dladdr1 as *const ())
        .function("dlinfo", dlinfo as *const ())
        .function("dl_iterate_phdr", loader_elf::unwinder::iterate as *const ())
        .function("_dl_find_object", loader_elf::unwinder::find_object as *const ())
}

unsafe extern "C" {
    #[link_name = "dladdr1"]
    fn host_dladdr1(
        at: *const c_void,
        info: *mut libc::Dl_info,
        extra: *mut *mut c_void,
        what: c_int,
    ) -> c_int;
    #[link_name = "dlinfo"]
    fn host_dlinfo(handle: *mut c_void, request: c_int, info: *mut c_void) -> c_int;
}

/// `RTLD_DL_SYMENT`: the symbol's entry is wanted too.
const SYMBOL_ENTRY: c_int = 1;
/// `RTLD_DL_LINKMAP`: the module's `link_map` is.
const LINK_MAP: c_int = 2;

fn number(at: *const c_void) -> Addr {
    Addr(at.addr() as u64)
}

fn pointer<T>(at: Addr) -> *mut T {
    ptr::with_exposed_provenance_mut(at.0 as usize)
}

/// `dladdr`: 0 where no module has the address.
///
/// # Safety
/// `info` can be written to.
unsafe extern "C" fn dladdr(at: *const c_void, info: *mut libc::Dl_info) -> c_int {
    // SAFETY: the caller's promise; nothing more is asked for.
    unsafe { dladdr1(at, info, ptr::null_mut(), 0) }
}

/// `dladdr1`: as `dladdr`, and what `what` asks for goes to `extra`.
///
/// # Safety
/// `info` can be written to, and `extra` where `what` is not 0.
unsafe extern "C" fn dladdr1(
    at: *const c_void,
    info: *mut libc::Dl_info,
    extra: *mut *mut c_void,
    what: c_int,
) -> c_int {
    let reading = Reading::begin();
    let Some(listed) = reading.at(number(at)) else {
        drop(reading);
        // SAFETY: the caller's promise is the one that is asked for.
        return unsafe { host_dladdr1(at, info, extra, what) };
    };
    let symbol = listed.at.rva_of(number(at)).and_then(|rva| listed.image.symbol_at(rva));
    let answer = libc::Dl_info {
        dli_fname: listed.name.as_ptr(),
        dli_fbase: pointer(listed.at.base),
        dli_sname: symbol.map_or(ptr::null(), |s| s.name.as_ptr()),
        dli_saddr: symbol.map_or(ptr::null_mut(), |s| pointer(listed.at.addr(s.at))),
    };
    // SAFETY: the caller's promise.
    unsafe { info.write(answer) };
    let more = match what {
        SYMBOL_ENTRY => symbol.map_or(ptr::null(), |s| s.entry.as_ptr().cast::<c_void>()),
        LINK_MAP => (&raw const listed.link_map).cast(),
        _ => return 1,
    };
    // SAFETY: the caller's promise.
    unsafe { extra.write(more.cast_mut()) };
    1
}

/// `dlinfo`: -1 where there is no such handle or no such question.
///
/// # Safety
/// What `request` asks for can be written to `into`.
unsafe extern "C" fn dlinfo(handle: *mut c_void, request: c_int, into: *mut c_void) -> c_int {
    let Some((set, handle, _)) = settle(behind(handle)) else {
        return -1;
    };
    match set.target(handle) {
        Some(module) if module.origin != Origin::Host => {
            let reading = Reading::begin();
            let Some(listed) = reading.at(module.at.base) else {
                return -1;
            };
            // SAFETY: the caller's promise.
            unsafe { tell(listed, request, into) }
        }
        of_host => {
            // SAFETY: the caller's promise.
            unsafe { tell_of_host(of_host.as_ref(), request, into) }
        }
    }
}

/// The questions of `dlinfo` (`<dlfcn.h>`).
mod request {
    use std::ffi::c_int;

    pub(super) const NAMESPACE: c_int = 1; // RTLD_DI_LMID
    pub(super) const LINK_MAP: c_int = 2;
    pub(super) const SEARCH_PATH: c_int = 4; // RTLD_DI_SERINFO
    pub(super) const SEARCH_PATH_SIZE: c_int = 5;
    pub(super) const ORIGIN: c_int = 6;
    pub(super) const TLS_MODULE: c_int = 9;
    pub(super) const TLS_DATA: c_int = 10;
    pub(super) const HEADERS: c_int = 11;
}

/// Answers a question about a module of this engine.
///
/// # Safety
/// What `request` asks for can be written to `into`.
unsafe fn tell(listed: &Listed, request: c_int, into: *mut c_void) -> c_int {
    let headers = listed.image.outline().headers;
    // SAFETY (all below): the caller's promise; each question has the type that its manual page gives it.
    match request {
        // SAFETY: see above.
        request::NAMESPACE => unsafe { into.cast::<isize>().write(0) },
        // SAFETY: see above.
        request::LINK_MAP => unsafe {
            into.cast::<*const c_void>().write((&raw const listed.link_map).cast())
        },
        // SAFETY: see above.
        request::ORIGIN => unsafe { write_text(into.cast(), origin(listed)) },
        // SAFETY: see above.
        request::SEARCH_PATH_SIZE => unsafe { into.cast::<SearchPath>().write(SearchPath::empty()) },
        // SAFETY: see above.
        request::SEARCH_PATH => unsafe { into.cast::<SearchPath>().write(SearchPath::empty()) },
        request::TLS_MODULE => {
            let word = listed.tls.map_or(0, |home| home.module_word() as usize);
            // SAFETY: see above.
            unsafe { into.cast::<usize>().write(word) };
        }
        request::TLS_DATA => {
            let block: *mut u8 = listed.tls.map_or(ptr::null_mut(), tls::block_if_any);
            // SAFETY: see above.
            unsafe { into.cast::<*mut u8>().write(block) };
        }
        request::HEADERS => {
            // SAFETY: see above.
            unsafe { into.cast::<*const u8>().write(headers.as_ptr()) };
            return (headers.len() / size_of::<libc::Elf64_Phdr>()) as c_int;
        }
        _ => return -1,
    }
    0
}

/// `Dl_serinfo` without a directory: where this engine looks for a module's needs is said by its rules, not by a list.
#[repr(C)]
struct SearchPath {
    size: usize,
    count: c_uint,
}

impl SearchPath {
    const fn empty() -> Self {
        Self { size: size_of::<Self>(), count: 0 }
    }
}

/// The folder that a module's file is in; empty for one from memory.
fn origin(listed: &Listed) -> &[u8] {
    let path = Path::new(std::ffi::OsStr::from_bytes(listed.name.to_bytes()));
    path.parent().map_or(&[], |folder| folder.as_os_str().as_bytes())
}

/// Writes a text and the zero that ends it.
///
/// # Safety
/// There is room for it.
unsafe fn write_text(into: *mut c_char, text: &[u8]) {
    // SAFETY: the caller's promise.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), into.cast::<u8>(), text.len()) };
    // SAFETY: as above.
    unsafe { into.wrapping_add(text.len()).write(0) };
}

/// Has the system answer a question about what it has loaded.
///
/// # Safety
/// As [`tell`].
unsafe fn tell_of_host(module: Option<&ModuleInfo>, request: c_int, into: *mut c_void) -> c_int {
    let path = module.and_then(|m| m.path.as_ref()).map(|path| CString::new(path.as_os_str().as_bytes()));
    let Ok(path) = path.transpose() else {
        return -1;
    };
    let name = path.as_deref().map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: the name is null, for the program, or ends in a zero; nothing is loaded.
    let handle = unsafe { libc::dlopen(name, libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    if handle.is_null() {
        return -1;
    }
    // SAFETY: the handle is open, and the caller's promise is the one that is asked for.
    let answer = unsafe { host_dlinfo(handle, request, into) };
    // SAFETY: it was opened above; the engine holds the library as well, so what was told stays true.
    unsafe { libc::dlclose(handle) };
    answer
}
