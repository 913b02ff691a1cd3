//! Lets a fuzzer drive a function of a library in this process: `int f(const uint8_t *bytes, size_t len)`, the form that
//! libFuzzer has.
//!
//! After each call the writable memory of what was loaded is what it was before the first, so that inputs know nothing of
//! each other. [`FuzzTarget::cover`] tells the fuzzer which code an input was the first to reach, though nobody compiled it
//! for that. `tests/fuzz` has a target for libFuzzer, and `afl-target` among the tests' programs drives any library for
//! AFL++.
//!
//! Unsafe because what is called is the user's word, and its memory is put back behind its back.
#![allow(unsafe_code)]

use crate::{Arg, Convention, Error, ErrorKind, FoundSymbol, Library, Stage, SymbolName, library};
use loader_core::Query;
use loader_sandbox::server::{Snapshot, coverage};
use std::{io, sync::atomic::AtomicU8};

/// A function that a fuzzer calls.
#[derive(Debug)]
pub struct FuzzTarget {
    library: Library,
    function: (FoundSymbol, Convention),
    before: Snapshot,
}

impl FuzzTarget {
    /// A function of a library, and memory as it is now.
    ///
    /// # Errors
    /// [`ErrorKind::SymbolNotFound`]; what the system says when it does not say what is mapped.
    ///
    /// # Safety
    /// The symbol is a function of this form. From now on nobody else loads, unloads or runs anything in the library's
    /// engine, and what was loaded can bear to have its memory put back.
    pub unsafe fn new(library: Library, symbol: impl Into<SymbolName>) -> Result<Self, Error> {
        let function = library.find_function(&Query::lookup(symbol.into().as_symbol()))?;
        // SAFETY: the caller's word: nobody else uses the memory of what the engine loaded, which stays.
        let before = unsafe { Snapshot::take(&library.engine().places()) };
        let before = before.map_err(|error| trouble(&library, &error, "read what is mapped"))?;
        Ok(Self { library, function, before })
    }

    /// Sets a counter when a basic block is reached for the first time in this process, one for each block (see
    /// [`coverage`]); returns how many blocks there are. Once in a process.
    ///
    /// As each block is told once, a fuzzer that weighs inputs by how often their runs tell something soon leaves the best of
    /// them alone: libFuzzer wants `-entropic=0`.
    ///
    /// # Errors
    /// What the system says of this process's own memory.
    pub fn cover(&self, counters: &'static [AtomicU8]) -> Result<usize, Error> {
        // SAFETY: the caller of `new` said that nobody runs anything and that it stays.
        let blocks =
            unsafe { coverage::plant(self.function.0.at, &self.library.engine().places(), counters) };
        blocks.map_err(|error| trouble(&self.library, &error, "plant breakpoints"))
    }

    /// Calls the function, puts memory back, and gives what it returned.
    ///
    /// # Errors
    /// An exception of Windows code that nobody handled: a fuzzer wants a panic then, or an abort. A fault in ELF code is a
    /// signal, which is the fuzzer's.
    pub fn run(&self, input: &[u8]) -> Result<u64, Error> {
        let bytes = input.as_ptr().expose_provenance() as u64;
        let arguments = [Arg::Word(bytes), Arg::Word(input.len() as u64)];
        let (found, convention) = &self.function;
        // SAFETY: the caller of `new` said that it is a function of this form.
        let returned = unsafe { library::call(self.library.engine(), found, *convention, &arguments) };
        self.before.restore();
        returned.map(|(integer, _)| integer)
    }
}

fn trouble(library: &Library, error: &io::Error, what: &'static str) -> Error {
    let os = error.raw_os_error().unwrap_or(0);
    Error::new(library.name(), Stage::Request, ErrorKind::Space { what, os })
}
