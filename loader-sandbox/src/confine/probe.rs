//! What is forbidden is attempted: whether it fails says more than whether somebody promised that it would.
//!
//! All attempts are harmless where they succeed: nothing is written, nobody is sent a signal.
//!
//! Unsafe because of the system calls that no library makes without asking back.
#![allow(unsafe_code)]

use super::{Enforced, Listener, Measure, Policy, copy::try_in_a_copy, enforced::Finding};
use rustix::{
    fs::{Mode, OFlags, open},
    io::fcntl_dupfd_cloexec,
    mm::{MapFlags, ProtFlags, mmap_anonymous, munmap},
    net::{AddressFamily, SocketType, socket},
    process::{getppid, test_kill_process},
};
use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    ptr, thread,
};

/// What is needed to try things out, taken while everything was allowed.
#[derive(Debug)]
pub(super) struct Probe {
    /// A file that can be opened now, and must not be opened then.
    outside: Option<PathBuf>,
}

impl Probe {
    pub(super) fn prepare(policy: &Policy) -> Self {
        let allowed =
            |file: &Path| policy.read.iter().chain(&policy.write).any(|path| file.starts_with(path));
        let witnesses = ["/etc/passwd", "/etc/hostname", "/usr/bin/env", "/bin/sh"];
        let outside = witnesses.map(PathBuf::from).into_iter().find(|file| !allowed(file) && can_open(file));
        Self { outside }
    }

    /// Tries everything. If refused calls wait for an answer, they are answered here.
    pub(super) fn run(&self, policy: &Policy, enforced: &mut Enforced) {
        let Some(listener) = enforced.take_listener() else {
            return self.try_all(policy, enforced);
        };
        let answered = answering(&listener, || self.try_all(policy, enforced));
        enforced.note(Measure::Reports, Finding::of(answered, "the kernel asks the supervisor"));
        enforced.listener = Some(listener);
    }

    fn try_all(&self, policy: &Policy, enforced: &mut Enforced) {
        let asked =
            |asked, finding: &dyn Fn() -> Finding| if asked { finding() } else { Finding::not_asked() };
        let findings = [
            (Measure::Files, self.files(policy, enforced)),
            (Measure::Network, asked(!policy.network, &|| network(enforced))),
            (Measure::Signals, signals(enforced)),
            (Measure::Processes, asked(!policy.processes, &processes)),
            (Measure::WriteXorExecute, asked(policy.write_xor_execute, &write_xor_execute)),
            (Measure::ForeignAbis, foreign_abis(enforced)),
        ];
        for (measure, finding) in findings {
            enforced.note(measure, finding);
        }
        if let Some(most) = policy.limits.memory.filter(|_| enforced.is_on(Measure::Memory)) {
            holds(enforced, Measure::Memory, memory(most, ProtFlags::WRITE).is_err());
        }
        if let Some(most) = policy.limits.open_files.filter(|_| enforced.is_on(Measure::OpenFiles)) {
            let most = i32::try_from(most).unwrap_or(i32::MAX);
            holds(enforced, Measure::OpenFiles, fcntl_dupfd_cloexec(io::stdin(), most).is_err());
        }
    }

    /// A file outside the policy cannot be opened, neither to be read nor to be written.
    fn files(&self, policy: &Policy, enforced: &Enforced) -> Finding {
        let Some(file) = &self.outside else {
            return match policy.reads_everything() {
                true => Finding::not_asked(),
                false => Finding::partial("there is no file to try it on"),
            };
        };
        let by = match (enforced.is_on(Measure::MountNamespace), enforced.is_on(Measure::Landlock)) {
            (true, true) => "only the policy's are there, and Landlock refuses others",
            (true, false) => "only the policy's are there",
            (false, true) => "Landlock refuses others than the policy's; their names can be seen",
            (false, false) => "none can be opened",
        };
        match (can_open(file), open(file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).is_ok()) {
            (false, false) => Finding::on(by),
            (true, false) if policy.write.is_empty() && enforced.is_on(Measure::Filter) => {
                Finding::partial("none can be changed, but all can be read")
            }
            _ => Finding::absent(format!("{} could be opened", file.display())),
        }
    }
}

/// Corrects what was promised by what is.
fn holds(enforced: &mut Enforced, measure: Measure, holds: bool) {
    if !holds {
        enforced.note(measure, Finding::absent("the system took the limit and does not keep it"));
    }
}

/// Does something while another thread answers the calls that are refused.
fn answering(listener: &Listener, work: impl FnOnce()) -> io::Result<()> {
    let (stop, done) = rustix::pipe::pipe()?;
    thread::scope(|scope| {
        let answers = thread::Builder::new().spawn_scoped(scope, || {
            while listener.wait(Some(stop.as_fd())) {
                listener.answer()?;
            }
            Ok(())
        })?;
        work();
        drop(done);
        answers.join().unwrap_or_else(|_| Err(io::Error::other("the thread that answers panicked")))
    })
}

fn can_open(file: &Path) -> bool {
    open(file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).is_ok()
}

fn network(enforced: &Enforced) -> Finding {
    match socket(AddressFamily::INET, SocketType::STREAM, None) {
        Err(_) => Finding::on("no socket can be made"),
        Ok(_) if enforced.is_on(Measure::NetworkNamespace) => {
            Finding::on("sockets can be made, but nobody is reached")
        }
        Ok(_) if enforced.is_on(Measure::Landlock) => {
            Finding::partial("TCP is refused by Landlock, and nothing else")
        }
        Ok(_) => Finding::absent("a socket could be made"),
    }
}

/// Signal 0 is none, but is refused like any other.
fn signals(enforced: &Enforced) -> Finding {
    match getppid().map(test_kill_process) {
        Some(Ok(())) if enforced.is_on(Measure::ProcessNamespace) => {
            Finding::on("there is nobody but the sandbox's own processes")
        }
        Some(Ok(())) => Finding::absent("one could be sent to the parent"),
        Some(Err(_)) => Finding::on("refused"),
        None => Finding::partial("there is no parent to try it on"),
    }
}

fn processes() -> Finding {
    match try_in_a_copy(|| Ok(())) {
        Ok(()) => Finding::absent("one could be made"),
        Err(_) => Finding::on("refused"),
    }
}

fn memory(len: u64, rights: ProtFlags) -> io::Result<()> {
    let len = usize::try_from(len).map_err(io::Error::other)?;
    // SAFETY: new address space.
    let start =
        unsafe { mmap_anonymous(ptr::null_mut(), len, rights, MapFlags::PRIVATE | MapFlags::NORESERVE) }?;
    // SAFETY: mapped above, and nobody has a reference into it.
    Ok(unsafe { munmap(start, len) }?)
}

fn write_xor_execute() -> Finding {
    match memory(4096, ProtFlags::WRITE | ProtFlags::EXEC) {
        Ok(()) => Finding::absent("such memory could be had"),
        Err(_) => Finding::on("refused; one after the other is how code is loaded"),
    }
}

/// Only the x32 call is tried: a kernel without i386 calls kills who makes one. The filter refuses both.
fn foreign_abis(enforced: &Enforced) -> Finding {
    const X32_GETPID: libc::c_long = 0x4000_0000 | libc::SYS_getpid;
    // SAFETY: asks for the process's number, if it is a call at all.
    let answer = unsafe { libc::syscall(X32_GETPID) };
    match (answer, enforced.is_on(Measure::Filter)) {
        (-1, true) => Finding::on("refused by the filter"),
        (-1, false) => Finding::partial("the kernel has no x32 calls; i386 calls are not refused"),
        _ => Finding::absent("an x32 call was answered"),
    }
}
