//! Files by name alone, below KERNEL32.

use super::{
    file::{Attributes, Outcome, named},
    objects::done,
    status::{self, ACCESS_VIOLATION, SUCCESS},
};
use crate::{
    guest::Ptr,
    kernel32::file::{attributes as bits, delete, on_file, on_path, times},
};
use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
};

extern "win64" fn NtDeleteFile(attributes: Ptr<Attributes>) -> u32 {
    done(named(attributes).and_then(|name| {
        on_path(&name, |path| if fs::metadata(&path)?.is_dir() { fs::remove_dir(path) } else { delete(path) })
            .map_err(status::of)
    }))
}

/// Of the file that the attributes name.
fn metadata(attributes: Ptr<Attributes>) -> Result<Metadata, u32> {
    named(attributes).and_then(|name| on_path(&name, fs::metadata).map_err(status::of))
}

/// Created, read, written, changed.
fn four(m: &Metadata) -> [i64; 4] {
    let [created, read, written] = times(m);
    [created, read, written, written]
}

/// `FILE_BASIC_INFORMATION`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Basic {
    times: [i64; 4],
    attributes: u32,
}

extern "win64" fn NtQueryAttributesFile(attributes: Ptr<Attributes>, to: Ptr<Basic>) -> u32 {
    if to.is_null() {
        return ACCESS_VIOLATION;
    }
    done(metadata(attributes).map(|m| to.set(Basic { times: four(&m), attributes: bits(&m) })))
}

/// `FILE_NETWORK_OPEN_INFORMATION`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Full {
    times: [i64; 4],
    allocated: u64,
    size: u64,
    attributes: u32,
}

extern "win64" fn NtQueryFullAttributesFile(attributes: Ptr<Attributes>, to: Ptr<Full>) -> u32 {
    if to.is_null() {
        return ACCESS_VIOLATION;
    }
    done(metadata(attributes).map(|m| {
        let size = if m.is_dir() { 0 } else { m.len() };
        to.set(Full { times: four(&m), allocated: m.blocks() * 512, size, attributes: bits(&m) });
    }))
}

extern "win64" fn NtFlushBuffersFile(handle: usize, outcome: Ptr<Outcome>) -> u32 {
    let flushed = done(on_file(handle, fs::File::sync_all).map_err(status::of));
    if flushed == SUCCESS {
        outcome.put(Outcome::new(SUCCESS, 0));
    }
    flushed
}

table! {
    /// Files by name.
    pub(crate) TABLE:
        NtDeleteFile, ZwDeleteFile = NtDeleteFile, NtQueryAttributesFile,
        ZwQueryAttributesFile = NtQueryAttributesFile, NtQueryFullAttributesFile,
        ZwQueryFullAttributesFile = NtQueryFullAttributesFile, NtFlushBuffersFile, ZwFlushBuffersFile = NtFlushBuffersFile
}
