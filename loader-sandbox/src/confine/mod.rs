//! What the guest may ask of the system.

use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf};

/// What the guest may have, and how much of that must be enforced.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Policy {
    /// Files, and folders with all below, that may be read.
    pub read: Vec<PathBuf>,
    /// Files, and folders with all below, that may be read and written.
    pub write: Vec<PathBuf>,
    /// Whether the network may be used.
    pub network: bool,
    /// What must be enforced for the sandbox to start.
    pub require: Require,
}

/// What must be enforced for a sandbox to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Require {
    /// What the machine allows.
    #[default]
    Possible,
    /// All of it.
    All,
}

/// What is enforced.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Enforced {}

/// What the guest asked the system for and may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The number of the system call, where it is known.
    pub call: Option<i64>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("killed: a forbidden system call")?;
        self.call.iter().try_for_each(|call| write!(f, " ({call})"))
    }
}

/// What was done when the process had only just started.
#[derive(Debug, Default)]
pub(crate) struct Entered {
    /// The next process that is forked is the first of a namespace of processes.
    pub(crate) processes: bool,
}

/// The helper's first step: it has one thread, and nothing of the guest, the engine or the program runs yet.
pub(crate) fn enter(_: &Policy) -> Result<Entered, String> {
    Ok(Entered::default())
}

/// The last step before the guest's first byte: the engine is there. What it says is what is enforced from now on.
pub(crate) fn apply(_: &Policy) -> Result<Enforced, String> {
    Ok(Enforced::default())
}
