//! A crowd of threads that load DLLs, call them, have them make threads, and free them, all at once.
//!
//! `unsafe` because exports are called by address.
#![allow(unsafe_code)]

use crate::process;
use corpus::Format::Pe;
use loader::{Arg, Convention, Engine, Event, HostModule, Library, SymbolName, invoke, win32};
use loader_core::Occasion;
use std::{
    ffi::{CStr, c_char},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
};

/// What comes and goes: case, stem, a function without arguments.
const PASSERS: [(&str, &str, &CStr); 4] = [
    ("plain", "plain", c"plain_kept"),
    ("tls", "tls", c"tls_next"),
    ("dependency", "dependency", c"dependency_root"),
    ("diamond", "diamond", c"diamond_top"),
];
/// Bytes that the allocator may differ by between two looks: lists have room for as many as there were at once. The
/// smallest block lost each time is many times that.
const SLACK: usize = 16 << 10;

/// What DllMain was called for.
#[derive(Debug, Default)]
struct Calls {
    attached: AtomicU64,
    detached: AtomicU64,
}

extern "win64" fn tlog(_: *const c_char) {}

fn text(e: impl ToString) -> String {
    e.to_string()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, wanted: &T) -> Result<(), String> {
    (got == wanted).then_some(()).ok_or_else(|| format!("{what}: {got:?}, not {wanted:?}"))
}

fn path(case: &str, stem: &str) -> PathBuf {
    crate::world::path(Pe, case, stem)
}

/// `threads` threads do it `times` times each: no notice is lost, nothing grows, and all of them come to an end.
///
/// # Errors
/// What was lost, or grew, or went wrong.
pub fn run(threads: u64, times: u64) -> Result<(), String> {
    let calls = Arc::<Calls>::default();
    let counted = calls.clone();
    let count = move |event: &Event<'_>| {
        let n = match event {
            Event::Calling { occasion: Occasion::Loaded, .. } => &counted.attached,
            Event::Calling { occasion: Occasion::Unloaded, .. } => &counted.detached,
            _ => return,
        };
        n.fetch_add(1, SeqCst);
    };
    let log = HostModule::new("tlog.dll").function("tlog", tlog as *const ());
    let engine = Engine::builder().host(log).observe(count).build().map_err(text)?;
    let witness = engine.open(path("thread-notices", "thread-notices")).map_err(text)?;
    crowd(&engine, &witness, threads, 2)?;
    let measure = || {
        let handles = handles(&engine)?;
        let system = (process::mapped().map_err(text)?, process::descriptors().map_err(text)?);
        Ok::<_, String>((system, handles, process::allocated()))
    };
    let before = measure()?;
    crowd(&engine, &witness, threads, times)?;
    let after = measure()?;

    let made = i32::try_from(threads * (times + 2)).map_err(text)?;
    same("threads that said that they start", &told(&witness, 2)?, &made)?;
    same("threads that said that they end", &told(&witness, 3)?, &made)?;
    let entries = |n: &AtomicU64| n.load(SeqCst);
    same("detached, and the witness", &(entries(&calls.detached) + 1), &entries(&calls.attached))?;
    let grown = process::difference(&before.0.0, &after.0.0);
    same("mappings", &&*grown, &"")?;
    same("descriptors", &after.0.1, &before.0.1)?;
    same("handles", &after.1, &before.1)?;
    match after.2 > before.2 + SLACK {
        true => Err(format!("{} bytes of memory are lost", after.2 - before.2)),
        false => Ok(()),
    }
}

/// Comes to an end when all threads have.
fn crowd(engine: &Engine, witness: &Library, threads: u64, times: u64) -> Result<(), String> {
    thread::scope(|scope| {
        let one = |n: u64| move || (0..times).try_for_each(|time| pass(engine, witness, n + time));
        let all: Vec<_> = (0..threads).map(|n| scope.spawn(one(n))).collect();
        let ended = all.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("a thread panicked".into())));
        let ended: Vec<Result<(), String>> = ended.collect(); // all of them, whatever one says
        ended.into_iter().collect()
    })
}

/// Loads, calls, has a thread made, frees.
fn pass(engine: &Engine, witness: &Library, nth: u64) -> Result<(), String> {
    let (case, stem, name) = PASSERS[(nth % 4) as usize];
    let library = engine.open(path(case, stem)).map_err(text)?;
    // SAFETY: the sources of `PASSERS` have these without arguments.
    let f = unsafe { library.get::<extern "win64" fn() -> i32>(name) }.map_err(text)?;
    f();
    let asked = (nth % 1000) as u32;
    let name = if nth.is_multiple_of(2) { c"notices_return" } else { c"notices_exit" };
    // SAFETY: the source has both with this type.
    let thread = unsafe { witness.get::<extern "win64" fn(u32) -> i32>(name) }.map_err(text)?;
    same("what a thread makes of a number", &thread(asked), &(2 * asked as i32))?;
    library.close().map(drop).map_err(text)
}

/// How often the witness was told something.
fn told(witness: &Library, reason: u32) -> Result<i32, String> {
    // SAFETY: the source has it with this type.
    let f = unsafe { witness.get::<extern "win64" fn(u32) -> i32>(c"notices_told") }.map_err(text)?;
    Ok(f(reason))
}

/// How many handles of kernel objects are open, as Windows code would ask.
fn handles(engine: &Engine) -> Result<u32, String> {
    const THIS_PROCESS: usize = usize::MAX;
    let kernel32 = win32::get_module_handle(engine, Some("kernel32.dll")).ok_or("no kernel32.dll")?;
    let name = SymbolName::Name((*b"GetProcessHandleCount").into());
    let at = win32::get_proc_address(engine, kernel32, &name).map_err(text)?;
    let mut count = 0u32;
    let arguments = [Arg::Word(THIS_PROCESS as u64), Arg::Word((&raw mut count).expose_provenance() as u64)];
    // SAFETY: the function takes a handle and the place for a number; this thread has run Windows code before.
    unsafe { invoke(at, Convention::Windows, &arguments) }.map_err(text)?;
    Ok(count)
}
