//! Something for a debugger to look at: opens a library from bytes, calls it and closes it.
//!
//! ```text
//! debuggee LIBRARY            a debugger is there from the start, or never comes
//! debuggee LIBRARY waits      a debugger comes while it waits for a line of input
//! ```
//! The library's file is deleted before it is opened: what a debugger knows of it, it has from this process.

use loader::{Debugger, Engine};
use std::{env, error::Error, fs, io, process};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let path = args.next().ok_or("which library?")?;
    let waits = args.next().is_some();
    let bytes = fs::read(&path)?;
    fs::remove_file(&path)?;

    let debugger = if waits { Debugger::Always } else { Debugger::Auto };
    let engine = Engine::builder().debugger(debugger).build()?;
    let library = engine.open_bytes("libtwice.so", bytes)?;
    if waits {
        println!("{}", process::id());
        io::stdin().read_line(&mut String::new())?;
    }
    println!("answer {}", call(&library)?);
    library.close()?;
    closed();
    Ok(())
}

#[allow(unsafe_code)]
fn call(library: &loader::Library) -> Result<i32, loader::Error> {
    // SAFETY: the library's source says `int twice(int)`.
    let twice = unsafe { library.get::<extern "C" fn(i32) -> i32>(c"twice") }?;
    Ok(twice(21))
}

/// Where a debugger can stop when the library is gone.
#[inline(never)]
fn closed() {
    println!("closed");
}
