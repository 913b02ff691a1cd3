//! What is thrown in loaded code, or through it, is caught where its language says. (What libraries do among themselves
//! is the corpus case `cxx-exceptions`; this is what the host has a part in.)
//!
//! `unsafe` because the libraries' functions are called by address.
#![allow(unsafe_code)]

use loader::{Addr, Engine, HostModule, Library};
use loader_core::index;
use loader_sandbox::{Child, Ending, behave_as_child};
use std::{
    ffi::{CStr, CString, c_char},
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    thread,
    time::Duration,
};

type OfNumber = unsafe extern "C-unwind" fn(i32) -> i32;
type Throws = unsafe extern "C-unwind" fn(i32);

fn case() -> PathBuf {
    corpus::root().join("elf/cxx-exceptions")
}

fn open(engine: &Engine, name: &str) -> Library {
    engine.open(case().join(name)).unwrap()
}

fn get<F: Copy>(library: &Library, name: &CStr) -> F {
    // SAFETY: the callers below ask for functions of the sources beside the images, with their types.
    unsafe { library.get::<F>(name) }.unwrap().into_raw()
}

fn call(f: OfNumber, number: i32) -> i32 {
    // SAFETY: functions that take a number, of a library that is open.
    unsafe { f(number) }
}

/// A function of the host that loaded code calls, and through which it throws.
mod callback {
    use super::{AtomicU32, Relaxed, Throws};
    use std::sync::OnceLock;

    pub(super) static THROWS: OnceLock<Throws> = OnceLock::new();
    pub(super) static UNWOUND: AtomicU32 = AtomicU32::new(0);

    struct Counts;
    impl Drop for Counts {
        fn drop(&mut self) {
            UNWOUND.fetch_add(1, Relaxed);
        }
    }

    pub(super) unsafe extern "C-unwind" fn relay(number: i32) {
        let _counts = Counts;
        // SAFETY: a function of a library that is open.
        unsafe { THROWS.get().unwrap()(number) };
    }
}

#[test]
fn an_exception_passes_through_a_function_of_the_host() {
    let engine = Engine::new().unwrap();
    let library = open(&engine, "libcxx-exceptions.so");
    callback::THROWS.set(get(&library, c"throws_trouble")).unwrap();
    let caught: unsafe extern "C-unwind" fn(Throws, i32) -> i32 = get(&library, c"caught_from_caller");
    // SAFETY: the library's own source has this signature.
    assert_eq!(unsafe { caught(callback::relay, 5) }, 5);
    assert_eq!(callback::UNWOUND.load(Relaxed), 1, "what the host's frame held was dropped");
}

#[test]
fn a_panic_of_the_host_passes_through_loaded_code() {
    unsafe extern "C-unwind" fn panics(number: i32) {
        std::panic::panic_any(number);
    }
    let engine = Engine::new().unwrap();
    let library = open(&engine, "libcxx-exceptions.so");
    let through: unsafe extern "C-unwind" fn(Throws, i32, *mut i32) = get(&library, c"thrower_calls");
    let mut unwound = 0;
    let at = &raw mut unwound;
    // SAFETY: the library's own source has this signature.
    let payload = catch_unwind(AssertUnwindSafe(|| unsafe { through(panics, 6, at) })).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&6));
    assert_eq!(unwound, 1, "the C++ object in between was destroyed");
}

/// An unwinder that kept what it once found would find another library's table there.
#[test]
fn where_one_library_was_another_one_throws() {
    let engine = Engine::new().unwrap();
    let keeps_the_rest = open(&engine, "libcxx-thrower.so");
    let names = ["libcxx-exceptions.so", "libcxx-thrower.so"];
    let mut at = Vec::new();
    for _ in 0..20 {
        let library = open(&engine, names[0]);
        let inside: OfNumber = get(&library, c"caught_inside");
        let from_other: OfNumber = get(&library, c"caught_from_other");
        assert_eq!((call(inside, 3), call(from_other, 4)), (3, 4));
        at.push(library.module().unwrap().at.base);
        assert_eq!(index::find(at[at.len() - 1]).unwrap().start, at[at.len() - 1]);
        library.close().unwrap();
        // Something else of about that size, so that the place is not always the same library's.
        let other = engine.open(corpus::root().join("elf/plain/libplain.so")).unwrap();
        drop(other);
    }
    drop(keeps_the_rest);
    let first = at[0];
    assert!(at.iter().filter(|&&base| base == first).count() > 1, "no address came again: {at:?}");
}

/// Lookups while other threads open and close: throws in a library that stays, and the process's own.
#[test]
fn throws_are_caught_while_other_threads_open_and_close() {
    let engine = Engine::new().unwrap();
    let library = open(&engine, "libcxx-exceptions.so");
    let inside: OfNumber = get(&library, c"caught_inside");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let other = Engine::new().unwrap(); // a load set of its own: the same file comes again elsewhere
                while !done.load(Relaxed) {
                    let library = open(&other, "libcxx-exceptions.so");
                    assert_eq!(call(get(&library, c"caught_from_other"), 8), 8);
                }
            });
        }
        let throwers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for n in 0..2_000 {
                        assert_eq!(call(inside, n), n);
                        let found = index::find(Addr(inside as *const () as u64)).expect("it stays");
                        assert_ne!(found.unwind, Addr(0));
                        let panicked = catch_unwind(|| std::panic::resume_unwind(Box::new(n)));
                        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&n));
                    }
                })
            })
            .collect();
        let ended: Vec<_> = throwers.into_iter().map(|t| t.join()).collect();
        done.store(true, Relaxed);
        assert!(ended.iter().all(Result::is_ok));
    });
}

/// An engine in which the libraries that throw where nobody should do so.
fn wants_misfits() -> Engine {
    extern "C" fn wanted() {}
    let host = HostModule::new("misfits").global().function("misfit_wanted", wanted as *const ());
    Engine::builder().host(host).build().unwrap()
}

#[test]
fn an_exception_that_leaves_an_initialiser_comes_out_of_the_open_which_is_undone() {
    let engine = wants_misfits();
    let library = open(&engine, "libcxx-exceptions.so");
    let before = engine.modules().len();
    let caught: unsafe extern "C-unwind" fn(*const c_char) -> i32 = get(&library, c"caught_from_open");
    let path = case().join("libcxx-throws-at-birth.so");
    let path = CString::new(path.to_str().unwrap()).unwrap();
    for _ in 0..3 {
        // SAFETY: the library's own source has this signature.
        assert_eq!(unsafe { caught(path.as_ptr()) }, 1);
        assert_eq!(engine.modules().len(), before, "the load set is as it was");
    }
    let inside: OfNumber = get(&library, c"caught_inside");
    assert_eq!(call(inside, 3), 3);
    library.close().unwrap();
}

const DEED: &str = "UNWINDING_DEED";

/// What the tests below do in a process of its own.
#[test]
fn child() {
    if std::env::var_os(DEED).is_none() {
        return; // only they want it
    }
    behave_as_child();
    open(&wants_misfits(), "libcxx-throws-at-death.so").close().unwrap();
}

#[test]
fn an_exception_that_leaves_a_terminator_ends_the_process_with_a_message() {
    let me = std::env::current_exe().unwrap();
    let child = Child::new(me).args(["child", "--exact", "--nocapture"]).env(DEED, "throw");
    let report = child.no_longer_than(Duration::from_secs(20)).run().unwrap();
    let said = String::from_utf8_lossy(&report.stderr).into_owned();
    assert_eq!(report.ending, Ending::Signal(6), "{said}");
    assert!(said.contains("libcxx-throws-at-death.so: an exception or a panic left a terminator"), "{said}");
}

const PLUGIN: &str = r#"
use std::backtrace::Backtrace;
use std::panic::{catch_unwind, resume_unwind};

/// A panic that is caught here.
#[unsafe(no_mangle)]
pub extern "C" fn caught_inside(number: i32) -> i32 {
    *catch_unwind(|| resume_unwind(Box::new(number))).unwrap_err().downcast::<i32>().unwrap()
}
/// A panic that passes through whoever is called.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn caught_through(f: extern "C-unwind" fn(extern "C-unwind" fn())) -> i32 {
    extern "C-unwind" fn panics() {
        resume_unwind(Box::new(7));
    }
    *catch_unwind(|| f(panics)).unwrap_err().downcast::<i32>().unwrap()
}
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn plugin_deep_inside() -> bool {
    Backtrace::force_capture().to_string().contains("plugin_deep_inside")
}
"#;

fn plugin(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("plugin.rs"), folder.join("libplugin.so"));
    fs::write(&source, PLUGIN).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "--crate-type", "cdylib", "-o"]).args([&library, &source]);
    let built = rustc.status().ok()?;
    assert!(built.success(), "rustc: {built}");
    Some(library)
}

#[test]
fn a_plug_in_in_rust_panics_catches_and_names_its_own_frames() {
    extern "C-unwind" fn relay(f: extern "C-unwind" fn()) {
        f();
    }
    let folder = tempfile::TempDir::new().unwrap();
    let Some(path) = plugin(folder.path()) else {
        println!("skipped: needs rustc");
        return;
    };
    let engine = Engine::new().unwrap();
    for _ in 0..3 {
        let library = engine.open(&path).unwrap();
        assert_eq!(call(get(&library, c"caught_inside"), 41), 41);
        let through: extern "C-unwind" fn(extern "C-unwind" fn(extern "C-unwind" fn())) -> i32 =
            get(&library, c"caught_through");
        assert_eq!(through(relay), 7);
        let named: extern "C" fn() -> bool = get(&library, c"plugin_deep_inside");
        assert!(named(), "its own backtrace names it");
        let found = engine.symbol_at(Addr(named as *const () as u64 + 1)).unwrap();
        assert_eq!((found.symbol.as_deref(), found.offset), (Some("plugin_deep_inside"), 1));
        library.close().unwrap();
    }
}
