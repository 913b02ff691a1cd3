//! What an image offers: names, ordinals, and forwarders to other libraries.
//!
//! The tables stay in the file; a lookup is a binary search over the name pointers, as Windows does it.

use crate::{
    image::{Directory, LONGEST_LIBRARY, need},
    malformed,
    search::plain_key,
    view::{Span, View},
};
use loader_core::{ErrorKind, Export, Forward, Need, Rva, Symbol, SymbolName};
use object::{LittleEndian as LE, pe};
use std::{cmp::Ordering, collections::HashSet, ops::Range};

/// How many ordinals there are: functions beyond them cannot be reached.
const ORDINALS: usize = 1 << 16;

/// The export directory.
#[derive(Debug)]
pub(crate) struct Exports {
    /// The name that the image gives itself.
    pub(crate) name: Option<Box<str>>,
    /// The libraries that forwarders lead to, each once.
    pub(crate) forwards: Vec<Need>,
    /// Addresses in here are forwarders.
    directory: Directory,
    base: u32,
    // Where the file has the tables.
    functions: Range<usize>,
    names: Range<usize>,
    ordinals: Range<usize>,
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
        base: head.base.get(LE),
        functions: table::<4>(view, head.address_of_functions.get(LE), head.number_of_functions.get(LE))?,
        names: table::<4>(view, head.address_of_names.get(LE), names)?,
        ordinals: table::<2>(view, head.address_of_name_ordinals.get(LE), names)?,
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
    pub(crate) fn export(&self, view: View<'_>, symbol: Symbol<'_>) -> Result<Option<Export>, ErrorKind> {
        let index = match symbol {
            Symbol::Name(name) => self.index_of(view, name),
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
    fn index_of(&self, view: View<'_>, name: &[u8]) -> Option<usize> {
        if name.contains(&0) {
            return None;
        }
        let home = view.home(self.directory.at);
        let found = entries::<4>(view, &self.names).binary_search_by(|&at| {
            let at = u32::from_le_bytes(at);
            // Nearly always the names are where the directory is.
            let near = home.and_then(|h| h.from(at));
            near.or_else(|| view.at(at, "export name").ok())
                .map_or(Ordering::Less, |there| compare(there, name))
        });
        let ordinal = entries::<2>(view, &self.ordinals).get(found.ok()?)?;
        Some(u16::from_le_bytes(*ordinal).into())
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
            .map(|(library, _)| need(library))
            .filter(|need| known.insert(need.key.clone()))
            .collect()
    }
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
    let Some((library, symbol)) = forward_parts(view, at) else {
        return malformed("forwarder", at);
    };
    let symbol = match symbol {
        [b'#', digits @ ..] => match str::from_utf8(digits).ok().and_then(|d| d.parse().ok()) {
            Some(n) => SymbolName::Ordinal(n),
            None => return malformed("ordinal of a forwarder", at),
        },
        name => SymbolName::Name(name.into()),
    };
    Ok(Export::Forward(Box::new(Forward { need: need(library), symbol })))
}

/// The library and the symbol of a forwarder; the last dot separates them.
fn forward_parts(view: View<'_>, at: u32) -> Option<(&[u8], &[u8])> {
    let text = view.name(at, "forwarder").ok()?;
    let dot = text.iter().rposition(|&b| b == b'.')?;
    let (library, symbol) = (&text[..dot], &text[dot + 1..]);
    let whole = (1..=LONGEST_LIBRARY).contains(&library.len()) && !symbol.is_empty();
    whole.then_some((library, symbol))
}
