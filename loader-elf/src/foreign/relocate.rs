//! The relocations of an image of another machine, with and without addends, and those that need no names.

use super::machine::{Fixup, Machine, Word};
use crate::{
    dynamic::{
        DT_JMPREL, DT_PLTREL, DT_PLTRELSZ, DT_REL, DT_RELA, DT_RELAENT, DT_RELASZ, DT_RELENT, DT_RELR,
        DT_RELRENT, DT_RELRSZ, DT_RELSZ, Dynamic,
    },
    malformed,
    plan::Segments,
};
use goblin::elf::{Reloc, RelocSection};
use loader_core::{ErrorKind, ImageMut, Rva};
use std::ops::Range;

/// Where the relocations are, checked to lie inside the file.
#[derive(Debug)]
pub(crate) struct Fixups {
    word: Word,
    /// Relocations with names and without, those of the procedure linkage table last.
    tables: Vec<Table>,
    /// Packed RELATIVE relocations.
    packed: Range<usize>,
}

/// A table of relocations.
#[derive(Debug)]
struct Table {
    range: Range<usize>,
    /// They have addends (`RELA`); else those are in the places (`REL`).
    addends: bool,
}

impl Fixups {
    /// Finds the tables by what the dynamic section says of them.
    pub(crate) fn find(dynamic: &Dynamic, segments: &Segments, word: Word) -> Result<Self, ErrorKind> {
        let entry = |addends| Reloc::size(addends, word.ctx()) as u64;
        dynamic.entry_size(DT_RELENT, entry(false))?;
        dynamic.entry_size(DT_RELAENT, entry(true))?;
        dynamic.entry_size(DT_RELRENT, word.len())?;
        let range = |at, len, entry| {
            let (at, len) = (dynamic.get(at).unwrap_or(0), dynamic.get(len).unwrap_or(0));
            match len % entry {
                0 => segments.file("relocations outside the file", at, len),
                _ => Err(malformed("length of a relocation table", len)),
            }
        };
        let table =
            |at, len, addends| Ok::<_, ErrorKind>(Table { range: range(at, len, entry(addends))?, addends });
        let mut tables = vec![table(DT_REL, DT_RELSZ, false)?, table(DT_RELA, DT_RELASZ, true)?];
        if dynamic.get(DT_JMPREL).is_some() {
            let addends = match dynamic.get(DT_PLTREL) {
                Some(DT_REL) => false,
                Some(DT_RELA) => true,
                other => return Err(malformed("DT_PLTREL", other.unwrap_or(0))),
            };
            let linkage = table(DT_JMPREL, DT_PLTRELSZ, addends)?;
            // Some linkers count them among all others: they are applied once.
            let within = |t: &Table| linkage.range.start >= t.range.start && linkage.range.end <= t.range.end;
            if !tables.iter().any(within) {
                tables.push(linkage);
            }
        }
        Ok(Self { word, tables, packed: range(DT_RELR, DT_RELRSZ, word.len())? })
    }

    /// Every relocation that is not packed.
    pub(crate) fn all<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = Reloc> + use<'a, '_> {
        let ctx = self.word.ctx();
        let read = move |t: &Table| {
            RelocSection::parse(bytes, t.range.start, t.range.len(), t.addends, ctx).unwrap_or_default()
        };
        self.tables.iter().flat_map(move |t| read(t).iter())
    }

    /// Applies what needs no names and returns how much that was.
    pub(crate) fn relocate(
        &self,
        bytes: &[u8],
        machine: Machine,
        mem: &mut ImageMut<'_>,
    ) -> Result<usize, ErrorKind> {
        self.word.fit(Rva(0), mem.at.base.0.saturating_add(mem.at.len.saturating_sub(1)))?;
        let slide = mem.at.slide();
        let mut count = self.packed(bytes, mem)?;
        for r in self.all(bytes).filter(|r| machine.fixup(r.r_type) == Some(Fixup::Relative)) {
            let at = place(&r, mem);
            let addend = addend(self.word, &r, at, mem)?;
            self.word.write(mem, at, slide.wrapping_add(addend))?;
            count += 1;
        }
        Ok(count)
    }

    /// Packed relocations: an even word is a place, an odd one has a bit, but for its lowest, for each of the words
    /// that follow the last place.
    fn packed(&self, bytes: &[u8], mem: &mut ImageMut<'_>) -> Result<usize, ErrorKind> {
        let len = self.word.len();
        let covered = len * (len * 8 - 1); // in bytes, by one word of bits
        let table = bytes.get(self.packed.clone()).unwrap_or_default();
        let (mut next, mut count) = (None::<u64>, 0);
        for word in table.chunks_exact(len as usize).filter_map(|w| self.word.first(w)) {
            if word & 1 == 0 {
                self.move_word(word, mem)?;
                (next, count) = (Some(word.wrapping_add(len)), count + 1);
                continue;
            }
            let start = next.ok_or_else(|| malformed("DT_RELR begins with a bitmap", word))?;
            let mut bits = word >> 1;
            count += bits.count_ones() as usize;
            while bits != 0 {
                self.move_word(start.wrapping_add(len * u64::from(bits.trailing_zeros())), mem)?;
                bits &= bits - 1;
            }
            next = Some(start.wrapping_add(covered));
        }
        Ok(count)
    }

    /// Moves the address at link-time address `at` as far as the image was moved.
    fn move_word(&self, at: u64, mem: &mut ImageMut<'_>) -> Result<(), ErrorKind> {
        let at = Rva(at.wrapping_sub(mem.at.link_base.0));
        let old = self.word.read(mem, at)?;
        self.word.write(mem, at, old.wrapping_add(mem.at.slide()))
    }
}

/// Where a relocation writes.
pub(crate) fn place(r: &Reloc, mem: &ImageMut<'_>) -> Rva {
    Rva(r.r_offset.wrapping_sub(mem.at.link_base.0))
}

/// What a relocation adds: its own number, or else the one in its place.
pub(crate) fn addend(word: Word, r: &Reloc, at: Rva, mem: &mut ImageMut<'_>) -> Result<u64, ErrorKind> {
    match r.r_addend {
        Some(addend) => Ok(addend.cast_unsigned()),
        None => word.read(mem, at),
    }
}
