//! Calling into images: the one place from which foreign code is entered.
//!
//! [`Native`] makes the calls; [`Dry`] makes none, for images on [`Flat`](crate::space::Flat) and for tests of the
//! load set. What a call may meet and what is promised then:
//!
//! * the callee opens, looks up and closes libraries: no lock is held that it could wait for;
//! * it calls an import that nobody defines, or raises a Windows exception that nobody handles: [`guarded`] returns a
//!   typed error, frames in between are abandoned;
//! * it unwinds (a C++ exception, a Rust panic), and is caught where its language says: in the same module, in another
//!   one, in a function of the host. Every frame of this engine lets it pass;
//! * it unwinds out of an initialiser: so it does out of `open`, which undoes itself on the way. Nothing that the open
//!   brought can be found any more, and what was initialised is terminated. But the memory stays mapped for good,
//!   because the exception's type and its destructor may lie there;
//! * it unwinds out of a terminator: the process ends with a message, as C++ has it for destructors of static objects;
//! * it faults: in Windows code that is an exception like any other, in ELF code the process gets the signal. Run it in a
//!   child (`loader-sandbox`) where that matters.

mod native;
mod raw;

pub use native::Native;
pub use raw::{
    Arg, Convention, Guards, MissingImport, change_guards, goes_on_at, guarded, innermost, invoke,
    leave_for_exception, leave_with, leaving_for_exception,
};

use crate::{
    Addr, Entry, EntryKind, ErrorKind, Format, Image, Placement, TlsHome, index::Listing, module::Identity,
};
use std::{fmt, sync::Arc};

/// Why an image's entry is called; Windows images are told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Occasion {
    /// It was loaded by an open.
    Loaded,
    /// It belongs to the main program's load set and was loaded with it.
    LoadedWithProgram,
    /// It is being unloaded, or its load failed.
    Unloaded,
    /// The program ends with it.
    ProgramEnds,
    /// A thread starts.
    ThreadStarts,
    /// A thread ends.
    ThreadEnds,
}

impl Occasion {
    /// `fdwReason`.
    #[must_use]
    pub const fn reason(self) -> u32 {
        match self {
            Self::Unloaded | Self::ProgramEnds => 0,     // DLL_PROCESS_DETACH
            Self::Loaded | Self::LoadedWithProgram => 1, // DLL_PROCESS_ATTACH
            Self::ThreadStarts => 2,                     // DLL_THREAD_ATTACH
            Self::ThreadEnds => 3,                       // DLL_THREAD_DETACH
        }
    }

    /// `lpvReserved`: non-null for what comes or goes with the program.
    #[must_use]
    pub const fn reserved(self) -> usize {
        matches!(self, Self::LoadedWithProgram | Self::ProgramEnds) as usize
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Loaded => "loaded",
            Self::LoadedWithProgram => "loaded with the program",
            Self::Unloaded => "unloaded",
            Self::ProgramEnds => "the program ends",
            Self::ThreadStarts => "a thread starts",
            Self::ThreadEnds => "a thread ends",
        })
    }
}

/// Stubs that stand for imports which nobody defines. They live as long as this does.
pub trait Stubs: Send + Sync + fmt::Debug {
    /// The address of a stub for one import.
    ///
    /// # Errors
    /// [`ErrorKind::Space`].
    fn stub(&mut self, import: MissingImport) -> Result<Addr, ErrorKind>;
}

/// Whoever calls into images.
pub trait Caller: Send + Sync + fmt::Debug {
    /// Makes the calling thread ready to run code of a format.
    ///
    /// # Errors
    /// What the environment of that format says.
    fn enter(&self, format: Format) -> Result<(), ErrorKind>;

    /// Calls an entry; false where the entry refused.
    ///
    /// # Errors
    /// [`ErrorKind::MissingCalled`].
    fn entry(&self, entry: Entry, base: Addr, occasion: Occasion) -> Result<bool, ErrorKind>;

    /// Asks an ifunc resolver.
    ///
    /// # Errors
    /// [`ErrorKind::MissingCalled`].
    fn resolver(&self, at: Addr) -> Result<Addr, ErrorKind>;

    /// The module at `base` has been terminated: what it left with the process, to be called later, is called now or
    /// never will be.
    ///
    /// # Errors
    /// [`ErrorKind::MissingCalled`].
    fn withdraw(&self, base: Addr) -> Result<(), ErrorKind> {
        let _ = base;
        Ok(())
    }

    /// A new, empty set of stubs.
    fn stubs(&self) -> Box<dyn Stubs>;

    /// Lists a module whose code is about to run, for unwinders and for whoever else walks the modules of the process;
    /// nobody walks to modules whose code never runs.
    fn list(&self, _: &Identity, _: &Arc<dyn Image>, _: Placement, _: Option<TlsHome>) -> Option<Listing> {
        None
    }
}

/// Calls nothing: every entry agrees, every resolver answers with its own address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dry;

impl Caller for Dry {
    fn enter(&self, _: Format) -> Result<(), ErrorKind> {
        Ok(())
    }
    fn entry(&self, _: Entry, _: Addr, _: Occasion) -> Result<bool, ErrorKind> {
        Ok(true)
    }
    fn resolver(&self, at: Addr) -> Result<Addr, ErrorKind> {
        Ok(at)
    }
    fn stubs(&self) -> Box<dyn Stubs> {
        Box::new(*self)
    }
}

impl Stubs for Dry {
    fn stub(&mut self, _: MissingImport) -> Result<Addr, ErrorKind> {
        Ok(Addr(0))
    }
}

/// Whether a call's answer can refuse a load: DllMain's FALSE when its image comes (DllMain reference).
pub(crate) fn may_refuse(kind: EntryKind, occasion: Occasion) -> bool {
    kind == EntryKind::DllMain && matches!(occasion, Occasion::Loaded | Occasion::LoadedWithProgram)
}
