//! Sections and their views: files, or memory that several views share.

use super::{
    Bool, FALSE, answer,
    error::{code, from_io, from_os},
    fail,
    named::inherits,
    transfer::Security,
    wait::{create_for, object, open_for},
};
use crate::{
    guest::Ptr,
    memory::{
        book::{Shown, View},
        protect::{self, Protect},
    },
    nt::{objects::object_for, status},
    object::{Kind, Object},
    teb,
    text::Text,
};
use loader_core::Rights;
use std::{fs::File, sync::Arc};

/// A section: a file, or memory without a name, with its length and what views of it may allow.
pub(crate) struct Section {
    file: Arc<File>,
    len: u64,
    most: Rights,
    /// Whether it is a file that has a name.
    named: bool,
    /// Whether its pages are committed at once (`SEC_COMMIT`), or when somebody asks (`SEC_RESERVE`).
    committed: bool,
}

impl Section {
    /// In bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is a file that has a name.
    pub(crate) fn is_file(&self) -> bool {
        self.named
    }

    /// Whether its pages are committed when somebody asks.
    pub(crate) fn is_reserved(&self) -> bool {
        !self.committed
    }
}

const INVALID_HANDLE_VALUE: usize = usize::MAX;
const SEC_RESERVE: u32 = 0x400_0000;
const SEC_COMMIT: u32 = 0x800_0000;
const SEC_NOCACHE: u32 = 0x1000_0000;
const FILE_MAP_COPY: u32 = 1;
const FILE_MAP_WRITE: u32 = 2;
const FILE_MAP_READ: u32 = 4;
const FILE_MAP_EXECUTE: u32 = 0x20;

/// What a file was opened for.
fn opened_for(file: &File) -> Result<Rights, u32> {
    let flags = rustix::fs::fcntl_getfl(file).map_err(|e| from_os(e.raw_os_error()))?;
    Ok(match flags & rustix::fs::OFlags::RWMODE {
        rustix::fs::OFlags::RDWR => Rights::READ | Rights::WRITE,
        rustix::fs::OFlags::WRONLY => Rights::WRITE,
        _ => Rights::READ,
    })
}

/// The file behind a handle as a section of `len` bytes, 0 for all of it; a file that may be written to grows.
fn of_file(handle: usize, most: Rights, len: u64) -> Result<(File, u64), u32> {
    let object = object(handle)?;
    let Kind::File(file) = &object.kind else { return Err(code::INVALID_HANDLE) };
    if !opened_for(file)?.contains(most & (Rights::READ | Rights::WRITE)) {
        return Err(code::ACCESS_DENIED);
    }
    let now = file.metadata().map_err(|e| from_io(&e))?.len();
    match len {
        0 if now == 0 => return Err(code::FILE_INVALID),
        _ if len > now && !most.contains(Rights::WRITE) => return Err(code::NOT_ENOUGH_MEMORY),
        _ if len > now => file.set_len(len).map_err(|e| from_io(&e))?,
        _ => {}
    }
    let file = file.try_clone().map_err(|e| from_io(&e))?;
    Ok((file, if len == 0 { now } else { len }))
}

/// Memory without a name in the file system.
fn of_memory(len: u64) -> Result<(File, u64), u32> {
    if len == 0 {
        return Err(code::INVALID_PARAMETER);
    }
    let memory = rustix::fs::memfd_create("section", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|e| from_os(e.raw_os_error()))?;
    let file = File::from(memory);
    file.set_len(len).map_err(|_| code::COMMITMENT_LIMIT)?;
    Ok((file, len))
}

/// A section of a file, or of memory for `INVALID_HANDLE_VALUE`.
pub(crate) fn section(handle: usize, protect: u32, len: u64) -> Result<Section, u32> {
    let attributes = protect & 0xff00_0000;
    let known = [0, SEC_COMMIT, SEC_RESERVE].contains(&(attributes & !SEC_NOCACHE));
    let protect = Protect::new(protect & 0xff)?;
    let most = protect.needs();
    if !known || !most.contains(Rights::READ) || protect.bits() == protect::EXECUTE {
        return Err(code::INVALID_PARAMETER);
    }
    let named = handle != INVALID_HANDLE_VALUE;
    let (file, len) = if named { of_file(handle, most, len)? } else { of_memory(len)? };
    let committed = attributes & SEC_RESERVE == 0 || named;
    Ok(Section { file: Arc::new(file), len, most, named, committed })
}

/// That a section may be asked about.
pub(crate) const QUERY: u32 = 1;

/// What a handle of a section has to allow for a view with this protection.
pub(crate) fn access_for(protect: Protect) -> u32 {
    const MAP_WRITE: u32 = 2;
    const MAP_READ: u32 = 4;
    const MAP_EXECUTE: u32 = 8;
    let needs = protect.needs();
    let execute = if needs.contains(Rights::EXECUTE) { MAP_EXECUTE } else { 0 };
    execute | if needs.contains(Rights::WRITE) { MAP_WRITE } else { MAP_READ }
}

extern "win64" fn CreateFileMapping<T: Text>(
    file: usize,
    security: Ptr<Security>,
    protect: u32,
    high: u32,
    low: u32,
    name: Ptr<T>,
) -> usize {
    const STANDARD: u32 = 0xf_0000;
    const MAP_READ: u32 = 4;
    match section(file, protect, wide(high, low)) {
        Ok(section) => {
            let most = Protect::new(protect & 0xff).map_or(0, access_for);
            let access = STANDARD | QUERY | MAP_READ | most;
            create_for(&T::string(name), Kind::Section(section), access, inherits(security))
        }
        Err(e) => fail(e) as usize,
    }
}

fn wide(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Running code from a view has a number of its own here.
extern "win64" fn OpenFileMapping<T: Text>(access: u32, inherit: Bool, name: Ptr<T>) -> usize {
    let execute = if access & FILE_MAP_EXECUTE != 0 { 8 } else { 0 };
    let access = access & !FILE_MAP_EXECUTE | execute;
    open_for(&T::string(name), access, inherit != FALSE, |kind| matches!(kind, Kind::Section(_)))
}

/// The protection that a view with this access has. Writing comes before reading, and copying is for who asks for nothing
/// else; `FILE_MAP_ALL_ACCESS` has all three.
fn wanted(access: u32) -> Result<Protect, u32> {
    let plain = match access & !FILE_MAP_EXECUTE {
        FILE_MAP_COPY => protect::WRITECOPY,
        a if a & FILE_MAP_WRITE != 0 => protect::READWRITE,
        a if a & FILE_MAP_READ != 0 => protect::READONLY,
        _ => return Protect::new(protect::NOACCESS),
    };
    Protect::new(if access & FILE_MAP_EXECUTE == 0 { plain } else { plain << 4 })
}

/// What is mapped is whole pages.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub offset: u64,
    /// 0 for all that follows.
    pub len: u64,
    /// 0 for anywhere.
    pub at: u64,
}

/// Maps a part of a section.
pub(crate) fn map(object: &Object, protect: Protect, part: &Part) -> Result<u64, u32> {
    let Kind::Section(s) = &object.kind else {
        return Err(code::INVALID_HANDLE);
    };
    let needs = protect.needs() | Rights::READ;
    let rest = s.len.checked_sub(part.offset).filter(|&rest| rest >= part.len && rest != 0);
    let rest = rest.filter(|_| s.most.contains(needs)).ok_or(code::ACCESS_DENIED)?;
    let len = if part.len == 0 { rest } else { part.len };
    let shown = Shown { file: &s.file, offset: part.offset, copy: protect.copies() };
    let shared = (!shown.copy).then(|| (s.file.clone(), part.offset));
    let view = View { most: protect.needs(), named: s.named, committed: s.committed, shared };
    teb::process().memory.map(part.at, len, shown, view, protect)
}

extern "win64" fn MapViewOfFile(handle: usize, access: u32, high: u32, low: u32, len: u64) -> u64 {
    MapViewOfFileEx(handle, access, high, low, len, 0)
}

extern "win64" fn MapViewOfFileEx(handle: usize, access: u32, high: u32, low: u32, len: u64, at: u64) -> u64 {
    let part = Part { offset: wide(high, low), len, at };
    let view = wanted(access).and_then(|protect| {
        let object = object_for(handle, access_for(protect)).map_err(status::dos_error)?;
        map(&object, protect, &part)
    });
    view.unwrap_or_else(|e| fail(e) as u64)
}

extern "win64" fn UnmapViewOfFile(at: u64) -> Bool {
    answer(teb::process().memory.unmap(at))
}

/// The pages of a shared view are the file's own here, and the kernel is writing what was changed.
pub(crate) extern "win64" fn FlushViewOfFile(at: u64, _len: u64) -> Bool {
    answer(teb::process().memory.view(at).map(drop).ok_or(code::INVALID_ADDRESS))
}

table! {
    /// Sections.
    pub(crate) TABLE:
        CreateFileMappingA = CreateFileMapping::<u8>, CreateFileMappingW = CreateFileMapping::<u16>,
        OpenFileMappingA = OpenFileMapping::<u8>, OpenFileMappingW = OpenFileMapping::<u16>, MapViewOfFile, MapViewOfFileEx,
        UnmapViewOfFile, FlushViewOfFile
}
