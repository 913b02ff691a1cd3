//! Long runs: the same library ten thousand times, many threads at once, signals all the time, forks while others load.
//!
//! `unsafe` because exports are called by address, and because the process forks and sets a signal's handler.
#![allow(unsafe_code)]

use crate::process;
use loader::{Engine, Library};
use std::{
    ffi::CStr,
    hash::{BuildHasher, Hasher},
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The library with a bit of everything, and one whose unique symbol another one shares.
const FILES: [&str; 3] =
    ["everything/libeverything.so", "unique/libunique-one.so", "unique/libunique-two.so"];
/// Times before anything is measured.
const WARM: usize = 50;
/// Bytes that the allocator may differ by between two looks.
const SLACK: usize = 2 << 10;

/// How the libraries are given to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By path.
    Files,
    /// As bytes.
    Bytes,
}

fn path(file: &str) -> PathBuf {
    corpus::root().join("elf").join(file)
}

fn text(e: impl ToString) -> String {
    e.to_string()
}

fn int(library: &Library, name: &CStr) -> Result<i32, String> {
    // SAFETY: the functions of `FILES` that are asked for take nothing and return an int.
    let f = unsafe { library.get::<extern "C" fn() -> i32>(name) }.map_err(text)?;
    Ok(f())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, wanted: &T) -> Result<(), String> {
    (got == wanted).then_some(()).ok_or_else(|| format!("{what}: {got:?}, not {wanted:?}"))
}

/// The lowest number that a new TLS key of the process gets.
fn next_key() -> u32 {
    let mut key = 0;
    // SAFETY: the key is written before the call returns; no destructor is given.
    assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, None) }, 0);
    // SAFETY: the key was just made, and nobody has stored anything under it.
    unsafe { libc::pthread_key_delete(key) };
    key
}

/// Opens, uses and closes everything once; all of it is fresh and all of it goes.
fn cycle(engine: &Engine, way: Way, bytes: &[Vec<u8>; 3]) -> Result<(), String> {
    let open = |n: usize| match way {
        Way::Files => engine.open(path(FILES[n])).map_err(text),
        Way::Bytes => engine.open_bytes(FILES[n], bytes[n].clone()).map_err(text),
    };
    let (everything, one, two) = (open(0)?, open(1)?, open(2)?);
    same("thread-local here", &int(&everything, c"everything_plain")?, &5)?;
    let there = || {
        Ok::<_, String>((int(&everything, c"everything_plain")?, int(&everything, c"everything_per_thread")?))
    };
    let there = thread::scope(|scope| scope.spawn(there).join()).map_err(|_| "a thread panicked")??;
    same("thread-local there", &there, &(5, 21))?;
    same("atexit", &int(&everything, c"everything_at_exit")?, &0)?;
    same("the unique symbol, fresh", &int(&one, c"one_get")?, &1)?;
    // SAFETY: `one_set` takes an int and returns nothing.
    let set = unsafe { one.get::<extern "C" fn(i32)>(c"one_set") }.map_err(text)?;
    set(9);
    same("the unique symbol, shared", &int(&two, c"two_get")?, &9)?;
    same("gone with the first", &one.close().map_err(text)?.gone.len(), &0)?; // the other is bound to it
    same("gone with the second", &two.close().map_err(text)?.gone.len(), &2)?;
    same("gone with the third", &everything.close().map_err(text)?.gone.len(), &1)
}

/// Opens, uses and closes the libraries `times` times; no mapping, descriptor, block of memory or TLS key is left.
///
/// # Errors
/// What went wrong, or what grew.
pub fn cycles(way: Way, times: usize) -> Result<(), String> {
    let read = |n: usize| std::fs::read(path(FILES[n])).map_err(text);
    let bytes = [read(0)?, read(1)?, read(2)?];
    let engine = Engine::new().map_err(text)?;
    let run = |n: usize| (0..n).try_for_each(|_| cycle(&engine, way, &bytes));
    let measure = || -> io::Result<_> {
        Ok((process::mapped()?, process::descriptors()?, next_key(), process::allocated()))
    };
    run(WARM)?;
    let before = measure().map_err(text)?;
    run(times)?;
    let after = measure().map_err(text)?;
    let grown = process::difference(&before.0, &after.0);
    if !grown.is_empty() {
        return Err(format!("the mappings changed in {times} times:{grown}"));
    }
    same("descriptors", &after.1, &before.1)?;
    same("the next TLS key", &after.2, &before.2)?;
    match after.3 > before.3 + SLACK {
        true => Err(format!("{} bytes of memory are lost in {times} times", after.3 - before.3)),
        false => Ok(()),
    }
}

/// What threads open at random: roots of cases that share nothing, something, and everything.
const ROOTS: [(&str, &CStr, i32); 4] = [
    ("plain/libplain.so", c"", 0),
    ("diamond/libdiamond.so", c"", 0),
    ("everything/libeverything.so", c"everything_at_exit", 0),
    ("dependency/libdependency.so", c"", 0),
];

/// A stream of numbers that differ from thread to thread and from run to run.
fn random() -> impl FnMut(usize) -> usize {
    let state = std::hash::RandomState::new();
    let mut n = 0u64;
    move |below| {
        n += 1;
        let mut hasher = state.build_hasher();
        hasher.write_u64(n);
        (hasher.finish() % below as u64) as usize
    }
}

/// One thread's part: opens what others open too, calls it, and closes it again in any order.
fn wander(engine: &Engine, done: &AtomicBool, opened: &AtomicU64) -> Result<(), String> {
    let mut random = random();
    let mut held: Vec<(Library, usize)> = Vec::new();
    while !done.load(Ordering::Relaxed) {
        if held.len() < 4 && random(2) == 0 {
            let root = random(ROOTS.len());
            held.push((engine.open(path(ROOTS[root].0)).map_err(text)?, root));
            opened.fetch_add(1, Ordering::Relaxed);
        } else if !held.is_empty() {
            let (library, root) = held.swap_remove(random(held.len()));
            let (_, function, wanted) = ROOTS[root];
            if !function.is_empty() {
                same("a call", &int(&library, function)?, &wanted)?;
            }
            library.close().map_err(text)?;
        }
    }
    Ok(())
}

/// Threads open, call and close at random for as long as `time` says: no error, no deadlock, nothing is left. Returns
/// how many opens there were.
///
/// # Errors
/// The first thing that went wrong.
pub fn threads(time: Duration) -> Result<u64, String> {
    let engine = Engine::new().map_err(text)?;
    engine.main_program().close().map_err(text)?; // what the host has is counted from here on
    let before = engine.modules().len();
    let (done, opened) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| wander(&engine, &done, &opened))).collect();
        thread::sleep(time);
        done.store(true, Ordering::Relaxed);
        let results =
            threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("a thread panicked".into())));
        results.collect::<Result<Vec<()>, _>>()
    })?;
    same("modules", &engine.modules().len(), &before)?;
    Ok(opened.into_inner())
}

/// How often the process was interrupted.
static INTERRUPTIONS: AtomicU64 = AtomicU64::new(0);

extern "C" fn interrupted(_: i32) {
    INTERRUPTIONS.fetch_add(1, Ordering::Relaxed);
}

/// A signal every `period` from here on, whose handler lets no system call go on: each says `EINTR`.
fn interrupt_every(period: Duration) -> Result<(), String> {
    // SAFETY: all fields may be zero.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = interrupted as *const () as usize;
    // SAFETY: the handler only counts.
    let set = unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    same("the handler is set", &set, &0)?;
    let period = libc::timeval { tv_sec: 0, tv_usec: period.as_micros() as libc::suseconds_t };
    let timer = libc::itimerval { it_interval: period, it_value: period };
    // SAFETY: the structure is whole; the answer is not wanted.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    same("the timer is set", &set, &0)
}

/// As [`threads`], while signals interrupt the process all the time. Returns how many opens there were.
///
/// # Errors
/// The first thing that went wrong.
pub fn signals(time: Duration) -> Result<u64, String> {
    interrupt_every(Duration::from_micros(200))?;
    let opened = threads(time)?;
    match INTERRUPTIONS.load(Ordering::Relaxed) {
        too_few @ 0..100 => Err(format!("{too_few} signals in all that time")),
        _ => Ok(opened),
    }
}

/// Forks again and again while other threads load: every child can open, call and close. Returns how many forks there
/// were.
///
/// # Errors
/// The first thing that went wrong.
pub fn forks(time: Duration) -> Result<u64, String> {
    let engine = Engine::new().map_err(text)?;
    let (done, opened) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| wander(&engine, &done, &opened))).collect();
        let (mut result, mut forks) = (fork(&engine), 1); // while the others do everything for the first time
        while result.is_ok() && start.elapsed() < time {
            result = fork(&engine);
            forks += 1;
        }
        done.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))?;
        }
        result.map(|()| forks)
    })
}

/// One child that opens, calls and closes.
fn fork(engine: &Engine) -> Result<(), String> {
    const LIMIT: Duration = Duration::from_secs(20);
    // SAFETY: the child goes on in this thread alone, uses what is promised to work there, and ends with `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let used = engine.open(path(FILES[0])).map_err(text).and_then(|library| {
            same("a call", &int(&library, c"everything_at_exit")?, &0)?;
            library.close().map(drop).map_err(text)
        });
        let code = if used.is_ok() { 0 } else { 3 };
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(code) };
    }
    let start = Instant::now();
    loop {
        let mut status = 0;
        // SAFETY: the child is this process's own, and its status is written before the call returns.
        match unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } {
            0 if start.elapsed() < LIMIT => thread::sleep(Duration::from_micros(200)),
            0 => {
                // SAFETY: the child has not been waited for: the number is still its own.
                unsafe { libc::kill(child, libc::SIGKILL) };
                return Err("a child did not come to an end".into());
            }
            _ => return same("a child's status", &status, &0),
        }
    }
}
