//! Memory of this process or another one, copied by the kernel: what is not there stops a copy, and nobody faults.
//!
//! A room for `unsafe`: the system calls take addresses.
#![allow(unsafe_code)]

use libc::{c_ulong, iovec, pid_t, ssize_t};
use std::{ffi::c_void, ptr};

/// Copies what can be read at `from` of a process, and says how much that was.
///
/// # Safety
/// Where `to` can be written to, it may be.
#[must_use]
pub unsafe fn read(process: pid_t, from: u64, to: *mut u8, len: usize) -> usize {
    // SAFETY: the caller's.
    unsafe { transfer(libc::process_vm_readv, process, to, from, len) }
}

/// Copies to an address of a process as far as can be written there, and says how far that was.
///
/// # Safety
/// Where the process can write, it may be written to.
#[must_use]
pub unsafe fn write(process: pid_t, to: u64, from: *const u8, len: usize) -> usize {
    // SAFETY: the caller's.
    unsafe { transfer(libc::process_vm_writev, process, from.cast_mut(), to, len) }
}

type Transfer = unsafe extern "C" fn(pid_t, *const iovec, c_ulong, *const iovec, c_ulong, c_ulong) -> ssize_t;

/// # Safety
/// The side that is written to may be.
unsafe fn transfer(copy: Transfer, process: pid_t, near: *mut u8, far: u64, len: usize) -> usize {
    let near = iovec { iov_base: near.cast(), iov_len: len };
    let far = iovec { iov_base: ptr::with_exposed_provenance_mut::<c_void>(far as usize), iov_len: len };
    // SAFETY: the caller says that what is there may be written to; the kernel checks each page of both sides.
    let done = unsafe { copy(process, &raw const near, 1, &raw const far, 1, 0) };
    usize::try_from(done).unwrap_or(0)
}
