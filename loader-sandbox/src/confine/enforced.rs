//! What came of it: a value that tells the truth.

use super::Listener;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap, fmt};

/// One thing that is done, or one thing that is kept from happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Measure {
    /// No descriptor is open that is not meant to be.
    Descriptors,
    /// The process dies with its parent.
    ParentDeath,
    /// No core file is written.
    CoreDumps,
    /// Users of a namespace of its own: no right over anything outside.
    UserNamespace,
    /// Mounts of a namespace of its own, in which there is only what may be read or written.
    MountNamespace,
    /// A network of its own, on which nobody else is.
    NetworkNamespace,
    /// System V objects and message queues of its own.
    IpcNamespace,
    /// Processes of a namespace of its own: no number for anybody else's.
    ProcessNamespace,
    /// No capability is left, not even to root.
    Capabilities,
    /// Nothing that it could start would have more rights than it has.
    NoNewPrivileges,
    /// The kernel's rules over files, TCP ports and signals.
    Landlock,
    /// The kernel's filter over system calls.
    Filter,
    /// Somebody learns of calls that the filter refuses.
    Reports,
    /// The limit of memory holds.
    Memory,
    /// The limit of processor time holds.
    CpuTime,
    /// The limit of a file's size holds.
    FileSize,
    /// The limit of open descriptors holds.
    OpenFiles,
    /// The limit of threads and processes holds.
    Tasks,
    /// Only the files that the policy names can be opened.
    Files,
    /// Nobody can be reached over the network.
    Network,
    /// No signal reaches another process.
    Signals,
    /// No process can be made.
    Processes,
    /// No memory can be written and executed at once.
    WriteXorExecute,
    /// The system calls of other processors' ABIs (i386, x32) are refused.
    ForeignAbis,
}

/// How far a measure goes on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It is enforced.
    On,
    /// It is enforced, but not as far as its name says.
    Partial,
    /// It is not enforced.
    Absent,
    /// The policy does not ask for it.
    NotAsked,
}

/// How far a measure goes, and how or why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How far.
    pub state: State,
    /// By what it is enforced, or why it is not.
    pub detail: Cow<'static, str>,
}

impl Finding {
    pub(super) fn on(by: impl Into<Cow<'static, str>>) -> Self {
        Self { state: State::On, detail: by.into() }
    }

    pub(super) fn partial(why: impl Into<Cow<'static, str>>) -> Self {
        Self { state: State::Partial, detail: why.into() }
    }

    pub(super) fn absent(why: impl Into<Cow<'static, str>>) -> Self {
        Self { state: State::Absent, detail: why.into() }
    }

    pub(super) const fn not_asked() -> Self {
        Self { state: State::NotAsked, detail: Cow::Borrowed("the policy does not ask for it") }
    }

    /// What the system's answer to a request comes to.
    pub(super) fn of<E: fmt::Display>(answer: Result<(), E>, by: impl Into<Cow<'static, str>>) -> Self {
        match answer {
            Ok(()) => Self::on(by),
            Err(error) => Self::absent(format!("the system refuses: {error}")),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.state == State::On
    }
}

/// What is enforced in a process: each measure, how far it goes, and how or why.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Enforced {
    findings: BTreeMap<Measure, Finding>,
    #[serde(skip)]
    pub(super) listener: Option<Listener>,
}

impl Enforced {
    pub(super) fn note(&mut self, measure: Measure, finding: Finding) {
        self.findings.insert(measure, finding);
    }

    /// How far a measure goes.
    #[must_use]
    pub fn finding(&self, measure: Measure) -> Option<&Finding> {
        self.findings.get(&measure)
    }

    /// Whether a measure is enforced as far as its name says.
    #[must_use]
    pub fn is_on(&self, measure: Measure) -> bool {
        self.finding(measure).is_some_and(Finding::is_on)
    }

    /// All measures.
    pub fn findings(&self) -> impl Iterator<Item = (Measure, &Finding)> {
        self.findings.iter().map(|(measure, finding)| (*measure, finding))
    }

    /// The measures that the policy asks for and that are not, or not fully, enforced.
    pub fn missing(&self) -> impl Iterator<Item = (Measure, &Finding)> {
        self.findings().filter(|(_, finding)| matches!(finding.state, State::Partial | State::Absent))
    }

    /// In the confined process, under a policy that says it is supervised: what another process needs in order to answer
    /// refused calls. It is sent there ([`AsFd`](std::os::fd::AsFd)) and dropped here before foreign code runs; where
    /// nobody answers any more, refused calls fail with `ENOSYS`.
    pub const fn take_listener(&mut self) -> Option<Listener> {
        self.listener.take()
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Descriptors => "descriptors closed",
            Self::ParentDeath => "dies with its parent",
            Self::CoreDumps => "no core files",
            Self::UserNamespace => "user namespace",
            Self::MountNamespace => "mount namespace",
            Self::NetworkNamespace => "network namespace",
            Self::IpcNamespace => "IPC namespace",
            Self::ProcessNamespace => "process namespace",
            Self::Capabilities => "no capabilities",
            Self::NoNewPrivileges => "no new privileges",
            Self::Landlock => "Landlock",
            Self::Filter => "system call filter",
            Self::Reports => "refused calls reported",
            Self::Memory => "memory limit",
            Self::CpuTime => "processor time limit",
            Self::FileSize => "file size limit",
            Self::OpenFiles => "open files limit",
            Self::Tasks => "threads limit",
            Self::Files => "files",
            Self::Network => "network",
            Self::Signals => "signals to others",
            Self::Processes => "new processes",
            Self::WriteXorExecute => "write xor execute",
            Self::ForeignAbis => "i386 and x32 calls",
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::On => "on",
            Self::Partial => "partial",
            Self::Absent => "absent",
            Self::NotAsked => "not asked",
        })
    }
}

/// A table, a measure a line.
impl fmt::Display for Enforced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings().try_for_each(|(measure, Finding { state, detail })| {
            writeln!(f, "{measure:<24}{state:<11}{detail}")
        })
    }
}

/// A measure that was required is not enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which.
    pub measure: Measure,
    /// How far it goes instead, and why.
    pub finding: Finding,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { state, detail } = &self.finding;
        write!(f, "confinement is required and {state} here: {}: {detail}", self.measure)
    }
}

impl std::error::Error for Refusal {}
