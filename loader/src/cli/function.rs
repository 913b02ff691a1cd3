//! Calling a function whose signature only the user knows, and reading the text that it points to.
//!
//! The one room for `unsafe` of this command: that the function is what the command line says is the user's word, and
//! a wrong one can do anything, to this process. `call` therefore runs in a process of its own; `demo` calls what it
//! brought itself.
#![allow(unsafe_code)]

use super::value::{Argument, Type, Value};
use loader::{Addr, Arg, Convention, Error, Format, Library, Stage, SymbolName, invoke};
use loader_core::Query;
use std::{cell::Cell, ffi::CStr};

/// What a call came to.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) value: Value,
    /// What the `out:` arguments received, with their positions, counted from 1.
    pub(super) out: Vec<(usize, Value)>,
    /// The library that has the function.
    pub(super) of: Box<str>,
}

/// Finds a function in a library, or in what that needs, and calls it.
pub(super) fn call(
    library: &Library,
    symbol: &SymbolName,
    arguments: &[Argument],
    returns: Type,
) -> Result<Answer, Error> {
    let query = match symbol {
        SymbolName::Name(name) => Query::name(name),
        SymbolName::Ordinal(ordinal) => Query::ordinal(*ordinal),
    };
    let found = library.find(&query)?;
    let convention = match found.format {
        Format::Elf => Convention::SystemV,
        Format::Pe => Convention::Windows,
        // A function of the host has the convention of those for whom it is there.
        Format::Host if library.module().is_some_and(|m| m.format == Format::Pe) => Convention::Windows,
        Format::Host => Convention::SystemV,
    };
    let blame = |kind| Error::new(&found.module, Stage::Call, kind);
    let format = if convention == Convention::Windows { Format::Pe } else { Format::Elf };
    library.engine().load_set().enter(format).map_err(blame)?;

    let cells: Vec<Cell<u64>> = arguments.iter().map(|_| Cell::new(0)).collect();
    let word = |(argument, cell): (&Argument, &Cell<u64>)| match argument {
        Argument::Plain(arg) => *arg,
        Argument::Text(text) => Arg::Word(text.as_ptr().expose_provenance() as u64),
        Argument::Out(_) => Arg::Word(cell.as_ptr().expose_provenance() as u64),
    };
    let words: Vec<Arg> = arguments.iter().zip(&cells).map(word).collect();
    let (integer, float) = invoke_as_told(found.at, convention, &words).map_err(blame)?;

    let bits = if matches!(returns, Type::F32 | Type::F64) { float } else { integer };
    let out = arguments.iter().zip(&cells).enumerate().filter_map(|(n, (argument, cell))| match argument {
        Argument::Out(kind) => Some((n + 1, Value::read(*kind, cell.get(), text_at))),
        _ => None,
    });
    Ok(Answer { value: Value::read(returns, bits, text_at), out: out.collect(), of: found.module })
}

fn invoke_as_told(at: Addr, convention: Convention, words: &[Arg]) -> Result<(u64, u64), loader::ErrorKind> {
    // SAFETY: the caller's library is open during the call; the rest is the user's word (see above).
    unsafe { invoke(at, convention, words) }
}

fn text_at(address: u64) -> String {
    let text = std::ptr::with_exposed_provenance(address as usize);
    // SAFETY: not null (`Value::read`); that text is there is the user's word (see above).
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}
