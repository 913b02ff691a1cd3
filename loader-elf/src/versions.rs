//! Symbol versions: `DT_VERSYM` gives every symbol a number, `DT_VERDEF` and `DT_VERNEED` give numbers their names.

use crate::{
    dynamic::{DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM, DT_VERSYM, Dynamic},
    malformed,
    plan::Segments,
    read::{is_text_at, text_at, u16_at, u32_at},
};
use loader_core::ErrorKind;
use std::ops::Range;

/// Set in a symbol's version number when references without a version must not find it.
const HIDDEN: u16 = 0x8000;
/// In a definition: the name of the library itself, not a version.
const BASE: u16 = 1;
/// More records of needed versions than this cannot have numbers of their own.
const MOST: u64 = 1 << 15;
/// Numbers from here on are versions with a name; 0 is "local" and 1 is "global".
const FIRST: u16 = 2;

/// The versions of an image.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    /// The version number of each symbol; `None` where the image has no versions.
    symbols: Option<Range<usize>>,
    /// By version number, where its name starts in the string table.
    names: Vec<Option<u32>>,
    /// By version number, where the name of the library starts that must have it.
    files: Vec<Option<u32>>,
}

/// How well a definition answers a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// This is the one.
    Exact,
    /// A version with a name, good for a query without one.
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
        let (mut names, mut files) = (Vec::new(), Vec::new());
        if symbols.is_some() {
            let count = |tag| dynamic.get(tag).unwrap_or(0);
            let table = |range: Option<Range<usize>>| range.and_then(|r| bytes.get(r)).unwrap_or(&[]);
            let defined = table(find("version definitions outside the file", DT_VERDEF)?);
            let needed = table(find("version needs outside the file", DT_VERNEED)?);
            definitions(defined, count(DT_VERDEFNUM), &mut names)?;
            needs(needed, count(DT_VERNEEDNUM), &mut names, &mut files)?;
        }
        Ok(Self { symbols, names, files })
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

    /// Whether symbol number `symbol`, a definition, answers a query for `wanted`.
    ///
    /// A named version is answered by the definition of that version, or by one that has none and is not hidden.
    /// A query without a version takes a definition without one, or else the one default version.
    pub(crate) fn accept(&self, bytes: &[u8], strings: &[u8], symbol: u32, wanted: Option<&[u8]>) -> Match {
        let Some(number) = self.number(bytes, symbol) else {
            return Match::Exact;
        };
        let (number, hidden) = (number & !HIDDEN, number & HIDDEN != 0);
        let name = self.names.get(usize::from(number)).copied().flatten();
        match (wanted, name) {
            (Some(wanted), Some(name)) if is_text_at(strings, name, wanted) => Match::Exact,
            (Some(_), None) if !hidden => Match::Exact,
            (None, _) if number < FIRST => Match::Exact,
            (None, _) if !hidden => Match::Default,
            _ => Match::No,
        }
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

fn definitions(table: &[u8], count: u64, names: &mut Vec<Option<u32>>) -> Result<(), ErrorKind> {
    let mut at = 0;
    for _ in 0..count {
        let record = || {
            let (flags, number) = (u16_at(table, at + 2)?, u16_at(table, at + 4)?);
            let aux = at.checked_add(u32_at(table, at + 12)? as usize)?;
            Some((flags, number, u32_at(table, aux)?, u32_at(table, at + 16)?))
        };
        let (flags, number, text, step) =
            record().ok_or_else(|| malformed("version definition", at as u64))?;
        if flags & BASE == 0 {
            name(names, number, text);
        }
        match next(at, step) {
            Some(further) => at = further,
            None => break,
        }
    }
    Ok(())
}

fn needs(
    table: &[u8],
    count: u64,
    names: &mut Vec<Option<u32>>,
    files: &mut Vec<Option<u32>>,
) -> Result<(), ErrorKind> {
    let mut at = 0;
    let mut left = MOST;
    for _ in 0..count {
        let record = || {
            let (count, file) = (u16_at(table, at + 2)?, u32_at(table, at + 4)?);
            let aux = at.checked_add(u32_at(table, at + 8)? as usize)?;
            Some((count, file, aux, u32_at(table, at + 12)?))
        };
        let (versions, file, mut aux, step) = record().ok_or_else(|| malformed("version need", at as u64))?;
        for _ in 0..versions {
            left = left.checked_sub(1).ok_or_else(|| malformed("more versions than numbers", MOST))?;
            let record =
                || Some((u16_at(table, aux + 6)?, u32_at(table, aux + 8)?, u32_at(table, aux + 12)?));
            let (number, text, step) = record().ok_or_else(|| malformed("needed version", aux as u64))?;
            name(names, number, text);
            name(files, number, file);
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
