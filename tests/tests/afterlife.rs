//! Libraries that are still used when they go: threads that are inside, and addresses that are used later.
//!
//! `unsafe` because functions of the corpus are called by address, and one address is read that must not be.
#![allow(unsafe_code)]

use loader::{Addr, Engine, Hold, Library, Unloading};
use std::{
    cell::Cell,
    process::Command,
    sync::{
        atomic::{AtomicI32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

fn engine(unloading: Unloading) -> Engine {
    Engine::builder().unloading(unloading).build().unwrap()
}

fn checked() -> Engine {
    engine(Unloading { check_threads: true, ..Unloading::default() })
}

fn calls_back(engine: &Engine) -> Library {
    engine.open(corpus::root().join("elf/calls-back/libcalls-back.so")).unwrap()
}

type CallsBack = extern "C" fn(extern "C" fn() -> i32) -> i32;

fn calls(library: &Library) -> CallsBack {
    // SAFETY: the source says so.
    *unsafe { library.get(c"calls_back") }.unwrap()
}

fn tid() -> i32 {
    // SAFETY: asks for a number.
    unsafe { libc::gettid() }
}

/// Why the library stayed.
fn stays(closed: loader::Closed) -> Vec<Hold> {
    assert!(closed.gone.is_empty(), "{closed:?}");
    closed.stayed.into_iter().flat_map(|s| s.holds).collect()
}

/// Whether the image at `base` still has its memory once something else was opened and closed: what lingers is looked
/// at again then.
fn lingers(engine: &Engine, base: Addr) -> bool {
    let other = engine.open(corpus::root().join("elf/unique/libunique-one.so")).unwrap();
    other.close().unwrap();
    tests::process::rights(base.0).unwrap().is_some()
}

#[test]
fn a_thread_that_waits_inside_keeps_a_library_mapped_until_it_has_left() {
    let _alone = tests::process::alone();
    thread_local! {
        static WAITS: Cell<Option<mpsc::Receiver<()>>> = const { Cell::new(None) };
    }
    extern "C" fn waits() -> i32 {
        WAITS.take().map_or(0, |end| i32::from(end.recv().is_err()))
    }
    let engine = checked();
    let library = calls_back(&engine);
    let (f, base) = (calls(&library), library.module().unwrap().at.base);
    let ((end, ended), (inside, entered)) = (mpsc::channel(), mpsc::channel());
    let worker = thread::spawn(move || {
        WAITS.set(Some(ended));
        inside.send(tid()).unwrap();
        f(waits)
    });
    let tid = entered.recv().unwrap();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(stays(library.close().unwrap()), [Hold::Threads([tid].into())]);
    assert!(engine.modules().iter().all(|m| !m.name.contains("calls-back")), "nobody can find it");
    assert!(lingers(&engine, base));
    let fresh = calls_back(&engine);
    assert_eq!(fresh.close().unwrap().gone.len(), 1, "another one of that name is not in use");
    drop(end);
    assert_eq!(worker.join().unwrap(), 2, "the thread came back through the library's code");
    assert!(!lingers(&engine, base));
}

#[test]
fn a_thread_that_runs_inside_is_seen_and_goes_on() {
    let _alone = tests::process::alone();
    let engine = checked();
    let library = calls_back(&engine);
    let base = library.module().unwrap().at.base;
    // SAFETY: the source says so.
    let runs: extern "C" fn(*const AtomicI32) = *unsafe { library.get(c"runs_until") }.unwrap();
    let stop = AtomicI32::new(0);
    thread::scope(|scope| {
        let (inside, entered) = mpsc::channel();
        let stop = &stop;
        let worker = scope.spawn(move || {
            inside.send(tid()).unwrap();
            runs(stop);
        });
        let tid = entered.recv().unwrap();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(stays(library.close().unwrap()), [Hold::Threads([tid].into())]);
        assert!(!worker.is_finished());
        stop.store(1, Ordering::Relaxed);
        worker.join().unwrap();
    });
    assert!(!lingers(&engine, base));
}

#[test]
fn a_library_that_closes_itself_is_not_unmapped_under_its_own_feet() {
    let _alone = tests::process::alone();
    thread_local! {
        static SELF: Cell<Option<Library>> = const { Cell::new(None) };
    }
    extern "C" fn closes() -> i32 {
        let closed = SELF.take().unwrap().close().unwrap();
        i32::from(stays(closed) == [Hold::Threads([tid()].into())])
    }
    let engine = checked();
    let library = calls_back(&engine);
    let (f, base) = (calls(&library), library.module().unwrap().at.base);
    SELF.set(Some(library));
    assert_eq!(f(closes), 2, "and the call comes back");
    assert!(!lingers(&engine, base));
}

#[test]
fn who_is_not_inside_keeps_nothing() {
    let _alone = tests::process::alone();
    extern "C" fn one() -> i32 {
        1
    }
    let engine = checked();
    let library = calls_back(&engine);
    assert_eq!(calls(&library)(one), 2);
    assert_eq!(library.close().unwrap().gone.len(), 1);
}

#[test]
fn an_address_of_what_went_has_a_name_while_it_is_in_quarantine() {
    let _alone = tests::process::alone();
    let engine = engine(Unloading { quarantine: 2, ..Unloading::default() });
    let mut places = Vec::new();
    for _ in 0..3 {
        let library = calls_back(&engine);
        let at = library.module().unwrap().at;
        assert_eq!(engine.load_set().quarantined(at.base), None, "not while it is loaded");
        assert_eq!(library.close().unwrap().gone.len(), 1);
        places.push(at.base.0);
    }
    let named = |at: u64| engine.load_set().quarantined(Addr(at));
    assert_eq!(named(places[0]), None, "the oldest made room");
    for at in &places[1..] {
        let found = named(at + 0x123).unwrap();
        assert!(found.name.ends_with("libcalls-back.so"), "{found:?}");
        assert_eq!(found.at, loader_core::Rva(0x123));
        assert_eq!(tests::process::rights(*at).unwrap().as_deref(), Some("---"), "no rights, but reserved");
    }
    assert_ne!(places[1], places[2], "addresses are not used again");
}

/// What a child of the next test does: it dies.
#[test]
#[ignore = "dies; the test after it runs it in a child"]
fn uses_a_library_that_went() {
    loader::report_use_after_unload();
    let engine = engine(Unloading { quarantine: 1, ..Unloading::default() });
    let library = calls_back(&engine);
    let (f, base) = (calls(&library), library.module().unwrap().at.base.0);
    library.close().unwrap();
    extern "C" fn one() -> i32 {
        1
    }
    println!("image+{:#x}", f as usize as u64 - base);
    f(one);
}

#[test]
fn a_use_after_unload_is_a_fault_with_a_name() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "uses_a_library_that_went", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&child.status),
        Some(libc::SIGSEGV),
        "{out}{err}"
    );
    // Where there is one processor, the test's name stands before it.
    let at = out.lines().find_map(|line| Some(&line[line.find("image+")?..])).unwrap();
    let line = err.lines().find(|line| line.contains("use after unload")).unwrap();
    assert!(line.contains("libcalls-back.so") && line.ends_with(at), "{line}");
}
