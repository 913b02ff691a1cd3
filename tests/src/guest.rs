//! What loaded code is promised by the engine that loaded it, where the corpus' scripts cannot show it: it takes an end of the
//! process, or threads that outlive a close. Each scene plays in a process of its own, and what the images log
//! goes to its standard output.
//!
//! `unsafe` because exports are called by address.
#![allow(unsafe_code)]

use corpus::root;
use loader::{Engine, Library, Rules, StayPolicy, ThreadDestructors};
use std::{
    ffi::{CStr, CString, c_char, c_void},
    mem::forget,
    sync::{
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

/// A scene, and the lines that must come of it.
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    play: fn(),
    /// The lines.
    pub says: &'static [&'static str],
}

impl Scene {
    /// Plays it in this process, which is then no longer good for anything else.
    pub fn play(&self) {
        // SAFETY: number 198 is this program's to give; 1 is its standard output.
        let voice = unsafe { libc::dup2(1, 198) };
        assert_eq!(voice, 198);
        (self.play)();
    }
}

impl std::fmt::Debug for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// All of them.
pub const SCENES: &[Scene] = &[
    Scene {
        name: "handlers run when the process ends with their library",
        play: || {
            let (engine, library) = open(Rules::default(), "exit-handlers/libexit-handlers.so");
            assert_eq!(call(&library, c"leave_handlers"), 0);
            forget((engine, library));
        },
        says: &["init handlers", "second", "third", "first"],
    },
    Scene {
        name: "handlers run once when their engine goes before the process",
        play: || {
            let (engine, library) = open(Rules::default(), "exit-handlers/libexit-handlers.so");
            assert_eq!(call(&library, c"leave_handlers"), 0);
            forget(library);
            engine.load_set().unload_all();
        },
        says: &["init handlers", "fini handlers", "second", "third", "first"],
    },
    Scene {
        name: "handlers of a library without a finaliser run when it is unloaded",
        play: || {
            let (_engine, library) = open(Rules::default(), "exit-handlers/libexit-bare.so");
            assert_eq!(call(&library, c"leave_bare_handlers"), 0);
            close(library, &["libexit-bare.so"]);
        },
        says: &["old handler", "bare handler"],
    },
    Scene {
        name: "destructors of thread-specific data go with their library",
        play: || {
            let (_engine, library) = open(Rules::default(), "exit-handlers/libexit-handlers.so");
            let thread = Busy::with(&library, c"leave_value", 0);
            close(library, &["libexit-handlers.so"]);
            thread.end();
        },
        says: &["init handlers", "fini handlers"],
    },
    Scene {
        name: "thread-local objects keep their library until the thread has ended",
        play: || {
            let (engine, library) = open(Rules::default(), "thread-objects/libthread-objects.so");
            let thread = Busy::with(&library, c"thread_object", 8);
            close(library, &[]);
            assert_eq!(loaded(&engine), 1);
            thread.end();
            assert_eq!(loaded(&engine), 0, "it went with the last object");
        },
        says: &["init objects", "destroyed", "fini objects"],
    },
    Scene {
        name: "a close that waits destroys its own thread's objects at once",
        play: || {
            let rules = Rules { thread_destructors: ThreadDestructors::Wait, ..Rules::default() };
            let (engine, library) = open(rules, "thread-objects/libthread-objects.so");
            assert_eq!(call(&library, c"thread_object"), 8);
            close(library, &["libthread-objects.so"]);
            assert_eq!(loaded(&engine), 0);
        },
        says: &["init objects", "destroyed", "fini objects"],
    },
    Scene {
        name: "a close that waits does so for other threads",
        play: || {
            let rules = Rules { thread_destructors: ThreadDestructors::Wait, ..Rules::default() };
            let (engine, library) = open(rules, "thread-objects/libthread-objects.so");
            let thread = Busy::with(&library, c"thread_object", 8);
            let ended = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(200));
                    ended.store(true, SeqCst);
                    thread.end();
                });
                drop(library);
                assert!(ended.load(SeqCst), "the close came back before the thread ended");
            });
            assert_eq!(loaded(&engine), 0);
        },
        says: &["init objects", "destroyed", "fini objects"],
    },
    Scene {
        name: "abandoned objects are never destroyed",
        play: || {
            let rules = Rules { thread_destructors: ThreadDestructors::Abandon, ..Rules::default() };
            let (_engine, library) = open(rules, "thread-objects/libthread-objects.so");
            let thread = Busy::with(&library, c"thread_object", 8);
            close(library, &["libthread-objects.so"]);
            thread.end();
        },
        says: &["init objects", "fini objects"],
    },
    Scene {
        name: "what stays for good may close, when it is finalised in the end, what has gone before it",
        play: || {
            let rules = Rules { nodelete: StayPolicy::Honour, ..Rules::default() };
            let (engine, library) = open(rules, "nodelete-close/libnodelete-close.so");
            assert_eq!(call(&library, c"holds"), 3);
            close(library, &[]);
            assert_eq!(loaded(&engine), 2, "it stays, with what it holds");
            engine.load_set().unload_all();
            assert_eq!(loaded(&engine), 0);
        },
        // The end comes in the inverse order of loading, whoever holds whom; no handle is valid then.
        says: &["fini held", "fini closes", "gone already"],
    },
    Scene {
        name: "a call that is a function's last is answered by the only engine",
        play: || {
            let (engine, library) = open(Rules::default(), "dl-calls/libdl-calls.so");
            let path = root().join("elf/dl-calls/libdl-plugindep.so");
            let path = CString::new(path.to_string_lossy().as_bytes()).unwrap();
            // SAFETY: the library's source says so, for both.
            let open =
                unsafe { library.get::<extern "C" fn(*const c_char) -> *mut c_void>(c"opens_in_the_end") };
            // SAFETY: as above.
            let close = unsafe { library.get::<extern "C" fn(*mut c_void) -> i32>(c"closes_in_the_end") };
            let handle = open.unwrap()(path.as_ptr());
            assert!(!handle.is_null());
            assert_eq!(loaded(&engine), 3, "the library, what it needs, and what it opened");
            assert_eq!(close.unwrap()(handle), 0);
            assert_eq!(loaded(&engine), 2);
            assert_eq!(call(&library, c"no_namespace_of_its_own"), 1);
        },
        says: &["init plugindep", "fini plugindep"],
    },
    Scene {
        name: "an ifunc resolver may ask the loader",
        play: || {
            let (_engine, library) = open(Rules::default(), "dl-calls/libdl-resolver.so");
            assert_eq!(call(&library, c"resolved"), 2);
        },
        says: &[],
    },
    Scene {
        name: "what an ifunc resolver writes to a thread-local variable stays",
        play: || {
            let (_engine, library) = open(Rules::default(), "tls-early/libtls-early-resolver.so");
            assert_eq!(call(&library, c"called"), 42);
            Busy::with(&library, c"called", 40).end();
        },
        says: &[],
    },
];

/// A library of the corpus, in an engine of its own.
fn open(rules: Rules, image: &str) -> (Engine, Library) {
    let engine = Engine::builder().rules(rules).build().unwrap();
    let library = engine.open(root().join("elf").join(image)).unwrap();
    (engine, library)
}

fn close(library: Library, goes: &[&str]) {
    let closed = library.close().unwrap();
    let gone: Vec<_> = closed.gone.iter().map(|name| name.rsplit('/').next().unwrap_or_default()).collect();
    assert_eq!(gone, goes);
}

fn call(library: &Library, function: &CStr) -> i32 {
    // SAFETY: all functions that are called so are `int f(void)` in their sources.
    unsafe { library.get::<extern "C" fn() -> i32>(function) }.unwrap()()
}

/// How many libraries of the corpus are loaded.
fn loaded(engine: &Engine) -> usize {
    let corpus = root();
    engine.modules().iter().filter(|m| m.path.as_ref().is_some_and(|path| path.starts_with(&corpus))).count()
}

/// A thread that has called a function and goes on until it is told to end.
struct Busy {
    end: Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Busy {
    fn with(library: &Library, function: &CStr, answer: i32) -> Self {
        // SAFETY: as for `call`; the thread is done with it before the library is closed.
        let function = unsafe { library.get::<extern "C" fn() -> i32>(function) }.unwrap().into_raw();
        let ((end, ends), (called, calls)) = (channel(), channel());
        let thread = thread::spawn(move || {
            called.send(function()).unwrap();
            ends.recv().unwrap();
        });
        assert_eq!(calls.recv(), Ok(answer));
        Self { end, thread }
    }

    fn end(self) {
        self.end.send(()).unwrap();
        self.thread.join().unwrap();
    }
}
