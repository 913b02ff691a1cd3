//! version: what a file says of its own version, read out of its resources without loading it.
#![allow(non_snake_case)]

use crate::{
    guest::Ptr,
    kernel32::{
        Bool, FALSE, TRUE,
        error::{code, from_io},
        fail,
    },
    path, teb,
    text::length,
};
use loader_core::Source;
use loader_pe::{PeImage, resources::ResourceId};
use std::{fs::File, ops::Range, sync::Arc};

/// The kind of resource that has it.
const RT_VERSION: ResourceId = ResourceId::Number(16);
const RESOURCE_TYPE_NOT_FOUND: u32 = 1813;
/// What precedes the room in which the texts of a block are kept for those who ask in bytes, as on Windows.
const ROOM: [u8; 4] = *b"FE2X";
/// A unit of two bytes takes at most three in UTF-8, and a text one more for its zero.
const ROOM_PER_BYTE: usize = 2;

/// The file that a name means: of a loaded library, or one that is named by its path.
fn file(name: &str) -> Result<File, u32> {
    let services = teb::process().services();
    let loaded = services.and_then(|s| s.module_file_name(Some(s.module_handle(Some(name))?)));
    let host = loaded.or_else(|| path::to_host(name)).ok_or(code::PATH_NOT_FOUND)?;
    File::open(host).map_err(|e| from_io(&e))
}

/// The version resource of a file.
fn resource(name: &str) -> Result<Vec<u8>, u32> {
    let source = Arc::new(Source::mapped(&file(name)?).map_err(|_| code::GEN_FAILURE)?);
    let image = PeImage::parse(&source).map_err(|_| code::BAD_EXE_FORMAT)?;
    let all = image.resources().map_err(|_| code::BAD_EXE_FORMAT)?;
    let found = all.iter().find(|r| r.path.first() == Some(&RT_VERSION));
    let found = found.ok_or(RESOURCE_TYPE_NOT_FOUND)?;
    image.content(&found.data).map(<[u8]>::to_vec).ok_or(RESOURCE_TYPE_NOT_FOUND)
}

fn size(name: &str, unused: Ptr<u32>) -> u32 {
    unused.put(0);
    match resource(name) {
        Ok(bytes) => length(bytes.len() * (1 + ROOM_PER_BYTE) + ROOM.len()),
        Err(error) => fail(error).cast_unsigned(),
    }
}

/// What does not fit is cut off.
fn copy(name: &str, room: u32, to: Ptr<u8>) -> Bool {
    match resource(name) {
        Ok(mut bytes) => {
            bytes.extend(ROOM);
            to.fill(&bytes[..bytes.len().min(room as usize)]);
            TRUE
        }
        Err(error) => fail(error),
    }
}

extern "win64" fn GetFileVersionInfoSizeW(name: Ptr<u16>, unused: Ptr<u32>) -> u32 {
    size(&name.string(), unused)
}

extern "win64" fn GetFileVersionInfoSizeA(name: Ptr<u8>, unused: Ptr<u32>) -> u32 {
    size(&name.string(), unused)
}

extern "win64" fn GetFileVersionInfoSizeExW(_flags: u32, name: Ptr<u16>, unused: Ptr<u32>) -> u32 {
    size(&name.string(), unused)
}

extern "win64" fn GetFileVersionInfoW(name: Ptr<u16>, _ignored: u32, room: u32, to: Ptr<u8>) -> Bool {
    copy(&name.string(), room, to)
}

extern "win64" fn GetFileVersionInfoA(name: Ptr<u8>, _ignored: u32, room: u32, to: Ptr<u8>) -> Bool {
    copy(&name.string(), room, to)
}

extern "win64" fn GetFileVersionInfoExW(
    _flags: u32,
    name: Ptr<u16>,
    _ignored: u32,
    room: u32,
    to: Ptr<u8>,
) -> Bool {
    copy(&name.string(), room, to)
}

/// One node of the tree that the resource is (`VS_VERSIONINFO`, `StringFileInfo`, `StringTable`, `String`, `Var`).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    name: String,
    /// Where its value is; empty where it has none.
    value: Range<usize>,
    is_text: bool,
    below: Range<usize>,
}

/// Numbers, names and values lie at multiples of four.
fn aligned(at: usize) -> usize {
    at.next_multiple_of(4)
}

fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|unit| u16::from_le_bytes(*unit))
}

/// The node at `at`, within `limit`, and where it ends.
fn node(bytes: &[u8], at: usize, limit: usize) -> Option<(Node, usize)> {
    let [len, value_len, is_text] = [unit(bytes, at)?, unit(bytes, at + 2)?, unit(bytes, at + 4)?];
    let end = at + usize::from(len);
    let bytes = bytes.get(..end.min(limit))?;
    let name: Vec<u16> =
        (at + 6..).step_by(2).map_while(|at| unit(bytes, at)).take_while(|&u| u != 0).collect();
    let start = aligned(at + 6 + 2 * (name.len() + 1));
    // The length of a text is counted in characters, that of anything else in bytes.
    let value = start..start + usize::from(value_len) * if is_text == 1 { 2 } else { 1 };
    let below = aligned(value.end)..end;
    let name = String::from_utf16_lossy(&name);
    let fits = value.is_empty() || value.end <= bytes.len();
    (fits && end > at + 6).then_some((Node { name, value, is_text: is_text == 1, below }, aligned(end)))
}

/// The node that a path leads to: names between backslashes, without regard to case.
fn find(bytes: &[u8], path: &str) -> Option<Node> {
    let (root, _) = node(bytes, 0, bytes.len())?;
    path.split('\\').filter(|part| !part.is_empty()).try_fold(root, |parent, part| {
        let mut at = parent.below.start;
        while at < parent.below.end {
            let (child, next) = node(bytes, at, parent.below.end)?;
            if child.name.eq_ignore_ascii_case(part) {
                return Some(child);
            }
            at = next;
        }
        None
    })
}

/// Finds a value in a block that `GetFileVersionInfo` filled, whose first number is its length.
fn query(block: Ptr<u8>, path: &str, place: Ptr<usize>, len: Ptr<u32>) -> Option<Node> {
    let bytes = block.slice(block.cast::<u16>().get().into());
    let found = find(bytes, path);
    let Some(found) = found.filter(|_| !block.is_null()) else {
        fail(RESOURCE_TYPE_NOT_FOUND);
        len.put(0);
        return None;
    };
    place.put(block.at(found.value.start).addr());
    len.put(length(found.value.len() / if found.is_text { 2 } else { 1 }));
    Some(found)
}

extern "win64" fn VerQueryValueW(block: Ptr<u8>, path: Ptr<u16>, place: Ptr<usize>, len: Ptr<u32>) -> Bool {
    query(block, &path.string(), place, len).map_or(FALSE, |_| TRUE)
}

/// A text is put into the room behind the block, if the caller asked for the block with its room.
extern "win64" fn VerQueryValueA(block: Ptr<u8>, path: Ptr<u8>, place: Ptr<usize>, len: Ptr<u32>) -> Bool {
    let Some(found) = query(block, &path.string(), place, len) else { return FALSE };
    if found.is_text {
        let end = usize::from(block.cast::<u16>().get());
        if block.at(end).cast::<[u8; 4]>().get() != ROOM {
            return fail(code::INSUFFICIENT_BUFFER);
        }
        let mut text = block.at(found.value.start).cast::<u16>().string().into_bytes();
        text.push(0);
        let to = block.at(end + ROOM.len() + ROOM_PER_BYTE * found.value.start);
        to.fill(&text);
        place.put(to.addr());
        len.put(length(text.len()));
    }
    TRUE
}

table! {
    /// version.
    pub(crate) VERSION:
        GetFileVersionInfoSizeW, GetFileVersionInfoSizeA, GetFileVersionInfoSizeExW, GetFileVersionInfoW,
        GetFileVersionInfoA, GetFileVersionInfoExW, VerQueryValueW, VerQueryValueA
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exception::local;
    use std::ffi::CStr;

    /// A node by the documented layout: lengths, kind, name, value, nodes below, each at a multiple of four.
    fn built(name: &str, text: bool, value: &[u8], below: &[Vec<u8>]) -> Vec<u8> {
        let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(4), 0);
        let value_len = if text { value.len() / 2 } else { value.len() } as u16;
        let mut bytes = [[0; 2], value_len.to_le_bytes(), u16::from(text).to_le_bytes()].concat();
        bytes.extend(crate::text::wide_z(name).iter().flat_map(|u| u.to_le_bytes()));
        pad(&mut bytes);
        bytes.extend(value);
        for node in below {
            pad(&mut bytes);
            bytes.extend(node);
        }
        let len = bytes.len() as u16;
        bytes[..2].copy_from_slice(&len.to_le_bytes());
        bytes
    }

    fn text(text: &str) -> Vec<u8> {
        crate::text::wide_z(text).iter().flat_map(|u| u.to_le_bytes()).collect()
    }

    fn example() -> Vec<u8> {
        let strings =
            [built("Comments", true, &text("none"), &[]), built("FileVersion", true, &text("1.2é"), &[])];
        let table = built("040904b0", true, &[], &strings);
        let translation = built("Translation", false, &0x04b0_0409u32.to_le_bytes(), &[]);
        let infos =
            [built("StringFileInfo", true, &[], &[table]), built("VarFileInfo", true, &[], &[translation])];
        built("VS_VERSION_INFO", false, &[7; 52], &infos)
    }

    #[test]
    fn values_are_found_by_their_paths() {
        let bytes = example();
        let value = |path: &str| find(&bytes, path).map(|n| bytes[n.value].to_vec());
        assert_eq!(value(r"\"), Some(vec![7; 52]));
        assert_eq!(value(r"\VarFileInfo\Translation"), Some(vec![9, 4, 0xb0, 4]));
        assert_eq!(value(r"\stringfileinfo\040904B0\fileversion"), Some(text("1.2é")));
        assert_eq!(value(r"\StringFileInfo\040904b0\Nothing"), None);
    }

    #[test]
    fn no_damage_leads_out_of_the_block_or_round_in_circles() {
        let good = example();
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                let found = find(&bytes, r"\StringFileInfo\040904b0\FileVersion");
                assert!(found.is_none_or(|n| n.value.is_empty() || n.value.end <= bytes.len()));
            }
        }
    }

    #[test]
    fn the_narrow_form_keeps_its_texts_behind_the_block() {
        let bytes = example();
        let mut block = [bytes.clone(), ROOM.to_vec(), vec![0; bytes.len() * ROOM_PER_BYTE]].concat();
        let (mut place, mut len) = (0usize, 0u32);
        let path = c"\\StringFileInfo\\040904b0\\FileVersion";
        let narrow = |path: &'static CStr| Ptr::from_guest(path.as_ptr().expose_provenance() as u64);
        let out = (local(&mut place), local(&mut len));
        let found = VerQueryValueA(local(&mut block[0]), narrow(path), out.0, out.1);
        let at = place - block.as_ptr().addr();
        assert_eq!((found, &block[at..at + len as usize]), (TRUE, &b"1.2\xc3\xa9\0"[..]));
    }
}
