//! A world of its own: users, network and IPC objects that nobody else sees, and none of anybody else's.
//!
//! The user namespace comes first: in it even an ordinary user may have the others made. The process keeps its user and
//! group number. What is mounted in the mount namespace is in [`root`].
//!
//! The namespace of processes is one for those that this process makes. Its first must not be the confined one, for which
//! the kernel would ignore signals that it sends itself: `abort()` would end otherwise than anywhere else. So it is only
//! for who puts a process in between.
//!
//! Unsafe because `unshare` can also part a thread from the descriptors of its process.
#![allow(unsafe_code)]

use super::{Enforced, Measure, Policy, copy::try_in_a_copy, enforced::Finding, root};
use rustix::{
    process::{getegid, geteuid},
    thread::{UnshareFlags, unshare_unsafe},
};
use std::{fs, io};

/// Whose first process of a namespace the next one is that this process makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Processes {
    /// Nobody's: it is one like this.
    Shared,
    /// That of a namespace of its own, where the machine allows.
    Own,
}

/// Enters namespaces, as far as the machine allows.
pub(super) fn enter(policy: &Policy, processes: Processes, enforced: &mut Enforced) {
    // Half of it would be worse than nothing: a process whose user has no number here.
    let user = try_in_a_copy(users).and_then(|()| users());
    enforced.note(
        Measure::UserNamespace,
        Finding::of(user, "a namespace in which it has no rights over anything"),
    );
    let network = match policy.network {
        true => Finding::not_asked(),
        false => own(UnshareFlags::NEWNET, "a network without interfaces"),
    };
    enforced.note(Measure::NetworkNamespace, network);
    enforced.note(Measure::IpcNamespace, own(UnshareFlags::NEWIPC, "without objects of anybody else's"));
    // A copy that tries it must be the first of a namespace too, and not of that which is meant for the next process.
    let part_processes = || if processes == Processes::Own { part(UnshareFlags::NEWPID) } else { Ok(()) };
    let mounts = (!policy.reads_everything())
        .then(|| try_in_a_copy(|| part_processes().and_then(|()| root::change(policy))));
    enforced.note(
        Measure::ProcessNamespace,
        match processes {
            Processes::Shared => Finding::not_asked(),
            Processes::Own => Finding::of(part_processes(), "without numbers of anybody else's"),
        },
    );
    let mounts = mounts.map(|tried| tried.and_then(|()| root::change(policy)));
    enforced.note(
        Measure::MountNamespace,
        mounts.map_or(Finding::not_asked(), |done| {
            Finding::of(done, "a root folder in which only the policy's files are")
        }),
    );
}

fn own(namespace: UnshareFlags, by: &'static str) -> Finding {
    Finding::of(part(namespace), by)
}

pub(super) fn part(namespace: UnshareFlags) -> io::Result<()> {
    // SAFETY: asks for a namespace, never for descriptors of its own.
    Ok(unsafe { unshare_unsafe(namespace) }?)
}

fn users() -> io::Result<()> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    part(UnshareFlags::NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}
