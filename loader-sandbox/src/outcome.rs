//! What comes of an operation in a sandbox: a value, or one of the ways in which it can fail.

use crate::{confine::Refusal, report::Fault, signal_name};
use loader_core::Error;
use serde::{Deserialize, Serialize};
use std::{fmt, io};

/// What an operation in a sandbox comes to.
pub type Outcome<T> = Result<T, Failure>;

/// How an operation failed. It is told from the outside wherever it can be: by the system, not by what the guest says.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The engine said no. The sandbox goes on.
    Refused(Error),
    /// A function of Windows said no, with this number (`GetLastError`). The sandbox goes on.
    Windows(u32),
    /// The guest faulted. After a Windows exception the sandbox goes on; after a signal it is gone.
    Faulted(Box<Fault>),
    /// The guest ended its process with this code.
    Exited(i32),
    /// A signal ended the guest's process that no fault made, or nothing is known of the fault: the guest had taken the
    /// signal for itself, or had no stack left.
    Died(i32),
    /// It went over a limit and was killed.
    Killed(Limit),
    /// The kernel stopped it (`SIGSYS`) for a system call that some filter forbids: its number. What the sandbox's own filter
    /// forbids is refused, and the guest goes on with an error.
    Forbidden(i64),
    /// The sandbox ended before: an earlier operation said how.
    Gone,
    /// What came back is no answer. The sandbox is gone.
    Garbled,
    /// The operation asks for more than fits the channel, or for what has no name.
    TooMuch(&'static str),
    /// The sandbox could not be started as it was asked for, or the system failed it.
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The machine cannot confine the guest as far as was required.
    Unmet(Refusal),
}

/// What a sandbox has only so much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Limit {
    /// Memory that the guest has at a time.
    Memory,
    /// Processor time of one operation.
    Cpu,
    /// Time that one operation takes.
    Wall,
    /// What the guest prints.
    Output,
}

impl Failure {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System { what, error }
    }

    /// Whether the sandbox can still be used.
    #[must_use]
    pub fn is_survived(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Windows(_) | Self::TooMuch(_) => true,
            Self::Faulted(fault) => fault.is_survived(),
            _ => false,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Memory => "memory",
            Self::Cpu => "processor time",
            Self::Wall => "time",
            Self::Output => "output",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Windows(code) => write!(f, "refused by Windows' rules: error {code}"),
            Self::Faulted(fault) => fault.fmt(f),
            Self::Exited(code) => write!(f, "the guest exited with code {code}"),
            Self::Died(signal) => write!(f, "the guest died of {}", signal_name(*signal)),
            Self::Killed(limit) => write!(f, "killed: over the limit of {limit}"),
            Self::Forbidden(call) => write!(f, "stopped at a forbidden system call ({call})"),
            Self::Gone => f.write_str("the sandbox has ended before"),
            Self::Garbled => f.write_str("what came out of the sandbox is no answer"),
            Self::TooMuch(what) => write!(f, "cannot be sent into the sandbox: {what}"),
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
            Self::Unmet(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(error) => Some(error),
            Self::System { error, .. } => Some(error),
            Self::Unmet(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// What a function returned, in the two registers in which functions return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    pub(crate) integer: u64,
    pub(crate) float: u64,
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the type of the result says how much of the register counts"
)]
impl Returned {
    /// An `int` or a `BOOL`.
    #[must_use]
    pub const fn i32(self) -> i32 {
        self.integer as i32
    }
    /// An unsigned number of 32 bits.
    #[must_use]
    pub const fn u32(self) -> u32 {
        self.integer as u32
    }
    /// A signed number of 64 bits.
    #[must_use]
    pub const fn i64(self) -> i64 {
        self.integer as i64
    }
    /// An unsigned number of 64 bits, or an address.
    #[must_use]
    pub const fn u64(self) -> u64 {
        self.integer
    }
    /// C's `bool`.
    #[must_use]
    pub const fn bool(self) -> bool {
        self.integer as u8 != 0
    }
    /// A `float`.
    #[must_use]
    pub const fn f32(self) -> f32 {
        f32::from_bits(self.float as u32)
    }
    /// A `double`.
    #[must_use]
    pub const fn f64(self) -> f64 {
        f64::from_bits(self.float)
    }
}
