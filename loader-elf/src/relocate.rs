//! Fixups that need no names: RELATIVE, packed RELATIVE (`DT_RELR`), IRELATIVE.

use crate::{
    dynamic::{
        DT_JMPREL, DT_PLTREL, DT_PLTRELSZ, DT_REL, DT_RELA, DT_RELACOUNT, DT_RELAENT, DT_RELASZ, DT_RELR,
        DT_RELRENT, DT_RELRSZ, Dynamic,
    },
    malformed,
    plan::Segments,
    symbol::code,
};
use goblin::elf::reloc::{R_X86_64_IRELATIVE, R_X86_64_RELATIVE, R_X86_64_RELATIVE64};
use loader_core::{ErrorKind, ImageMut, LinkAddr, MapPlan, Rva};
use std::ops::Range;

/// Length of a relocation in bytes.
const RELA: usize = 24;
/// Bits in a word of packed relocations that stand for places.
const BITS: u64 = 63;

/// A relocation, as the file has it.
pub(crate) type Entry = [u8; RELA];

/// One relocation with an addend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rela {
    /// The place, a link-time address.
    pub(crate) at: u64,
    /// What to do.
    pub(crate) kind: u32,
    /// With which symbol.
    pub(crate) symbol: u32,
    /// And what to add.
    pub(crate) addend: u64,
}

impl Rela {
    #[inline]
    pub(crate) fn read(entry: &Entry) -> Self {
        let word = |i: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&entry[i * 8..i * 8 + 8]);
            u64::from_le_bytes(word)
        };
        let info = word(1);
        Self { at: word(0), kind: info as u32, symbol: (info >> 32) as u32, addend: word(2) }
    }
}

/// Where the relocations are, checked to lie inside the file.
#[derive(Debug)]
pub(crate) struct Fixups {
    /// The first relocations: all of them RELATIVE.
    relative: Range<usize>,
    /// All other relocations, those of the procedure linkage table last.
    other: [Range<usize>; 2],
    /// Packed RELATIVE relocations.
    packed: Range<usize>,
}

impl Fixups {
    /// Finds the tables by what the dynamic section says of them.
    pub(crate) fn find(dynamic: &Dynamic, segments: &Segments) -> Result<Self, ErrorKind> {
        dynamic.entry_size(DT_RELAENT, RELA as u64)?;
        dynamic.entry_size(DT_RELRENT, 8)?;
        if let Some(value) = dynamic.get(DT_REL) {
            let what = "relocations without addends";
            return Err(ErrorKind::Unsupported { what, value });
        }
        let table = |at, len, entry| {
            let (at, len) = (dynamic.get(at).unwrap_or(0), dynamic.get(len).unwrap_or(0));
            match len % entry {
                0 => segments.file("relocations outside the file", at, len),
                _ => Err(malformed("length of a relocation table", len)),
            }
        };
        let all = table(DT_RELA, DT_RELASZ, RELA as u64)?;
        let plt = table(DT_JMPREL, DT_PLTRELSZ, RELA as u64)?;
        if !plt.is_empty() && dynamic.get(DT_PLTREL) != Some(DT_RELA) {
            return Err(malformed("DT_PLTREL", dynamic.get(DT_PLTREL).unwrap_or(0)));
        }
        // Some linkers count the linkage table's relocations among all others: they are applied once.
        let counted = plt.start >= all.start && plt.end <= all.end;
        let relative = dynamic.get(DT_RELACOUNT).unwrap_or(0);
        let split = usize::try_from(relative)
            .ok()
            .and_then(|n| n.checked_mul(RELA)?.checked_add(all.start))
            .filter(|&split| split <= all.end)
            .ok_or_else(|| malformed("DT_RELACOUNT", relative))?;
        Ok(Self {
            relative: all.start..split,
            other: [split..all.end, if counted { 0..0 } else { plt }],
            packed: table(DT_RELR, DT_RELRSZ, 8)?,
        })
    }

    /// The relocations after the RELATIVE ones that come first, each table for itself: a loop over one is quicker than
    /// one over both.
    pub(crate) fn tables<'a>(&self, bytes: &'a [u8]) -> [&'a [Entry]; 2] {
        self.other.clone().map(|table| entries(bytes, table))
    }

    /// All of them.
    pub(crate) fn other<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = Rela> + use<'a> {
        self.tables(bytes).into_iter().flatten().map(Rela::read)
    }

    /// Whether the procedure linkage table has relocations of its own: only then its calls know their numbers.
    pub(crate) fn have_calls(&self) -> bool {
        let [rest, plt] = &self.other;
        !plt.is_empty() && (plt.start >= rest.end || plt.end <= self.relative.start)
    }

    /// The `nth` relocation of the procedure linkage table.
    pub(crate) fn call(&self, bytes: &[u8], nth: u64) -> Option<Rela> {
        let [_, plt] = self.other.clone();
        entries(bytes, plt).get(usize::try_from(nth).ok()?).map(Rela::read)
    }

    /// Applies what needs no names and returns how much that was.
    pub(crate) fn relocate(
        &self,
        bytes: &[u8],
        plan: &MapPlan,
        mem: &mut ImageMut<'_>,
    ) -> Result<usize, ErrorKind> {
        let count = self.relative(bytes, mem)? + self.packed(bytes, mem)?;
        Ok(count + self.scattered(bytes, plan, mem)?)
    }

    /// The RELATIVE relocations that come first.
    fn relative(&self, bytes: &[u8], mem: &mut ImageMut<'_>) -> Result<usize, ErrorKind> {
        let (slide, link_base) = (mem.at.slide(), mem.at.link_base.0);
        let place = |r: &Rela| Rva(r.at.wrapping_sub(link_base));
        let all = entries(bytes, self.relative.clone());
        let mut write = mem.writer();
        let mut done =
            |r: &Rela| r.kind == R_X86_64_RELATIVE && write(place(r), r.addend.wrapping_add(slide));
        let bad = all.iter().map(Rela::read).find(|r| !done(r));
        match bad {
            None => Ok(all.len()),
            Some(r) if r.kind == R_X86_64_RELATIVE => Err(ErrorKind::WriteOutside { at: place(&r), len: 8 }),
            Some(r) => Err(malformed("DT_RELACOUNT counts another relocation", r.at)),
        }
    }

    /// Packed relocations: an even word is a place, an odd one has a bit for each of the 63 words that follow the
    /// last place.
    fn packed(&self, bytes: &[u8], mem: &mut ImageMut<'_>) -> Result<usize, ErrorKind> {
        let (slide, link_base) = (mem.at.slide(), mem.at.link_base.0);
        let words = bytes.get(self.packed.clone()).unwrap_or_default();
        let (mut next, mut count) = (None, 0);
        for word in words.as_chunks().0.iter().map(|w| u64::from_le_bytes(*w)) {
            if word & 1 == 0 {
                mem.add_u64(Rva(word.wrapping_sub(link_base)), slide)?;
                (next, count) = (Some(word.wrapping_add(8)), count + 1);
                continue;
            }
            let start: u64 = next.ok_or_else(|| malformed("DT_RELR begins with a bitmap", word))?;
            let mut bits = word >> 1;
            count += bits.count_ones() as usize;
            while bits != 0 {
                let place = start.wrapping_add(8 * u64::from(bits.trailing_zeros()));
                mem.add_u64(Rva(place.wrapping_sub(link_base)), slide)?;
                bits &= bits - 1;
            }
            next = Some(start.wrapping_add(8 * BITS));
        }
        Ok(count)
    }

    /// What needs no names among the other relocations.
    fn scattered(&self, bytes: &[u8], plan: &MapPlan, mem: &mut ImageMut<'_>) -> Result<usize, ErrorKind> {
        let (slide, link_base) = (mem.at.slide(), mem.at.link_base.0);
        let mut count = 0;
        let nameless = [R_X86_64_RELATIVE, R_X86_64_RELATIVE64, R_X86_64_IRELATIVE];
        for table in self.tables(bytes) {
            for r in table.iter().map(Rela::read).filter(|r| nameless.contains(&r.kind)) {
                let at = Rva(r.at.wrapping_sub(link_base));
                match r.kind {
                    R_X86_64_IRELATIVE => {
                        code(plan, r.addend)?;
                        mem.late(at, mem.at.moved(LinkAddr(r.addend)), 0)?;
                    }
                    _ => mem.write_u64(at, r.addend.wrapping_add(slide))?,
                }
                count += 1;
            }
        }
        Ok(count)
    }
}

fn entries(bytes: &[u8], range: Range<usize>) -> &[Entry] {
    bytes.get(range).unwrap_or_default().as_chunks().0
}
