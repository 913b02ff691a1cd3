//! What an image offers: names, ordinals, and forwarders to other libraries.
//!
//! The tables stay in the file; a lookup is a binary search over the name pointers, as Windows does it. Who is asked
//! often gets an index of its names by hash.

use crate::{
    image::{Directory, need},
    malformed,
    search::plain_key,
    view::{Home, View},
};
use loader_core::{ErrorKind, Export, Forward, Need, Query, Rva, Symbol, SymbolName, gnu_hash};
use object::{LittleEndian as LE, pe};
use std::{
    cmp::Ordering,
    collections::HashSet,
    num::NonZeroU32,
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
    index: OnceLock<Option<Index>>,
}

/// The names by hash, for files whose names all lie in the file.
#[derive(Debug)]
struct Index {
    /// The names at home or where there was room after it, and room: a power of two of them, at least twice as many as there
    /// are names.
    slots: Box<[Slot]>,
}

/// All that a lookup needs to know of a name, so that it reads nothing else but the name itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Slot {
    hash: u32,
    /// Where the file has the name, which never begins with one; `None` is room.
    name: Option<NonZeroU32>,
    /// What the table of functions has for it.
    function: u32,
}

impl Index {
    fn new(len: usize, slots: impl Iterator<Item = Option<Slot>>) -> Option<Self> {
        let room = (2 * len).next_power_of_two().max(2);
        let mut index = Self { slots: vec![Slot::default(); room].into() };
        for slot in slots {
            let slot = slot?;
            let mut at = index.home(slot.hash);
            while index.slots[at].name.is_some() {
                at = index.after(at);
            }
            index.slots[at] = slot;
        }
        Some(index)
    }

    /// Names that are alike have hashes that are alike; their products with this number are not (Fibonacci hashing).
    fn home(&self, hash: u32) -> usize {
        const SPREAD: u32 = 0x9e37_79b9;
        (hash.wrapping_mul(SPREAD) >> (u32::BITS - self.slots.len().ilog2())) as usize
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    /// The function of the name with this hash that is it.
    fn find(&self, hash: u32, is_it: impl Fn(usize) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            let slot = self.slots[at];
            let name = slot.name?.get() as usize;
            if slot.hash == hash && is_it(name) {
                return Some(slot.function);
            }
            at = self.after(at);
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
        let function = match query.symbol {
            Symbol::Name(name) => self.named(view, name, query),
            Symbol::Ordinal(n) => u32::from(n).checked_sub(self.base).and_then(|i| self.function(view, i)),
        };
        match function.unwrap_or(0) {
            0 => Ok(None),
            at if self.forwards_at(at) => forward(view, at).map(Some),
            at if u64::from(at) < view.len() => Ok(Some(Export::At(Rva(at.into())))),
            at => malformed("export outside the image", at),
        }
    }

    /// What the table of functions has for a name.
    fn named(&self, view: View<'_>, name: &[u8], query: &Query<'_>) -> Option<u32> {
        if let Some(found) = query.hint.and_then(|hint| self.hinted(view, hint as usize, name)) {
            return Some(found);
        }
        match self.index(view).filter(|_| name.len() <= LONGEST_INDEXED) {
            Some(index) => {
                index.find(query.hash, |at| view.bytes().get(at..).is_some_and(|there| is(there, name)))
            }
            None => self.sought(view, name),
        }
    }

    /// The same, where that name has this number.
    fn hinted(&self, view: View<'_>, number: usize, name: &[u8]) -> Option<u32> {
        let at = entries(view, &self.names).get(number)?;
        is(self.name(view, at)?, name).then(|| self.numbered(view, number))?
    }

    /// The same in any case.
    #[inline(never)] // and so no part of what is quick
    fn sought(&self, view: View<'_>, name: &[u8]) -> Option<u32> {
        if name.contains(&0) {
            return None; // that is no name, though it may be one and what follows it
        }
        let order = |at: &[u8; 4]| self.name(view, at).map_or(Ordering::Less, |there| compare(there, name));
        self.numbered(view, entries(view, &self.names).binary_search_by(order).ok()?)
    }

    /// What the file has from a name on, which is nearly always at home.
    fn name<'a>(&self, view: View<'a>, at: &[u8; 4]) -> Option<&'a [u8]> {
        let at = u32::from_le_bytes(*at);
        let home = self.home.as_ref().map(|home| view.span(home));
        home.and_then(|home| home.from(at)).or_else(|| view.find(at)).map(|there| there.raw)
    }

    /// What the table of functions has for the name of this number.
    fn numbered(&self, view: View<'_>, name: usize) -> Option<u32> {
        let ordinal = entries(view, &self.ordinals).get(name)?;
        self.function(view, u16::from_le_bytes(*ordinal).into())
    }

    fn function(&self, view: View<'_>, index: u32) -> Option<u32> {
        let entry = entries(view, &self.functions).get(index as usize)?;
        Some(u32::from_le_bytes(*entry))
    }

    /// The index, from when enough names were asked for to be worth its making.
    fn index(&self, view: View<'_>) -> Option<&Index> {
        self.index.get().or_else(|| self.index_by_now(view))?.as_ref()
    }

    #[cold]
    fn index_by_now(&self, view: View<'_>) -> Option<&Option<Index>> {
        let names = entries(view, &self.names);
        let asked = self.asked.fetch_add(1, Relaxed) as usize;
        let slots = names.iter().enumerate().map(|(number, at)| self.slot(view, number, at));
        (asked > FEW + names.len() / 8).then(|| self.index.get_or_init(|| Index::new(names.len(), slots)))
    }

    /// What the index has of a name; `None` where the file does not have all of it.
    fn slot(&self, view: View<'_>, number: usize, at: &[u8; 4]) -> Option<Slot> {
        let there = self.name(view, at)?;
        let near = &there[..there.len().min(LONGEST_INDEXED + 1)];
        let hash = match near.iter().position(|&b| b == 0) {
            Some(len) => gnu_hash(&near[..len]),
            None if near.len() > LONGEST_INDEXED => 0, // nobody looks for it here
            None => return None,
        };
        let place = view.file_range(u32::from_le_bytes(*at), 1)?.start;
        Some(Slot {
            hash,
            name: Some(NonZeroU32::new(place.try_into().ok()?)?),
            function: self.numbered(view, number).unwrap_or(0),
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

/// Whether bytes begin with this name, which has no zero in it: one with a hint comes from a file.
fn is(there: &[u8], name: &[u8]) -> bool {
    there.get(..name.len()) == Some(name) && there.get(name.len()).is_none_or(|&end| end == 0)
}

/// Compares the name that bytes begin with and one that has no zero in it.
fn compare(there: &[u8], name: &[u8]) -> Ordering {
    let shared = there.len().min(name.len());
    there[..shared].cmp(&name[..shared]).then_with(|| match there.get(name.len()) {
        _ if shared < name.len() => Ordering::Less,
        None | Some(0) => Ordering::Equal,
        Some(_) => Ordering::Greater,
    })
}

/// Reads `KERNEL32.HeapAlloc` or `OTHER.#12`.
#[inline(never)]
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
            let slot = |(&hash, n)| Some(Slot { hash, name: NonZeroU32::new(n), function: n });
            let index = Index::new(hashes.len(), hashes.iter().zip(1..).map(slot)).expect("it has all names");
            for (&hash, n) in hashes.iter().zip(1..) {
                assert_eq!(index.find(hash, |at| at == n as usize), Some(n));
            }
            assert_eq!(index.find(0xdead_beef, |_| true), None);
        }
    }
}
