//! Locks on parts of files. They belong to the open file, as the host's locks of open file descriptions do, and keep others
//! out only who ask; on Windows they also stop reads and writes.
#![allow(unsafe_code)] // one call of the host's

use super::{Bool, answer, error::code, file::on_file, transfer::Overlapped};
use crate::guest::Ptr;
use std::os::fd::AsRawFd;

const FAIL_IMMEDIATELY: u32 = 1;
const EXCLUSIVE: u32 = 2;
const LOCK_VIOLATION: u32 = 33;
const INVALID_LOCK_RANGE: u32 = 307;

/// A part of a file: where it begins and how long it is. Lengths that go on for ever are cut where files end.
#[derive(Clone, Copy)]
struct Part {
    start: i64,
    len: i64,
}

impl Part {
    fn new(start: u64, low: u32, high: u32) -> Result<Self, u32> {
        let len = wide(low, high);
        if len != 0 && start.checked_add(len - 1).is_none() {
            return Err(INVALID_LOCK_RANGE);
        }
        let start = i64::try_from(start).map_err(|_| INVALID_LOCK_RANGE)?; // where the host's files cannot be
        Ok(Self { start, len: i64::try_from(len).unwrap_or(i64::MAX).min(i64::MAX - start) })
    }
}

fn wide(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Asks the host for a lock, or to give one back.
fn set(handle: usize, part: Part, kind: i32, waits: bool) -> Result<(), u32> {
    if part.len == 0 {
        return on_file(handle, |_| Ok(())); // nothing is locked, and the host would lock all
    }
    on_file(handle, |file| {
        // SAFETY: all zeroes are a valid request.
        let mut request: libc::flock = unsafe { std::mem::zeroed() };
        request.l_type = kind as libc::c_short;
        request.l_whence = libc::SEEK_SET as libc::c_short;
        (request.l_start, request.l_len) = (part.start, part.len);
        let command = if waits { libc::F_OFD_SETLKW } else { libc::F_OFD_SETLK };
        // SAFETY: the descriptor is open, and the request outlives the call.
        match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw const request) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    })
    .map_err(|e| match e {
        code::INVALID_HANDLE if on_file(handle, |_| Ok(())).is_ok() => code::ACCESS_DENIED,
        code::ACCESS_DENIED | code::GEN_FAILURE => LOCK_VIOLATION, // somebody else has it
        other => other,
    })
}

/// A shared lock needs a file that is open for reading, an exclusive one a file open for writing: one that is not gets the
/// other kind, which is the most that the host has.
fn take(handle: usize, part: Part, exclusive: bool, waits: bool) -> Result<(), u32> {
    let (first, second) =
        if exclusive { (libc::F_WRLCK, libc::F_RDLCK) } else { (libc::F_RDLCK, libc::F_WRLCK) };
    match set(handle, part, first, waits) {
        Err(code::ACCESS_DENIED) => set(handle, part, second, waits),
        other => other,
    }
}

extern "win64" fn LockFile(handle: usize, low: u32, high: u32, len_low: u32, len_high: u32) -> Bool {
    let part = Part::new(wide(low, high), len_low, len_high);
    answer(part.and_then(|part| take(handle, part, true, false)))
}

extern "win64" fn UnlockFile(handle: usize, low: u32, high: u32, len_low: u32, len_high: u32) -> Bool {
    answer(Part::new(wide(low, high), len_low, len_high).and_then(|part| release(handle, part)))
}

/// Of what is not locked nothing can be released.
fn release(handle: usize, part: Part) -> Result<(), u32> {
    set(handle, part, libc::F_UNLCK, false)
        .map_err(|e| if e == LOCK_VIOLATION { code::NOT_LOCKED } else { e })
}

extern "win64" fn LockFileEx(
    handle: usize,
    flags: u32,
    reserved: u32,
    len_low: u32,
    len_high: u32,
    overlapped: Ptr<Overlapped>,
) -> Bool {
    if overlapped.is_null() || reserved != 0 {
        return super::fail(code::INVALID_PARAMETER);
    }
    let part = Part::new(overlapped.get().offset(), len_low, len_high);
    let waits = flags & FAIL_IMMEDIATELY == 0;
    answer(part.and_then(|part| take(handle, part, flags & EXCLUSIVE != 0, waits)).map(|()| {
        super::transfer::finish(handle, overlapped, 0);
    }))
}

extern "win64" fn UnlockFileEx(
    handle: usize,
    reserved: u32,
    len_low: u32,
    len_high: u32,
    overlapped: Ptr<Overlapped>,
) -> Bool {
    if overlapped.is_null() || reserved != 0 {
        return super::fail(code::INVALID_PARAMETER);
    }
    answer(Part::new(overlapped.get().offset(), len_low, len_high).and_then(|part| release(handle, part)))
}

table! {
    /// Locks on files.
    pub(crate) TABLE: LockFile, LockFileEx, UnlockFile, UnlockFileEx
}
