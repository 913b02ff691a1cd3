//! One error type; every error says which module, in which stage, and what. The sentence, the `dlresultcode`
//! number and the Win32 number are all made here, each in one place.

use crate::{Addr, Rva, SymbolName};
use std::fmt;

/// A `Result` whose error is this crate's.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with whom, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Error {
    /// The module it happened to, as the user knows it.
    pub module: Box<str>,
    /// What the engine was doing.
    pub stage: Stage,
    /// What happened.
    pub kind: ErrorKind,
}

impl Error {
    /// Blames `module`, met in `stage`.
    #[must_use]
    pub fn new(module: &str, stage: Stage, kind: ErrorKind) -> Self {
        Self { module: module.into(), stage, kind }
    }
}

/// The steps of a module's life, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Stage {
    /// Understanding what the caller asked for.
    Request,
    /// Looking for the file.
    Find,
    /// Understanding the file.
    Parse,
    /// Planning what goes where.
    Plan,
    /// Putting it into memory.
    Map,
    /// Applying fixups that need no names.
    Relocate,
    /// Applying fixups that need names.
    Bind,
    /// Running ifunc resolvers and setting page rights.
    Seal,
    /// Running initialisers.
    Attach,
    /// Looking a symbol up for the caller.
    Symbol,
    /// Running code of the image for the caller.
    Call,
    /// Closing a handle.
    Close,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Request => "request",
            Self::Find => "find",
            Self::Parse => "parse",
            Self::Plan => "plan",
            Self::Map => "map",
            Self::Relocate => "relocate",
            Self::Bind => "bind",
            Self::Seal => "seal",
            Self::Attach => "attach",
            Self::Symbol => "symbol",
            Self::Call => "call",
            Self::Close => "close",
        })
    }
}

/// A text of the engine's own.
pub type Text = &'static str;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ErrorKind {
    /// No file of that name where libraries are looked for.
    NotFound {
        /// Who needs it; empty when the caller asked for it.
        needed_by: Box<str>,
    },
    /// The system refused to open, read or map the file.
    Io {
        /// What was tried.
        #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::known::text"))]
        what: Text,
        /// `errno`.
        os: i32,
    },
    /// The file is not a loadfile at all.
    NotALoadfile {
        /// What it is: `an empty file`, `a directory`, `an archive`, `a text file`.
        #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::known::text"))]
        found: Text,
    },
    /// A loadfile, but not for this machine.
    WrongMachine {
        /// The machine number in its header.
        machine: u16,
        /// Its name where it is known, else `unknown`.
        #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::known::text"))]
        name: Text,
    },
    /// A loadfile for this machine that cannot be loaded as a library.
    Unsupported {
        /// What it asks for.
        #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::known::text"))]
        what: Text,
        /// The number that says so.
        value: u64,
    },
    /// The file contradicts itself or its format.
    Malformed {
        /// Which part.
        #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::known::text"))]
        what: Text,
        /// The offending number: an offset, an address, a length.
        at: u64,
    },
    /// A region wants to be writable and executable.
    WritableCode {
        /// Where it starts.
        at: Rva,
    },
    /// A fixup would write where it may not.
    WriteOutside {
        /// The place.
        at: Rva,
        /// How many bytes.
        len: usize,
    },
    /// A value does not fit the place that a relocation gives it.
    Overflow {
        /// The place.
        at: Rva,
        /// The value.
        value: u64,
    },
    /// Nobody defines a symbol.
    Undefined {
        /// The symbol.
        symbol: SymbolName,
        /// The version it must have, where it must.
        version: Option<Box<str>>,
        /// The library that must have it, where only one may.
        from: Option<Box<str>>,
    },
    /// A library does not define a version that a file was linked against.
    VersionNotFound {
        /// The version.
        version: Box<str>,
        /// The library that should have it.
        of: Box<str>,
    },
    /// Forwarded exports lead to each other, or through too many libraries.
    ForwardLoop {
        /// The symbol at which the chain was given up.
        symbol: SymbolName,
    },
    /// The system would not give or protect memory.
    Space {
        /// What was tried.
        #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::known::text"))]
        what: Text,
        /// `errno`.
        os: i32,
    },
    /// The image must be at one address, and that place is taken.
    BaseTaken {
        /// That address.
        base: Addr,
    },
    /// All thread-local slots are in use.
    TlsExhausted {
        /// How many there are.
        slots: usize,
    },
    /// A block of static TLS does not fit what is left of it.
    StaticTlsExhausted {
        /// The block's length in bytes.
        size: u64,
        /// Its alignment.
        align: u64,
        /// The longest block that would still fit.
        left: u64,
    },
    /// An initialiser said no.
    Refused {
        /// Which kind of initialiser.
        what: crate::EntryKind,
    },
    /// A function was called that nobody defines; the load went ahead because the policy was to trap.
    MissingCalled {
        /// The function.
        symbol: SymbolName,
        /// The library that should have it, where the import says so.
        from: Option<Box<str>>,
    },
    /// Code raised a Windows exception that nobody handled.
    Exception(Box<crate::Exception>),
    /// Another library of that name is loaded, with other contents.
    NameTaken,
    /// The handle was never given out, or was closed.
    InvalidHandle,
    /// A dlsym-style lookup found nothing.
    SymbolNotFound {
        /// The symbol.
        symbol: SymbolName,
    },
    /// The mode of an open is not one that the rules know.
    BadMode {
        /// The mode.
        mode: u32,
    },
    /// A name that cannot be used: empty, not UTF-8, or with a zero byte in it.
    BadName,
    /// `NOLOAD` was given and the library is not loaded.
    NotLoaded,
    /// A declared function's library was loaded and is not any more.
    Unloaded,
    /// The engine found its own book-keeping contradictory.
    Inconsistent {
        /// Where.
        #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::known::text"))]
        what: Text,
    },
    /// The engine had to wait for another thread and was told not to, or the other thread gave up its part.
    Abandoned,
}

impl ErrorKind {
    /// An undefined symbol, as `query` asked for it.
    #[must_use]
    pub fn undefined(query: &crate::Query<'_>) -> Self {
        Self::Undefined {
            symbol: query.symbol.to_name(),
            version: query.version.map(|v| String::from_utf8_lossy(v).into()),
            from: query.from.map(Into::into),
        }
    }

    /// The error as `dlresultcode` tells it: code in the upper 16 bits, detail in the lower 16.
    ///
    /// Code 100 is the dynamic functions' own, with the details of the TNS/R manual. Codes from 200 are this
    /// engine's table for errors met while loading files; their detail is the [`Stage`], counted from 1.
    ///
    /// | code | meaning |
    /// |---|---|
    /// | 200 | not found |
    /// | 201 | the system refused to open or read the file (detail: `errno`) |
    /// | 202 | not a loadfile |
    /// | 203 | for another machine |
    /// | 204 | not supported |
    /// | 205 | malformed |
    /// | 206 | a fixup outside the image, or one that overflows |
    /// | 207 | undefined symbol, or a version that its library does not have |
    /// | 208 | forwarders in a circle |
    /// | 209 | no memory or no page rights (detail: `errno`) |
    /// | 210 | the only possible base is taken |
    /// | 211 | thread-local slots exhausted |
    /// | 212 | an initialiser refused |
    /// | 213 | a missing function was called |
    /// | 214 | another library has that name |
    /// | 215 | static TLS exhausted |
    /// | 216 | an exception that nobody handled |
    /// | 217 | a declared function's library was unloaded |
    #[must_use]
    pub fn dlresultcode(&self, stage: Stage) -> u32 {
        let own = |detail: u32| 100 << 16 | detail;
        let load = |code: u32| code << 16 | (stage as u32 + 1);
        let os = |code: u32, os: i32| code << 16 | u32::from(u16::try_from(os).unwrap_or(0));
        match self {
            Self::InvalidHandle => own(1),
            Self::SymbolNotFound { .. } => own(2),
            Self::BadMode { .. } => own(3),
            Self::BadName => own(4),
            Self::Inconsistent { .. } => own(5),
            Self::Abandoned => own(6),
            Self::NotLoaded => own(8),
            Self::NotFound { .. } => load(200),
            Self::Io { os: n, .. } => os(201, *n),
            Self::NotALoadfile { .. } => load(202),
            Self::WrongMachine { .. } => load(203),
            Self::Unsupported { .. } | Self::WritableCode { .. } => load(204),
            Self::Malformed { .. } => load(205),
            Self::WriteOutside { .. } | Self::Overflow { .. } => load(206),
            Self::Undefined { .. } | Self::VersionNotFound { .. } => load(207),
            Self::ForwardLoop { .. } => load(208),
            Self::Space { os: n, .. } => os(209, *n),
            Self::BaseTaken { .. } => load(210),
            Self::TlsExhausted { .. } => load(211),
            Self::Refused { .. } => load(212),
            Self::MissingCalled { .. } => load(213),
            Self::NameTaken => load(214),
            Self::StaticTlsExhausted { .. } => load(215),
            Self::Exception(_) => load(216),
            Self::Unloaded => load(217),
        }
    }

    /// The error as `GetLastError` tells it (numbers of `winerror.h`).
    #[must_use]
    pub fn win32(&self) -> u32 {
        match self {
            Self::NotFound { .. } | Self::NotLoaded | Self::Unloaded | Self::InvalidHandle => 126, // ERROR_MOD_NOT_FOUND
            Self::Undefined { symbol: SymbolName::Ordinal(_), .. } => 182, // ERROR_INVALID_ORDINAL
            Self::Undefined { .. }
            | Self::VersionNotFound { .. }
            | Self::SymbolNotFound { .. }
            | Self::MissingCalled { .. }
            | Self::ForwardLoop { .. } => 127, // ERROR_PROC_NOT_FOUND
            Self::NotALoadfile { found: "an empty file" } => 1006,         // ERROR_FILE_INVALID
            Self::NotALoadfile { .. }
            | Self::WrongMachine { .. }
            | Self::Unsupported { .. }
            | Self::Malformed { .. }
            | Self::WritableCode { .. }
            | Self::WriteOutside { .. }
            | Self::Overflow { .. } => 193, // ERROR_BAD_EXE_FORMAT
            Self::Io { os: libc::EACCES | libc::EPERM, .. } => 5,          // ERROR_ACCESS_DENIED
            Self::Io { .. } => 126,
            Self::Space { .. } | Self::TlsExhausted { .. } | Self::StaticTlsExhausted { .. } => 8, // ERROR_NOT_ENOUGH_MEMORY
            Self::BaseTaken { .. } => 487, // ERROR_INVALID_ADDRESS
            Self::Refused { .. } | Self::Abandoned => 1114, // ERROR_DLL_INIT_FAILED
            Self::Exception(e) if e.code == 0xc000_0005 => 998, // ERROR_NOACCESS
            Self::Exception(e) => e.code,
            Self::NameTaken => 183,                     // ERROR_ALREADY_EXISTS
            Self::BadMode { .. } | Self::BadName => 87, // ERROR_INVALID_PARAMETER
            Self::Inconsistent { .. } => 1359,          // ERROR_INTERNAL_ERROR
        }
    }
}

impl Error {
    /// See [`ErrorKind::dlresultcode`].
    #[must_use]
    pub fn dlresultcode(&self) -> u32 {
        self.kind.dlresultcode(self.stage)
    }

    /// See [`ErrorKind::win32`].
    #[must_use]
    pub fn win32(&self) -> u32 {
        self.kind.win32()
    }
}

fn os_text(os: i32) -> String {
    std::io::Error::from_raw_os_error(os).to_string()
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { needed_by } if needed_by.is_empty() => f.write_str("not found"),
            Self::NotFound { needed_by } => write!(f, "not found (needed by {needed_by})"),
            Self::Io { what, os } => write!(f, "cannot {what}: {}", os_text(*os)),
            Self::NotALoadfile { found } => write!(f, "not a loadfile: {found}"),
            Self::WrongMachine { machine, name } => {
                write!(f, "wrong machine: {name} ({machine:#x}), not x86-64")
            }
            Self::Unsupported { what, value } => write!(f, "not supported: {what} ({value:#x})"),
            Self::Malformed { what, at } => write!(f, "malformed: {what} ({at:#x})"),
            Self::WritableCode { at } => {
                write!(f, "the region at {at} wants to be writable and executable")
            }
            Self::WriteOutside { at, len } => {
                write!(f, "fixup of {len} bytes at {at} is outside the writable image")
            }
            Self::Overflow { at, value } => {
                write!(f, "value {value:#x} does not fit the relocation at {at}")
            }
            Self::Undefined { symbol, version, from } => {
                write!(f, "undefined symbol: {symbol}")?;
                version.iter().try_for_each(|v| write!(f, ", version {v}"))?;
                from.iter().try_for_each(|m| write!(f, " (in {m})"))
            }
            Self::VersionNotFound { version, of } => write!(f, "version {version} not found in {of}"),
            Self::ForwardLoop { symbol } => {
                write!(f, "forwarders go round in a circle at {symbol}")
            }
            Self::Space { what, os } => write!(f, "cannot {what}: {}", os_text(*os)),
            Self::BaseTaken { base } => {
                write!(f, "has no relocations, and its base {base} is taken")
            }
            Self::TlsExhausted { slots } => {
                write!(f, "all {slots} thread-local slots are in use")
            }
            Self::StaticTlsExhausted { size, align, left } => {
                write!(f, "needs {size} bytes of static TLS, aligned to {align}, of which {left} are left")
            }
            Self::Refused { what } => write!(f, "{what} refused to attach"),
            Self::MissingCalled { symbol, from } => {
                write!(f, "called a function that nobody defines: {symbol}")?;
                from.iter().try_for_each(|m| write!(f, " (of {m})"))
            }
            Self::Exception(exception) => exception.fmt(f),
            Self::NameTaken => f.write_str("a library of that name with other contents is loaded"),
            Self::InvalidHandle => f.write_str("invalid handle"),
            Self::SymbolNotFound { symbol } => write!(f, "symbol not found: {symbol}"),
            Self::BadMode { mode } => write!(f, "unrecognised mode: {mode:#x}"),
            Self::BadName => f.write_str("not a usable name: empty, not UTF-8, or with a zero byte in it"),
            Self::NotLoaded => f.write_str("not loaded, and NOLOAD was given"),
            Self::Unloaded => f.write_str("was unloaded since the function was declared"),
            Self::Inconsistent { what } => write!(f, "inconsistent loader state: {what}"),
            Self::Abandoned => f.write_str("abandoned by the thread that was loading it"),
        }
    }
}

impl fmt::Display for Error {
    /// `libz.so.1: relocate: fixup of 8 bytes at image+0x7fffe is outside the writable image`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let module: &str = if self.module.is_empty() { "(no module)" } else { &self.module };
        let text = format!("{module}: {}: {}", self.stage, self.kind);
        // A name out of a file may hold anything; what is shown has displayable characters only (TNS/R dlerror).
        text.chars().try_for_each(|c| fmt::Write::write_char(f, if c.is_control() { '?' } else { c }))
    }
}

impl std::error::Error for Error {}
