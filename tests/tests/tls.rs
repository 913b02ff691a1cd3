//! Thread-local storage while threads come and go: what a script cannot say, because it has one thread at a time.
//!
//! `unsafe` because exports are called by address.
#![allow(missing_docs, unsafe_code)]

use corpus::Format;
use loader::Engine;
use loader_core::{Query, set::FoundSymbol};
use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
};
use tests::world::path;

type Next = extern "C" fn() -> i32;

fn found(library: &loader::Library, name: &str) -> FoundSymbol {
    library.find(&Query::name(name.as_bytes())).unwrap()
}

fn function(library: &loader::Library, name: &str) -> Next {
    let at = found(library, name).at.0;
    // SAFETY: the corpus declares these functions as `int f(void)`; callers let go of them before the library.
    unsafe { std::mem::transmute(at as usize) }
}

/// Threads that wait to be given work.
struct Workers(Vec<(mpsc::Sender<Job>, mpsc::Receiver<i32>)>);

/// What a worker is given to do.
type Job = Box<dyn FnOnce() -> i32 + Send>;

impl Workers {
    fn new(count: usize) -> Self {
        let worker = |_| {
            let (give, work) = mpsc::channel::<Box<dyn FnOnce() -> i32 + Send>>();
            let (answer, answers) = mpsc::channel();
            thread::spawn(move || work.into_iter().for_each(|job| answer.send(job()).unwrap()));
            (give, answers)
        };
        Self((0..count).map(worker).collect())
    }

    /// Has all of them do the same at once.
    fn all(&self, job: impl Fn() -> i32 + Send + Clone + 'static) -> Vec<i32> {
        self.0.iter().for_each(|(give, _)| give.send(Box::new(job.clone())).unwrap());
        self.0.iter().map(|(_, answers)| answers.recv().unwrap()).collect()
    }
}

#[test]
fn threads_that_ran_before_the_load_have_static_blocks_from_the_template_after_each_load() {
    let workers = Workers::new(4);
    for _ in 0..3 {
        let engine = Engine::new().unwrap();
        let library = engine.open(path(Format::Elf, "tls-static", "tls-static")).unwrap();
        let (next, zero) = (function(&library, "static_next"), function(&library, "static_zero"));
        assert_eq!(workers.all(move || next()), [41; 4]);
        assert_eq!(workers.all(move || next()), [42; 4]);
        assert_eq!(workers.all(move || zero()), [1; 4]);
        let same = function(&library, "static_same");
        assert_eq!(workers.all(move || same() & 0xff), [1; 4], "__tls_get_addr leads to the same place");
        assert_eq!(thread::spawn(move || next()).join().unwrap(), 41);
    }
}

#[test]
fn a_thread_local_symbol_is_the_asking_threads_own() {
    let engine = Engine::new().unwrap();
    for (case, stem, symbol, value) in
        [("tls", "tls", "tls_start", 40), ("tls-descriptor", "tls-descriptor", "descriptor_start", 40)]
    {
        let library = engine.open(path(Format::Elf, case, stem)).unwrap();
        let read = || {
            let at = found(&library, symbol).at.0;
            // SAFETY: the symbol is an `int`, and this is the thread whose it is.
            (at, unsafe { std::ptr::with_exposed_provenance::<i32>(at as usize).read() })
        };
        let (here, there) = (read(), thread::scope(|s| s.spawn(read).join().unwrap()));
        assert_eq!((here.1, there.1), (value, value));
        assert_ne!(here.0, there.0, "{symbol}");
    }
}

#[test]
fn a_segment_that_begins_beside_its_alignment_does_so_in_every_thread() {
    let workers = Workers::new(2);
    let engine = Engine::new().unwrap();
    for stem in ["tls-skew", "tls-skew-static"] {
        let library = engine.open(path(Format::Elf, "tls-align", stem)).unwrap();
        let (skew, value) = (function(&library, "skew"), function(&library, "skew_value"));
        assert_eq!((skew(), value()), (0, 9), "{stem}");
        assert_eq!(workers.all(move || skew()), [0; 2], "{stem}");
        assert_eq!(workers.all(move || value()), [9; 2], "{stem}");
    }
}

#[test]
fn a_hundred_libraries_come_and_go_while_threads_use_their_blocks() {
    let bytes: Arc<[u8]> = std::fs::read(path(Format::Elf, "tls", "tlsdep")).unwrap().into();
    let static_bytes: Arc<[u8]> =
        std::fs::read(path(Format::Elf, "tls-descriptor", "tls-descriptor-dep")).unwrap().into();
    let engine = Engine::new().unwrap();
    let workers = Workers::new(3);
    let open = |n: usize| {
        let bytes = if n.is_multiple_of(3) { &static_bytes } else { &bytes };
        engine.open_bytes(&format!("libtls-{n}.so"), bytes.clone()).unwrap()
    };
    let read = |library: &loader::Library, n: usize| {
        function(library, if n.is_multiple_of(3) { "descriptor_dep_read" } else { "tls_dep_read" })
    };
    let mut libraries: Vec<_> = (0..100).map(|n| Some(open(n))).collect();
    for round in 0..3 {
        for (n, library) in libraries.iter().enumerate().filter_map(|(n, l)| Some((n, l.as_ref()?))) {
            let read = read(library, n);
            assert_eq!(workers.all(move || read()), [100; 3], "library {n} in round {round}");
        }
        // Every other one goes, loads fail, others come to the slots that are free.
        for n in (round % 2..100).step_by(2) {
            libraries[n].take().unwrap().close().unwrap();
            engine.open(path(Format::Elf, "undefined", "undefined")).unwrap_err();
        }
        for n in (round % 2..100).step_by(2).rev() {
            libraries[n] = Some(open(n));
        }
    }
}

#[test]
fn threads_start_while_libraries_with_static_blocks_come_and_go() {
    let (stop, start) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(3)));
    let starters: Vec<_> = (0..2)
        .map(|_| {
            let (stop, start) = (stop.clone(), start.clone());
            thread::spawn(move || {
                start.wait();
                while !stop.load(Relaxed) {
                    thread::spawn(thread::yield_now).join().unwrap();
                }
            })
        })
        .collect();
    let engine = Engine::new().unwrap();
    start.wait();
    for _ in 0..50 {
        let library = engine.open(path(Format::Elf, "tls-static", "tls-static")).unwrap();
        let next = function(&library, "static_next");
        assert_eq!(next(), 41);
        let others: Vec<_> = (0..3).map(|_| thread::spawn(move || next())).collect();
        others.into_iter().for_each(|t| assert_eq!(t.join().unwrap(), 41));
    }
    stop.store(true, Relaxed);
    starters.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn jemalloc_from_bytes_serves_threads_that_ran_before_and_later_ones() {
    const JEMALLOC: &str = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2";
    let Ok(bytes) = std::fs::read(JEMALLOC) else {
        eprintln!("skipped: needs {JEMALLOC}");
        return;
    };
    let workers = Workers::new(2);
    let engine = Engine::new().unwrap();
    let library = engine.open_bytes("libjemalloc.so.2", bytes).unwrap();
    let (malloc, free) = (found(&library, "malloc").at.0 as usize, found(&library, "free").at.0 as usize);
    let work = move || {
        // SAFETY: the C standard's declarations; the library outlives the work.
        let malloc: extern "C" fn(usize) -> *mut u8 = unsafe { std::mem::transmute(malloc) };
        // SAFETY: as above.
        let free: unsafe extern "C" fn(*mut u8) = unsafe { std::mem::transmute(free) };
        let blocks: Vec<*mut u8> = (1_usize..3000).map(|size| malloc(size)).collect();
        for (size, &block) in (1_usize..3000).zip(&blocks) {
            // SAFETY: the block is new and `size` bytes long.
            unsafe { block.write_bytes(size as u8, size) };
        }
        let kept = |(size, &block): (usize, &*mut u8)| {
            // SAFETY: as above.
            unsafe { std::slice::from_raw_parts(block, size) }.iter().all(|&b| b == size as u8)
        };
        let good = (1_usize..3000).zip(&blocks).all(kept);
        // SAFETY: each block is given back once.
        blocks.into_iter().for_each(|b| unsafe { free(b) });
        i32::from(good)
    };
    assert_eq!(workers.all(work), [1; 2], "threads that ran before");
    let later: Vec<_> = (0..2).map(|_| thread::spawn(work)).collect();
    assert!(later.into_iter().all(|t| t.join().unwrap() == 1), "later ones");
    // Threads that used it end before it goes: its key destructors run in them.
    drop(workers);
    std::mem::forget(library);
    std::mem::forget(engine);
}
