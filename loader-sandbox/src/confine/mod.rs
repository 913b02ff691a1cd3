//! Confinement: what a process may ask of the system, and how far this machine enforces it.
//!
//! ```text
//! the parent                                   the child, with one thread, before the first foreign byte
//! Policy ──────── plain data ────────────────► Policy::enforce
//!                                                descriptors → namespaces → privileges → limits → Landlock → filter
//! Enforced ◄────── plain data ──────────────────  → probe: what is forbidden is attempted
//! Listener ◄────── a descriptor ────────────────  (if supervised: each refused call as a value)
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
pub use filter::{no_more_processes, no_new_code};
pub use listener::{Abi, Listener, RefusedCall};
pub use policy::{Limits, Policy, Require};

use probe::Probe;

impl Policy {
    /// Confines this process, for good, and says how far this machine went along.
    ///
    /// For a process that has only just started, has one thread, and has run nobody's code but its own program's. The
    /// first call of this comes before anything else is open or running that it would take away.
    ///
    /// # Errors
    /// The first measure that the policy requires and that is not enforced. The process is confined as far as it goes
    /// then, and good for nothing but to say so.
    pub fn enforce(&self) -> Result<Enforced, Refusal> {
        let mut enforced = Enforced::default();
        let probe = Probe::prepare(self);
        let alone = paths::one_thread();
        enforced.note(Measure::Descriptors, descriptors::close_others(&self.keep));
        namespaces::enter(self, &mut enforced);
        enforced.note(Measure::ParentDeath, privileges::die_with_parent());
        // From here on nobody can give it anything that it does not have.
        privileges::drop_all(&mut enforced);
        limits::set(&self.limits, &mut enforced);
        enforced.note(Measure::Landlock, paths::restrict(self, alone));
        // From here on every call is looked at.
        filter::install(self, &mut enforced);
        probe.run(self, &mut enforced);
        self.require.check(&enforced)?;
        Ok(enforced)
    }
}
