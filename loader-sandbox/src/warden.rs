//! The process between the user's and the guest's: it waits until the guest ends or the user does not want it any more,
//! and leaves nothing of what the guest started.
//!
//! It runs no foreign code. In a namespace of processes it is the first one, with which all others go; elsewhere whatever
//! loses its parent becomes its child.

use crate::{os, shared::Mapped};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, kill_process_group, pidfd_open,
        set_child_subreaper, set_parent_process_death_signal, setpgid, wait,
    },
};
use std::{
    fs, io,
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

/// How long it is tried to find all that the guest started.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who lives in the process that a warden watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ward {
    Guest,
    /// The first of a namespace of processes. When it ends by itself, it has told how the guest ended.
    Warden,
}

/// Goes on in a new process; the old one becomes its warden and never returns.
pub(crate) fn split(ward: Ward, channel: &UnixStream, shared: &Mapped) -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    match os::fork()? {
        Some(guest) => watch(ward, guest, channel, shared),
        None => {
            setpgid(None, None)?;
            set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(())
        }
    }
}

fn watch(ward: Ward, guest: Pid, channel: &UnixStream, shared: &Mapped) -> ! {
    be_quiet();
    if let Ok(process) = pidfd_open(guest, PidfdFlags::empty()) {
        let mut either = [PollFd::new(&process, PollFlags::IN), PollFd::new(channel, PollFlags::RDHUP)];
        while poll(&mut either, None) == Err(Errno::INTR) {}
    }
    clear(ward, guest, shared);
    os::exit(0)
}

/// The guest's output ends with the guest.
fn be_quiet() {
    if let Ok(null) = fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// Kills and reaps the guest and all that it started.
fn clear(ward: Ward, guest: Pid, shared: &Mapped) {
    let start = Instant::now();
    let _ = kill_process_group(guest, Signal::KILL);
    let _ = kill_process(guest, Signal::KILL); // it may have left its group
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == guest => {
                if ward == Ward::Guest || !status.exited() {
                    shared.ended(status.as_raw().cast_unsigned());
                }
                if getpid() == Pid::INIT {
                    break; // with the first process of a namespace all others go
                }
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) if start.elapsed() < PATIENCE => {
                for child in children() {
                    let _ = kill_process(child, Signal::KILL);
                }
                thread::sleep(Duration::from_micros(200));
            }
            _ => break,
        }
    }
}

/// The children of this process, by what the system lists.
fn children() -> Vec<Pid> {
    let own = getpid().as_raw_nonzero().get();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
    let parent = |pid: i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<i32>().ok()
    };
    let pids = entries.flatten().filter_map(number).filter(|&pid| parent(pid) == Some(own));
    pids.filter_map(Pid::from_raw).collect()
}
