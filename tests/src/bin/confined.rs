//! Plays a scene of [`tests::confined`] in a process that it confines, and says as JSON what became of it.
//!
//! ```text
//! confined SCENE [as-nobody] [without-namespaces] [without-landlock] [without-filter]
//! ```
//! The words after the scene take something from this process first, so that a machine can be shown that does not have
//! it: an ordinary user, and kernels that refuse.
//!
//! Unsafe because of `fork`, and of descriptors that are nobody's.
#![allow(unsafe_code)]

use loader_sandbox::confine::{Listener, RefusedCall};
use rustix::{
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    process::{Pid, WaitOptions, waitpid},
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::{
    env,
    io::{self, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    process::ExitCode,
};
use tests::confined::{Account, LEAKED, SCENES, Scene};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let scene = SCENES.iter().find(|scene| arguments.first().is_some_and(|name| name == scene.name));
    let hindered = arguments.iter().skip(1).try_for_each(|word| hinder(word));
    match (scene, hindered) {
        (Some(scene), Ok(())) => {
            let account = play(scene).expect("a process and a socket");
            println!("{}", serde_json::to_string(&account).expect("JSON"));
            ExitCode::SUCCESS
        }
        (_, hindered) => {
            eprintln!("no such scene, or {hindered:?}");
            ExitCode::from(2)
        }
    }
}

/// Takes something from this process, and so from all that it makes.
fn hinder(word: &str) -> io::Result<()> {
    match word {
        "as-nobody" => become_nobody(),
        "without-namespaces" => refuse(libc::SYS_unshare, libc::EPERM),
        "without-landlock" => refuse(libc::SYS_landlock_create_ruleset, libc::ENOSYS),
        "without-filter" => refuse(libc::SYS_seccomp, libc::ENOSYS),
        _ => Err(io::Error::other("no such word")),
    }
}

fn become_nobody() -> io::Result<()> {
    const NOBODY: libc::c_long = 65534;
    // The kernel takes this for a program that changed its user by its own rights; in one that an ordinary user started,
    // what `/proc` says of it would be the user's.
    let calls = [
        [libc::SYS_setgroups, 0, 0],
        [libc::SYS_setgid, NOBODY, 0],
        [libc::SYS_setuid, NOBODY, 0],
        [libc::SYS_prctl, libc::PR_SET_DUMPABLE.into(), 1],
    ];
    calls.into_iter().try_for_each(|[number, a, b]| {
        // SAFETY: the calls take numbers, and an array of no elements.
        match unsafe { libc::syscall(number, a, b) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    })
}

/// A filter around everything, by which a call is answered as by a kernel that will not or cannot.
fn refuse(call: libc::c_long, errno: i32) -> io::Result<()> {
    let answer = SeccompAction::Errno(errno.cast_unsigned());
    let calls = [(call, Vec::new())].into();
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, answer, TargetArch::x86_64);
    let mut program: BpfProgram = filter.and_then(TryInto::try_into).map_err(io::Error::other)?;
    // Calls of another architecture are not its business.
    program
        .iter_mut()
        .filter(|i| i.k == libc::SECCOMP_RET_KILL_PROCESS)
        .for_each(|i| i.k = libc::SECCOMP_RET_ALLOW);
    // By `prctl`, so that the call that installs filters can be refused too, and others after it.
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr().cast() };
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: the kernel copies the program, which is there.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Plays a scene in a copy of this process.
fn play(scene: &Scene) -> io::Result<Account> {
    let (here, there) = UnixStream::pair()?;
    let (mut output, input) = io::pipe()?;
    // SAFETY: duplicates a descriptor to a number that nobody has.
    unsafe { libc::dup2(0, LEAKED) };
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: this copy has one thread, and its output is the pipe from now on.
            unsafe { libc::dup2(input.as_raw_fd(), 1) };
            let result = std::panic::catch_unwind(|| confined(scene, &there));
            let _ = io::stdout().flush();
            // SAFETY: ends the copy.
            unsafe { libc::_exit(if result.is_ok() { 0 } else { 101 }) }
        }
        pid => {
            drop((there, input));
            let (text, listener) = receive(&here)?;
            let refused =
                std::thread::spawn(|| listener.map_or(Vec::new(), Iterator::collect::<Vec<RefusedCall>>));
            let mut said = String::new();
            output.read_to_string(&mut said)?;
            let (_, status) = waitpid(Pid::from_raw(pid), WaitOptions::empty())?.expect("it was waited for");
            let refused = refused.join().expect("no panic");
            Ok(Account {
                enforced: serde_json::from_slice(&text).expect("JSON"),
                said: said.lines().map(str::to_owned).collect(),
                refused: refused.iter().map(ToString::to_string).collect(),
                exit: status.exit_status(),
                signal: status.terminating_signal(),
            })
        }
    }
}

/// In the copy: enforces the policy, tells, and plays.
fn confined(scene: &Scene, socket: &UnixStream) {
    let mut enforced = (scene.policy)().enforce(&[socket.as_fd()]);
    let listener = enforced.as_mut().ok().and_then(|enforced| enforced.take_listener());
    let sent = match listener {
        Some(listener) => listener.send(socket),
        None => (&*socket).write_all(&[0]),
    };
    let text = serde_json::to_vec(&enforced).expect("JSON");
    sent.and_then(|()| (&*socket).write_all(&text)).expect("somebody who receives");
    socket.shutdown(Shutdown::Write).expect("a socket");
    if enforced.is_ok() {
        (scene.play)();
    }
}

/// What is enforced, and the listener if there is one.
fn receive(socket: &UnixStream) -> io::Result<(Vec<u8>, Option<Listener>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::empty())?;
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let mut text = Vec::new();
    (&*socket).read_to_end(&mut text)?;
    Ok((text, descriptor.map(Listener::from)))
}
