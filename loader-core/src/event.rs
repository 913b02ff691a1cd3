//! What happened, in order. The command, the log and the tests all read this one stream; no stage prints.

use crate::{Addr, EntryKind, Error, Format, Handle, Hold, Occasion, Placement, Symbol};
use std::{fmt, path::Path};

bitflags::bitflags! {
    /// Kinds of event, as TNS/R `VERBOSE(n)` tells them apart.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Topics: u8 {
        /// Warnings and errors.
        const TROUBLE = 1;
        /// Files loaded and unloaded, and what is called in them.
        const FILES = 2;
        /// Which definition each import got.
        const SYMBOLS = 4;
        /// Where files are looked for.
        const FILE_SEARCH = 8;
        /// Where symbols are looked for.
        const SYMBOL_SEARCH = 16;
    }
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A file is looked for at a path.
    Trying {
        /// The library.
        name: &'a str,
        /// The path.
        path: &'a Path,
    },
    /// A library was found and understood.
    Found {
        /// The library.
        name: &'a str,
        /// Its format.
        format: Format,
        /// Who needs it; empty for the embedder.
        needed_by: &'a str,
        /// Its file, where it has one.
        path: Option<&'a Path>,
    },
    /// No file was found; a stand-in takes its place, because the policy is to trap.
    StandIn {
        /// The library.
        name: &'a str,
        /// Who needs it.
        needed_by: &'a str,
    },
    /// An image is in memory.
    Mapped {
        /// The library.
        name: &'a str,
        /// Where.
        at: Placement,
    },
    /// The fixups that need no names are done.
    Relocated {
        /// The library.
        name: &'a str,
        /// How many there were.
        count: usize,
    },
    /// A library was asked for a symbol.
    Asked {
        /// The library that imports it.
        from: &'a str,
        /// The symbol.
        symbol: Symbol<'a>,
        /// The library that was asked.
        of: &'a str,
    },
    /// An import has its definition.
    Bound {
        /// The library that imports it.
        from: &'a str,
        /// The symbol.
        symbol: Symbol<'a>,
        /// The library that defines it.
        to: &'a str,
        /// The definition's address; 0 for a thread-local variable.
        at: Addr,
    },
    /// An import has no definition, and a stub took its place, because the policy is to trap.
    Missing {
        /// The library that imports it.
        from: &'a str,
        /// The symbol.
        symbol: Symbol<'a>,
        /// The library that should have it, where the import says so.
        of: Option<&'a str>,
    },
    /// A library does not define a version that a file would like it to have, but does not insist on.
    NoVersion {
        /// The library whose file says so.
        name: &'a str,
        /// The version.
        version: &'a str,
        /// The library that should have it.
        of: &'a str,
    },
    /// Page rights are set; nobody writes to the image any more.
    Sealed {
        /// The library.
        name: &'a str,
    },
    /// The library belongs to the load set now.
    Committed {
        /// The library.
        name: &'a str,
    },
    /// A library wants to stay for good, and the rules say that it will not.
    WantsToStay {
        /// The library.
        name: &'a str,
        /// The reason that is overruled.
        hold: &'a Hold,
    },
    /// A handle was given out.
    Opened {
        /// Its target.
        name: &'a str,
        /// The handle.
        handle: Handle,
        /// How many handles the target has now.
        handles: u32,
    },
    /// This thread waits for another one to finish with a library.
    Waiting {
        /// The library.
        name: &'a str,
    },
    /// A function of the library is called.
    Calling {
        /// The library.
        name: &'a str,
        /// The kind of function.
        kind: EntryKind,
        /// The occasion.
        occasion: Occasion,
    },
    /// All its initialisers ran.
    Attached {
        /// The library.
        name: &'a str,
    },
    /// All its terminators ran.
    Detached {
        /// The library.
        name: &'a str,
    },
    /// Its memory is given back.
    Unmapped {
        /// The library.
        name: &'a str,
    },
    /// A handle was taken back.
    Closed {
        /// Its target.
        name: &'a str,
        /// The handle.
        handle: Handle,
        /// How many handles the target has left.
        handles: u32,
    },
    /// An entry point made a call that entry points are advised not to make.
    Advice {
        /// The library.
        name: &'a str,
        /// The function it called.
        what: &'a str,
        /// Why the entry point was running.
        occasion: Occasion,
        /// Whether the call failed for that.
        refused: bool,
    },
    /// An operation failed.
    Failed {
        /// Why.
        error: &'a Error,
    },
}

impl Event<'_> {
    /// What kind of event this is.
    #[must_use]
    pub fn topic(&self) -> Topics {
        match self {
            Self::Trying { .. } => Topics::FILE_SEARCH,
            Self::Asked { .. } => Topics::SYMBOL_SEARCH,
            Self::Bound { .. } => Topics::SYMBOLS,
            Self::StandIn { .. }
            | Self::Missing { .. }
            | Self::NoVersion { .. }
            | Self::WantsToStay { .. }
            | Self::Advice { .. }
            | Self::Failed { .. } => Topics::TROUBLE,
            _ => Topics::FILES,
        }
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trying { name, path } => write!(f, "trying     {name}: {}", path.display()),
            Self::Found { name, format, needed_by, path } => {
                write!(f, "found      {name} ({format}")?;
                path.iter().try_for_each(|p| write!(f, ", {}", p.display()))?;
                f.write_str(")")?;
                if !needed_by.is_empty() {
                    write!(f, ", needed by {needed_by}")?;
                }
                Ok(())
            }
            Self::StandIn { name, needed_by } => {
                write!(f, "stand-in   {name}: not found, needed by {needed_by}")
            }
            Self::Mapped { name, at } => {
                write!(f, "mapped     {name} at {}, {:#x} bytes", at.base, at.len)
            }
            Self::Relocated { name, count } => write!(f, "relocated  {name}: {count} fixups"),
            Self::Asked { from, symbol, of } => {
                write!(f, "asked      {of} for {} ({from})", symbol.text())
            }
            Self::Bound { from, symbol, to, at } => {
                write!(f, "bound      {from}: {} -> {to} at {at}", symbol.text())
            }
            Self::Missing { from, symbol, of } => {
                write!(f, "missing    {from}: {}", symbol.text())?;
                of.iter().try_for_each(|m| write!(f, " (of {m})"))
            }
            Self::NoVersion { name, version, of } => {
                write!(f, "missing    {name}: version {version} in {of}")
            }
            Self::Sealed { name } => write!(f, "sealed     {name}"),
            Self::Committed { name } => write!(f, "committed  {name}"),
            Self::WantsToStay { name, hold } => write!(f, "overruled  {name}: {hold}"),
            Self::Opened { name, handle, handles } => {
                write!(f, "opened     {name}: {handle}, {handles} outstanding")
            }
            Self::Waiting { name } => write!(f, "waiting    for {name}"),
            Self::Calling { name, kind, occasion } => {
                write!(f, "calling    {kind} of {name}: {occasion}")
            }
            Self::Attached { name } => write!(f, "attached   {name}"),
            Self::Detached { name } => write!(f, "detached   {name}"),
            Self::Unmapped { name } => write!(f, "unmapped   {name}"),
            Self::Closed { name, handle, handles } => {
                write!(f, "closed     {name}: {handle}, {handles} outstanding")
            }
            Self::Advice { name, what, occasion, refused } => {
                let refused = if *refused { ", and refused" } else { "" };
                write!(f, "advice     {name}: {what} called from its entry point ({occasion}){refused}")
            }
            Self::Failed { error } => write!(f, "failed     {error}"),
        }
    }
}

/// Whoever wants to know what happens. Called in the thread in which it happens; it must not open or close.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Observer for F {
    fn event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Writes an event to the `log` crate.
pub(crate) fn log(event: &Event<'_>) {
    let level = match event.topic() {
        Topics::TROUBLE => log::Level::Warn,
        Topics::FILES => log::Level::Info,
        Topics::SYMBOLS => log::Level::Debug,
        _ => log::Level::Trace,
    };
    log::log!(target: "loader", level, "{event}");
}
