//! What an image offers: names, ordinals, and forwarders to other libraries.
//!
//! The tables stay in the file; a lookup is a binary search over the name pointers, as Windows does it. Who is asked
//! often gets an index of its names by hash.

use crate::{
    image::{Directory, need},
    malformed,
    search::plain_key,
    view::{Home, Span, View},
};
use loader_core::{ErrorKind, Export, Forward, Need, Query, Rva, Symbol, SymbolName, gnu_hash};
use object::{LittleEndian as LE, pe};
use std::{
    cmp::Ordering,
    collections::HashSet,
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

/// How many ordinals there are: functions beyond them cannot be reached.
const ORDINALS: usize = 1 << 16;

/// So many lookups are quicker without an index, however few names there are.
const FEW: usize = 16;

/// Names that are longer are looked up without the index: many that are one long text would make it a trap.
const LONGEST_INDEXED: usize = 4096;

/// The export directory.
#[derive(Debug)]
pub(crate) struct Exports {
    /// The name that the image gives itself.
    pub(crate) name: Option<Box<str>>,
    /// The libraries that forwarders lead to, each once.
    pub(crate) forwards: Vec<Need>,
    /// Addresses in here are forwarders.
    directory: Directory,
    /// The region that holds it, and nearly always the names.
    home: Option<Home>,
    base: u32,
    // Where the file has the tables.
    functions: Range<usize>,
    names: Range<usize>,
    ordinals: Range<usize>,
    /// How many names were looked up without the index.
    asked: AtomicU32,
    index: OnceLock<Index>,
}

/// The names by hash.
#[derive(Debug)]
struct Index {
    /// A name's hash and its number plus 1, at home or where there was room after it; 0 is room. A power of two of them,
    /// at least twice as many as there are names.
    slots: Box<[(u32, u32)]>,
}

impl Index {
    fn new(names: impl ExactSizeIterator<Item = u32>) -> Self {
        let mut index = Self { slots: vec![(0, 0); (2 * names.len()).next_power_of_two().max(2)].into() };
        for (hash, number) in names.zip(1..) {
            let mut at = index.home(hash);
            while index.slots[at].1 != 0 {
                at = index.after(at);
            }
            index.slots[at] = (hash, number);
        }
        index
    }

    /// Names that are alike have hashes that are alike; their products with this number are not (Fibonacci hashing).
    fn home(&self, hash: u32) -> usize {
        const SPREAD: u32 = 0x9e37_79b9;
        (hash.wrapping_mul(SPREAD) >> (u32::BITS - self.slots.len().ilog2())) as usize
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    /// The number of the name with this hash that is it.
    fn find(&self, hash: u32, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let mut at = self.home(hash);
        loop {
            match self.slots[at] {
                (_, 0) => return None,
                (same, number) if same == hash && is_it(number as usize - 1) => {
                    return Some(number as usize - 1);
                }
                _ => at = self.after(at),
            }
        }
    }
}

/// Finds the export tables.
pub(crate) fn exports(view: View<'_>, at: Option<Directory>) -> Result<Option<Exports>, ErrorKind> {
    let Some(directory) = at else { return Ok(None) };
    let span = view.at(directory.at, "export directory")?;
    let Some(head) = span.pod::<pe::ImageExportDirectory>(0) else {
        return malformed("export directory", directory.at);
    };
    let name = match head.name.get(LE) {
        0 => None,
        at => Some(view.name(at, "name of the library itself")?),
    };
    let names = head.number_of_names.get(LE);
    let mut exports = Exports {
        name: name.map(|n| plain_key(&String::from_utf8_lossy(n))),
        forwards: Vec::new(),
        directory,
        home: view.home(directory.at),
        base: head.base.get(LE),
        functions: table::<4>(view, head.address_of_functions.get(LE), head.number_of_functions.get(LE))?,
        names: table::<4>(view, head.address_of_names.get(LE), names)?,
        ordinals: table::<2>(view, head.address_of_name_ordinals.get(LE), names)?,
        asked: AtomicU32::new(0),
        index: OnceLock::new(),
    };
    exports.forwards = exports.forwards_to(view);
    Ok(Some(exports))
}

/// Where the file has a table of `count` entries of `N` bytes. One that it leaves to the zeros behind a section's bytes
/// would offer nothing: not worth the trouble.
fn table<const N: usize>(view: View<'_>, at: u32, count: u32) -> Result<Range<usize>, ErrorKind> {
    if count == 0 {
        return Ok(0..0);
    }
    let len = (count as usize).checked_mul(N);
    let range = len.and_then(|len| view.file_range(at, len));
    range.map_or_else(|| malformed("length of an export table", count), Ok)
}

/// The entries of a table.
fn entries<'a, const N: usize>(view: View<'a>, table: &Range<usize>) -> &'a [[u8; N]] {
    let bytes = view.bytes().get(table.clone());
    bytes.unwrap_or_default().as_chunks().0
}

impl Exports {
    /// Looks a symbol up.
    pub(crate) fn export(&self, view: View<'_>, query: &Query<'_>) -> Result<Option<Export>, ErrorKind> {
        let index = match query.symbol {
            Symbol::Name(name) => self.index_of(view, name, query),
            Symbol::Ordinal(n) => u32::from(n).checked_sub(self.base).map(|i| i as usize),
        };
        let entry = index.and_then(|i| entries::<4>(view, &self.functions).get(i));
        match entry.map_or(0, |&e| u32::from_le_bytes(e)) {
            0 => Ok(None),
            at if self.forwards_at(at) => forward(view, at).map(Some),
            at if u64::from(at) < view.len() => Ok(Some(Export::At(Rva(at.into())))),
            at => malformed("export outside the image", at),
        }
    }

    /// The index of a name's function.
    fn index_of(&self, view: View<'_>, name: &[u8], query: &Query<'_>) -> Option<usize> {
        let home = self.home.as_ref().map(|home| view.span(home));
        let names = entries::<4>(view, &self.names);
        let at = |at: &[u8; 4]| {
            let at = u32::from_le_bytes(*at);
            home.and_then(|h| h.from(at)).or_else(|| view.at(at, "export name").ok())
        };
        let is_it = |n: &usize| names.get(*n).and_then(at).is_some_and(|there| is(there, name));
        let index = || {
            let short = name.len() <= LONGEST_INDEXED;
            short.then(|| self.index(names.len(), || names.iter().map(|n| hash_of(at(n))))).flatten()
        };
        let order = |there: &[u8; 4]| at(there).map_or(Ordering::Less, |there| compare(there, name));
        let sought = || match index() {
            Some(index) => index.find(query.hash, |n| is_it(&n)), // which has no hash of a name with a zero in it
            None if name.contains(&0) => None, // that is no name, though it may be one and what follows it
            None => names.binary_search_by(order).ok().filter(is_it),
        };
        let found = query.hint.map(|hint| hint as usize).filter(is_it).or_else(sought);
        let ordinal = entries::<2>(view, &self.ordinals).get(found?)?;
        Some(u16::from_le_bytes(*ordinal).into())
    }

    /// The index, from when enough names were asked for to be worth its making.
    fn index<H: ExactSizeIterator<Item = u32>>(
        &self,
        names: usize,
        hashes: impl FnOnce() -> H,
    ) -> Option<&Index> {
        self.index.get().or_else(|| {
            let asked = self.asked.fetch_add(1, Relaxed) as usize;
            (asked > FEW + names / 8).then(|| self.index.get_or_init(|| Index::new(hashes())))
        })
    }

    fn forwards_at(&self, at: u32) -> bool {
        at.wrapping_sub(self.directory.at) < self.directory.len
    }

    /// The libraries that forwarders lead to. One that cannot be read is an error when somebody asks for it.
    fn forwards_to(&self, view: View<'_>) -> Vec<Need> {
        let functions = entries::<4>(view, &self.functions);
        let places = functions.iter().take(ORDINALS).map(|&f| u32::from_le_bytes(f));
        let forwards = places.filter(|&at| self.forwards_at(at));
        let mut spelled = HashSet::new();
        let mut known = HashSet::new();
        forwards
            .filter_map(|at| forward_parts(view, at))
            .filter(|&(library, _)| spelled.insert(library))
            .filter_map(|(library, _)| need(library))
            .filter(|need| known.insert(need.key.clone()))
            .collect()
    }
}

/// The hash of the name at the start of a span; of one that cannot be read, or is too long for the index, any.
fn hash_of(there: Option<Span<'_>>) -> u32 {
    let near = there.and_then(|there| there.first((LONGEST_INDEXED + 1).min(there.raw.len())));
    let len = near.and_then(|bytes| bytes.iter().position(|&b| b == 0));
    near.zip(len).map_or(0, |(bytes, len)| gnu_hash(&bytes[..len]))
}

/// Whether the name at the start of a span is this one, which has no zero in it: one with a hint comes from a file.
fn is(there: Span<'_>, name: &[u8]) -> bool {
    there.raw.get(..name.len()) == Some(name) && there.raw.get(name.len()).is_none_or(|&end| end == 0)
}

/// Compares the name at the start of a span with one that has no zero in it.
fn compare(there: Span<'_>, name: &[u8]) -> Ordering {
    let shared = there.raw.len().min(name.len());
    there.raw[..shared].cmp(&name[..shared]).then_with(|| match there.raw.get(name.len()) {
        _ if shared < name.len() => Ordering::Less,
        None | Some(0) => Ordering::Equal,
        Some(_) => Ordering::Greater,
    })
}

/// Reads `KERNEL32.HeapAlloc` or `OTHER.#12`.
fn forward(view: View<'_>, at: u32) -> Result<Export, ErrorKind> {
    let parts = forward_parts(view, at).and_then(|(library, symbol)| Some((need(library)?, symbol)));
    let Some((need, symbol)) = parts else {
        return malformed("forwarder", at);
    };
    let symbol = match symbol {
        [b'#', digits @ ..] => match str::from_utf8(digits).ok().and_then(|d| d.parse().ok()) {
            Some(n) => SymbolName::Ordinal(n),
            None => return malformed("ordinal of a forwarder", at),
        },
        name => SymbolName::Name(name.into()),
    };
    Ok(Export::Forward(Box::new(Forward { need, symbol })))
}

/// The library and the symbol of a forwarder; the last dot separates them.
fn forward_parts(view: View<'_>, at: u32) -> Option<(&[u8], &[u8])> {
    let text = view.name(at, "forwarder").ok()?;
    let dot = text.iter().rposition(|&b| b == b'.')?;
    let (library, symbol) = (&text[..dot], &text[dot + 1..]);
    (!symbol.is_empty()).then_some((library, symbol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_hash_whatever_their_hashes() {
        for hashes in
            [vec![], vec![7], vec![0; 40], (0..1000).collect(), (0..1000).map(|n| n << 22).collect()]
        {
            let index = Index::new(hashes.iter().copied());
            for (nth, &hash) in hashes.iter().enumerate() {
                assert_eq!(index.find(hash, |n| n == nth), Some(nth));
            }
            assert_eq!(index.find(0xdead_beef, |_| true), None);
        }
    }
}
