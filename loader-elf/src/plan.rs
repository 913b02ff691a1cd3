//! `PT_LOAD` segments become regions; `PT_GNU_RELRO` becomes the pages that are sealed.

use crate::{malformed, read::u64_at};
use goblin::elf::{
    ProgramHeader,
    program_header::{
        PF_R, PF_W, PF_X, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_GNU_RELRO, PT_LOAD, PT_TLS,
        program_header64::SIZEOF_PHDR,
    },
};
use loader_core::{
    ErrorKind, FileOffset, Fill, Layout, LinkAddr, PAGE, Region, Rights, Rva, Wanted, page_floor,
};
use std::ops::Range;

/// Length of a program header in bytes.
const HEADER: usize = SIZEOF_PHDR;

/// The program headers that matter to a loader.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    /// What goes into memory, lowest first; none is empty.
    pub(crate) loads: Vec<ProgramHeader>,
    /// The dynamic section.
    pub(crate) dynamic: Option<ProgramHeader>,
    /// The template of thread-local blocks.
    pub(crate) tls: Option<ProgramHeader>,
    /// What is read-only after relocation.
    pub(crate) relro: Option<ProgramHeader>,
    /// The header of the unwind table.
    pub(crate) unwind: Option<ProgramHeader>,
}

impl Segments {
    /// Sorts program headers by what they are for, and believes the `PT_LOAD`s of a file of `file_len` bytes.
    pub(crate) fn sort(headers: Vec<ProgramHeader>, file_len: u64) -> Result<Self, ErrorKind> {
        let mut out = Self::default();
        for header in headers {
            match header.p_type {
                PT_LOAD if header.p_memsz == 0 => {}
                PT_LOAD => {
                    check_load(&header, file_len)?;
                    if out.loads.last().is_some_and(|l| l.p_vaddr > header.p_vaddr) {
                        return Err(malformed("PT_LOAD out of order", header.p_vaddr));
                    }
                    out.loads.push(header);
                }
                PT_DYNAMIC => out.dynamic = Some(header),
                PT_TLS => out.tls = Some(header),
                PT_GNU_RELRO => out.relro = Some(header),
                PT_GNU_EH_FRAME => out.unwind = Some(header),
                _ => {}
            }
        }
        match out.loads.is_empty() {
            true => Err(malformed("no PT_LOAD segment", 0)),
            false => Ok(out),
        }
    }

    /// The bytes of the file from link-time address `at` to the end of what its segment has in the file.
    pub(crate) fn tail(&self, at: u64) -> Option<Range<usize>> {
        let inside = |l: &&ProgramHeader| at.checked_sub(l.p_vaddr).is_some_and(|n| n < l.p_filesz);
        let load = self.loads.iter().find(inside)?;
        let start = load.p_offset.checked_add(at - load.p_vaddr)?;
        let end = load.p_offset.checked_add(load.p_filesz)?;
        Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    /// The `len` bytes of the file that are at link-time address `at` in memory.
    pub(crate) fn file(&self, what: &'static str, at: u64, len: u64) -> Result<Range<usize>, ErrorKind> {
        if len == 0 {
            return Ok(0..0);
        }
        let cut = |tail: Range<usize>| {
            let end = tail.start.checked_add(usize::try_from(len).ok()?)?;
            (end <= tail.end).then_some(tail.start..end)
        };
        self.tail(at).and_then(cut).ok_or_else(|| malformed(what, at))
    }
}

/// Where `count` program headers at `offset` are in the file.
pub(crate) fn headers(bytes: &[u8], offset: u64, count: u16) -> Result<Range<usize>, ErrorKind> {
    let range = usize::try_from(offset).ok().and_then(|start| {
        let end = start.checked_add(usize::from(count) * HEADER)?;
        (end <= bytes.len()).then_some(start..end)
    });
    range.ok_or_else(|| malformed("program headers outside the file", offset))
}

/// One program header.
pub(crate) fn header(e: &[u8; HEADER]) -> Option<ProgramHeader> {
    let first = u64_at(e, 0)?; // the type, and above it the flags
    Some(ProgramHeader {
        p_type: first as u32,
        p_flags: (first >> 32) as u32,
        p_offset: u64_at(e, 8)?,
        p_vaddr: u64_at(e, 16)?,
        p_paddr: u64_at(e, 24)?,
        p_filesz: u64_at(e, 32)?,
        p_memsz: u64_at(e, 40)?,
        p_align: u64_at(e, 48)?,
    })
}

fn check_load(load: &ProgramHeader, file_len: u64) -> Result<(), ErrorKind> {
    if load.p_filesz > load.p_memsz {
        return Err(malformed("PT_LOAD longer in the file than in memory", load.p_filesz));
    }
    if load.p_offset.checked_add(load.p_filesz).is_none_or(|end| end > file_len) {
        return Err(malformed("PT_LOAD leaves the file", load.p_offset));
    }
    if load.p_align > 1 && !load.p_align.is_power_of_two() {
        return Err(malformed("PT_LOAD alignment", load.p_align));
    }
    if load.p_vaddr % PAGE != load.p_offset % PAGE {
        return Err(malformed("PT_LOAD address and offset do not agree", load.p_vaddr));
    }
    Ok(())
}

/// What the segments ask for; `text_writable` where fixups go to code as well.
pub(crate) fn layout(segments: &Segments, text_writable: bool) -> Result<Layout, ErrorKind> {
    let lowest = segments.loads.first().map_or(0, |l| l.p_vaddr);
    let link_base = LinkAddr(page_floor(lowest));
    let mut regions = Vec::with_capacity(segments.loads.len());
    for load in &segments.loads {
        regions.push(region(load, link_base)?);
    }
    let len = regions.last().map_or(0, |r| r.at.end.0);
    let window = match text_writable {
        true => Rva(0)..Rva(len),
        false => writable(&regions),
    };
    let relro = segments.relro.as_ref();
    Ok(Layout {
        link_base,
        len,
        align: segments.loads.iter().map(|l| l.p_align).fold(PAGE, u64::max),
        wanted: Wanted::Anywhere,
        regions,
        window,
        relro: relro.map(|r| sealed(r, link_base)).transpose()?,
    })
}

fn region(load: &ProgramHeader, link_base: LinkAddr) -> Result<Region, ErrorKind> {
    let wraps = || malformed("PT_LOAD leaves the address space", load.p_vaddr);
    let at = load.p_vaddr.checked_sub(link_base.0).ok_or_else(wraps)?;
    let end = at.checked_add(load.p_memsz).and_then(|e| e.checked_next_multiple_of(PAGE));
    let file_end = load.p_offset.checked_add(load.p_filesz).ok_or_else(wraps)?;
    Ok(Region {
        at: Rva(page_floor(at))..Rva(end.ok_or_else(wraps)?),
        fill: (load.p_filesz != 0)
            .then_some(Fill { file: FileOffset(load.p_offset)..FileOffset(file_end), at: Rva(at) }),
        rights: rights(load.p_flags),
    })
}

fn rights(flags: u32) -> Rights {
    [(PF_R, Rights::READ), (PF_W, Rights::WRITE), (PF_X, Rights::EXECUTE)]
        .into_iter()
        .filter(|(flag, _)| flags & flag != 0)
        .map(|(_, right)| right)
        .collect()
}

/// From the first writable page to the last.
fn writable(regions: &[Region]) -> Range<Rva> {
    let mut open = regions.iter().filter(|r| r.rights.contains(Rights::WRITE));
    let start = open.next().map_or(Rva(0)..Rva(0), |r| r.at.clone());
    open.fold(start, |all, r| all.start..all.end.max(r.at.end))
}

/// The whole pages of the RELRO segment. A last page that it only begins stays writable, as the system has it.
fn sealed(relro: &ProgramHeader, link_base: LinkAddr) -> Result<Range<Rva>, ErrorKind> {
    let end = relro.p_vaddr.checked_add(relro.p_memsz);
    let place = |at: u64| page_floor(at).checked_sub(link_base.0).map(Rva);
    let pages = place(relro.p_vaddr).zip(end.and_then(place)).map(|(start, end)| start..end);
    pages.ok_or_else(|| malformed("PT_GNU_RELRO leaves the image", relro.p_vaddr))
}
