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
    let (mounts, processes) = match policy.reads_everything() {
        true => (Finding::not_asked(), Finding::not_asked()),
        false => mounts(policy, processes),
    };
    enforced.note(Measure::MountNamespace, mounts);
    enforced.note(Measure::ProcessNamespace, processes);
}

/// A root folder, and processes to go with it: without a `/proc` that speaks of the same processes, code that asks there
/// about itself would be told of somebody else.
fn mounts(policy: &Policy, processes: Processes) -> (Finding, Finding) {
    let mounts = || root::change(policy);
    let both = || part(UnshareFlags::NEWPID).and_then(|()| mounts());
    let done = |result| Finding::of(result, "a root folder in which only the policy's files are");
    let only_mounts = || done(try_in_a_copy(mounts).and_then(|()| mounts()));
    if processes == Processes::Shared {
        return (only_mounts(), Finding::not_asked());
    }
    // Its first process is a copy's copy, here; the real one comes later.
    match try_in_a_copy(|| both().and_then(|()| try_in_a_copy(root::show_own_processes))) {
        Ok(()) => {
            let result = both();
            let processes = if result.is_ok() { Ok(()) } else { Err("the root folder cannot be changed") };
            (done(result), Finding::of(processes, "without numbers of anybody else's"))
        }
        Err(error) => (only_mounts(), Finding::of(Err(error), "")),
    }
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
