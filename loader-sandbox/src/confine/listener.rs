//! Who hears of refused calls: the supervisor's side of the filter.
//!
//! The refused call waits in the kernel; nothing of this happens in the confined process, so whatever that does to its
//! memory, its signal handlers or its descriptors, it can neither hide a call nor pretend one.
//!
//! Unsafe because the kernel's structures are handed over by address.
#![allow(unsafe_code)]

use super::names;
use libc::{seccomp_notif, seccomp_notif_resp};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

/// A system call that confinement refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCall {
    /// Its number, in the table of its ABI.
    pub number: i64,
    /// Whose table that is.
    pub abi: Abi,
    /// Its arguments as they were in the registers.
    pub arguments: [u64; 6],
    /// The address after the instruction that made it.
    pub at: u64,
    /// The thread that made it, in the supervisor's numbers.
    pub thread: u32,
}

/// By which rules a system call was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Abi {
    /// The usual one.
    X86_64,
    /// That of 64-bit programs with 32-bit addresses.
    X32,
    /// That of 32-bit programs, which 64-bit ones can use too (`int 0x80`).
    I386,
}

/// `__X32_SYSCALL_BIT`, of linux asm/unistd.h.
const X32: i64 = 0x4000_0000;
/// `AUDIT_ARCH_I386`, of linux/audit.h: `EM_386`, little-endian.
const ARCH_I386: u32 = 0x4000_0003;

impl RefusedCall {
    /// Its name; none where the number is in no table, or in that of i386.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        match self.abi {
            Abi::X86_64 | Abi::X32 => names::name(self.number),
            Abi::I386 => None,
        }
    }

    fn of(notice: &seccomp_notif) -> Self {
        let data = &notice.data;
        let number = i64::from(data.nr);
        let (abi, number) = match data.arch {
            ARCH_I386 => (Abi::I386, number),
            _ if number & X32 != 0 => (Abi::X32, number & !X32),
            _ => (Abi::X86_64, number),
        };
        Self { number, abi, arguments: data.args, at: data.instruction_pointer, thread: notice.pid }
    }
}

impl fmt::Display for RefusedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let abi = match self.abi {
            Abi::X86_64 => "",
            Abi::X32 => "x32 ",
            Abi::I386 => "i386 ",
        };
        write!(f, "refused by confinement: {abi}syscall {}", self.number)?;
        self.name().map_or(Ok(()), |name| write!(f, " ({name})"))
    }
}

/// Answers refused calls, and tells of them: an iterator that ends when nobody is left who is under the filter. It is to
/// be followed to its end: a call that nobody answers waits until its process is killed. Hostile code makes as many as it
/// likes; who keeps them, keeps the first few.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Sends it to the supervisor, over a socket of the Unix family, with a byte that means nothing.
    ///
    /// # Errors
    /// What the system says.
    pub fn send(&self, socket: impl AsFd) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        let descriptors = [self.as_fd()];
        message.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(socket, &[IoSlice::new(&[0])], &mut message, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The call that waits, which is answered now; none if none waits.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) when nobody is left who is under the filter; what the system says
    /// when it cannot be listened at.
    pub fn answer(&self) -> io::Result<Option<RefusedCall>> {
        match self.look(None, Some(&Timespec::default()))? {
            Waiting::Call => {}
            Waiting::Nothing => return Ok(None),
            Waiting::Nobody => return Err(io::ErrorKind::NotConnected.into()),
        }
        let mut notice = seccomp_notif {
            id: 0,
            pid: 0,
            flags: 0,
            data: libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] },
        };
        if !self.request(libc::SECCOMP_IOCTL_NOTIF_RECV, &mut notice)? {
            return Ok(None); // it died meanwhile
        }
        let mut answer = seccomp_notif_resp { id: notice.id, val: 0, error: -libc::EPERM, flags: 0 };
        self.request(libc::SECCOMP_IOCTL_NOTIF_SEND, &mut answer)?; // dead or not, it called
        Ok(Some(RefusedCall::of(&notice)))
    }

    /// Asks the kernel; false if the call that this is about is no more.
    fn request<T>(&self, request: libc::Ioctl, argument: &mut T) -> io::Result<bool> {
        // SAFETY: the requests used here read and write the structure that belongs to them.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), request, &raw mut *argument) };
        match done {
            0 => Ok(true),
            _ => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
                error => Err(error),
            },
        }
    }

    /// Waits until a call waits, or `stop` can be read or hung up. False if there will be no more.
    pub(crate) fn wait(&self, stop: Option<BorrowedFd<'_>>) -> bool {
        self.look(stop, None).is_ok_and(|waiting| waiting == Waiting::Call)
    }

    /// Allocates nothing, like all of an answer: a `fork` that waits for one holds the allocator's locks, and where a policy
    /// is tried out it is answered in the same process.
    fn look(&self, stop: Option<BorrowedFd<'_>>, limit: Option<&Timespec>) -> io::Result<Waiting> {
        let here = self.0.as_fd();
        let mut fds = [here, stop.unwrap_or(here)].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        while let Err(error) = poll(&mut fds[..1 + usize::from(stop.is_some())], limit) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        Ok(match fds[0].revents() {
            now if now.contains(PollFlags::IN) => Waiting::Call,
            now if now.is_empty() => Waiting::Nothing,
            _ => Waiting::Nobody,
        })
    }
}

/// What a look at the listener shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Call,
    Nothing,
    /// Nor will there ever be anything.
    Nobody,
}

impl Iterator for Listener {
    type Item = RefusedCall;

    fn next(&mut self) -> Option<RefusedCall> {
        while self.wait(None) {
            match self.answer() {
                Ok(None) => {}
                Ok(call) => return call,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        None
    }
}

/// From the descriptor as it came over a socket.
impl From<OwnedFd> for Listener {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_call_says_its_number_and_name() {
        let call = |number, abi| RefusedCall { number, abi, arguments: [0; 6], at: 0, thread: 1 };
        let says = |number, abi| call(number, abi).to_string();
        assert_eq!(says(41, Abi::X86_64), "refused by confinement: syscall 41 (socket)");
        assert_eq!(says(20, Abi::I386), "refused by confinement: i386 syscall 20");
        assert_eq!(says(39, Abi::X32), "refused by confinement: x32 syscall 39 (getpid)");
        assert_eq!(says(9999, Abi::X86_64), "refused by confinement: syscall 9999");
    }
}
