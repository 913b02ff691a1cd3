//! The kernel's filter over system calls (seccomp): [`calls`](super::calls) as a program of the kernel's.
//!
//! A refused call fails with `EPERM`; where the process is supervised, it waits until the supervisor has heard of it and
//! says so. Calls of another ABI go the same way: i386 ones (`int 0x80`, which need no special program) by the check of
//! the architecture with which the filter begins, x32 ones because their numbers are in no group.
//!
//! Filters hold for all threads of the process, those to come and those that are there; for its copies; and however a
//! call is made: it is the kernel that looks, so code that brings its own `syscall` instruction meets the same rules.
//!
//! Unsafe because of the system call that installs a filter.
#![allow(unsafe_code)]

use super::{
    Enforced, Listener, Measure, Policy,
    calls::{self, Rules},
    enforced::Finding,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter_all_threads};
use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

/// An instruction that returns a constant.
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Puts the process under the filter of a policy. Whoever is to hear of refused calls is in `enforced` afterwards.
pub(super) fn install(policy: &Policy, enforced: &mut Enforced) {
    let filter = match policy.supervised {
        true => {
            allowed(policy, libc::SECCOMP_RET_USER_NOTIF).and_then(|program| listened_to(&program)).map(Some)
        }
        false => allowed(policy, REFUSED.into()).and_then(|program| add(&program)).map(|()| None),
    };
    // Of two answers of one kind, the kernel gives that of the last filter.
    let filter = filter.and_then(|listener| add(&unknown()?).map(|()| listener));
    let refused = filter.as_ref().map(drop).map_err(ToString::to_string);
    enforced.note(Measure::Filter, Finding::of(refused, "all calls but those on a list are refused"));
    enforced.listener = filter.ok().flatten();
    enforced.note(
        Measure::Reports,
        match (policy.supervised, &enforced.listener) {
            (false, _) => Finding::not_asked(),
            (true, Some(_)) => Finding::on("the kernel asks the supervisor"),
            (true, None) => Finding::absent("there is no filter"),
        },
    );
}

/// From here on nothing becomes executable that is not: for a process that has loaded all that it needs.
///
/// # Errors
/// What the system says when it refuses the filter.
pub fn no_new_code() -> io::Result<()> {
    add(&refusing(calls::new_code())?)
}

/// For a copy of a process that could make it because its policy allows [processes](Policy::processes): it makes none, and
/// sends no other a signal. Made once, by whoever makes the copies.
#[derive(Debug)]
pub struct NoMoreProcesses(BpfProgram);

impl NoMoreProcesses {
    /// In the place of the copy's number: more than any process has.
    const ITSELF: u32 = 0x5e1f_5e1f;

    /// What is to be enforced, but for the number of the process.
    ///
    /// # Errors
    /// None that a kernel of today would be the cause of.
    pub fn prepare() -> io::Result<Self> {
        refusing(calls::new_processes(Self::ITSELF)).map(Self)
    }

    /// From here on it holds for this process.
    ///
    /// # Errors
    /// What the system says when it refuses the filter.
    pub fn enforce(&mut self) -> io::Result<()> {
        for instruction in self.0.iter_mut().filter(|i| i.k == Self::ITSELF) {
            instruction.k = std::process::id();
        }
        add(&self.0)
    }
}

const REFUSED: SeccompAction = SeccompAction::Errno(libc::EPERM.cast_unsigned());

/// Lets through what a policy allows, and returns `answer` for everything else, whatever is wrong with it.
fn allowed(policy: &Policy, answer: u32) -> io::Result<BpfProgram> {
    let mut allowed = program(calls::rules(policy, std::process::id()), REFUSED, SeccompAction::Allow)?;
    for instruction in allowed.iter_mut().filter(|i| i.code == RETURN && i.k != libc::SECCOMP_RET_ALLOW) {
        instruction.k = answer;
    }
    Ok(allowed)
}

/// Answers calls as a kernel does that does not have them.
fn unknown() -> io::Result<BpfProgram> {
    stricter(calls::unknown(), SeccompAction::Errno(libc::ENOSYS.cast_unsigned()))
}

fn refusing(rules: Rules) -> io::Result<BpfProgram> {
    stricter(rules, REFUSED)
}

/// Answers some calls, and leaves all others, those of another architecture too, to the other filters.
fn stricter(rules: Rules, answer: SeccompAction) -> io::Result<BpfProgram> {
    let mut program = program(rules, SeccompAction::Allow, answer)?;
    for instruction in program.iter_mut().filter(|i| i.k == libc::SECCOMP_RET_KILL_PROCESS) {
        instruction.k = libc::SECCOMP_RET_ALLOW;
    }
    Ok(program)
}

fn add(program: &BpfProgram) -> io::Result<()> {
    apply_filter_all_threads(program).map_err(io::Error::other)
}

/// The program that answers calls with a rule by `matching`, and all others by `other`.
fn program(rules: Rules, other: SeccompAction, matching: SeccompAction) -> io::Result<BpfProgram> {
    let filter = SeccompFilter::new(rules, other, matching, TargetArch::x86_64).map_err(io::Error::other)?;
    filter.try_into().map_err(io::Error::other)
}

/// Installs a program for all threads, with a descriptor over which somebody hears of what it wants to have heard.
fn listened_to(program: &BpfProgram) -> io::Result<Listener> {
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
        | libc::SECCOMP_FILTER_FLAG_TSYNC
        | libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
    // With this one, since Linux 5.19, signals do not make the process ask again.
    let patient = flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let listener = add_with(program, patient).or_else(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => add_with(program, flags),
        _ => Err(error),
    })?;
    Ok(listener.into())
}

fn add_with(program: &BpfProgram, flags: libc::c_ulong) -> io::Result<OwnedFd> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the kernel copies `len` instructions, which are there, and writes nothing.
    let fd =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    let fd = i32::try_from(fd).ok().filter(|&fd| fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the descriptor was just made and is owned by nobody.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
