//! What images say while they run. ELF images write lines to descriptor 198, PE images call `tlog(const char *)` of
//! `tlog.dll`. `unsafe` because a descriptor is put at a fixed number and because a call from an image hands in a pointer.
#![allow(unsafe_code)]

use loader::HostModule;
use std::{
    ffi::{CStr, c_char},
    io::{self, BufRead, BufReader, PipeReader, PipeWriter, Write, pipe},
    os::fd::AsRawFd,
    sync::{Mutex, PoisonError},
};

/// Where ELF images write.
const DESCRIPTOR: i32 = 198;

/// Ends what was written so far; no image says this.
const PAUSE: &str = "\0";

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Hears what the images of this process say.
#[derive(Debug)]
pub struct Voice {
    from: BufReader<PipeReader>,
    own: PipeWriter,
}

impl Voice {
    /// Listens from now on. One voice a process: it takes a fixed descriptor.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen() -> io::Result<Self> {
        let (from, own) = pipe()?;
        // SAFETY: both are descriptors' numbers; number 198 is this program's to give, and nobody here uses it.
        let got = unsafe { libc::dup2(own.as_raw_fd(), DESCRIPTOR) };
        if got == -1 { Err(io::Error::last_os_error()) } else { Ok(Self { from: BufReader::new(from), own }) }
    }

    /// What was said since this was last asked, in order.
    ///
    /// # Errors
    /// What the system says.
    pub fn said(&mut self) -> io::Result<Vec<String>> {
        let mut lines = std::mem::take(&mut *SAID.lock().unwrap_or_else(PoisonError::into_inner));
        writeln!(self.own, "{PAUSE}")?;
        loop {
            let mut line = String::new();
            self.from.read_line(&mut line)?;
            match line.trim_end_matches('\n') {
                PAUSE => return Ok(lines),
                line => lines.push(line.into()),
            }
        }
    }
}

/// The module that PE images speak through.
#[must_use]
pub fn tlog() -> HostModule {
    HostModule::new("tlog.dll").function("tlog", speak as *const ())
}

extern "win64" fn speak(line: *const c_char) {
    if !line.is_null() {
        // SAFETY: the corpus' images pass text that ends with a zero byte, as `pe/common.h` declares.
        let line = unsafe { CStr::from_ptr(line) }.to_string_lossy().into_owned();
        SAID.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_order_and_once() {
        let mut voice = Voice::listen().unwrap();
        assert_eq!(voice.said().unwrap(), [""; 0]);
        for line in [&b"one\n"[..], b"two\n"] {
            // SAFETY: the bytes are as long as they say.
            let wrote = unsafe { libc::write(DESCRIPTOR, line.as_ptr().cast(), line.len()) };
            assert_eq!(wrote, 4);
        }
        assert_eq!(voice.said().unwrap(), ["one", "two"]);
        speak(c"three".as_ptr());
        assert_eq!(voice.said().unwrap(), ["three"]);
        assert_eq!(voice.said().unwrap(), [""; 0]);
    }
}
