//! Something for debuggers and profilers to look at: a library that is opened from bytes.
//!
//! ```text
//! debuggee LIBRARY runs       opens it, calls it, closes it
//! debuggee LIBRARY waits      the same, but waits before the call until the library's file is there again
//! debuggee LIBRARY counts     says how many descriptors there are before, during and after
//! debuggee LIBRARY lives on   the host's own loading goes on as ever
//! debuggee LIBRARY profiled   says where the function is, and where the map is
//! ```
//! The library's file is deleted before it is opened: what a debugger knows of it, it has from this process.
//!
//! `unsafe` because the library's function and the host's own loader are called.
#![allow(unsafe_code)]

use loader::{Debugger, Engine, Library};
use std::{
    env, error::Error, ffi::CStr, fs, net::ToSocketAddrs, path::Path, process, thread, time::Duration,
};
use tests::process::descriptors;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let args: Vec<String> = env::args().skip(1).collect();
    let (path, scene) = args.split_first().ok_or("which library?")?;
    let path = Path::new(path);
    let bytes = fs::read(path)?;
    fs::remove_file(path)?;
    match scene.join(" ").as_str() {
        "runs" => runs(&bytes),
        "waits" => waits(&bytes, path),
        "counts" => counts(&bytes),
        "lives on" => lives_on(&bytes),
        "profiled" => profiled(&bytes),
        other => Err(format!("no scene is called {other}").into()),
    }
}

fn open(engine: &Engine, bytes: &[u8]) -> Result<Library, loader::Error> {
    engine.open_bytes("libtwice.so", bytes)
}

fn runs(bytes: &[u8]) -> Outcome {
    let library = open(&Engine::new()?, bytes)?;
    println!("answer {}", call(&library)?);
    library.close()?;
    debuggee_closed();
    Ok(())
}

fn waits(bytes: &[u8], path: &Path) -> Outcome {
    let engine = Engine::new()?;
    let library = open(&engine, bytes)?;
    engine.show_to_debugger();
    println!("ready");
    while !path.exists() {
        thread::sleep(Duration::from_millis(10));
    }
    println!("answer {}", call(&library)?);
    Ok(())
}

fn counts(bytes: &[u8]) -> Outcome {
    for debugger in [Debugger::Never, Debugger::Auto, Debugger::Always] {
        let engine = Engine::builder().debugger(debugger).build()?;
        let before = descriptors()?;
        let library = open(&engine, bytes)?;
        let during = descriptors()?;
        library.close()?;
        println!("{debugger:?} {} {}", during - before, descriptors()? - before);
    }
    Ok(())
}

fn lives_on(bytes: &[u8]) -> Outcome {
    let engine = Engine::builder().debugger(Debugger::Always).build()?;
    let library = open(&engine, bytes)?;
    hosts_own_loading()?; // while one is listed
    library.close()?;
    hosts_own_loading()?; // while the list is empty
    let library = open(&engine, bytes)?;
    println!("answer {}", call(&library)?);
    std::mem::forget((library, engine)); // it is listed when the process ends
    Ok(())
}

fn profiled(bytes: &[u8]) -> Outcome {
    let library = open(&Engine::builder().perf_map(true).build()?, bytes)?;
    println!("{:x} /tmp/perf-{}.map", twice(&library)? as usize, process::id());
    Ok(())
}

/// The system's loader, and what uses it behind the scenes.
fn hosts_own_loading() -> Outcome {
    // Each of these lists of the system's loader is walked by name when something is opened.
    for space in [libc::LM_ID_BASE, libc::LM_ID_NEWLM] {
        // SAFETY: the name ends in a zero, and the library's initialisers do nothing.
        let handle = unsafe { libc::dlmopen(space, c"libutil.so.1".as_ptr(), libc::RTLD_NOW) };
        check(!handle.is_null(), "dlmopen")?;
        // SAFETY: the handle was just made, and is given back once.
        check(unsafe { libc::dlclose(handle) } == 0, "dlclose")?;
    }
    check(characters_are_converted(c"EUC-JP"), "iconv_open")?;
    ("localhost", 80).to_socket_addrs()?;
    check(loader_elf::adopt().len() > 1, "dl_iterate_phdr")
}

/// Asks for a conversion that the C library loads a library for, as users of other languages' text do.
fn characters_are_converted(from: &CStr) -> bool {
    // SAFETY: both names end in a zero.
    let converter = unsafe { libc::iconv_open(c"UTF-8".as_ptr(), from.as_ptr()) };
    // A machine without that library says no, in an orderly way, which is as good.
    // SAFETY: the converter was just made, and is given back once.
    converter.addr() == usize::MAX || unsafe { libc::iconv_close(converter) } == 0
}

fn check(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(format!("{what} failed").into()) }
}

type Twice = extern "C" fn(i32) -> i32;

fn twice(library: &Library) -> Result<Twice, loader::Error> {
    // SAFETY: the library's source says `int twice(int)`, and callers use it while the library is open.
    unsafe { library.get::<Twice>(c"twice") }.map(|symbol| *symbol)
}

fn call(library: &Library) -> Result<i32, loader::Error> {
    Ok(twice(library)?(21))
}

/// Where a debugger can stop when the library is gone: by its symbol, whatever there is of debug information.
#[unsafe(no_mangle)]
extern "C" fn debuggee_closed() {
    println!("closed");
}
