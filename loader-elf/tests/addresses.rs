//! Which symbol an address belongs to: the system's `dladdr` says, for libraries that it has loaded itself.
#![allow(unsafe_code, reason = "the system's loader is asked")]

use loader_core::Addr;
use loader_elf::Adopted;
use std::{
    ffi::{CStr, c_void},
    mem::MaybeUninit,
    ptr,
};

/// What the system says: the symbol's name and its first address.
fn dladdr(at: Addr) -> Option<(String, u64)> {
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    let at: *const c_void = ptr::with_exposed_provenance(at.0 as usize);
    // SAFETY: dladdr only fills in the structure, which is as large as it expects.
    if unsafe { libc::dladdr(at, info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: it was filled in.
    let info = unsafe { info.assume_init() };
    if info.dli_sname.is_null() {
        return None;
    }
    // SAFETY: the name ends in a zero and stays while the library does.
    let name = unsafe { CStr::from_ptr(info.dli_sname) };
    Some((name.to_string_lossy().into_owned(), info.dli_saddr.addr() as u64))
}

fn held(name: &CStr) -> Adopted {
    // SAFETY: a library of the system, whose initialisers are harmless.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null(), "{name:?} is installed");
    let name = name.to_str().unwrap();
    loader_elf::adopt().into_iter().find(|a| a.names.iter().any(|n| n == name)).expect("it was just loaded")
}

/// Every `step`th byte of a library and `edge`s of all its symbols are asked for.
fn agrees(name: &CStr, step: usize) {
    let library = held(name);
    let (mut named, mut nameless) = (0, 0);
    for rva in (0..library.at.len).step_by(step).map(loader_core::Rva) {
        let ours = library.image.symbol_at(rva);
        let ours = ours.map(|s| (s.name.to_string_lossy().into_owned(), library.at.addr(s.at).0));
        assert_eq!(ours, dladdr(library.at.addr(rva)), "{name:?} at {rva:?}");
        *if ours.is_some() { &mut named } else { &mut nameless } += 1;
    }
    assert!(named > 100 && nameless > 10, "{name:?}: {named} in a symbol, {nameless} in none");
}

#[test]
fn every_address_of_a_small_library_is_in_the_symbol_that_the_system_says() {
    agrees(c"libz.so.1", 1);
}

/// Its symbols are nested and aliased: the malloc family, IO functions, data.
#[test]
fn addresses_of_the_c_library_are_in_the_symbols_that_the_system_says() {
    agrees(c"libc.so.6", 509); // a prime, so that every alignment is met
}
