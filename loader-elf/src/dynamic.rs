//! The dynamic section: pairs of a tag and a number.

use crate::{
    malformed,
    read::{text_at, u32_at, u64_at},
};
use loader_core::ErrorKind;

pub(crate) use goblin::elf::dynamic::{
    DF_1_NODEFLIB, DF_1_NODELETE, DF_1_NOW, DF_1_PIE, DF_BIND_NOW, DF_STATIC_TLS, DF_SYMBOLIC, DF_TEXTREL,
    DT_BIND_NOW, DT_DEBUG, DT_FINI, DT_FINI_ARRAY, DT_FINI_ARRAYSZ, DT_FLAGS, DT_FLAGS_1, DT_GNU_HASH,
    DT_HASH, DT_INIT, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, DT_JMPREL, DT_NEEDED, DT_NULL, DT_PLTGOT, DT_PLTREL,
    DT_PLTRELSZ, DT_REL, DT_RELA, DT_RELACOUNT, DT_RELAENT, DT_RELASZ, DT_RELENT, DT_RELSZ, DT_RPATH,
    DT_RUNPATH, DT_SONAME, DT_STRSZ, DT_STRTAB, DT_SYMBOLIC, DT_SYMENT, DT_SYMTAB, DT_TEXTREL, DT_VERDEF,
    DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM, DT_VERSYM,
};

/// Length in bytes of the packed relative relocations.
pub(crate) const DT_RELRSZ: u64 = 35;
/// Address of the packed relative relocations.
pub(crate) const DT_RELR: u64 = 36;
/// Length in bytes of one word of them.
pub(crate) const DT_RELRENT: u64 = 37;
/// A library that is searched with this one.
pub(crate) const DT_AUXILIARY: u64 = 0x7fff_fffd;
/// A library that is searched in place of this one.
pub(crate) const DT_FILTER: u64 = 0x7fff_ffff;

/// Few dynamic sections have more entries.
const USUAL: usize = 48;

/// The entries of a dynamic section, up to `DT_NULL` or the end of its bytes.
#[derive(Debug)]
pub(crate) struct Dynamic(Vec<(u64, u64)>);

impl Dynamic {
    /// Reads the section.
    pub(crate) fn read(table: &[u8]) -> Self {
        let pair = |e: &[u8; 16]| Some((u64_at(e, 0)?, u64_at(e, 8)?));
        let entries = table.as_chunks().0.iter().map_while(pair);
        let mut all = Vec::with_capacity(USUAL.min(table.len() / 16));
        all.extend(entries.take_while(|e| e.0 != DT_NULL));
        Self(all)
    }

    /// Reads the section of a 32-bit image.
    pub(crate) fn read_narrow(table: &[u8]) -> Self {
        let pair = |e: &[u8; 8]| Some((u32_at(e, 0)?.into(), u32_at(e, 4)?.into()));
        let entries = table.as_chunks().0.iter().map_while(pair);
        Self(entries.take_while(|e| e.0 != DT_NULL).collect())
    }

    /// The same entries, with every number passed through `f`.
    pub(crate) fn map(self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self(self.0.into_iter().map(|(t, v)| (t, f(t, v))).collect())
    }

    /// The number of a tag; where a tag comes twice the last one counts, as for the system's loader.
    pub(crate) fn get(&self, tag: u64) -> Option<u64> {
        self.all(tag).next_back()
    }

    /// Every number of a tag.
    pub(crate) fn all(&self, tag: u64) -> impl DoubleEndedIterator<Item = u64> {
        self.0.iter().filter(move |e| e.0 == tag).map(|e| e.1)
    }

    /// Whether `DT_FLAGS` has `flag`.
    pub(crate) fn flag(&self, flag: u64) -> bool {
        self.get(DT_FLAGS).is_some_and(|f| f & flag != 0)
    }

    /// Whether `DT_FLAGS_1` has `flag`.
    pub(crate) fn flag_1(&self, flag: u64) -> bool {
        self.get(DT_FLAGS_1).is_some_and(|f| f & flag != 0)
    }

    /// Whether code has to be written to while the image is relocated.
    pub(crate) fn text_relocations(&self) -> bool {
        self.get(DT_TEXTREL).is_some() || self.flag(DF_TEXTREL)
    }

    /// Refuses a table whose entries are not as long as this machine's.
    pub(crate) fn entry_size(&self, tag: u64, size: u64) -> Result<(), ErrorKind> {
        match self.get(tag) {
            Some(n) if n != size => Err(malformed("size of a table entry", n)),
            _ => Ok(()),
        }
    }

    /// The text that a tag stands for. A name that is no UTF-8 keeps its shape, with marks for what is not.
    pub(crate) fn text(&self, strings: &[u8], tag: u64) -> Result<Option<Box<str>>, ErrorKind> {
        self.get(tag).map(|at| text(strings, at)).transpose()
    }
}

/// The text at `at` of a string table.
pub(crate) fn text(strings: &[u8], at: u64) -> Result<Box<str>, ErrorKind> {
    let bytes = text_at(strings, at).ok_or_else(|| malformed("offset into the strings", at))?;
    Ok(String::from_utf8_lossy(bytes).into())
}
