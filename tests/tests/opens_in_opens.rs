//! Opens inside an open, made not by what is loaded but by who serves and watches the loading: observers, and an
//! allocator that asks the system's loader for a library whenever it is asked for memory.
//!
//! `unsafe` because it is an allocator, and because the C library is called.
#![allow(unsafe_code)]

use corpus::root;
use loader::{Engine, Event, Library, Origin};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    path::Path,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

thread_local! {
    /// Whether this thread's requests for memory open a library. It is not while one of them does.
    static OPENS: Cell<bool> = const { Cell::new(false) };
}
static OPENED: AtomicUsize = AtomicUsize::new(0);

struct Opening;

impl Opening {
    fn open_and_close() {
        if OPENS.try_with(|opens| opens.replace(false)) != Ok(true) {
            return;
        }
        // SAFETY: the name ends with a zero byte; the library's initialisers are harmless.
        let handle = unsafe { libc::dlopen(c"libBrokenLocale.so.1".as_ptr(), libc::RTLD_NOW) };
        if !handle.is_null() {
            // SAFETY: the handle is open, and nobody uses what it leads to.
            unsafe { libc::dlclose(handle) };
            OPENED.fetch_add(1, Relaxed);
        }
        OPENS.set(true);
    }
}

// SAFETY: it is the system's allocator; what it does besides, it does before.
unsafe impl GlobalAlloc for Opening {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::open_and_close();
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's block.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Opening = Opening;

fn diamond(engine: &Engine) -> Library {
    engine.open(root().join("elf/diamond/libdiamond.so")).unwrap()
}

fn top(library: &Library) -> i32 {
    // SAFETY: the source says `int diamond_top(void)`.
    unsafe { library.get::<extern "C" fn() -> i32>(c"diamond_top") }.unwrap()()
}

#[test]
fn an_allocator_may_ask_the_systems_loader_while_it_serves_an_open() {
    let engine = Engine::new().unwrap();
    OPENS.set(true);
    for _ in 0..3 {
        let library = diamond(&engine);
        assert_eq!(top(&library), 21);
        assert_eq!(library.close().unwrap().gone.len(), 4);
    }
    OPENS.set(false);
    assert!(OPENED.load(Relaxed) > 100, "{} opens", OPENED.load(Relaxed));
}

/// What an observer opens at every event, and keeps until the next.
#[derive(Default)]
struct Opens {
    /// Where; nowhere before the test begins and after it has ended.
    engine: Mutex<Weak<Engine>>,
    inner: Mutex<Option<Library>>,
    count: AtomicUsize,
}

impl Opens {
    fn again(&self, path: &Path) {
        thread_local!(static INSIDE: Cell<bool> = const { Cell::new(false) });
        let engine = self.engine.lock().unwrap().upgrade();
        let Some(engine) = engine else { return };
        if INSIDE.replace(true) {
            return; // an event of the inner open, or of the close
        }
        let library = engine.open(path).unwrap();
        let before = self.inner.lock().unwrap().replace(library);
        drop(before);
        self.count.fetch_add(1, Relaxed);
        INSIDE.set(false);
    }
}

#[test]
fn an_observer_may_open_and_close_at_every_event_of_an_open() {
    // Nothing of the outer open, a part of it, and the same library, which is there then before its open has begun.
    for inner in ["plain/libplain.so", "diamond/libdiamond-bottom.so", "diamond/libdiamond.so"] {
        let opens: Arc<Opens> = Arc::default();
        let (path, observer) = (root().join("elf").join(inner), opens.clone());
        let engine = Engine::builder().observe(move |_: &Event<'_>| observer.again(&path)).build().unwrap();
        let engine = Arc::new(engine);
        *opens.engine.lock().unwrap() = Arc::downgrade(&engine);
        let library = diamond(&engine);
        assert_eq!(top(&library), 21, "{inner}");
        library.close().unwrap();
        *opens.engine.lock().unwrap() = Weak::new();
        let last = opens.inner.lock().unwrap().take();
        last.unwrap().close().unwrap();
        let count = opens.count.load(Relaxed);
        assert!(count >= 3, "{inner}: {count} opens");
        let left = engine.modules();
        assert!(left.iter().all(|m| m.origin == Origin::Host), "{inner}: {left:?}");
    }
}

#[test]
fn an_observer_may_close_what_an_open_has_found_loaded_at_every_event() {
    let mut tried = 0;
    for nth in 0.. {
        let (events, bottom) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None::<Library>)));
        let (counted, held) = (events.clone(), bottom.clone());
        let closing = move |_: &Event<'_>| {
            if counted.fetch_add(1, Relaxed) == nth {
                let library = held.lock().unwrap().take();
                drop(library);
            }
        };
        let engine = Engine::builder().observe(closing).build().unwrap();
        *bottom.lock().unwrap() = Some(engine.open(root().join("elf/diamond/libdiamond-bottom.so")).unwrap());
        events.store(0, Relaxed);
        let library = diamond(&engine);
        if events.load(Relaxed) <= nth {
            break; // there is no such event
        }
        assert_eq!(top(&library), 21, "event {nth}");
        library.close().unwrap();
        drop(bottom.lock().unwrap().take());
        let left = engine.modules();
        assert!(left.iter().all(|m| m.origin == Origin::Host), "event {nth}: {left:?}");
        tried += 1;
    }
    assert!(tried > 10, "{tried} events");
}
