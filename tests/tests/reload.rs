//! Hot reload: a plug-in in Rust, with thread-local storage that has a destructor, comes from bytes again and again
//! under one name, each time as another build of itself.
//!
//! `unsafe` because its functions are called by address.
#![allow(unsafe_code)]

use loader::{Engine, Library};
use std::{fs, path::Path, process::Command, thread};
use tempfile::TempDir;

/// The plug-in, but for its constant.
const SOURCE: &str = r#"
use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

static DROPPED: AtomicU32 = AtomicU32::new(0);
static CALLS: AtomicU32 = AtomicU32::new(0);

struct Log(Vec<String>);
impl Drop for Log {
    fn drop(&mut self) {
        DROPPED.fetch_add(self.0.len() as u32, Relaxed);
    }
}
thread_local! {
    static LOG: RefCell<Log> = const { RefCell::new(Log(Vec::new())) };
}

#[unsafe(no_mangle)]
pub extern "C" fn constant() -> u32 { CONSTANT }
/// Calls since the plug-in came.
#[unsafe(no_mangle)]
pub extern "C" fn calls() -> u32 { CALLS.fetch_add(1, Relaxed) + 1 }
/// Lines that this thread has logged.
#[unsafe(no_mangle)]
pub extern "C" fn log() -> u32 {
    LOG.with_borrow_mut(|log| {
        log.0.push(format!("line {}", log.0.len()));
        log.0.len() as u32
    })
}
/// Lines of threads that have ended.
#[unsafe(no_mangle)]
pub extern "C" fn dropped() -> u32 { DROPPED.load(Relaxed) }
"#;

/// Builds the plug-in; none where there is no compiler.
fn build(folder: &Path, constant: u32) -> Option<Vec<u8>> {
    let (source, library) = (folder.join("plugin.rs"), folder.join("libplugin.so"));
    fs::write(&source, format!("const CONSTANT: u32 = {constant};\n{SOURCE}")).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "--crate-type", "cdylib", "-C", "opt-level=1", "-o"]);
    let built = rustc.args([&library, &source]).status().ok()?;
    assert!(built.success(), "rustc: {built}");
    Some(fs::read(library).unwrap())
}

fn number(library: &Library, name: &std::ffi::CStr) -> u32 {
    // SAFETY: the functions that are asked for take nothing and return a u32: see SOURCE.
    let function = unsafe { library.get::<extern "C" fn() -> u32>(name) }.unwrap();
    function()
}

#[test]
fn a_plug_in_is_reloaded_a_thousand_times_with_a_changed_constant() {
    let folder = TempDir::new().unwrap();
    let Some(first) = build(folder.path(), 41) else {
        println!("skipped: needs rustc");
        return;
    };
    let second = build(folder.path(), 42).unwrap();
    let engine = Engine::new().unwrap();
    for n in 0..1000 {
        let (bytes, constant) = if n % 2 == 0 { (&first, 41) } else { (&second, 42) };
        let library = engine.open_bytes("libplugin.so", bytes.clone()).unwrap();
        assert_eq!(number(&library, c"constant"), constant);
        assert_eq!(number(&library, c"calls"), 1, "its data are fresh");
        let lines = thread::scope(|scope| {
            scope.spawn(|| (number(&library, c"log"), number(&library, c"log"))).join().unwrap()
        });
        assert_eq!(lines, (1, 2));
        assert_eq!(number(&library, c"dropped"), 2, "the destructor ran when the thread ended");
        assert_eq!(library.close().unwrap().gone.len(), 1, "it is gone");
    }
}
