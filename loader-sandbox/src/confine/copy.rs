//! Something is tried in a copy of the process first, where it cannot hurt.
//!
//! Unsafe because of `fork`.
#![allow(unsafe_code)]

use rustix::process::{Pid, WaitOptions, waitpid};
use std::io;

/// Does something in a copy of this process, which then ends; what comes back is how it went there.
///
/// Only for a process with one thread: `try_it` may do then whatever it may do here.
pub(super) fn try_in_a_copy(try_it: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    // SAFETY: the copy has one thread like this process, so it holds no lock that nobody will release.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => end(try_it()),
        pid => {
            let status = loop {
                match waitpid(Pid::from_raw(pid), WaitOptions::empty()) {
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                    Ok(status) => break status,
                }
            };
            match status.and_then(|(_, status)| status.exit_status()) {
                Some(0) => Ok(()),
                Some(errno) => Err(io::Error::from_raw_os_error(errno)),
                None => Err(io::Error::other("the copy that tried it died")),
            }
        }
    }
}

fn end(result: io::Result<()>) -> ! {
    let errno = result.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
    // SAFETY: ends the process; nothing is called or flushed.
    unsafe { libc::_exit(errno) }
}
