//! What is asked for.

use super::enforced::{Measure, Refusal};
use crate::confine::Enforced;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How a process is to be confined: plain data, made by the parent, enforced in the child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How much it may use.
    pub limits: Limits,
    /// Files that may be read, and folders in which all may be.
    pub read: Vec<PathBuf>,
    /// Files that may be written, and folders in which all may be; these may be read too.
    pub write: Vec<PathBuf>,
    /// Whether it may use the network.
    pub network: bool,
    /// Whether it may make processes: copies of itself, that is; other programs never.
    pub processes: bool,
    /// Whether memory that can be written and executed at once is refused.
    pub write_xor_execute: bool,
    /// Whether somebody answers refused calls, and so learns of them ([`Enforced::take_listener`]).
    pub supervised: bool,
    /// What must be enforced.
    pub require: Require,
}

/// How much a process may use. `None` is as much as it has already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory of its own, beside what it has when it is confined.
    pub memory: Option<u64>,
    /// Seconds of processor time.
    pub cpu: Option<u64>,
    /// Bytes of one file, those in memory (`memfd_create`) included.
    pub file_size: Option<u64>,
    /// Open descriptors.
    pub open_files: Option<u64>,
    /// Threads and processes together.
    pub tasks: Option<u64>,
}

/// Without which measures a process does not go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Require {
    /// What the machine allows.
    #[default]
    Possible,
    /// These.
    These(Vec<Measure>),
    /// All that the policy asks for.
    All,
}

impl Default for Policy {
    /// Reads what an engine needs, writes nothing, no network, no processes, no memory that is both writable and
    /// executable; no limits, and goes on with what this machine enforces.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            read: Self::essentials(),
            write: Vec::new(),
            network: false,
            processes: false,
            write_xor_execute: true,
            supervised: false,
            require: Require::Possible,
        }
    }
}

impl Policy {
    /// What every library may need that is loaded: the system's folders of libraries and the list of what is in them,
    /// what `/proc` says of the process itself, and the devices that are in no machine.
    #[must_use]
    pub fn essentials() -> Vec<PathBuf> {
        let libraries = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"];
        let others = ["/proc/self", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];
        libraries.into_iter().chain(others).map(PathBuf::from).collect()
    }

    /// Whether a file anywhere may be read.
    pub(super) fn reads_everything(&self) -> bool {
        self.read.iter().chain(&self.write).any(|path| path.as_os_str() == "/")
    }
}

impl Require {
    /// Whether what is enforced is enough.
    pub(super) fn check(&self, enforced: &Enforced) -> Result<(), Refusal> {
        let wanted = |measure: &Measure| match self {
            Self::Possible => false,
            Self::These(measures) => measures.contains(measure),
            Self::All => true,
        };
        enforced
            .missing()
            .find(|(measure, _)| wanted(measure))
            .map_or(Ok(()), |(measure, finding)| Err(Refusal { measure, finding: finding.clone() }))
    }
}
