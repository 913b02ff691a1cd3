//! Sections become regions, and so does the header page.
//!
//! The window is the whole image: base relocations and import slots may be anywhere, and pages are copied, not mapped,
//! because file positions are multiples of 512, not of a page.

use crate::{image::Headers, malformed};
use goblin::pe::{characteristic, section_table as scn};
use loader_core::{
    Addr, ErrorKind, FileOffset, Fill, Layout, LinkAddr, MapPlan, PAGE, PageBytes, Region, Rights, Rva,
    Wanted,
};
use object::{LittleEndian as LE, pe};

/// Windows gives out address space in units of this.
const GRANULARITY: u64 = 0x1_0000;

/// Addresses that a process on x86-64 can have end here.
const ADDRESSES_END: u64 = 1 << 47;

/// What has to be in memory.
pub(crate) fn plan(headers: &Headers<'_>, file_len: u64) -> Result<MapPlan, ErrorKind> {
    let base = headers.optional.image_base.get(LE);
    if !base.is_multiple_of(GRANULARITY) {
        return malformed("image base", base);
    }
    let len = headers.optional.size_of_image.get(LE).into();
    let alignment = u64::from(headers.optional.section_alignment.get(LE));
    let mut regions = Vec::with_capacity(1 + headers.sections.len());
    regions.push(header_region(headers)?);
    for section in headers.sections {
        let Some(region) = section_region(section)? else { continue };
        // Windows refuses sections that do not follow each other, each on a multiple of the alignment.
        if !region.at.start.0.is_multiple_of(alignment) {
            return malformed("section off the alignment", region.at.start.0);
        }
        if regions.last().is_some_and(|last| region.at.start < last.at.end) {
            return malformed("sections overlap or do not ascend", region.at.start.0);
        }
        regions.push(region);
    }
    let layout = Layout {
        link_base: LinkAddr(base),
        len,
        align: GRANULARITY,
        wanted: wanted(headers),
        regions,
        window: Rva(0)..Rva(pages(len)?),
        relro: None,
    };
    MapPlan::check(layout, file_len)
}

/// An image without relocations can only be where it was linked to; any other would merely be spared some work there.
fn wanted(headers: &Headers<'_>) -> Wanted {
    let base = Addr(headers.optional.image_base.get(LE));
    let flags = headers.file.characteristics.get(LE).0;
    match base.0 {
        _ if flags & characteristic::IMAGE_FILE_RELOCS_STRIPPED != 0 => Wanted::Fixed(base),
        0 | ADDRESSES_END.. => Wanted::Anywhere,
        _ => Wanted::Preferred(base),
    }
}

/// The headers: code finds its own directories and resources through them.
fn header_region(headers: &Headers<'_>) -> Result<Region, ErrorKind> {
    let len = headers.optional.size_of_headers.get(LE).into();
    Ok(Region {
        at: Rva(0)..Rva(pages(len)?),
        fill: Some(Fill { file: FileOffset(0)..FileOffset(len), at: Rva(0) }),
        rights: Rights::READ,
    })
}

/// A section, or `None` for one without a length.
fn section_region(section: &pe::ImageSectionHeader) -> Result<Option<Region>, ErrorKind> {
    let start = u64::from(section.virtual_address.get(LE));
    let raw = u64::from(section.size_of_raw_data.get(LE));
    // A virtual size of zero means "as long as the raw data": Watcom's linker leaves the field empty.
    let len = match section.virtual_size.get(LE) {
        0 => raw,
        n => n.into(),
    };
    if len == 0 {
        return Ok(None);
    }
    let end = Rva(start + pages(len)?);
    Ok(Some(Region {
        fill: fill(section, start, end),
        at: Rva(start)..end,
        rights: rights(section.characteristics.get(LE).0),
    }))
}

/// What the file has of a section. Whole sectors, as Windows reads them: the start is rounded down to 512, and bytes
/// beyond the virtual size count as far as the last page goes.
fn fill(section: &pe::ImageSectionHeader, start: u64, end: Rva) -> Option<Fill> {
    let file = u64::from(section.pointer_to_raw_data.get(LE));
    let len = u64::from(section.size_of_raw_data.get(LE)).min(end.0 - start);
    let sector = file & !511;
    (file != 0 && len != 0)
        .then_some(Fill { file: FileOffset(sector)..FileOffset(sector + len), at: Rva(start) })
}

/// Every page can be read: x86 has no pages that can be executed or written only, and Windows gives none.
fn rights(flags: u32) -> Rights {
    let mut rights = Rights::READ;
    rights.set(Rights::WRITE, flags & scn::IMAGE_SCN_MEM_WRITE != 0);
    rights.set(Rights::EXECUTE, flags & scn::IMAGE_SCN_MEM_EXECUTE != 0);
    rights
}

fn pages(len: u64) -> Result<u64, ErrorKind> {
    let pages = PageBytes::covering(len).ok_or(ErrorKind::Malformed { what: "length in pages", at: len })?;
    Ok(pages.get().max(PAGE))
}
