//! A forked child that does something once and sends numbers back. What it loads, leaks or breaks ends with it.
//!
//! `unsafe` because the process is doubled. The measuring process has one thread, so its child may run any code.
#![allow(unsafe_code)]

use std::{
    io::{PipeWriter, Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
};

/// A child that takes longer is ended, in seconds.
const PATIENCE: u32 = 60;
/// The first byte of what a child sends: numbers follow, or the reason why there are none.
const NUMBERS: u8 = 0;
const REASON: u8 = 1;

/// Runs `f` in a child of this process, as it is now, and returns what it returned there.
///
/// # Errors
/// What `f` says; how the child died; what the system says when it cannot make one.
pub fn run<const N: usize>(f: impl FnOnce() -> Result<[u64; N], String>) -> Result<[u64; N], String> {
    let (mut from, to) = std::io::pipe().map_err(|e| e.to_string())?;
    // SAFETY: this process has no second thread that could hold a lock which the child would wait for.
    let child = match unsafe { libc::fork() } {
        -1 => return Err(std::io::Error::last_os_error().to_string()),
        0 => act(to, f),
        child => child,
    };
    drop(to);
    let mut sent = Vec::new();
    let read = from.read_to_end(&mut sent);
    let mut status = 0;
    // SAFETY: `child` is this process's own and has not been waited for; `status` is written to.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    read.map_err(|e| e.to_string())?;
    match sent.split_first() {
        Some((&NUMBERS, words)) if words.len() == N * 8 => {
            let mut words = words.as_chunks().0.iter().map(|w| u64::from_le_bytes(*w));
            Ok(std::array::from_fn(|_| words.next().unwrap_or_default()))
        }
        Some((&REASON, text)) => Err(String::from_utf8_lossy(text).into_owned()),
        _ if libc::WIFSIGNALED(status) => Err(format!("died of signal {}", libc::WTERMSIG(status))),
        _ => Err(format!("exited with {}", libc::WEXITSTATUS(status))),
    }
}

/// What the child does.
fn act<const N: usize>(mut to: PipeWriter, f: impl FnOnce() -> Result<[u64; N], String>) -> ! {
    // SAFETY: sets a timer of this process; its signal ends the process.
    unsafe { libc::alarm(PATIENCE) };
    let result = catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err("panicked".into()));
    let mut message = Vec::with_capacity(1 + N * 8);
    match result {
        Ok(numbers) => {
            message.push(NUMBERS);
            message.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
        }
        Err(reason) => {
            message.push(REASON);
            message.extend(reason.bytes());
        }
    }
    let sent = to.write_all(&message).is_ok();
    // SAFETY: ends the child without running what the parent has registered for its own end.
    unsafe { libc::_exit(i32::from(!sent)) }
}
