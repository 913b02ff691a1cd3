//! What the two sides say to each other: a request at a time, and its reply.
//!
//! Both are the same program, so both know the same types; but the helper runs foreign code, so what it says is read as a
//! file from nobody knows where is: every length is checked, and what is not understood is [`Failure::Garbled`].

use crate::{
    Failure, Limit,
    confine::{Enforced, Policy, Refusal},
    process::Limits,
    server::Mode,
};
use loader_core::{
    Error, Format, MissingPolicy, Placement, Rights, Rva, SymbolName, call::Arg, set::FoundSymbol,
};
use serde::{Deserialize, Serialize};
use std::{io, ops::Range, path::PathBuf};

/// The rules of the engine in the helper.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EngineSetup {
    /// What happens to imports that nobody defines.
    pub missing: MissingPolicy,
    /// Folders in which DLLs are looked for, after that of the DLL that needs one.
    pub dll_path: Vec<PathBuf>,
    /// The folder that is all that Windows code sees of the host's files, as drive `C:`.
    pub windows_root: Option<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) engine: EngineSetup,
    /// None for a guest that is not confined.
    pub(crate) policy: Option<Policy>,
    /// The kinds of events that are told.
    pub(crate) topics: u8,
    /// Of random numbers, where these and time are to be the same in every run.
    pub(crate) seed: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first one.
    Begin(Setup),
    /// Of a library whose bytes come along, or else of a file.
    Load { name: String, bytes: Option<u64> },
    /// Bytes of a library that will be needed by name.
    Provide { name: String, bytes: u64 },
    /// Of a function.
    Call { target: Target, symbol: SymbolName, arguments: Vec<Passed>, bytes: u64 },
    /// Of a function, without calling it.
    Find { target: Target, symbol: SymbolName },
    /// Of a library.
    Close { library: u32 },
    /// Of the engine.
    Renew,
    /// A call for each of the inputs that come along, one behind the other. Each may use as much as the limits say.
    Cases { call: Call, mode: Mode, limits: Limits, lengths: Vec<u64> },
    /// Of the engine, and of the process.
    End,
}

/// A function that is called.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) target: Target,
    pub(crate) symbol: SymbolName,
}

/// What one case came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ran {
    /// The function returned this in its two registers.
    Returned(u64, u64),
    /// It did not: trouble, as it is sent.
    Failed(Vec<u8>),
    /// The copy of the process that it ran in ended, with this status.
    Ended(i32),
}

/// Whose function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Of the first library that has it.
    First,
    /// Of a library, or of what that needs.
    Library(u32),
    /// Of what the engine has of Windows itself: of KERNEL32.
    Windows,
}

/// An argument as it is passed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Passed {
    Scalar(Arg),
    /// The address of a place in the bytes that come along.
    Place(u64),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Begun(Enforced),
    Loaded { library: u32, modules: Vec<Module> },
    Called { integer: u64, float: u64 },
    Found(FoundSymbol),
    Renewed { modules: Vec<Module> },
    Ran(Vec<Ran>),
    Done,
}

/// Why a request failed in the helper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Trouble {
    Engine(Error),
    System {
        os: i32,
    },
    Unmet(Refusal),
    /// Of one case, which says so itself.
    Over(Limit),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::System { os: error.raw_os_error().unwrap_or(0) }
    }
}

/// A module that is loaded in the sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Module {
    /// The name it is known by.
    pub name: Box<str>,
    /// Its file, where it has one.
    pub path: Option<PathBuf>,
    /// Its format.
    pub format: Format,
    /// Where it is.
    pub at: Placement,
    /// The rights of its pages, as they are while its code runs; empty for what the engine did not load.
    pub rights: Vec<(Range<Rva>, Rights)>,
}

pub(crate) fn encode<T: Serialize>(what: &T) -> Result<Vec<u8>, Failure> {
    // The one thing that has no form is a path that is not UTF-8.
    postcard::to_stdvec(what).map_err(|_| Failure::TooMuch("a path that is not UTF-8"))
}

pub(crate) fn decode<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, Failure> {
    postcard::from_bytes(bytes).map_err(|_| Failure::Garbled)
}
