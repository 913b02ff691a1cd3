//! What happened, in plain words.

use super::{
    carefully,
    module::{Modules, short},
    place::printable,
    record::Record,
};
use crate::signal_name;
use loader_core::{Addr, Exception, maps::Maps};
use serde::Serialize;
use std::fmt;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A signal.
    Signal {
        /// Its number.
        signal: i32,
        /// What the system says of it (`si_code`).
        code: i32,
        /// Of a bad access: the address.
        address: Addr,
    },
    /// A Windows exception that nobody handled.
    Exception(Exception),
}

/// An access that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Access {
    /// What was tried.
    pub kind: AccessKind,
    /// The address.
    pub address: u64,
    /// The page that this is in.
    pub page: Page,
}

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessKind {
    /// To read.
    Read,
    /// To write.
    Write,
    /// To execute.
    Execute,
}

/// A page and its history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Page {
    /// The rights that it has, as in `r-x`; none where nothing is mapped.
    pub rights: Option<String>,
    /// The rights that it had when the engine sealed its module.
    pub sealed: Option<String>,
    /// The module, or what else the kernel calls it.
    pub owner: Option<String>,
    /// The part of the module.
    pub section: Option<String>,
    /// It is where the thread's stack ends.
    pub stack_end: bool,
}

/// The processor's number of a page fault (Intel SDM, volume 3, table 6-1).
const PAGE_FAULT: u64 = 14;

/// The access that failed, if that is what happened, and its address is known.
pub(super) fn access(cause: &Cause, record: &Record) -> Option<(AccessKind, u64)> {
    let (kind, address) = match cause {
        Cause::Exception(Exception {
            code: ACCESS_VIOLATION | IN_PAGE_ERROR | GUARD_PAGE,
            information,
            ..
        }) => (*information.first()?, *information.get(1)?),
        Cause::Signal { signal: libc::SIGSEGV | libc::SIGBUS, address, .. } if record.trap == PAGE_FAULT => {
            // The processor's error code of a page fault (SDM, volume 3, section 4.7), as Windows numbers it.
            let kind = if record.error & 0x10 != 0 { 8 } else { record.error >> 1 & 1 };
            (kind, address.0)
        }
        _ => return None,
    };
    let kind = match kind {
        0 => AccessKind::Read,
        1 => AccessKind::Write,
        _ => AccessKind::Execute,
    };
    Some((kind, address))
}

/// What is known of a page.
pub(super) fn page(record: &Record, address: u64, modules: &Modules<'_>, maps: &Maps) -> Page {
    let mapping = maps.find(address);
    let found = modules.find(address);
    let name = || mapping.map(|m| printable(short(&m.name))).filter(|name| !name.is_empty());
    Page {
        rights: mapping.map(|m| m.rights.clone()),
        sealed: found.as_ref().and_then(|f| f.module.sealed_rights(f.offset)),
        owner: found.as_ref().map(|f| f.module.name.to_string()).or_else(name),
        section: found.as_ref().and_then(|f| carefully(|| f.image?.section_name(f.offset))),
        stack_end: is_stack_end(record, address, maps),
    }
}

/// Whether an address is below the stack in use, where that cannot grow any more.
fn is_stack_end(record: &Record, address: u64, maps: &Maps) -> bool {
    /// A function's frame may be this large: what is farther from the stack is something else.
    const FRAME: u64 = 1 << 20;
    let barred = maps.find(address).is_none_or(|m| m.rights == "---");
    let stack = maps.above(address).filter(|m| m.rights.starts_with("rw"));
    let in_use = record.rsp().saturating_sub(FRAME)..stack.map_or(0, |m| m.at.end);
    barred && address.abs_diff(record.rsp()) < FRAME && in_use.contains(&address)
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            AccessKind::Read => "read of",
            AccessKind::Write => "write to",
            AccessKind::Execute => "jump to",
        };
        write!(f, "{what} {:#x}, {}", self.address, self.page)
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stack_end {
            return f.write_str("where the stack is full");
        }
        let Some(rights) = &self.rights else { return f.write_str("which is not mapped") };
        match &self.sealed {
            Some(sealed) if sealed == rights => write!(f, "which is {rights} since seal")?,
            Some(sealed) => {
                write!(f, "which is {rights} since the code changed it, and was {sealed} at seal")?
            }
            None => write!(f, "which is {rights}")?,
        }
        match (&self.section, &self.owner) {
            (Some(section), Some(owner)) => write!(f, " ({section} of {owner})"),
            (None, Some(owner)) => write!(f, " ({owner})"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal { signal, .. } => f.write_str(&signal_name(*signal)),
            Self::Exception(exception) => write!(f, "Windows exception {:#010x}", exception.code),
        }
    }
}

const GUARD_PAGE: u32 = 0x8000_0001;
const ACCESS_VIOLATION: u32 = 0xc000_0005;
const IN_PAGE_ERROR: u32 = 0xc000_0006;

/// What a signal or an exception means, where its address does not say it all.
pub(super) fn meaning(cause: &Cause, trap: u64) -> Option<&'static str> {
    let (signal, code) = match *cause {
        Cause::Exception(Exception { code, .. }) => return windows(code),
        Cause::Signal { signal, code, .. } => (signal, code),
    };
    Some(match signal {
        _ if code <= 0 && signal != libc::SIGABRT => "somebody sent it",
        libc::SIGFPE if code == FPE_INTDIV => "a division by zero, or one whose quotient is too long",
        libc::SIGFPE => "a floating-point operation failed",
        libc::SIGILL => "no instruction of this processor",
        libc::SIGTRAP => "a breakpoint",
        libc::SIGABRT => "the code gave up",
        libc::SIGSEGV if trap != PAGE_FAULT => "an address that cannot be",
        _ => return None,
    })
}

/// `si_code` of an integer division.
const FPE_INTDIV: i32 = 1;

/// The exceptions of `ntstatus.h` that processors and runtimes raise.
fn windows(code: u32) -> Option<&'static str> {
    Some(match code {
        GUARD_PAGE => "a guard page",
        0x8000_0002 => "an address that is not aligned",
        0x8000_0003 => "a breakpoint",
        0x8000_0004 => "a single step",
        ACCESS_VIOLATION => "access violation",
        IN_PAGE_ERROR => "a page that its file does not have",
        0xc000_001d => "no instruction of this processor",
        0xc000_008c => "an array's bounds",
        0xc000_008d..=0xc000_0093 => "a floating-point operation failed",
        0xc000_0094 => "an integer division by zero",
        0xc000_0095 => "an integer division whose quotient is too long",
        0xc000_0096 => "an instruction for kernels",
        0xc000_00fd => "the stack is full",
        0xc000_0374 => "the heap is broken",
        0xc000_0409 => "the code gave up at once",
        0xe06d_7363 => "a C++ exception",
        _ => return None,
    })
}
