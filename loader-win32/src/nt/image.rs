//! Images in memory, read by their headers: where the headers, a directory, a section, an export are. What is no image is an
//! answer of nothing, whatever is at the address.

use super::status::{INVALID_IMAGE_FORMAT, INVALID_PARAMETER, SUCCESS};
use crate::{exception::peek, guest::Ptr, kernel32::module::sought};
use loader_core::Symbol;

/// A handle of a file that is mapped as data has one of these bits.
const DATA: usize = 3;
/// The headers are below this.
const HIGHEST_HEADER: u32 = 0x1000_0000;
const SECTION: u64 = 40;

/// A number in memory that may not be there.
fn read<const N: usize>(at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (peek(at, &mut bytes) == N).then_some(bytes)
}

fn word(at: u64) -> Option<u16> {
    read(at).map(u16::from_le_bytes)
}

fn dword(at: u64) -> Option<u32> {
    read(at).map(u32::from_le_bytes)
}

/// Where the NT headers of the image at a base are, of which `len` bytes are readable (0 where that is not known).
fn headers(base: u64, len: u64) -> Option<u64> {
    const MZ: u16 = 0x5a4d;
    const PE: u32 = 0x4550;
    if word(base)? != MZ {
        return None;
    }
    let at = dword(base + 0x3c)?;
    let inside = len == 0 || u64::from(at) + 4 <= len;
    (at < HIGHEST_HEADER && inside && dword(base + u64::from(at))? == PE).then_some(base + u64::from(at))
}

extern "win64" fn RtlImageNtHeader(base: u64) -> u64 {
    headers(base, 0).unwrap_or(0)
}

/// The same for whoever knows how much of the file is there; the flag says that nobody does.
extern "win64" fn RtlImageNtHeaderEx(flags: u32, base: u64, len: u64, out: Ptr<u64>) -> u32 {
    const NO_RANGE_CHECK: u32 = 1;
    if flags & !NO_RANGE_CHECK != 0 || out.is_null() || base == 0 || base == u64::MAX {
        return INVALID_PARAMETER;
    }
    let found = match flags {
        NO_RANGE_CHECK => headers(base, 0),
        _ if len < 0x40 => None,
        _ => headers(base, len),
    };
    out.set(found.unwrap_or(0));
    if found.is_some() { SUCCESS } else { INVALID_IMAGE_FORMAT }
}

/// Where directories are in the optional header, which differs between 32 and 64 bits, and how many there are.
fn directories(nt: u64) -> Option<(u64, u32)> {
    let at = match word(nt.wrapping_add(24))? {
        0x20b => nt + 24 + 112,
        0x10b => nt + 24 + 96,
        _ => return None,
    };
    Some((at, dword(at - 4)?))
}

/// The header of the section that holds a position.
fn section(nt: u64, rva: u32) -> Option<u64> {
    let first = nt.wrapping_add(24).wrapping_add(word(nt.wrapping_add(20))?.into());
    (0..u64::from(word(nt + 6)?)).map(|nth| first + nth * SECTION).find(|&section| {
        let holds = || Some(rva.checked_sub(dword(section + 12)?)? < dword(section + 16)?);
        holds() == Some(true)
    })
}

extern "win64" fn RtlImageRvaToSection(nt: u64, _base: u64, rva: u32) -> u64 {
    section(nt, rva).unwrap_or(0)
}

/// Where a position is in a file that lies in memory as it does on a disk.
fn in_file(nt: u64, base: u64, rva: u32) -> Option<u64> {
    let section = section(nt, rva)?;
    let distance = u64::from(dword(section + 20)?) + u64::from(rva - dword(section + 12)?);
    Some(base.wrapping_add(distance))
}

/// The last section is kept for the next question.
extern "win64" fn RtlImageRvaToVa(nt: u64, base: u64, rva: u32, last: Ptr<u64>) -> u64 {
    last.put(section(nt, rva).unwrap_or(0));
    in_file(nt, base, rva).unwrap_or(0)
}

/// Where a directory is, of an image that is mapped as one, or as its file is.
extern "win64" fn RtlImageDirectoryEntryToData(base: usize, mapped: u8, nth: u16, len: Ptr<u32>) -> u64 {
    let find = || {
        let plain = (base & !DATA) as u64;
        let nt = headers(plain, 0)?;
        let (directories, count) = directories(nt)?;
        let entry = (u32::from(nth) < count).then_some(directories + u64::from(nth) * 8)?;
        let (rva, size) = (dword(entry)?, dword(entry + 4)?);
        let headers = dword(nt + 24 + 60)?;
        let at = match rva {
            0 => return None,
            // Below the end of the headers, both are the same.
            rva if mapped != 0 && base & DATA == 0 || rva < headers => plain + u64::from(rva),
            rva => in_file(nt, plain, rva)?,
        };
        len.put(size);
        Some(at)
    };
    len.put(0);
    find().unwrap_or(0)
}

/// One block of base relocations: adds what an image is off by to all that the block lists, and says where the next one is;
/// nothing at a kind that there is not on this machine.
extern "win64" fn LdrProcessRelocationBlock(page: u64, count: u32, list: Ptr<u16>, delta: u64) -> u64 {
    for nth in 0..count as usize {
        let entry = list.at(nth).get();
        let at = page.wrapping_add(u64::from(entry & 0xfff));
        let add = |shift: u32| {
            let place = Ptr::<u16>::from_guest(at);
            place.set(place.get().wrapping_add((delta >> shift) as u16));
        };
        match entry >> 12 {
            0 => {}
            1 => add(16),
            2 => add(0),
            3 => {
                let place = Ptr::<u32>::from_guest(at);
                place.set(place.get().wrapping_add(delta as u32));
            }
            10 => {
                let place = Ptr::<u64>::from_guest(at);
                place.set(place.get().wrapping_add(delta));
            }
            _ => return 0,
        }
    }
    list.at(count as usize).addr() as u64
}

/// An export by name, of any module.
extern "win64" fn RtlFindExportedRoutineByName(module: usize, name: Ptr<u8>) -> usize {
    sought(module, Symbol::Name(name.text())).map_or(0, |at| at.0 as usize)
}

table! {
    /// Images in memory.
    pub(crate) TABLE:
        RtlImageNtHeader, RtlImageNtHeaderEx, RtlImageRvaToSection, RtlImageRvaToVa, RtlImageDirectoryEntryToData,
        LdrProcessRelocationBlock, RtlFindExportedRoutineByName
}
