//! Looking a name up: the tables of an image, its GNU or System V hash, its versions.
//!
//! The same code serves a file of ours and a library that the host has in memory: both are bytes and ranges of them.

use crate::{
    dynamic::{DT_GNU_HASH, DT_HASH, DT_STRSZ, DT_STRTAB, DT_SYMENT, DT_SYMTAB, Dynamic},
    malformed,
    plan::Segments,
    read::{is_text_at, u32_at},
    symbol::{SYMBOL, Symbol},
    versions::{Match, Versions},
};
use loader_core::{ErrorKind, NameFilter, NeededVersion, Query};
use std::{ffi::CStr, ops::Range};

/// Where the tables are that give symbols their names, all checked to lie inside the bytes.
#[derive(Debug)]
pub(crate) struct Tables {
    symbols: Range<usize>,
    strings: Range<usize>,
    hash: Hash,
    versions: Versions,
}

#[derive(Debug)]
enum Hash {
    /// Nothing can be found.
    None,
    Gnu {
        /// A power of two of 64-bit words.
        bloom: Range<usize>,
        /// The second bit that a name sets in the filter is this much further up in its hash.
        shift: u32,
        buckets: Range<usize>,
        chains: Range<usize>,
        /// The first symbol that has a place in the chains.
        first: u32,
    },
    SysV {
        buckets: Range<usize>,
        chains: Range<usize>,
    },
}

/// Symbols by number, with the GNU hashes of their names: these need not be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hashed<'a> {
    symbols: &'a [[u8; SYMBOL]],
    chains: &'a [[u8; 4]],
    first: u32,
}

impl Hashed<'_> {
    /// Symbol number `index`, which can be found, and its hash but for the lowest bit.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<(Symbol, u32)> {
        let hash = self.chains.get(index.checked_sub(self.first)? as usize)?;
        Some((Symbol::parse(self.symbols.get(index as usize)?), u32::from_le_bytes(*hash)))
    }
}

impl Tables {
    /// Finds the tables by what the dynamic section says of them.
    pub(crate) fn find(dynamic: &Dynamic, segments: &Segments, bytes: &[u8]) -> Result<Self, ErrorKind> {
        dynamic.entry_size(DT_SYMENT, SYMBOL as u64)?;
        let hash = Hash::find(dynamic, segments, bytes)?;
        let strings = strings(dynamic, segments, bytes)?;
        let mut symbols = match dynamic.get(DT_SYMTAB) {
            Some(at) => segments.tail(at).ok_or_else(|| malformed("symbol table outside the file", at))?,
            None => 0..0,
        };
        // No tag says how many symbols there are. The hash may; else they end where the strings begin.
        symbols.end = match &hash {
            Hash::SysV { chains, .. } => {
                symbols.end.min(symbols.start.saturating_add(chains.len() / 4 * SYMBOL))
            }
            _ if strings.start > symbols.start => symbols.end.min(strings.start),
            _ => symbols.end,
        };
        Ok(Self { symbols, strings, hash, versions: Versions::read(dynamic, segments, bytes)? })
    }

    /// The string table.
    pub(crate) fn strings<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.strings.clone()).unwrap_or_default()
    }

    /// How many symbols there can be.
    pub(crate) fn count(&self) -> usize {
        self.symbols.len() / SYMBOL
    }

    /// How many symbols come before those that can be found; all of them where the table does not put these last.
    pub(crate) fn imports(&self) -> usize {
        self.hash.first().map_or(self.count(), |first| self.count().min(first as usize))
    }

    /// The GNU hashes of all symbols that can be found, their lowest bit set; `None` where the table has no such hashes.
    pub(crate) fn hashes<'a>(&self, bytes: &'a [u8]) -> Option<impl Iterator<Item = u32> + use<'a>> {
        let (chains, first) = match &self.hash {
            Hash::None => (0..0, 0),
            Hash::Gnu { chains, first, .. } => (chains.clone(), *first),
            Hash::SysV { .. } => return None,
        };
        let chains = bytes.get(chains).unwrap_or_default().as_chunks::<4>().0.iter();
        let count = self.listed(bytes).end.saturating_sub(first);
        Some(chains.take(count as usize).map(|c| u32::from_le_bytes(*c) | 1))
    }

    /// The names that can be found.
    pub(crate) fn names(&self, bytes: &[u8]) -> NameFilter {
        match &self.hash {
            Hash::None => NameFilter::closed(),
            Hash::SysV { .. } => NameFilter::open(),
            Hash::Gnu { bloom, shift, .. } => {
                let words = bytes.get(bloom.clone()).unwrap_or_default().as_chunks().0;
                let words = words.iter().map(|w| u64::from_le_bytes(*w)).collect();
                NameFilter::gnu(words, *shift).unwrap_or_else(NameFilter::open)
            }
        }
    }

    /// The symbols that have their hashes in the table; `None` where it has no GNU hashes.
    pub(crate) fn hashed<'a>(&self, bytes: &'a [u8]) -> Option<Hashed<'a>> {
        let Hash::Gnu { chains, first, .. } = &self.hash else {
            return None;
        };
        let symbols = bytes.get(self.symbols.clone())?.as_chunks().0;
        Some(Hashed { symbols, chains: bytes.get(chains.clone())?.as_chunks().0, first: *first })
    }

    /// Symbol number `index`.
    pub(crate) fn symbol(&self, bytes: &[u8], index: u32) -> Result<Symbol, ErrorKind> {
        bytes
            .get(self.symbols.clone())
            .and_then(|table| Symbol::read(table, index))
            .ok_or_else(|| malformed("symbol number", index.into()))
    }

    /// The numbers of the symbols that the hash leads to; without one, nobody counts them.
    pub(crate) fn listed(&self, bytes: &[u8]) -> Range<u32> {
        let count = u32::try_from(self.count()).unwrap_or(u32::MAX);
        match &self.hash {
            Hash::None => 0..0,
            Hash::Gnu { first, .. } => *first..self.hash.end(bytes).unwrap_or(*first).min(count),
            Hash::SysV { .. } => 0..count,
        }
    }

    /// The number of the symbol by which the image imports `name`.
    pub(crate) fn import(&self, bytes: &[u8], name: &[u8]) -> Option<u32> {
        let listed = self.listed(bytes);
        let count = u32::try_from(self.count()).unwrap_or(u32::MAX);
        // A GNU hash leaves out what is not defined: that comes first.
        let end = if matches!(self.hash, Hash::Gnu { .. }) { listed.start } else { count };
        let table = bytes.get(self.symbols.clone())?;
        let is_it =
            |symbol: &Symbol| !symbol.is_defined() && is_text_at(self.strings(bytes), symbol.name, name);
        (1..end.min(count)).find(|&index| Symbol::read(table, index).is_some_and(|s| is_it(&s)))
    }

    /// Symbol number `index` as the file has it.
    pub(crate) fn entry<'a>(&self, bytes: &'a [u8], index: u32) -> Option<&'a [u8]> {
        let start = (index as usize).checked_mul(SYMBOL)?;
        bytes.get(self.symbols.clone())?.get(start..)?.get(..SYMBOL)
    }

    /// The name of a symbol.
    pub(crate) fn text<'a>(&self, bytes: &'a [u8], symbol: &Symbol) -> Option<&'a CStr> {
        CStr::from_bytes_until_nul(self.strings(bytes).get(symbol.name as usize..)?).ok()
    }

    /// What asks for a symbol's name.
    pub(crate) fn query<'a>(&self, bytes: &'a [u8], symbol: &Symbol) -> Result<Query<'a>, ErrorKind> {
        let name = self.strings(bytes).get(symbol.name as usize..).and_then(Query::terminated);
        name.ok_or_else(|| malformed("offset of a symbol's name", symbol.name.into()))
    }

    /// The version that a reference to symbol number `index` asks for.
    pub(crate) fn version<'a>(&self, bytes: &'a [u8], index: u32) -> Option<&'a [u8]> {
        self.versions.of(bytes, self.strings(bytes), index)
    }

    /// The library that this version was linked against.
    pub(crate) fn version_file<'a>(&self, bytes: &'a [u8], index: u32) -> Option<&'a [u8]> {
        self.versions.file(bytes, self.strings(bytes), index)
    }

    /// The symbol that answers a query for `name`: the first that fits exactly, or else the only default version.
    #[inline]
    pub(crate) fn definition(&self, bytes: &[u8], name: &[u8], query: &Query<'_>) -> Option<Symbol> {
        let symbol = |index| Symbol::read(bytes.get(self.symbols.clone())?, index);
        let fits = |index| {
            let strings = self.strings(bytes);
            match symbol(index) {
                Some(symbol) if symbol.is_exported() && is_text_at(strings, symbol.name, name) => {
                    self.versions.accept(bytes, strings, index, query.version, query.purpose)
                }
                _ => Match::No,
            }
        };
        let hinted = query.hint.and_then(|nth| self.hash.first()?.checked_add(nth));
        if let Some(index) = hinted
            && fits(index) == Match::Exact
        {
            return symbol(index);
        }
        let (mut default, mut defaults) = (0, 0);
        let exact = self.hash.walk(bytes, name, query.hash, |index| {
            match fits(index) {
                Match::Exact => return Some(index),
                Match::Default => (default, defaults) = (index, defaults + 1),
                Match::No => {}
            }
            None
        });
        exact.or((defaults == 1).then_some(default)).and_then(symbol)
    }

    /// Whether a version is defined here; `None` where none is.
    pub(crate) fn defines_version(&self, bytes: &[u8], version: &[u8]) -> Option<bool> {
        self.versions.defines(self.strings(bytes), version)
    }

    /// Shows `each` the versions that other libraries must define.
    pub(crate) fn needed_versions(
        &self,
        bytes: &[u8],
        each: &mut dyn FnMut(&NeededVersion<'_>),
    ) -> Result<(), ErrorKind> {
        self.versions.needed(self.strings(bytes)).try_for_each(|needed| needed.map(|n| each(&n)))
    }
}

/// The string table. It must end in a zero, so that every text in it ends.
pub(crate) fn strings(
    dynamic: &Dynamic,
    segments: &Segments,
    bytes: &[u8],
) -> Result<Range<usize>, ErrorKind> {
    let (Some(at), Some(len)) = (dynamic.get(DT_STRTAB), dynamic.get(DT_STRSZ)) else {
        return Ok(0..0);
    };
    let range = segments.file("string table outside the file", at, len)?;
    match bytes.get(range.clone()).map(<[u8]>::last) {
        Some(Some(0) | None) => Ok(range),
        _ => Err(malformed("string table without an end", at)),
    }
}

impl Hash {
    /// The GNU hash where there is one, else that of System V.
    fn find(dynamic: &Dynamic, segments: &Segments, bytes: &[u8]) -> Result<Self, ErrorKind> {
        let table = |at| {
            let outside = || malformed("hash table outside the file", at);
            segments.tail(at).ok_or_else(outside)
        };
        if let Some(at) = dynamic.get(DT_GNU_HASH) {
            Self::gnu(bytes, table(at)?).ok_or_else(|| malformed("GNU hash table", at))
        } else if let Some(at) = dynamic.get(DT_HASH) {
            Self::sysv(bytes, table(at)?).ok_or_else(|| malformed("hash table", at))
        } else {
            Ok(Self::None)
        }
    }

    fn gnu(bytes: &[u8], table: Range<usize>) -> Option<Self> {
        let head = bytes.get(table.clone())?;
        let word = |i: usize| u32_at(head, i * 4);
        let (count, first, words, shift) = (word(0)?, word(1)?, word(2)?, word(3)?);
        let bloom = table.start + 16;
        let buckets = bloom.checked_add((words as usize).checked_mul(8)?)?;
        let chains = buckets.checked_add((count as usize).checked_mul(4)?)?;
        if chains > table.end || !words.is_power_of_two() || shift >= u32::BITS {
            return None;
        }
        Some(Self::Gnu {
            bloom: bloom..buckets,
            shift,
            buckets: buckets..chains,
            chains: chains..table.end,
            first,
        })
    }

    fn sysv(bytes: &[u8], table: Range<usize>) -> Option<Self> {
        let head = bytes.get(table.clone())?;
        let (count, symbols) = (u32_at(head, 0)? as usize, u32_at(head, 4)? as usize);
        let buckets = table.start + 8;
        let chains = buckets.checked_add(count.checked_mul(4)?)?;
        let end = chains.checked_add(symbols.checked_mul(4)?)?;
        (end <= table.end).then_some(Self::SysV { buckets: buckets..chains, chains: chains..end })
    }

    /// The number of the first symbol that a GNU hash leads to.
    fn first(&self) -> Option<u32> {
        match self {
            Self::Gnu { first, .. } => Some(*first),
            Self::None | Self::SysV { .. } => None,
        }
    }

    /// One more than the number of the last symbol that a GNU hash leads to: the end of the chain that starts last.
    fn end(&self, bytes: &[u8]) -> Option<u32> {
        let Self::Gnu { buckets, chains, first, .. } = self else {
            return None;
        };
        let buckets = bytes.get(buckets.clone())?.as_chunks::<4>().0;
        let last = buckets.iter().map(|b| u32::from_le_bytes(*b)).max()?.checked_sub(*first)?;
        let chains = bytes.get(chains.clone())?.as_chunks::<4>().0;
        let rest = chains.get(last as usize..)?.iter();
        let links = rest.take_while(|c| c[0] & 1 == 0).count();
        first.checked_add(last)?.checked_add(u32::try_from(links).ok()?)?.checked_add(1)
    }

    /// The first answer to the number of a symbol whose name may be the one that is asked for. The filter is not looked at:
    /// whoever asks for exports asks [`Tables::names`] first.
    #[inline]
    fn walk(
        &self,
        bytes: &[u8],
        name: &[u8],
        hash: u32,
        mut answer: impl FnMut(u32) -> Option<u32>,
    ) -> Option<u32> {
        match self {
            Self::None => None,
            // Chains are neighbours; the lowest bit of a hash marks the last of them, or the table ends.
            Self::Gnu { buckets, chains, first, .. } => {
                let start = bucket(bytes.get(buckets.clone())?, hash)?;
                let chains = bytes.get(chains.clone())?.as_chunks().0;
                let links = chains.get(start.checked_sub(*first)? as usize..)?;
                for (n, link) in links.iter().enumerate() {
                    let link = u32::from_le_bytes(*link);
                    if link | 1 == hash | 1 {
                        let found = answer(start.checked_add(u32::try_from(n).ok()?)?);
                        if found.is_some() {
                            return found;
                        }
                    }
                    if link & 1 != 0 {
                        break;
                    }
                }
                None
            }
            Self::SysV { buckets, chains } => {
                let start = bucket(bytes.get(buckets.clone())?, sysv_hash(name))?;
                follow(bytes.get(chains.clone())?, start, &mut answer)
            }
        }
    }
}

/// The first answer along a System V chain: each symbol names the next. There are at most as many steps as symbols.
fn follow(chains: &[u8], start: u32, answer: &mut dyn FnMut(u32) -> Option<u32>) -> Option<u32> {
    let next = |&index: &u32| u32_at(chains, index as usize * 4).filter(|&next| next != 0);
    let numbers = std::iter::successors(Some(start).filter(|&start| start != 0), next);
    numbers.take(chains.len() / 4).find_map(answer)
}

/// What the bucket of `hash` says; `None` where there are no buckets.
pub(crate) fn bucket(buckets: &[u8], hash: u32) -> Option<u32> {
    let count = u32::try_from(buckets.len() / 4).ok()?;
    u32_at(buckets, hash.checked_rem(count)? as usize * 4)
}

/// The hash of a name in System V tables.
pub(crate) fn sysv_hash(name: &[u8]) -> u32 {
    let hash = name.iter().fold(0u32, |h, &b| {
        let h = (h << 4).wrapping_add(b.into());
        (h ^ (h >> 24 & 0xf0)) & 0x0fff_ffff
    });
    hash & 0x0fff_ffff
}

#[cfg(test)]
mod tests {
    use super::sysv_hash;

    #[test]
    fn the_examples_of_the_specification_hash_as_it_says() {
        assert_eq!(sysv_hash(b""), 0);
        assert_eq!(sysv_hash(b"exit"), 0x0006_cf04);
        assert_eq!(sysv_hash(b"printf"), 0x0779_05a6);
        assert_eq!(sysv_hash(b"freelocale"), 0x0c33_5095);
        assert_eq!(sysv_hash(b"flapenguin.me"), 0x0398_7915); // the top bits have come round
    }
}
