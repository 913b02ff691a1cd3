//! Base relocations: what has to change because the image is not where it was linked to.
//!
//! A table is a row of blocks, one a page; an entry of a block has a kind and a position in that page.

use crate::{image::Directory, malformed, view::View};
use loader_core::{ErrorKind, ImageMut, Rva};
use object::pe;

const ABSOLUTE: u16 = pe::IMAGE_REL_BASED_ABSOLUTE.0;
const HIGH: u16 = pe::IMAGE_REL_BASED_HIGH.0;
const LOW: u16 = pe::IMAGE_REL_BASED_LOW.0;
const HIGHLOW: u16 = pe::IMAGE_REL_BASED_HIGHLOW.0;
const HIGHADJ: u16 = pe::IMAGE_REL_BASED_HIGHADJ.0;
const ARM_MOV32: u16 = pe::IMAGE_REL_BASED_ARM_MOV32.0;
const THUMB_MOV32: u16 = pe::IMAGE_REL_BASED_THUMB_MOV32.0;
const DIR64: u16 = pe::IMAGE_REL_BASED_DIR64.0;

/// The file's relocation table, empty where there is none.
pub(crate) fn table<'a>(view: View<'a>, at: Option<Directory>) -> Result<&'a [u8], ErrorKind> {
    match at {
        None | Some(Directory { len: 0, .. }) => Ok(&[]),
        Some(Directory { at, len }) => {
            let table = view.at(at, "relocation table")?.first(len as usize);
            table.map_or_else(|| malformed("length of the relocation table", len), Ok)
        }
    }
}

/// Applies a relocation table for `machine` and returns how many fixups it has. An image that is where it was linked
/// to has its table read, but nothing is written.
///
/// # Errors
/// [`ErrorKind::Malformed`] for a broken block, [`ErrorKind::Unsupported`] for a kind that the machine does not have,
/// [`ErrorKind::WriteOutside`].
pub fn relocate(table: &[u8], machine: u16, mem: &mut ImageMut<'_>) -> Result<usize, ErrorKind> {
    let slide = mem.at.slide();
    let mut done = 0;
    for block in blocks(table) {
        let (page, entries) = block?;
        let entries = entries.as_chunks().0;
        let plain = reach(mem, page).map_or(0, |reach| add_plain(reach, entries, slide));
        let mut rest = entries[plain..].iter().map(|&e| u16::from_le_bytes(e));
        done += plain;
        while let Some(entry) = rest.next() {
            let at = Rva(u64::from(page) + u64::from(entry & 0xfff));
            match entry >> 12 {
                DIR64 => mem.add_u64(at, slide)?,
                ABSOLUTE => continue, // fills a block up to four bytes
                kind => {
                    let low = if kind == HIGHADJ { rest.next() } else { None };
                    rare(kind, at, low, machine, mem)?;
                }
            }
            done += 1;
        }
    }
    Ok(done)
}

/// A page and what a 64-bit number that starts in it can reach of the next.
const REACH: usize = 0x1000 + 7;

fn reach<'m>(mem: &'m mut ImageMut<'_>, page: u32) -> Option<&'m mut [u8; REACH]> {
    let start = u64::from(page).checked_sub(mem.start.0)?;
    mem.window.get_mut(usize::try_from(start).ok()?..)?.first_chunk_mut()
}

/// Applies the 64-bit fixups with which a block begins, nearly always all of them, and returns how many they were.
/// Every position in a page is inside `REACH`, so the loop has no checks.
fn add_plain(page: &mut [u8; REACH], entries: &[[u8; 2]], slide: u64) -> usize {
    let plain = &entries[..count_plain(entries)];
    if slide != 0 {
        for &entry in plain {
            let at = usize::from(u16::from_le_bytes(entry) & 0xfff);
            if let Some(slot) = page[at..].first_chunk_mut() {
                *slot = u64::from_le_bytes(*slot).wrapping_add(slide).to_le_bytes();
            }
        }
    }
    plain.len()
}

/// How many 64-bit fixups a block begins with. A row of entries is looked at in one go.
fn count_plain(entries: &[[u8; 2]]) -> usize {
    const ROW: usize = 32;
    let is_plain = |entry: &[u8; 2]| u16::from_le_bytes(*entry) >> 12 == DIR64;
    let all_plain = |row: &&[[u8; 2]; ROW]| row.iter().fold(true, |all, entry| all & is_plain(entry));
    let whole = entries.as_chunks::<ROW>().0.iter().take_while(all_plain).count() * ROW;
    let rest = entries[whole..].iter().take_while(|entry| is_plain(entry)).count();
    whole + rest
}

/// The blocks of a table: the image position of a page, and its entries.
pub(crate) fn blocks(mut rest: &[u8]) -> impl Iterator<Item = Result<(u32, &[u8]), ErrorKind>> {
    let whole = rest.len();
    std::iter::from_fn(move || {
        let page = u32::from_le_bytes(*rest.first_chunk()?);
        let size = u32::from_le_bytes(*rest.get(4..)?.first_chunk()?);
        if page == 0 && size <= 8 {
            return None; // fmod.dll ends its table with an empty block, then garbage; Windows stops here
        }
        let at = (whole - rest.len()) as u64;
        let Some(block) = rest.get(8..size as usize) else {
            rest = &[];
            return Some(malformed("relocation block", at));
        };
        rest = &rest[size as usize..]; // `size` is at least 8, so every step makes progress
        Some(Ok((page, block)))
    })
}

/// The kinds that 64-bit images do not have.
fn rare(kind: u16, at: Rva, low: Option<u16>, machine: u16, mem: &mut ImageMut<'_>) -> Result<(), ErrorKind> {
    // Images of these kinds are 32 bits wide: only the lower half of the slide counts.
    let [a, b, c, d, ..] = mem.at.slide().to_le_bytes();
    let slide = u32::from_le_bytes([a, b, c, d]);
    let (slide_low, slide_high) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    match (kind, machine) {
        (HIGH, _) => add_u16(mem, at, slide_high),
        (LOW, _) => add_u16(mem, at, slide_low),
        (HIGHLOW, _) => {
            let old = u32::from_le_bytes(mem.read(at)?);
            mem.write(at, old.wrapping_add(slide).to_le_bytes())
        }
        (HIGHADJ, _) => {
            let Some(low) = low else {
                return malformed("relocation in two parts without the second", at.0);
            };
            let high = u32::from(u16::from_le_bytes(mem.read(at)?)) << 16;
            // The lower half is signed, so the upper one is rounded to the nearest.
            let low = i32::from(low.cast_signed()).cast_unsigned();
            let sum = high.wrapping_add(low).wrapping_add(slide).wrapping_add(0x8000);
            let [_, _, a, b] = sum.to_le_bytes();
            mem.write(at, [a, b])
        }
        (ARM_MOV32, ARM | THUMB | ARMNT) => add_in_pair(mem, at, slide, arm_get, arm_put),
        (THUMB_MOV32, ARM | THUMB | ARMNT) => add_in_pair(mem, at, slide, thumb_get, thumb_put),
        _ => Err(ErrorKind::Unsupported { what: "base relocation of kind", value: kind.into() }),
    }
}

const ARM: u16 = pe::IMAGE_FILE_MACHINE_ARM.0;
const THUMB: u16 = pe::IMAGE_FILE_MACHINE_THUMB.0;
const ARMNT: u16 = pe::IMAGE_FILE_MACHINE_ARMNT.0;

fn add_u16(mem: &mut ImageMut<'_>, at: Rva, n: u16) -> Result<(), ErrorKind> {
    let old = u16::from_le_bytes(mem.read(at)?);
    mem.write(at, old.wrapping_add(n).to_le_bytes())
}

/// Adds to a number whose halves two neighbouring instructions hold (`movw`, `movt`).
fn add_in_pair(
    mem: &mut ImageMut<'_>,
    at: Rva,
    n: u32,
    get: fn(u32) -> u16,
    put: fn(u32, u16) -> u32,
) -> Result<(), ErrorKind> {
    let pair = u64::from_le_bytes(mem.read(at)?);
    let (movw, movt) = (pair as u32, (pair >> 32) as u32);
    let sum = (u32::from(get(movt)) << 16 | u32::from(get(movw))).wrapping_add(n);
    let (movw, movt) = (put(movw, sum as u16), put(movt, (sum >> 16) as u16));
    mem.write(at, (u64::from(movt) << 32 | u64::from(movw)).to_le_bytes())
}

/// The immediate of an ARM `movw`/`movt`: bits 19–16 and 11–0.
fn arm_get(insn: u32) -> u16 {
    (insn >> 4 & 0xf000 | insn & 0x0fff) as u16
}

fn arm_put(insn: u32, n: u16) -> u32 {
    let n = u32::from(n);
    insn & 0xfff0_f000 | (n & 0xf000) << 4 | n & 0x0fff
}

/// The immediate of a Thumb-2 `movw`/`movt`, two halfwords: bits 3–0 and 10 of the first, 14–12 and 7–0 of the second.
fn thumb_get(insn: u32) -> u16 {
    let (first, second) = (insn & 0xffff, insn >> 16);
    ((first & 0xf) << 12 | (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xff) as u16
}

fn thumb_put(insn: u32, n: u16) -> u32 {
    let n = u32::from(n);
    let first = insn & 0xfbf0 | n >> 12 | (n >> 11 & 1) << 10;
    let second = insn >> 16 & 0x8f00 | (n >> 8 & 7) << 12 | n & 0xff;
    second << 16 | first
}
