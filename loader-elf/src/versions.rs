//! Symbol versions: `DT_VERSYM` gives every symbol a number, `DT_VERDEF` and `DT_VERNEED` give numbers their names.

use crate::{
    dynamic::{DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM, DT_VERSYM, Dynamic},
    malformed,
    plan::Segments,
    read::{is_text_at, text_at, u16_at, u32_at},
};
use loader_core::{ErrorKind, NeededVersion, Purpose};
use std::ops::Range;

/// Most files have no more versions.
const FEW: usize = 16;
/// Set in a symbol's version number when references without a version must not find it.
const HIDDEN: u16 = 0x8000;
/// In a definition: the name of the library itself, not a version.
const BASE: u16 = 1;
/// More records of needed versions than this cannot have numbers of their own.
const MOST: u64 = 1 << 15;
/// In a need: a library without that version is worth no more than a warning.
const WEAK: u16 = 2;
/// Numbers from here on are versions with a name; 0 is "local" and 1 is "global".
const FIRST: u16 = 2;
/// A reference without a version was linked before the library had any: the first version is what it had then.
const OLDEST: u16 = FIRST;

/// The versions of an image.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    /// The version number of each symbol; `None` where the image has no versions.
    symbols: Option<Range<usize>>,
    /// By version number, where its name starts in the string table.
    names: Vec<Option<u32>>,
    /// By version number, where the name of the library starts that must have it.
    files: Vec<Option<u32>>,
    /// Where the names of the versions start that are defined here.
    defined: Vec<u32>,
    /// The versions that other libraries must define.
    needed: Vec<Needed>,
}

/// A version that another library must define: where its name and the library's name start.
#[derive(Clone, Copy, Debug)]
struct Needed {
    version: u32,
    file: u32,
    weak: bool,
}

/// How well a definition answers a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// This is the one.
    Exact,
    /// A default version, good for a query without one if it is the only one.
    Default,
    /// Not this one.
    No,
}

impl Versions {
    /// Reads the tables.
    pub(crate) fn read(dynamic: &Dynamic, segments: &Segments, bytes: &[u8]) -> Result<Self, ErrorKind> {
        let find = |what, tag| match dynamic.get(tag) {
            Some(at) => segments.tail(at).map(Some).ok_or_else(|| malformed(what, at)),
            None => Ok(None),
        };
        let symbols = find("symbol versions outside the file", DT_VERSYM)?;
        let mut versions = Self { symbols, ..Self::default() };
        if versions.symbols.is_some() {
            let count = |tag| dynamic.get(tag).unwrap_or(0);
            let table = |range: Option<Range<usize>>| range.and_then(|r| bytes.get(r)).unwrap_or(&[]);
            let defined = table(find("version definitions outside the file", DT_VERDEF)?);
            let needed = table(find("version needs outside the file", DT_VERNEED)?);
            versions.names.reserve(FEW);
            versions.definitions(defined, count(DT_VERDEFNUM))?;
            versions.needs(needed, count(DT_VERNEEDNUM))?;
        }
        Ok(versions)
    }

    fn number(&self, bytes: &[u8], symbol: u32) -> Option<u16> {
        u16_at(bytes.get(self.symbols.clone()?)?, (symbol as usize).checked_mul(2)?)
    }

    /// The version that a reference to symbol number `symbol` asks for.
    pub(crate) fn of<'a>(&self, bytes: &[u8], strings: &'a [u8], symbol: u32) -> Option<&'a [u8]> {
        let number = self.number(bytes, symbol)? & !HIDDEN;
        let name = self.names.get(usize::from(number)).copied().flatten()?;
        text_at(strings, name.into())
    }

    /// The library that the version of a reference to symbol number `symbol` was linked against. It decides nothing:
    /// whoever defines that version may answer.
    pub(crate) fn file<'a>(&self, bytes: &[u8], strings: &'a [u8], symbol: u32) -> Option<&'a [u8]> {
        let number = self.number(bytes, symbol)? & !HIDDEN;
        let name = self.files.get(usize::from(number)).copied().flatten()?;
        text_at(strings, name.into())
    }

    /// Whether symbol number `symbol`, a definition, answers a query for `wanted`, by the rules of glibc.
    ///
    /// A named version is answered by the definition of that version; for a reference also by one that has none and
    /// is not hidden. Without a version, a definition without one is taken; a reference takes the oldest version as
    /// well, hidden or not. Else it must be the one default version.
    #[inline]
    pub(crate) fn accept(
        &self,
        bytes: &[u8],
        strings: &[u8],
        symbol: u32,
        wanted: Option<&[u8]>,
        purpose: Purpose,
    ) -> Match {
        let Some(number) = self.number(bytes, symbol) else {
            return Match::Exact;
        };
        let (number, hidden) = (number & !HIDDEN, number & HIDDEN != 0);
        let reference = purpose == Purpose::Reference;
        let Some(wanted) = wanted else {
            return match number < FIRST || reference && number == OLDEST {
                true => Match::Exact,
                false if hidden => Match::No,
                false => Match::Default,
            };
        };
        match self.names.get(usize::from(number)).copied().flatten() {
            Some(name) if is_text_at(strings, name, wanted) => Match::Exact,
            None if reference && !hidden => Match::Exact,
            _ => Match::No,
        }
    }

    /// Whether a version is defined here; `None` where none is.
    pub(crate) fn defines(&self, strings: &[u8], version: &[u8]) -> Option<bool> {
        let mut defined = self.defined.iter();
        (!self.defined.is_empty()).then(|| defined.any(|&name| is_text_at(strings, name, version)))
    }

    /// The versions that other libraries must define, in file order.
    pub(crate) fn needed<'a>(
        &'a self,
        strings: &'a [u8],
    ) -> impl Iterator<Item = Result<NeededVersion<'a>, ErrorKind>> {
        let text = |at: u32| {
            text_at(strings, at.into()).ok_or_else(|| malformed("offset of a version's name", at.into()))
        };
        self.needed
            .iter()
            .map(move |n| Ok(NeededVersion { version: text(n.version)?, of: text(n.file)?, weak: n.weak }))
    }

    fn definitions(&mut self, table: &[u8], count: u64) -> Result<(), ErrorKind> {
        let mut at = 0;
        for _ in 0..count {
            let record = || {
                let (flags, number) = (u16_at(table, at + 2)?, u16_at(table, at + 4)?);
                let aux = at.checked_add(u32_at(table, at + 12)? as usize)?;
                Some((flags, number, u32_at(table, aux)?, u32_at(table, at + 16)?))
            };
            let (flags, number, text, step) =
                record().ok_or_else(|| malformed("version definition", at as u64))?;
            self.defined.push(text);
            if flags & BASE == 0 {
                name(&mut self.names, number, text);
            }
            match next(at, step) {
                Some(further) => at = further,
                None => break,
            }
        }
        Ok(())
    }

    fn needs(&mut self, table: &[u8], count: u64) -> Result<(), ErrorKind> {
        let mut at = 0;
        let mut left = MOST;
        for _ in 0..count {
            let record = || {
                let (count, file) = (u16_at(table, at + 2)?, u32_at(table, at + 4)?);
                let aux = at.checked_add(u32_at(table, at + 8)? as usize)?;
                Some((count, file, aux, u32_at(table, at + 12)?))
            };
            let (versions, file, mut aux, step) =
                record().ok_or_else(|| malformed("version need", at as u64))?;
            for _ in 0..versions {
                left = left.checked_sub(1).ok_or_else(|| malformed("more versions than numbers", MOST))?;
                let record = || {
                    let (flags, number) = (u16_at(table, aux + 4)?, u16_at(table, aux + 6)?);
                    Some((flags, number, u32_at(table, aux + 8)?, u32_at(table, aux + 12)?))
                };
                let (flags, number, version, step) =
                    record().ok_or_else(|| malformed("needed version", aux as u64))?;
                self.needed.push(Needed { version, file, weak: flags & WEAK != 0 });
                name(&mut self.names, number, version);
                name(&mut self.files, number, file);
                match next(aux, step) {
                    Some(further) => aux = further,
                    None => break,
                }
            }
            match next(at, step) {
                Some(further) => at = further,
                None => break,
            }
        }
        Ok(())
    }
}

/// Gives a version number its name.
fn name(names: &mut Vec<Option<u32>>, number: u16, at: u32) {
    let number = usize::from(number & !HIDDEN);
    if names.len() <= number {
        names.resize(number + 1, None);
    }
    names[number] = Some(at);
}

/// One step along a chain of records: `None` at its end. A step of 0 ends it, so every step makes progress.
fn next(at: usize, step: u32) -> Option<usize> {
    (step != 0).then(|| at.checked_add(step as usize)).flatten()
}
