//! No descriptor is open that is not meant to be: what a program inherits, it could use without opening it.
//!
//! Unsafe because descriptors are closed that somebody in this process may believe to own.
#![allow(unsafe_code)]

use super::enforced::Finding;
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// Closes all descriptors but 0, 1, 2 and those to keep.
pub(super) fn close_others(keep: &[BorrowedFd<'_>]) -> Finding {
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect();
    keep.sort_unstable();
    let ends = keep.iter().map(|&fd| fd.checked_sub(1)).chain([Some(u32::MAX)]);
    let starts = [3].into_iter().chain(keep.iter().map(|&fd| (fd + 1).max(3)));
    let mut gaps =
        starts.zip(ends).filter_map(|(start, end)| end.filter(|&end| start <= end).map(|end| (start, end)));
    Finding::of(gaps.try_for_each(close), "all but those that are meant to be open")
}

fn close((first, last): (u32, u32)) -> io::Result<()> {
    // SAFETY: the process has only just started: what is open came with it, and nobody counts on it but whoever said
    // which to keep.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
