//! Files that are loaded as data: `LoadLibraryEx` with `AS_DATAFILE` shows the file as it is, with `AS_IMAGE_RESOURCE` as
//! the image that it would be. Nothing of it is run or bound; the lowest bits of its handle say which it is.

use super::error::code;
use crate::{
    Services,
    guest::Ptr,
    lock,
    memory::{
        book::{COMMIT, RELEASE, RESERVE, Shown, View},
        protect::{Protect, READONLY, READWRITE},
    },
    teb,
};
use loader_core::{ErrorKind, Found, Rights, Rva, Source};
use loader_pe::resources::ResourceFile;
use std::{
    collections::BTreeMap,
    fs::File,
    sync::{Arc, Mutex},
};

/// `LOAD_LIBRARY_AS_DATAFILE`.
pub(crate) const DATAFILE: u32 = 0x02;
/// `LOAD_LIBRARY_AS_IMAGE_RESOURCE`.
pub(crate) const IMAGE_RESOURCE: u32 = 0x20;
/// `LOAD_LIBRARY_AS_DATAFILE_EXCLUSIVE`. Nobody is kept from writing to the file: the host has no such locks.
pub(crate) const EXCLUSIVE: u32 = 0x40;
/// What a handle for data has in its lowest bits: the first for a file, the second for an image.
pub(crate) const TAG: usize = 3;

/// The files that are loaded as data, by handle.
#[derive(Debug, Default)]
pub(crate) struct DataFiles(Mutex<BTreeMap<usize, DataFile>>);

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DataFile {
    /// The bytes of the file: so many.
    Flat { len: u64 },
    /// The image, as long as that, and where in it the resources are.
    Image { len: u64, resources: Option<Rva> },
}

/// Loads a file as data; returns its handle. A library that is loaded already is given as it is, with one more reference.
pub(crate) fn load(services: &dyn Services, name: &str, flags: u32) -> Result<usize, u32> {
    if let Some(loaded) = services.module_handle(Some(name)) {
        return services.add_ref(loaded).map(|()| loaded.0 as usize);
    }
    let found = services.find_library(name, flags).map_err(|e| match e.kind {
        ErrorKind::NotFound { .. } => code::FILE_NOT_FOUND,
        _ => e.win32(),
    })?;
    let (base, file) = match flags & IMAGE_RESOURCE {
        0 => flat(&found)?,
        _ => image(&found)?,
    };
    let tag = if matches!(file, DataFile::Flat { .. }) { 1 } else { 2 };
    let handle = base as usize | tag;
    lock(&teb::process().data.0).insert(handle, file);
    Ok(handle)
}

/// The bytes of what was found, and the file where it is one.
pub(crate) fn source(found: &Found) -> Result<(Arc<Source>, Option<&File>), u32> {
    match found {
        Found::File(found) => {
            let source = found.source().map_err(|e| e.win32())?;
            Ok((Arc::new(source), Some(&found.file)))
        }
        Found::Bytes(source) => Ok((source.clone(), None)),
        Found::Host(_) => Err(code::FILE_NOT_FOUND),
    }
}

fn flat(found: &Found) -> Result<(u64, DataFile), u32> {
    let (source, file) = source(found)?;
    let bytes = source.bytes();
    ResourceFile::parse(bytes).map_err(|e| e.win32())?;
    let len = bytes.len() as u64;
    let base = match file {
        Some(file) => {
            let shown = Shown { file, offset: 0, copy: true };
            let view = View { most: Rights::READ, named: true, committed: true, shared: None };
            teb::process().memory.map(0, len, shown, view, Protect::new(READONLY)?)?
        }
        None => place(len, [(0, bytes)])?,
    };
    Ok((base, DataFile::Flat { len }))
}

fn image(found: &Found) -> Result<(u64, DataFile), u32> {
    let (source, _) = source(found)?;
    let file = ResourceFile::parse(source.bytes()).map_err(|e| e.win32())?;
    let parts = file.sections().map(|(at, bytes)| (at.0, bytes));
    let base = place(file.image_len(), std::iter::once((0, file.headers())).chain(parts))?;
    Ok((base, DataFile::Image { len: file.image_len(), resources: file.directory() }))
}

/// New memory of `len` bytes with these bytes in it, as far as they fit, that can only be read.
fn place<'b>(len: u64, parts: impl IntoIterator<Item = (u64, &'b [u8])>) -> Result<u64, u32> {
    let memory = &teb::process().memory;
    let base = memory.allocate(0, len, RESERVE | COMMIT, READWRITE)?;
    for (at, bytes) in parts {
        let room = len.saturating_sub(at).min(bytes.len() as u64) as usize;
        Ptr::of_pages(base + at.min(len)).fill(&bytes[..room]);
    }
    memory.protect(base, len, READONLY)?;
    Ok(base)
}

/// `FreeLibrary` of a handle for data.
pub(crate) fn free(handle: usize) -> Result<(), u32> {
    let process = teb::process();
    lock(&process.data.0).remove(&handle).ok_or(code::BAD_EXE_FORMAT)?; // Windows finds no header there
    let base = (handle & !TAG) as u64;
    process.memory.unmap(base).or_else(|_| process.memory.free(base, 0, RELEASE))
}

/// What a handle for data stands for.
pub(crate) fn get(handle: usize) -> Result<DataFile, u32> {
    lock(&teb::process().data.0).get(&handle).copied().ok_or(code::RESOURCE_DATA_NOT_FOUND)
}
