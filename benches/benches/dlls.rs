//! DLLs: group `dll`, opening and freeing them again and again, from files and from bytes, beside Wine and beside
//! what it costs at least; group `dll-calls`, what Windows code asks of what is loaded: a name, and the library again.
//!
//! `unsafe` because KERNEL32's functions are called by address.
#![allow(unsafe_code)]

use benches::{Dll, Floor, Wine, dlls, results};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, measurement::WallTime};
use loader::{Engine, SymbolName, win32};
use std::{
    ffi::{CString, c_char},
    hint::black_box,
    time::Duration,
};

fn main() {
    // OpenBLAS starts threads when it is attached, and waits 50 ms for each of them when it is detached, in vain: they wait
    // for the loader lock meanwhile. That is its own time, whoever loads it.
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("OPENBLAS_NUM_THREADS", "1") };
    let mut criterion = benches::criterion();
    let all = dlls::all();
    let mut group = criterion.benchmark_group("dll");
    for dll in &all {
        files(&mut group, dll);
        bytes(&mut group, dll);
        let floor = Floor::new(dll);
        measure(&mut group, dll.name, "floor", |n| (0..n).for_each(|_| floor.run()));
        wine(&mut group, dll.name, "wine", "open", Wine::start(&dll.path, dll.held.as_deref()));
    }
    group.finish();
    if all.iter().any(|dll| dll.held.is_some()) {
        calls(&mut criterion);
    }
    criterion.final_summary();
}

type Group<'c> = BenchmarkGroup<'c, WallTime>;

fn measure(group: &mut Group<'_>, image: &str, what: &str, mut f: impl FnMut(u64)) {
    results::measurable(name(image), image, what);
    group.bench_function(BenchmarkId::new(image, what), |b| {
        b.iter_custom(|n| Duration::from_nanos(benches::timed(|| f(n)).1));
    });
}

/// The group that has an image's results.
fn name(image: &str) -> &'static str {
    if dlls::NAMES.contains(&image) { "dll" } else { "dll-calls" }
}

fn wine(group: &mut Group<'_>, image: &str, what: &str, command: &str, wine: Result<Wine, String>) {
    match wine {
        Ok(mut wine) => {
            results::measurable(name(image), image, what);
            group.bench_function(BenchmarkId::new(image, what), |b| {
                b.iter_custom(|n| wine.time(command, n).expect("did not fail before"));
            });
        }
        Err(why) => {
            println!("{image} {what}: skipped: {why}");
            results::note(name(image), image, what, "skipped");
        }
    }
}

fn files(group: &mut Group<'_>, dll: &Dll) {
    let engine = Engine::new().expect("an engine can be made");
    let _held = dll.held.as_ref().map(|held| engine.open(held).expect("it loads"));
    let once = || engine.open(&dll.path).and_then(loader::Library::close).expect("it loads");
    measure(group, dll.name, "ours-file", |n| (0..n).for_each(|_| drop(once())));
}

fn bytes(group: &mut Group<'_>, dll: &Dll) {
    let engine = Engine::new().expect("an engine can be made");
    let _held = dll.held.as_ref().map(|held| engine.open(held).expect("it loads"));
    let Some(((name, bytes), needs)) = dll.bytes().split_last() else { return };
    needs.iter().for_each(|(name, bytes)| engine.provide(name, bytes.clone()));
    let once = || engine.open_bytes(name, bytes.clone()).and_then(loader::Library::close).expect("it loads");
    measure(group, dll.name, "ours-bytes", |n| (0..n).for_each(|_| drop(once())));
}

type Load = unsafe extern "win64" fn(*const c_char) -> usize;
type Free = unsafe extern "win64" fn(usize) -> i32;
type Find = unsafe extern "win64" fn(usize, *const c_char) -> usize;

/// A function of KERNEL32, as images import it.
fn kernel32<F: Copy>(engine: &Engine, name: &str) -> F {
    let module = win32::get_module_handle(engine, Some("kernel32.dll")).expect("it is built in");
    let name = SymbolName::Name(name.as_bytes().into());
    let at = win32::get_proc_address(engine, module, &name).expect("it has this function");
    let at = at.0 as usize;
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    // SAFETY: `F` is the type that the function is documented to have.
    unsafe { std::mem::transmute_copy(&at) }
}

fn calls(criterion: &mut Criterion) {
    let engine = Engine::new().expect("an engine can be made");
    let path = dlls::exporter();
    let _held = engine.open(&path).expect("it loads"); // this thread runs Windows code from here on
    let (load, free): (Load, Free) = (kernel32(&engine, "LoadLibraryA"), kernel32(&engine, "FreeLibrary"));
    let find: Find = kernel32(&engine, "GetProcAddress");
    let file = CString::new(path.to_str().expect("its name is text")).expect("it has no zero");
    // SAFETY: a text with a zero.
    let module = unsafe { load(file.as_ptr()) };
    assert_ne!(module, 0);
    let names: Vec<CString> = (0..dlls::EXPORTS as u64)
        .map(|n| CString::new(format!("export_{:03}", n * 7 % 500)).expect("it has no zero"))
        .collect();

    let mut group = criterion.benchmark_group("dll-calls");
    let [find_name, load_again] = dlls::CALLS;
    measure(&mut group, find_name, "ours", |n| {
        for name in names.iter().cycle().take(n as usize) {
            // SAFETY: a loaded module and a text with a zero.
            assert_ne!(black_box(unsafe { find(module, name.as_ptr()) }), 0);
        }
    });
    wine(&mut group, find_name, "wine", "proc", Wine::start(&path, None));
    for (what, name) in [("ours", file.as_c_str()), ("ours-name", c"exporter.dll")] {
        measure(&mut group, load_again, what, |n| {
            for _ in 0..n {
                // SAFETY: a text with a zero.
                let module = unsafe { load(name.as_ptr()) };
                // SAFETY: it was just loaded.
                assert_ne!(unsafe { free(module) }, 0);
            }
        });
    }
    wine(&mut group, load_again, "wine", "again", Wine::start(&path, None));
    group.finish();
}
