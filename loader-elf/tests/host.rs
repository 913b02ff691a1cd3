//! What the process has loaded answers as the system's own `dlsym` does.
#![allow(unsafe_code)] // asks the C library for the truth, and calls its ifunc resolvers

use loader_core::{Export, Query, TlsHome};
use loader_elf::{Adopted, adopt, generation};
use std::ffi::CString;

fn truth(name: &str) -> u64 {
    let name = CString::new(name).expect("a name");
    // SAFETY: a text that ends in a zero.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()).addr() as u64 }
}

fn truth_in(version: &str, name: &str) -> u64 {
    let (name, version) = (CString::new(name).expect("a name"), CString::new(version).expect("a version"));
    // SAFETY: texts that end in a zero.
    unsafe { libc::dlvsym(libc::RTLD_DEFAULT, name.as_ptr(), version.as_ptr()).addr() as u64 }
}

fn address(library: &Adopted, query: &Query<'_>) -> Option<u64> {
    match library.image.export(query).expect("readable tables")? {
        Export::At(at) => Some(library.at.addr(at).0),
        Export::Resolver(at) => {
            let at = library.at.addr(at).0 as usize;
            // SAFETY: the C library's own resolver, which takes nothing and returns an address.
            let resolver = unsafe { std::mem::transmute::<usize, extern "C" fn() -> u64>(at) };
            Some(resolver())
        }
        other => panic!("{other:?}"),
    }
}

fn library(all: &[Adopted], name: &str) -> usize {
    let has = |a: &Adopted| a.names.iter().any(|n| n == name);
    all.iter().position(has).unwrap_or_else(|| panic!("no {name} in {all:#?}"))
}

#[test]
fn functions_are_where_dlsym_finds_them() {
    let all = adopt();
    let libc = &all[library(&all, "libc.so.6")];
    for name in ["printf", "malloc", "memcpy", "strlen", "gettimeofday", "environ", "pthread_create"] {
        assert_eq!(address(libc, &Query::name(name.as_bytes())), Some(truth(name)), "{name}");
    }
    for version in ["GLIBC_2.2.5", "GLIBC_2.14"] {
        let query = Query { version: Some(version.as_bytes()), ..Query::name(b"memcpy") };
        assert_eq!(address(libc, &query), Some(truth_in(version, "memcpy")), "{version}");
    }
    assert_eq!(address(libc, &Query::name(b"no_such_function")), None);
}

#[test]
fn the_main_program_comes_first_and_the_kernels_page_not_at_all() {
    let all = adopt();
    assert_eq!(all[0].path, std::env::current_exe().expect("a path"));
    assert!(all.iter().all(|a| !a.names.iter().any(|n| n.contains("vdso"))));
    let here = functions_are_where_dlsym_finds_them as fn() as usize as u64;
    assert!(all[0].at.contains(loader_core::Addr(here)));
    let needs: Vec<_> = all[0].image.needs().iter().map(|n| n.key.to_string()).collect();
    assert!(needs.contains(&"libc.so.6".to_owned()), "{needs:?}");
    assert!(all.iter().all(|a| a.id.is_some()), "{all:#?}");
}

#[test]
fn errno_is_at_the_same_distance_from_every_threads_pointer() {
    let all = adopt();
    let libc = &all[library(&all, "libc.so.6")];
    let Some(TlsHome::Host { module, thread_pointer_offset: Some(start) }) = libc.tls else {
        panic!("libc has static TLS: {:?}", libc.tls);
    };
    assert!(module > 0 && start < 0);
    let query = Query { version: Some(b"GLIBC_PRIVATE"), ..Query::name(b"errno") };
    let Ok(Some(Export::Tls { offset })) = libc.image.export(&query) else {
        panic!("errno is thread-local");
    };
    let check = move || {
        let pointer: u64;
        // SAFETY: reads the first word of the thread control block.
        unsafe { std::arch::asm!("mov {}, fs:0", out(reg) pointer) };
        // SAFETY: returns the address of this thread's `errno`.
        let errno = unsafe { libc::__errno_location() }.addr() as u64;
        assert_eq!(pointer.wrapping_add_signed(start) + offset, errno);
    };
    check();
    std::thread::spawn(check).join().expect("the same in another thread");
}

#[test]
fn a_generation_lasts_until_something_is_loaded() {
    let before = generation();
    assert!(before.0 > 0);
    let again = adopt();
    assert_eq!(before, generation(), "adopting loads nothing");
    drop(again);
    assert_eq!(before, generation(), "and unloads nothing");
}

#[test]
fn adopting_takes_little_time() {
    let start = std::time::Instant::now();
    let all = adopt();
    println!("{} modules in {:?}", all.len(), start.elapsed());
}
