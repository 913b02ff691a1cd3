//! A DLL of the corpus with a bug behind a magic word: libFuzzer finds it, though nothing of the DLL was compiled for it.
#![no_main]
#![allow(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use loader::{Engine, fuzz::FuzzTarget};
use std::sync::{LazyLock, atomic::AtomicU8};

/// What libFuzzer looks at beside its own counters.
// SAFETY: the section is for bytes that are written to at any time.
#[used]
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static COUNTERS: [AtomicU8; 4096] = [const { AtomicU8::new(0) }; 4096];

static TARGET: LazyLock<FuzzTarget> = LazyLock::new(|| {
    let library = Engine::new().unwrap().open(corpus::root().join("pe/planted/planted.dll")).unwrap();
    // SAFETY: `int planted_check(const unsigned char *, unsigned long long)`, as its source says; nobody else is here.
    let target = unsafe { FuzzTarget::new(library, "planted_check") }.unwrap();
    target.cover(&COUNTERS).unwrap();
    target
});

fuzz_target!(|bytes: &[u8]| {
    if let Err(exception) = TARGET.run(bytes) {
        panic!("{exception}");
    }
});
