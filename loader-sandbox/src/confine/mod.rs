//! Confinement: what a process may ask of the system, and how far this machine enforces it.
//!
//! ```text
//! the parent                          the child, with one thread, before the first foreign byte
//! Policy ──────── plain data ───────► enter:  descriptors → namespaces → a root folder
//!                                     apply:  privileges → limits → Landlock → filter
//! Enforced ◄───── plain data ──────────        → probe: what is forbidden is attempted
//! Listener ◄───── a descriptor ────────        (if supervised: each refused call as a value)
//! ```
//! Read in this order: [`Policy`] → [`Policy::enforce`] → [`Enforced`] → `calls` (the reasoned list of system calls) →
//! [`Listener`].
//!
//! Each measure says truthfully how far it goes on this machine: on, partial or absent, and why. What does not work is
//! said, not guessed; what works is tried out. Whoever needs a measure requires it ([`Require`]).
//!
//! # What "write xor execute" means here
//! No call gives memory that can be written and executed at once, neither when it is made nor later. Memory may be
//! written first and executed then: this is how code is loaded, by the engine and by any just-in-time compiler. One file
//! in memory can be mapped twice, to be written here and executed there. [`no_new_code`] ends both for a process that has
//! loaded all that it needs.
//!
//! # What the memory limit leaves out
//! The kernel counts what a process has for itself. Files in memory (`memfd_create`) are held by the limits of a file's
//! size and of open descriptors, which multiply; what is mapped of them a [`Sandbox`](crate::Sandbox) looks at itself.
//!
//! # What is not hidden
//! The names and attributes of files outside the policy, without the mount namespace; the load of the machine, its name
//! and its kernel; the number of the parent process.

mod calls;
mod copy;
mod descriptors;
mod enforced;
mod filter;
mod limits;
mod listener;
mod names;
mod namespaces;
mod paths;
mod policy;
mod privileges;
mod probe;
mod root;

pub use enforced::{Enforced, Finding, Measure, Refusal, State};
pub use filter::{NoMoreProcesses, no_new_code};
pub(crate) use limits::no_core_dumps;
pub use listener::{Abi, Listener, RefusedCall};
pub use policy::{Limits, Policy, Require};
pub(crate) use root::show_own_processes;

use loader_core::tls;
use namespaces::Processes;
use probe::Probe;
use std::os::fd::BorrowedFd;

/// A process that has only just started, has one thread, and has entered what takes it away from others. The rest comes
/// with [`apply`](Entered::apply), to it or to one that it makes.
#[derive(Debug)]
pub(crate) struct Entered {
    enforced: Enforced,
    probe: Probe,
}

/// The helper's first step: nothing of the guest, the engine or the program runs yet. Of its descriptors 0, 1, 2 and
/// those to keep stay open.
pub(crate) fn enter(policy: &Policy, keep: &[BorrowedFd<'_>]) -> Entered {
    Entered::new(policy, keep, Processes::Own)
}

impl Entered {
    fn new(policy: &Policy, keep: &[BorrowedFd<'_>], processes: Processes) -> Self {
        let (mut enforced, probe) = (Enforced::default(), Probe::prepare(policy));
        enforced.note(Measure::Descriptors, descriptors::close_others(keep));
        namespaces::enter(policy, processes, &mut enforced);
        Self { enforced, probe }
    }

    /// Whether the next process that is made is the first of a namespace of processes. It calls [`show_own_processes`].
    pub(crate) fn has_own_processes(&self) -> bool {
        self.enforced.is_on(Measure::ProcessNamespace)
    }

    /// The last step before the guest's first byte. What it says is what is enforced from now on.
    pub(crate) fn apply(self, policy: &Policy) -> Result<Enforced, Refusal> {
        let Self { mut enforced, probe } = self;
        let alone = tls::only_thread();
        enforced.note(Measure::ParentDeath, privileges::die_with_parent());
        // From here on nobody can give it anything that it does not have.
        privileges::drop_all(&mut enforced);
        limits::set(&policy.limits, &mut enforced);
        let landlock = paths::restrict(policy, alone, &enforced);
        enforced.note(Measure::Landlock, landlock);
        // From here on every call is looked at.
        filter::install(policy, &mut enforced);
        probe.run(policy, &mut enforced);
        policy.require.check(&enforced)?;
        Ok(enforced)
    }
}

impl Policy {
    /// Confines this process, for good, and says how far this machine went along. Of its descriptors 0, 1, 2 and those to
    /// keep stay open.
    ///
    /// For a process that has only just started, has one thread, and has run nobody's code but its own program's. What a
    /// [`Sandbox`](crate::Sandbox) starts is confined already, and has a namespace of processes too.
    ///
    /// # Errors
    /// The first measure that the policy requires and that is not enforced. The process is confined as far as it goes
    /// then, and good for nothing but to say so.
    pub fn enforce(&self, keep: &[BorrowedFd<'_>]) -> Result<Enforced, Refusal> {
        Entered::new(self, keep, Processes::Shared).apply(self)
    }
}
