//! Drives and their devices, links between files, and what kind of program a file is.

use super::{
    Bool, answer,
    error::{code, from_io},
    fail,
    file::{host, on_path},
};
use crate::{
    guest::Ptr,
    path::{self, VOLUME},
    teb,
    text::{self, Text},
};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

/// The one drive, with its colon.
fn drive() -> String {
    let mut root = teb::process().drives.absolute(r"\");
    root.truncate(2);
    root
}

/// The device behind a drive.
pub(super) fn device(name: &str) -> Option<String> {
    name.eq_ignore_ascii_case(&drive()).then(|| r"\Device\HarddiskVolume1".into())
}

/// A bit for each drive, from A on.
extern "win64" fn GetLogicalDrives() -> u32 {
    drive().bytes().next().map_or(0, |letter| 1 << (letter.to_ascii_uppercase() - b'A'))
}

/// Texts one after the other, each with its zero, and one more at the end.
fn texts(texts: &[String]) -> String {
    texts.iter().map(|text| format!("{text}\0")).collect()
}

extern "win64" fn GetLogicalDriveStrings<T: Text>(room: u32, to: Ptr<T>) -> u32 {
    text::answer(&T::of(&texts(&[drive() + r"\"])), to, room)
}

/// What a name of a device stands for; without a name, which names there are. Both lists end with a zero more.
fn query(name: Option<String>) -> Result<String, u32> {
    match name {
        None => Ok(texts(&[drive(), "NUL".into(), "CON".into()])),
        Some(name) if name.eq_ignore_ascii_case("NUL") => Ok(texts(&[r"\Device\Null".into()])),
        Some(name) if name.eq_ignore_ascii_case("CON") => Ok(texts(&[r"\Device\ConDrv\Console".into()])),
        Some(name) => device(&name).map(|device| texts(&[device])).ok_or(code::FILE_NOT_FOUND),
    }
}

/// How much was written, both zeros counted.
fn devices<T: Copy + Default>(units: &[T], to: Ptr<T>, room: u32) -> u32 {
    if units.len() >= room as usize {
        return fail(code::INSUFFICIENT_BUFFER) as u32;
    }
    text::answer(units, to, room) + 1
}

extern "win64" fn QueryDosDevice<T: Text>(name: Ptr<T>, to: Ptr<T>, room: u32) -> u32 {
    match query(T::given(name)) {
        Ok(found) => devices(&T::of(&found), to, room),
        Err(error) => fail(error) as u32,
    }
}

/// The name that a volume has by itself, which the root of a drive leads to. No other folder leads to one.
fn volume_name(root: &str) -> Result<String, u32> {
    const INVALID_NAME: u32 = 123;
    const NOT_A_REPARSE_POINT: u32 = 4390;
    if !root.ends_with('\\') {
        return Err(INVALID_NAME);
    }
    let plain = root.strip_prefix(r"\\?\").unwrap_or(root);
    if plain.eq_ignore_ascii_case(&(drive() + r"\"))
        || plain.trim_end_matches('\\').eq_ignore_ascii_case(VOLUME)
    {
        return Ok(format!(r"\\?\{VOLUME}\"));
    }
    match on_path(root, std::fs::metadata) {
        Ok(_) => Err(NOT_A_REPARSE_POINT),
        Err(code::PATH_NOT_FOUND) => Err(code::FILE_NOT_FOUND),
        Err(error) => Err(error),
    }
}

extern "win64" fn GetVolumeNameForVolumeMountPoint<T: Text>(root: Ptr<T>, to: Ptr<T>, room: u32) -> Bool {
    const FILENAME_EXCED_RANGE: u32 = 206;
    answer(volume_name(&T::string(root)).and_then(|name| {
        let name = T::of(&name);
        if name.len() >= room as usize || to.is_null() {
            return Err(FILENAME_EXCED_RANGE);
        }
        text::answer(&name, to, room);
        Ok(())
    }))
}

const LINK_TO_FOLDER: u32 = 1;
const ALLOW_UNPRIVILEGED: u32 = 2;

/// A link: what it says is the host path of where it leads. That need not be there.
fn symbolic(name: &str, target: &str, flags: u32) -> Result<(), u32> {
    if flags & !(LINK_TO_FOLDER | ALLOW_UNPRIVILEGED) != 0 {
        return Err(code::INVALID_PARAMETER);
    }
    let target = match target.contains(':') || target.starts_with('\\') {
        true => host(target)?,
        false if target.is_empty() => return Err(code::INVALID_PARAMETER),
        false => target.replace('\\', "/"), // from the link's own folder
    };
    on_path(name, |name| std::os::unix::fs::symlink(target, name))
}

/// A byte, of which the rest of the register says nothing.
extern "win64" fn CreateSymbolicLink<T: Text>(name: Ptr<T>, target: Ptr<T>, flags: u32) -> u8 {
    answer(symbolic(&T::string(name), &T::string(target), flags)) as u8
}

const BINARY_32: u32 = 0;
const BINARY_DOS: u32 = 1;
const BINARY_64: u32 = 6;

/// What kind of program a file is: a DLL is none.
fn binary(path: &str) -> Result<u32, u32> {
    const IS_DLL: u16 = 0x2000;
    let host = path::to_host(path).filter(|_| !path.is_empty()).ok_or(code::PATH_NOT_FOUND)?;
    let mut file = File::open(host).map_err(|e| from_io(&e))?;
    let mut head = [0; 64];
    file.read_exact(&mut head).map_err(|_| code::BAD_EXE_FORMAT)?;
    if head[..2] != *b"MZ" {
        return Err(code::BAD_EXE_FORMAT);
    }
    let at = u32::from_le_bytes([head[60], head[61], head[62], head[63]]);
    let mut new = [0; 24];
    let read = file.seek(SeekFrom::Start(at.into())).and_then(|_| file.read_exact(&mut new));
    if read.is_err() || new[..4] != *b"PE\0\0" {
        return Ok(BINARY_DOS);
    }
    let word = |at: usize| u16::from_le_bytes([new[at], new[at + 1]]);
    match (word(4), word(22) & IS_DLL) {
        (_, IS_DLL) => Err(code::BAD_EXE_FORMAT),
        (0x8664 | 0xaa64, _) => Ok(BINARY_64),
        _ => Ok(BINARY_32),
    }
}

extern "win64" fn GetBinaryType<T: Text>(name: Ptr<T>, out: Ptr<u32>) -> Bool {
    answer(binary(&T::string(name)).map(|kind| out.put(kind)))
}

table! {
    /// Drives and links.
    pub(crate) TABLE:
        GetLogicalDrives, GetLogicalDriveStringsA = GetLogicalDriveStrings::<u8>, GetLogicalDriveStringsW = GetLogicalDriveStrings::<u16>, QueryDosDeviceA = QueryDosDevice::<u8>, QueryDosDeviceW = QueryDosDevice::<u16>,
        CreateSymbolicLinkA = CreateSymbolicLink::<u8>, CreateSymbolicLinkW = CreateSymbolicLink::<u16>, GetBinaryTypeA = GetBinaryType::<u8>, GetBinaryTypeW = GetBinaryType::<u16>,
        GetVolumeNameForVolumeMountPointA = GetVolumeNameForVolumeMountPoint::<u8>,
        GetVolumeNameForVolumeMountPointW = GetVolumeNameForVolumeMountPoint::<u16>
}
