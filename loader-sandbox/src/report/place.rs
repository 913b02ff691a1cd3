//! What is at an address: module, symbol, source line.

use super::{
    carefully,
    module::{Found, Modules},
};
use cpp_demangle::DemangleOptions;
use serde::Serialize;
use std::fmt::{self, Write};

/// An address, and what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The address.
    pub address: u64,
    /// The module that it lies in.
    pub module: Option<Offset>,
    /// The symbol that it belongs to.
    pub symbol: Option<Offset>,
    /// The nearest source line.
    pub line: Option<Line>,
}

/// A distance from something that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offset {
    /// The name.
    pub name: String,
    /// The distance in bytes.
    pub offset: u64,
}

/// A line of a source file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The file, as the compiler was told.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            0 => f.write_str(&self.name),
            offset => write!(f, "{}+{offset:#x}", self.name),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.module {
            Some(module) => module.fmt(f)?,
            None => write!(f, "{:#x}", self.address)?,
        }
        self.symbol.iter().try_for_each(|symbol| write!(f, "  {symbol}"))?;
        self.line.iter().try_for_each(|line| write!(f, "  {line}"))
    }
}

impl Modules<'_> {
    /// What is at an address.
    pub(super) fn place(&self, address: u64) -> Place {
        self.place_of(address, address)
    }

    /// What is before a return address: the call, which is what the frame is in, and may be the last of its function.
    pub(super) fn place_of_call(&self, address: u64) -> Place {
        self.place_of(address, address.wrapping_sub(1))
    }

    /// Names and lines are those of `within`, distances those of `address`.
    fn place_of(&self, address: u64, within: u64) -> Place {
        let (module, symbol) = self.names(within);
        let behind = address.wrapping_sub(within);
        let moved = |place: Offset| Offset { offset: place.offset + behind, ..place };
        let line = carefully(|| self.find(within).and_then(|found| found.image?.line(found.offset)));
        Place {
            address,
            module: module.map(moved),
            symbol: symbol.map(moved),
            line: line.map(|(file, line)| Line { file: printable(&file), line }),
        }
    }

    /// The module and the symbol at an address.
    pub(super) fn names(&self, address: u64) -> (Option<Offset>, Option<Offset>) {
        let Some(Found { module, offset, image }) = self.find(address) else { return (None, None) };
        let symbol = carefully(|| image.and_then(|image| image.symbol(offset)));
        let symbol = symbol.map(|s| Offset { name: readable(&s.name), offset: offset - s.at });
        (Some(Offset { name: module.name.to_string(), offset }), symbol)
    }
}

/// As many characters of a name are shown.
const LONGEST: usize = 1024;

/// A text of somebody else's, as it may be printed: not too long, and without what a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    let seen = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(LONGEST).map(seen).collect()
}

/// A symbol as its source spells it, where that can be told. Long ones are not tried: what some of them stand for would have
/// no end.
pub(super) fn readable(name: &[u8]) -> String {
    let name = &name[..name.len().min(LONGEST + 1)];
    let plain = printable(&String::from_utf8_lossy(name));
    if name.len() > LONGEST {
        return plain;
    }
    if let Ok(rust) = rustc_demangle::try_demangle(&plain) {
        let mut text = Short(String::new());
        return write!(text, "{rust:#}").map_or(plain, |()| printable(&text.0));
    }
    let cpp = plain.starts_with("_Z").then(|| cpp_demangle::Symbol::new(plain.as_bytes()).ok()).flatten();
    let mut text = Short(String::new());
    match cpp.map(|symbol| symbol.structured_demangle(&mut text, &DemangleOptions::default())) {
        Some(Ok(())) => printable(&text.0),
        _ => plain,
    }
}

/// Text that refuses to become long.
struct Short(String);

impl Write for Short {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        const MOST: usize = 4096;
        if self.0.len() + s.len() > MOST {
            return Err(fmt::Error);
        }
        self.0.push_str(s);
        Ok(())
    }
}
