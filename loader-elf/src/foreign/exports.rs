//! Looking a name up in tables of either class: by the GNU hash, by that of System V, or else one by one.

use super::machine::Word;
use crate::{
    dynamic::{DT_GNU_HASH, DT_HASH, DT_SYMENT, DT_SYMTAB, Dynamic},
    exports::{bucket, strings, sysv_hash},
    malformed,
    plan::Segments,
    read::{is_text_at, u32_at},
    symbol::Symbol,
    versions::{Match, Versions},
};
use goblin::elf::{
    Symtab,
    sym::{sym32, sym64},
};
use loader_core::{ErrorKind, Query};
use std::{iter::successors, ops::Range};

/// Where the tables are that give symbols their names, all checked to lie inside the bytes.
#[derive(Debug)]
pub(crate) struct Tables {
    word: Word,
    symbols: Range<usize>,
    strings: Range<usize>,
    hash: Hash,
    versions: Versions,
}

#[derive(Debug)]
enum Hash {
    /// There is no hash.
    None,
    /// Chains of neighbours; `first` is the first symbol that has a place in them.
    Gnu { buckets: Range<usize>, chains: Range<usize>, first: u32 },
    /// Chains in which each symbol names the next.
    SysV { buckets: Range<usize>, chains: Range<usize> },
}

/// Numbers of symbols whose name may be the one that is sought.
type Candidates<'a> = Box<dyn Iterator<Item = u32> + 'a>;

impl Tables {
    /// Finds the tables by what the dynamic section says of them.
    pub(crate) fn find(
        dynamic: &Dynamic,
        segments: &Segments,
        bytes: &[u8],
        word: Word,
    ) -> Result<Self, ErrorKind> {
        dynamic.entry_size(DT_SYMENT, symbol_len(word) as u64)?;
        let hash = Hash::find(dynamic, segments, bytes, word)?;
        let strings = strings(dynamic, segments, bytes)?;
        let mut symbols = match dynamic.get(DT_SYMTAB) {
            Some(at) => segments.tail(at).ok_or_else(|| malformed("symbol table outside the file", at))?,
            None => 0..0,
        };
        // No tag says how many symbols there are. The hash may; else they end where the strings begin.
        let end = match &hash {
            Hash::SysV { chains, .. } => symbols.start.saturating_add(chains.len() / 4 * symbol_len(word)),
            Hash::None | Hash::Gnu { .. } if strings.start > symbols.start => strings.start,
            Hash::None | Hash::Gnu { .. } => symbols.end,
        };
        symbols.end = symbols.end.min(end);
        let versions = Versions::read(dynamic, segments, bytes)?;
        Ok(Self { word, symbols, strings, hash, versions })
    }

    /// The string table.
    pub(crate) fn strings<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.strings.clone()).unwrap_or_default()
    }

    /// How many symbols there can be.
    pub(crate) fn count(&self) -> usize {
        self.symbols.len() / symbol_len(self.word)
    }

    fn read(&self, bytes: &[u8], index: usize) -> Option<Symbol> {
        let table = Symtab::parse(bytes, self.symbols.start, self.count(), self.word.ctx()).ok()?;
        Symbol::of(&table.get(index)?)
    }

    /// Symbol number `index`.
    pub(crate) fn symbol(&self, bytes: &[u8], index: usize) -> Result<Symbol, ErrorKind> {
        self.read(bytes, index).ok_or_else(|| malformed("symbol number", index as u64))
    }

    /// The name of a symbol.
    pub(crate) fn query<'a>(&self, bytes: &'a [u8], symbol: &Symbol) -> Result<Query<'a>, ErrorKind> {
        let name = self.strings(bytes).get(symbol.name as usize..).and_then(Query::terminated);
        name.ok_or_else(|| malformed("offset of a symbol's name", symbol.name.into()))
    }

    /// The version that a reference to symbol number `index` asks for.
    pub(crate) fn version<'a>(&self, bytes: &'a [u8], index: usize) -> Option<&'a [u8]> {
        self.versions.of(bytes, self.strings(bytes), u32::try_from(index).ok()?)
    }

    /// The symbol that answers a query for `name`: the first that fits exactly, or else the only default version.
    pub(crate) fn definition(&self, bytes: &[u8], name: &[u8], query: &Query<'_>) -> Option<Symbol> {
        let strings = self.strings(bytes);
        let (mut default, mut defaults) = (None, 0);
        for index in self.candidates(bytes, name, query.hash)? {
            let symbol = self.read(bytes, index as usize)?;
            if !is_text_at(strings, symbol.name, name) || !symbol.is_exported() {
                continue;
            }
            match self.versions.accept(bytes, strings, index, query.version, query.purpose) {
                Match::Exact => return Some(symbol),
                Match::Default => (default, defaults) = (Some(symbol), defaults + 1),
                Match::No => {}
            }
        }
        default.filter(|_| defaults == 1)
    }

    /// The versions of symbols, defined and needed.
    pub(crate) fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Whom the hash names; everybody where there is none.
    fn candidates<'a>(&self, bytes: &'a [u8], name: &[u8], hash: u32) -> Option<Candidates<'a>> {
        Some(match &self.hash {
            Hash::None => Box::new(0..u32::try_from(self.count()).ok()?),
            Hash::Gnu { buckets, chains, first } => {
                let first = *first;
                let start = bucket(bytes.get(buckets.clone())?, hash)?.checked_sub(first)?;
                let places = gnu_chain(bytes.get(chains.clone())?, start, hash);
                Box::new(places.filter_map(move |place| first.checked_add(place)))
            }
            Hash::SysV { buckets, chains } => {
                let start = bucket(bytes.get(buckets.clone())?, sysv_hash(name))?;
                Box::new(sysv_chain(bytes.get(chains.clone())?, start))
            }
        })
    }
}

/// Places of a chain whose hash is `hash`, but for the lowest bit, which marks the last of a chain.
fn gnu_chain(chains: &[u8], start: u32, hash: u32) -> impl Iterator<Item = u32> {
    let at = |i: u32| u32_at(chains, i as usize * 4);
    successors(Some(start), move |&i| i.checked_add(1).filter(|_| at(i).is_some_and(|h| h & 1 == 0)))
        .filter(move |&i| at(i).is_some_and(|h| h | 1 == hash | 1))
}

/// The symbols of a chain: as many as there can be, so that one which runs in a circle ends all the same.
fn sysv_chain(chains: &[u8], start: u32) -> impl Iterator<Item = u32> {
    successors(Some(start), |&i| u32_at(chains, i as usize * 4))
        .take_while(|&i| i != 0)
        .take(chains.len() / 4)
}

const fn symbol_len(word: Word) -> usize {
    match word {
        Word::Four => sym32::SIZEOF_SYM,
        Word::Eight => sym64::SIZEOF_SYM,
    }
}

impl Hash {
    /// The GNU hash where there is one, else that of System V.
    fn find(dynamic: &Dynamic, segments: &Segments, bytes: &[u8], word: Word) -> Result<Self, ErrorKind> {
        let table = |at| {
            let outside = || malformed("hash table outside the file", at);
            segments.tail(at).ok_or_else(outside)
        };
        if let Some(at) = dynamic.get(DT_GNU_HASH) {
            Self::gnu(bytes, table(at)?, word).ok_or_else(|| malformed("GNU hash table", at))
        } else if let Some(at) = dynamic.get(DT_HASH) {
            Self::sysv(bytes, table(at)?).ok_or_else(|| malformed("hash table", at))
        } else {
            Ok(Self::None)
        }
    }

    /// The Bloom filter, made of words of the machine, is stepped over: without it every answer is the same.
    fn gnu(bytes: &[u8], table: Range<usize>, word: Word) -> Option<Self> {
        let head = bytes.get(table.clone())?;
        let (count, first, words) = (u32_at(head, 0)?, u32_at(head, 4)?, u32_at(head, 8)?);
        let filter = (words as usize).checked_mul(word.len() as usize)?;
        let buckets = table.start.checked_add(16)?.checked_add(filter)?;
        let chains = buckets.checked_add((count as usize).checked_mul(4)?)?;
        (chains <= table.end).then_some(Self::Gnu {
            buckets: buckets..chains,
            chains: chains..table.end,
            first,
        })
    }

    fn sysv(bytes: &[u8], table: Range<usize>) -> Option<Self> {
        let head = bytes.get(table.clone())?;
        let (count, symbols) = (u32_at(head, 0)? as usize, u32_at(head, 4)? as usize);
        let buckets = table.start.checked_add(8)?;
        let chains = buckets.checked_add(count.checked_mul(4)?)?;
        let end = chains.checked_add(symbols.checked_mul(4)?)?;
        (end <= table.end).then_some(Self::SysV { buckets: buckets..chains, chains: chains..end })
    }
}
