//! VERSION: the version resource of a file, and what is in it.
#![allow(non_snake_case)]

use crate::{
    guest::Ptr,
    kernel32::{
        Bool, TRUE, datafile,
        error::code,
        fail,
        resource::{self, Home},
    },
    peb, process, teb, text,
};
use loader_pe::{
    resources::{self, ResourceFile, ResourceId},
    version,
};

/// What follows a block's resource says that there is room for its texts in bytes behind it.
const ROOM_FOLLOWS: [u8; 4] = *b"FE2X";

/// The version resource of a file, of a built-in module, or of a library that is loaded without a file.
fn resource(name: &str) -> Result<Vec<u8>, u32> {
    let services = teb::process().services().ok_or(code::FILE_NOT_FOUND)?;
    let (kind, id) = (resources::VERSION, ResourceId::Number(1));
    if let Ok(found) = services.find_library(name, 0) {
        let (source, _) = datafile::source(&found)?;
        let file = ResourceFile::parse(source.bytes()).map_err(|e| e.win32())?;
        let tree = file.tree().ok_or(code::RESOURCE_DATA_NOT_FOUND)?;
        let found = tree.find(&kind, &id, 0).map_err(resource::number)?;
        return whole(file.bytes(&found).ok_or(code::RESOURCE_DATA_NOT_FOUND)?);
    }
    if process::is_built_in(name) {
        let (major, minor, build) = peb::VERSION;
        return Ok(version::resource([major as u16, minor as u16, build as u16, 1]));
    }
    let module = services.module_handle(Some(name)).ok_or(code::FILE_NOT_FOUND)?;
    let home = Home::of(module.0 as usize)?;
    whole(home.bytes(&home.find(&kind, &id, 0)?)?)
}

/// A resource that is as long as it says: its first word is its length.
fn whole(resource: &[u8]) -> Result<Vec<u8>, u32> {
    let said = resource.first_chunk().ok_or(code::RESOURCE_DATA_NOT_FOUND)?;
    let len = resource.len().min(u16::from_le_bytes(*said).into());
    let tail = resource.get(2..len).ok_or(code::RESOURCE_DATA_NOT_FOUND)?;
    Ok([&(len as u16).to_le_bytes(), tail].concat())
}

/// The resource, its mark, and room for all of its texts in bytes: up to three for a UTF-16 unit, and their zeros.
fn block_len(resource: usize) -> usize {
    resource + ROOM_FOLLOWS.len() + (resource / 2 + 1) * 3
}

fn size(name: &str, handle: Ptr<u32>) -> u32 {
    handle.put(0);
    match resource(name) {
        Ok(resource) => text::length(block_len(resource.len())),
        Err(error) => fail(error) as u32,
    }
}

/// What does not fit is cut off.
fn give(name: &str, room: u32, to: Ptr<u8>) -> Bool {
    match resource(name) {
        Err(error) => fail(error),
        Ok(resource) => {
            let marked = [&*resource, &ROOM_FOLLOWS].concat();
            to.fill(&marked[..marked.len().min(room as usize)]);
            TRUE
        }
    }
}

extern "win64" fn GetFileVersionInfoSizeA(name: Ptr<u8>, handle: Ptr<u32>) -> u32 {
    size(&name.string(), handle)
}

extern "win64" fn GetFileVersionInfoSizeW(name: Ptr<u16>, handle: Ptr<u32>) -> u32 {
    size(&name.string(), handle)
}

extern "win64" fn GetFileVersionInfoSizeExA(_flags: u32, name: Ptr<u8>, handle: Ptr<u32>) -> u32 {
    size(&name.string(), handle)
}

extern "win64" fn GetFileVersionInfoSizeExW(_flags: u32, name: Ptr<u16>, handle: Ptr<u32>) -> u32 {
    size(&name.string(), handle)
}

extern "win64" fn GetFileVersionInfoA(name: Ptr<u8>, _handle: u32, room: u32, to: Ptr<u8>) -> Bool {
    give(&name.string(), room, to)
}

extern "win64" fn GetFileVersionInfoW(name: Ptr<u16>, _handle: u32, room: u32, to: Ptr<u8>) -> Bool {
    give(&name.string(), room, to)
}

extern "win64" fn GetFileVersionInfoExA(
    _flags: u32,
    name: Ptr<u8>,
    _handle: u32,
    room: u32,
    to: Ptr<u8>,
) -> Bool {
    give(&name.string(), room, to)
}

extern "win64" fn GetFileVersionInfoExW(
    _flags: u32,
    name: Ptr<u16>,
    _handle: u32,
    room: u32,
    to: Ptr<u8>,
) -> Bool {
    give(&name.string(), room, to)
}

/// A value in a block: where it is, and the resource around it.
fn query(block: Ptr<u8>, path: &str) -> Result<(version::Value, &'static [u8]), u32> {
    if block.is_null() {
        return Err(code::INVALID_PARAMETER);
    }
    let resource = block.bytes(block.cast::<u16>().get().into());
    let value = version::query(resource, path).ok_or(code::RESOURCE_TYPE_NOT_FOUND)?;
    Ok((value, resource))
}

extern "win64" fn VerQueryValueW(block: Ptr<u8>, path: Ptr<u16>, at: Ptr<usize>, len: Ptr<u32>) -> Bool {
    match query(block, &path.string()) {
        Ok((value, _)) => {
            at.put(block.at(value.at.start).addr());
            len.put(value.len.into());
            TRUE
        }
        Err(error) => fail(error),
    }
}

/// Texts are turned into bytes in the room behind the resource, if the caller asked for the block with its room.
extern "win64" fn VerQueryValueA(block: Ptr<u8>, path: Ptr<u8>, at: Ptr<usize>, len: Ptr<u32>) -> Bool {
    let (value, resource) = match query(block, &path.string()) {
        Ok(found) => found,
        Err(error) => return fail(error),
    };
    if !value.text {
        at.put(block.at(value.at.start).addr());
        len.put(value.len.into());
        return TRUE;
    }
    let room = block.at(resource.len());
    if room.bytes(ROOM_FOLLOWS.len()) != ROOM_FOLLOWS {
        return fail(code::INSUFFICIENT_BUFFER);
    }
    let units = resource[value.at.clone()].as_chunks().0.iter().map(|&unit| u16::from_le_bytes(unit));
    let text = char::decode_utf16(units.take_while(|&unit| unit != 0).chain([0]));
    let text: String = text.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    let to = room.at(ROOM_FOLLOWS.len() + value.at.start / 2 * 3);
    to.fill(text.as_bytes());
    at.put(to.addr());
    len.put(text::length(text.len()));
    TRUE
}

table! {
    /// VERSION.
    pub(crate) TABLE:
        GetFileVersionInfoSizeA, GetFileVersionInfoSizeW, GetFileVersionInfoSizeExA, GetFileVersionInfoSizeExW,
        GetFileVersionInfoA, GetFileVersionInfoW, GetFileVersionInfoExA, GetFileVersionInfoExW, VerQueryValueA,
        VerQueryValueW
}
