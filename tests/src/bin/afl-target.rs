//! Drives a function of any library for AFL++: `afl-fuzz -i seeds -o out -- afl-target LIBRARY FUNCTION [FILE]`, with `@@` for
//! FILE, or the input on standard input.
//!
//! It speaks the protocol of AFL's fork server: a word on descriptor 199 says that it is there; for each word that comes on
//! 198 a copy of the process runs one case, and its number and how it ended go to 199. The blocks that a case reaches are
//! counted in the shared memory that `__AFL_SHM_ID` names. The breakpoints that tell of them are planted once, and are all
//! there again in every copy.
//!
//! Unsafe because the process is doubled, memory is shared, and the function is the user's word.
#![allow(unsafe_code)]

use loader::{Engine, fuzz::FuzzTarget};
use std::{
    env, fs,
    io::{self, Read, Write},
    os::fd::FromRawFd,
    process::ExitCode,
    sync::atomic::AtomicU8,
};

/// Where AFL's words come from, and where the answers go.
const CONTROL: i32 = 198;
const STATUS: i32 = 199;
/// The length of AFL's map, unless it says otherwise.
const MAP: usize = 1 << 16;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [library, function, file @ ..] = &arguments[..] else {
        eprintln!("usage: afl-target LIBRARY FUNCTION [FILE]");
        return ExitCode::from(2);
    };
    match run(library, function, file.first().map(String::as_str)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(library: &str, function: &str, file: Option<&str>) -> Result<(), Box<dyn std::error::Error>> {
    let library = Engine::new()?.open(library)?;
    // SAFETY: the user's word; nobody else is in this process.
    let target = unsafe { FuzzTarget::new(library, function) }?;
    if let Some(map) = map()? {
        target.cover(map)?;
    }
    let (mut from, mut to) = (descriptor(CONTROL), descriptor(STATUS));
    if to.write_all(&[0; 4]).is_err() {
        return case(&target, file); // nobody asks: one case
    }
    let mut word = [0; 4];
    while from.read_exact(&mut word).is_ok() {
        // SAFETY: the process has one thread.
        let copy = match unsafe { libc::fork() } {
            -1 => return Err(io::Error::last_os_error().into()),
            0 => {
                drop((from, to));
                return case(&target, file);
            }
            copy => copy,
        };
        to.write_all(&copy.to_ne_bytes())?;
        let mut status = 0;
        // SAFETY: the child is this process's own; `status` is written to.
        unsafe { libc::waitpid(copy, &raw mut status, 0) };
        to.write_all(&status.to_ne_bytes())?;
    }
    Ok(())
}

/// Runs one case. An exception that nobody handled ends the process as AFL expects of a crash.
fn case(target: &FuzzTarget, file: Option<&str>) -> Result<(), Box<dyn std::error::Error>> {
    let input = match file {
        Some(file) => fs::read(file)?,
        None => {
            let mut input = Vec::new();
            io::stdin().read_to_end(&mut input)?;
            input
        }
    };
    if let Err(exception) = target.run(&input) {
        eprintln!("{exception}");
        std::process::abort();
    }
    Ok(())
}

/// AFL's map, if it gave one.
fn map() -> io::Result<Option<&'static [AtomicU8]>> {
    let Some(id) = env::var("__AFL_SHM_ID").ok().and_then(|id| id.parse().ok()) else { return Ok(None) };
    let len = env::var("AFL_MAP_SIZE").ok().and_then(|len| len.parse().ok()).unwrap_or(MAP);
    // SAFETY: new address space.
    let start = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    if start.addr() == usize::MAX {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: AFL's map has this length and stays attached; all use it as bytes that change at any time.
    Ok(Some(unsafe { std::slice::from_raw_parts(start.cast(), len) }))
}

fn descriptor(number: i32) -> fs::File {
    // SAFETY: AFL left it for this, or it is none, and using it fails.
    unsafe { fs::File::from_raw_fd(number) }
}
