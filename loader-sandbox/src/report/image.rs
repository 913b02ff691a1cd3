//! What the file of a module says about a place in it: section, symbol, source line, rights, unwind data.
//!
//! The file is whatever somebody wanted loaded. What can be longer than a file, because it is compressed, is not looked at,
//! and what would take longer than reading a file has an end of its own.

use super::{
    lines::{Bytes, Lines},
    place::printable,
};
use gimli::{DwarfSections, LittleEndian, SectionId};
use object::{
    ExportTarget, File, NameOrOrdinal, Object, ObjectSection, ObjectSegment, ObjectSymbol, SectionKind,
    SymbolKind, pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION,
};
use pe_unwind_info::x86_64::{FunctionTableEntries, UnwindInfo, UnwindInfoTrailer};
use std::{borrow::Cow, cell::OnceCell, ops::Range, time::Instant};

/// A module's file.
pub(super) struct Image<'d> {
    file: File<'d>,
    /// The address that the linker gave to its first byte.
    pub(super) base: u64,
    /// When the search in it is given up.
    until: Instant,
    symbols: OnceCell<Vec<Symbol<'d>>>,
    lines: OnceCell<Option<Lines<'d>>>,
}

/// A symbol.
pub(super) struct Symbol<'d> {
    pub(super) name: Cow<'d, [u8]>,
    /// Its distance from the module's first byte.
    pub(super) at: u64,
    /// How long it is; 0 where nobody says.
    pub(super) len: u64,
    is_global: bool,
}

/// Bytes of a section, and the addresses that the linker gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part<'d> {
    pub(super) at: Range<u64>,
    pub(super) bytes: &'d [u8],
}

impl<'d> Part<'d> {
    fn new(start: u64, bytes: &'d [u8]) -> Option<Self> {
        Some(Self { at: start..start.checked_add(bytes.len() as u64)?, bytes })
    }
}

/// Unwind data may be chained that often; Windows gives up there too.
const LONGEST_CHAIN: usize = 32;

/// An entry of a PE function table; places are distances from the module's first byte.
pub(super) struct Function<'d> {
    at: Range<u64>,
    /// Where the function begins that it is a part of.
    start: u64,
    /// The sections that have its unwind data: its own, and what that is chained to.
    pub(super) data: Vec<Part<'d>>,
}

impl<'d> Image<'d> {
    pub(super) fn parse(bytes: &'d [u8], until: Instant) -> Option<Self> {
        let file = File::parse(bytes).ok()?;
        let base = match &file {
            File::Elf64(_) => file.segments().map(|s| s.address()).min()? & !(loader_core::PAGE - 1),
            File::Pe64(_) => file.relative_address_base(),
            _ => return None,
        };
        Some(Self { file, base, until, symbols: OnceCell::new(), lines: OnceCell::new() })
    }

    /// The section that a place lies in.
    fn section(&self, offset: u64) -> Option<object::Section<'d, '_>> {
        let at = self.base.checked_add(offset)?;
        let allocated = |s: &object::Section<'_, '_>| {
            // Thread-local zeros take no room: what comes next has the same addresses.
            s.address() != 0 && s.address() >= self.base && s.kind() != SectionKind::UninitializedTls
        };
        self.file
            .sections()
            .filter(allocated)
            .find(|s| at.checked_sub(s.address()).is_some_and(|d| d < s.size()))
    }

    /// The name of that section.
    pub(super) fn section_name(&self, offset: u64) -> Option<String> {
        let section = self.section(offset)?;
        let name = section.name_bytes().ok().filter(|name| !name.is_empty())?;
        Some(printable(&String::from_utf8_lossy(name)))
    }

    /// The bytes of that section.
    fn part(&self, offset: u64) -> Option<Part<'d>> {
        let section = self.section(offset)?;
        Part::new(section.address(), section.data().ok()?)
    }

    /// What is at a place, to the end of its section.
    fn rest(&self, offset: u64) -> Option<(&'d [u8], Part<'d>)> {
        let part = self.part(offset)?;
        let skipped = (self.base + offset).checked_sub(part.at.start)?;
        Some((part.bytes.get(usize::try_from(skipped).ok()?..)?, part))
    }

    /// Whether it is a Windows image.
    pub(super) fn is_pe(&self) -> bool {
        matches!(self.file, File::Pe64(_))
    }

    /// A section by its name, which is not compressed.
    pub(super) fn named(&self, name: &str) -> Option<Part<'d>> {
        let section = self.file.section_by_name(name)?;
        let plain = section.compressed_file_range().ok()?.format == object::CompressionFormat::None;
        let bytes = section.data().ok().filter(|_| plain)?;
        Part::new(section.address(), bytes)
    }

    /// The symbol that covers a place: of those with a size the one that starts last, else the last one before the place,
    /// where neither another function nor another section begins in between.
    pub(super) fn symbol(&self, offset: u64) -> Option<&Symbol<'d>> {
        /// As many symbols may begin within one that covers them.
        const NESTED: usize = 256;
        let symbols = self.symbols.get_or_init(|| self.sorted());
        let before = &symbols[..symbols.partition_point(|symbol| symbol.at <= offset)];
        let near = || before.iter().rev().take(NESTED);
        let covers = |symbol: &&Symbol<'_>| offset - symbol.at < symbol.len;
        let open = |symbol: &&Symbol<'_>| {
            let floor = self.function(offset).flatten().map_or(0, |function| function.start);
            let section = |at| self.section(at).map(|section| section.index());
            symbol.at >= floor && section(symbol.at) == section(offset)
        };
        near().find(covers).or_else(|| near().find(|symbol| symbol.len == 0).filter(open))
    }

    /// All symbols by where they begin, the better name last; as many as there is time for, because all may have one long
    /// name.
    fn sorted(&self) -> Vec<Symbol<'d>> {
        let mut symbols = Vec::new();
        let in_time = || Instant::now() < self.until;
        let listed = self.file.symbols().chain(self.file.dynamic_symbols());
        for symbol in listed.take_while(|_| in_time()) {
            let kinds = [SymbolKind::Text, SymbolKind::Data, SymbolKind::Unknown, SymbolKind::Label];
            let name = symbol.name_bytes().unwrap_or_default();
            let at = symbol.address().checked_sub(self.base);
            if let (Some(at), Some(_), false) = (at, symbol.section_index(), name.is_empty())
                && kinds.contains(&symbol.kind())
            {
                let (len, is_global) = (symbol.size(), symbol.is_global());
                symbols.push(Symbol { name: name.into(), at, len, is_global });
            }
        }
        let exports = self.file.exports().ok().filter(|_| self.is_pe());
        for export in exports.into_iter().flatten().flatten().take_while(|_| in_time()) {
            let ExportTarget::Address { address } = export.target() else { continue };
            let Some(at) = address.checked_sub(self.base) else { continue };
            let name = match export.into_name() {
                NameOrOrdinal::Name(name) => name,
                NameOrOrdinal::Ordinal(number) => format!("#{number}").into_bytes().into(),
            };
            symbols.push(Symbol { name, at, len: 0, is_global: true });
        }
        symbols.sort_by_key(|symbol| (symbol.at, symbol.is_global));
        symbols
    }

    /// The nearest source line, where there is debug information.
    pub(super) fn line(&self, offset: u64) -> Option<(String, u32)> {
        let section = |id: SectionId| {
            let part = self.named(id.name()).map_or(&[][..], |part| part.bytes);
            Ok::<_, gimli::Error>(Bytes::new(part, LittleEndian))
        };
        let lines = || DwarfSections::load(section).ok().map(|sections| Lines::new(sections, self.until));
        self.lines.get_or_init(lines).as_ref()?.find(self.base.checked_add(offset)?)
    }

    /// The PE function table; empty where there is none.
    pub(super) fn functions(&self) -> &'d [u8] {
        let File::Pe64(file) = &self.file else { return &[] };
        let directory = file.data_directories().get(IMAGE_DIRECTORY_ENTRY_EXCEPTION);
        let bytes =
            directory.and_then(|d| d.data(file.data(), &file.section_table()).ok()).unwrap_or_default();
        &bytes[..bytes.len() - bytes.len() % 12]
    }

    /// The entry of the PE function table that speaks for a place, if there is one; `None` where that cannot be followed.
    pub(super) fn function(&self, offset: u64) -> Option<Option<Function<'d>>> {
        let table = FunctionTableEntries::parse(self.functions());
        let Some(&entry) = u32::try_from(offset).ok().and_then(|rva| table.lookup(rva)) else {
            return Some(None);
        };
        let (mut from, mut data) = (entry, Vec::new());
        for _ in 0..LONGEST_CHAIN {
            let (bytes, part) = self.rest(from.unwind_info_address.get().into())?;
            let info = UnwindInfo::parse(bytes)?;
            if !data.contains(&part) {
                data.push(part);
            }
            let Some(UnwindInfoTrailer::ChainedUnwindInfo { chained }) = info.trailer() else {
                let at = entry.begin_address.get().into()..entry.end_address.get().into();
                return Some(Some(Function { at, start: from.begin_address.get().into(), data }));
            };
            from = *chained;
        }
        None
    }

    /// The bounds of the function that a place is in, as far as they are known: of its part that has the place, where it
    /// has more.
    pub(super) fn bounds(&self, offset: u64) -> Option<Range<u64>> {
        let listed = self.function(offset).flatten().map(|function| function.at);
        listed.or_else(|| {
            let symbol = self.symbol(offset)?;
            let end = if symbol.len == 0 { u64::MAX } else { symbol.at.saturating_add(symbol.len) };
            Some(symbol.at..end)
        })
    }

    /// The code of a PE function, as far as its section goes.
    pub(super) fn code(&self, function: &Function<'_>) -> Option<Part<'d>> {
        self.part(function.at.start).filter(|part| self.base + function.at.end <= part.at.end)
    }
}
