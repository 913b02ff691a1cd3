//! Sections by NT's calls: made, mapped at a place, asked about.

use super::{
    file::Attributes,
    memory::Bounds,
    objects::{create, done, object_for, open},
    status::{self, ACCESS_VIOLATION, INFO_LENGTH_MISMATCH, INVALID_PARAMETER, NOT_SUPPORTED, SUCCESS},
};
use crate::{
    guest::Ptr,
    kernel32::{
        error::code,
        section::{Part, QUERY, Section, access_for, map, section},
        system::process_of,
    },
    memory::{GRANULARITY, book::TOP_DOWN, protect::Protect},
    object::{Kind, Object},
    teb,
};
use loader_core::PAGE;

const CONFLICTING_ADDRESSES: u32 = 0xc000_0018;
const NOT_MAPPED_VIEW: u32 = 0xc000_0019;
const INVALID_VIEW_SIZE: u32 = 0xc000_001f;
const INVALID_PAGE_PROTECTION: u32 = 0xc000_0045;
const SECTION_PROTECTION: u32 = 0xc000_004e;
const NOT_SAME_DEVICE: u32 = 0xc000_00d4;
const INVALID_ADDRESS: u32 = 0xc000_0141;
const MAPPED_ALIGNMENT: u32 = 0xc000_0220;

const PROCESS_VM_OPERATION: u32 = 8;

extern "win64" fn NtCreateSection(
    out: Ptr<usize>,
    access: u32,
    attributes: Ptr<Attributes>,
    size: Ptr<u64>,
    protect: u32,
    flags: u32,
    file: usize,
) -> u32 {
    if Protect::new(protect).is_err() {
        return INVALID_PAGE_PROTECTION;
    }
    let len = if size.is_null() { 0 } else { size.get() };
    // KERNEL32 says INVALID_HANDLE_VALUE where NT says 0.
    let file = if file == 0 { usize::MAX } else { file };
    match section(file, protect | flags, len) {
        Ok(section) => create(out, access, attributes, Kind::Section(section)),
        Err(error) => status::of(error),
    }
}

extern "win64" fn NtOpenSection(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>) -> u32 {
    open(out, access, attributes, |kind| matches!(kind, Kind::Section(_)))
}

/// The status of an error at mapping.
fn refused(error: u32) -> u32 {
    match error {
        code::INVALID_ADDRESS => CONFLICTING_ADDRESSES,
        code::MAPPED_ALIGNMENT => MAPPED_ALIGNMENT,
        code::ACCESS_DENIED => SECTION_PROTECTION,
        other => status::of(other),
    }
}

/// Maps at the wanted place, or as high as bounds allow.
fn place(
    object: &Object,
    protect: Protect,
    part: Part,
    len: u64,
    (bounds, top_down): (Option<Bounds>, bool),
) -> Result<u64, u32> {
    let map = |at| map(object, protect, &Part { at, ..part });
    let done = match bounds {
        Some(bounds) if part.at == 0 => bounds.find(len, top_down, map),
        _ => map(part.at),
    };
    done.map_err(refused)
}

fn view(
    handle: usize,
    process: usize,
    at: Ptr<u64>,
    zero_bits: u64,
    (offset, len): (Ptr<u64>, Ptr<u64>),
    kind: u32,
    protect: u32,
) -> Result<(), u32> {
    if at.is_null() || len.is_null() {
        return Err(ACCESS_VIOLATION);
    }
    let protect = Protect::new(protect).map_err(|_| INVALID_PAGE_PROTECTION)?;
    let from = if offset.is_null() { 0 } else { offset.get() };
    let bounds = Bounds::of_zero_bits(zero_bits)?;
    if kind & !TOP_DOWN != 0 || bounds.is_some_and(|bounds| at.get() >= bounds.high()) {
        return Err(INVALID_PARAMETER);
    }
    if !(at.get() | from).is_multiple_of(GRANULARITY) {
        return Err(MAPPED_ALIGNMENT);
    }
    let object = object_for(handle, access_for(protect))?;
    let Kind::Section(section) = &object.kind else { return Err(status::OBJECT_TYPE_MISMATCH) };
    if process_of(process, PROCESS_VM_OPERATION).map_err(status::of)?.is_some() {
        return Err(NOT_SUPPORTED); // a section is this process's own
    }
    let rest =
        section.len().checked_sub(from).filter(|&rest| rest != 0 && len.get() <= rest.next_multiple_of(PAGE));
    let rest = rest.ok_or(INVALID_VIEW_SIZE)?;
    let part = Part { offset: from, len: len.get().min(rest), at: at.get() };
    let wanted = if part.len == 0 { rest } else { part.len };
    at.set(place(&object, protect, part, wanted, (bounds, kind & TOP_DOWN != 0))?);
    len.set(wanted.next_multiple_of(PAGE));
    Ok(())
}

extern "win64" fn NtMapViewOfSection(
    section: usize,
    process: usize,
    at: Ptr<u64>,
    zero_bits: u64,
    _commit: u64,
    offset: Ptr<u64>,
    len: Ptr<u64>,
    _inherit: u32,
    kind: u32,
    protect: u32,
) -> u32 {
    done(view(section, process, at, zero_bits, (offset, len), kind, protect))
}

extern "win64" fn NtUnmapViewOfSection(process: usize, at: u64) -> u32 {
    match process_of(process, PROCESS_VM_OPERATION) {
        Err(error) => status::of(error),
        Ok(Some(_)) => NOT_MAPPED_VIEW,
        Ok(None) => teb::process().memory.unmap(at).map_or(NOT_MAPPED_VIEW, |()| SUCCESS),
    }
}

extern "win64" fn NtUnmapViewOfSectionEx(process: usize, at: u64, _flags: u32) -> u32 {
    NtUnmapViewOfSection(process, at)
}

/// `SECTION_BASIC_INFORMATION`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Basic {
    base: usize,
    attributes: u32,
    len: u64,
}

/// How it was made and how long it is.
extern "win64" fn NtQuerySection(
    handle: usize,
    class: u32,
    to: Ptr<Basic>,
    room: usize,
    needed: Ptr<usize>,
) -> u32 {
    const BASIC: u32 = 0;
    let object = match object_for(handle, QUERY) {
        Ok(object) => object,
        Err(status) => return status,
    };
    let Kind::Section(section) = &object.kind else { return status::OBJECT_TYPE_MISMATCH };
    match class {
        BASIC if room < size_of::<Basic>() => INFO_LENGTH_MISMATCH,
        BASIC if to.is_null() => ACCESS_VIOLATION,
        BASIC => {
            to.set(Basic { base: 0, attributes: section.attributes(), len: section.len() });
            needed.put(size_of::<Basic>());
            SUCCESS
        }
        _ => status::INVALID_INFO_CLASS,
    }
}

/// Whether two addresses lie in one mapping of an image or of a view.
extern "win64" fn NtAreMappedFilesTheSame(a: u64, b: u64) -> u32 {
    const MEM_PRIVATE: u32 = 0x2_0000;
    let memory = &teb::process().memory;
    let [first, second] = [a, b].map(|at| memory.query(at));
    let places = [first, second];
    if places.iter().any(|place| place.allocation_base == 0) {
        return INVALID_ADDRESS;
    }
    if places.iter().any(|place| place.kind == MEM_PRIVATE) {
        return CONFLICTING_ADDRESSES;
    }
    if first.allocation_base == second.allocation_base { SUCCESS } else { NOT_SAME_DEVICE }
}

impl Section {
    /// `SEC_FILE`, `SEC_RESERVE` or `SEC_COMMIT`, as NT answers.
    fn attributes(&self) -> u32 {
        match () {
            () if self.is_file() => 0x80_0000,
            () if self.is_reserved() => 0x400_0000,
            () => 0x800_0000,
        }
    }
}

table! {
    /// Sections.
    pub(crate) TABLE:
        NtCreateSection, ZwCreateSection = NtCreateSection, NtOpenSection, ZwOpenSection = NtOpenSection,
        NtMapViewOfSection, ZwMapViewOfSection = NtMapViewOfSection, NtUnmapViewOfSection,
        ZwUnmapViewOfSection = NtUnmapViewOfSection, NtUnmapViewOfSectionEx, NtQuerySection,
        ZwQuerySection = NtQuerySection, NtAreMappedFilesTheSame
}
