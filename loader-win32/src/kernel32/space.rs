//! Volumes: the host's tree is one, whatever is mounted where; how full it is depends on the folder that is asked for.

use super::{
    Bool, answer,
    error::code,
    file::{host, on_path},
};
use crate::{
    guest::Ptr,
    teb,
    text::{self, wide},
};
use rustix::fs::{StatVfs, statvfs};
use std::os::unix::fs::MetadataExt;

/// Names keep their case and may have any letters.
pub(crate) const ATTRIBUTES: u32 = 2 | 4;
/// A sector, of which a block has several.
pub(crate) const SECTOR: u64 = 512;
const INVALID_NAME: u32 = 123;
const NAME_TOO_LONG: u32 = 206;

/// How many sectors a block has.
pub(crate) fn sectors(volume: &StatVfs) -> u32 {
    u32::try_from((volume.f_frsize / SECTOR).max(1)).unwrap_or(1)
}

/// The volume of a folder, the current one where none is named.
fn volume(name: Option<String>) -> Result<StatVfs, u32> {
    on_path(&name.unwrap_or_else(|| teb::process().drives.current()), |path| {
        if std::fs::metadata(&path)?.is_dir() {
            Ok(statvfs(path)?)
        } else {
            Err(std::io::Error::from_raw_os_error(libc::ENOTDIR))
        }
    })
}

/// Bytes that the caller may still use, all bytes, and those that are free.
fn bytes(name: Option<String>, usable: Ptr<u64>, all: Ptr<u64>, free: Ptr<u64>) -> Bool {
    answer(volume(name).map(|volume| {
        let of = |blocks: u64| blocks.saturating_mul(volume.f_frsize);
        usable.put(of(volume.f_bavail));
        all.put(of(volume.f_blocks));
        free.put(of(volume.f_bfree));
    }))
}

extern "win64" fn GetDiskFreeSpaceExA(
    name: Ptr<u8>,
    usable: Ptr<u64>,
    all: Ptr<u64>,
    free: Ptr<u64>,
) -> Bool {
    bytes((!name.is_null()).then(|| name.string()), usable, all, free)
}

extern "win64" fn GetDiskFreeSpaceExW(
    name: Ptr<u16>,
    usable: Ptr<u64>,
    all: Ptr<u64>,
    free: Ptr<u64>,
) -> Bool {
    bytes((!name.is_null()).then(|| name.string()), usable, all, free)
}

/// The same in clusters, which are the host's blocks.
fn clusters(name: Option<String>, [sectors_each, sector, free, all]: [Ptr<u32>; 4]) -> Bool {
    let low = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    answer(volume(name).map(|volume| {
        sectors_each.put(sectors(&volume));
        sector.put(SECTOR as u32);
        free.put(low(volume.f_bavail));
        all.put(low(volume.f_blocks));
    }))
}

extern "win64" fn GetDiskFreeSpaceA(
    name: Ptr<u8>,
    sectors: Ptr<u32>,
    sector: Ptr<u32>,
    free: Ptr<u32>,
    all: Ptr<u32>,
) -> Bool {
    clusters((!name.is_null()).then(|| name.string()), [sectors, sector, free, all])
}

extern "win64" fn GetDiskFreeSpaceW(
    name: Ptr<u16>,
    sectors: Ptr<u32>,
    sector: Ptr<u32>,
    free: Ptr<u32>,
    all: Ptr<u32>,
) -> Bool {
    clusters((!name.is_null()).then(|| name.string()), [sectors, sector, free, all])
}

/// The root of the drive that a path is on.
fn root(name: &str) -> Result<String, u32> {
    if name.is_empty() {
        return Err(code::INVALID_PARAMETER);
    }
    let full = teb::process().drives.absolute(name);
    let root = full.get(..3).ok_or(INVALID_NAME)?;
    host(root).map(|_| root.into()).map_err(|_| code::FILE_NOT_FOUND)
}

fn give_root<T: Copy + Default>(root: Result<Vec<T>, u32>, to: Ptr<T>, room: u32) -> Bool {
    answer(root.and_then(|root| match () {
        () if to.is_null() || room == 0 => Err(code::INVALID_PARAMETER),
        () if root.len() >= room as usize => Err(NAME_TOO_LONG),
        () => {
            text::answer(&root, to, room);
            Ok(())
        }
    }))
}

extern "win64" fn GetVolumePathNameA(name: Ptr<u8>, to: Ptr<u8>, room: u32) -> Bool {
    give_root(root(&name.string()).map(String::into_bytes), to, room)
}

extern "win64" fn GetVolumePathNameW(name: Ptr<u16>, to: Ptr<u16>, room: u32) -> Bool {
    give_root(root(&name.string()).map(|root| wide(&root)), to, room)
}

/// Where the numbers of a volume go: its own, the longest name, what it can do.
struct Numbers([Ptr<u32>; 3]);

/// The root, which ends in a backslash, or the current drive's; the label, which is empty; the numbers; the system's name.
fn information<T: Copy + Default>(
    name: Option<String>,
    label: (Ptr<T>, u32),
    numbers: &Numbers,
    system: (Ptr<T>, u32),
    encode: impl Fn(&str) -> Vec<T>,
) -> Bool {
    let name = name.unwrap_or_else(|| teb::process().drives.current()[..3].into());
    if !name.ends_with('\\') {
        return super::fail(INVALID_NAME);
    }
    let found =
        volume(Some(name.clone())).and_then(|volume| Ok((volume, on_path(&name, std::fs::metadata)?.dev())));
    answer(found.and_then(|(volume, device)| {
        for ((to, room), text) in [(label, ""), (system, "NTFS")] {
            let text = encode(text);
            if !to.is_null() && text.len() >= room as usize {
                return Err(code::BAD_LENGTH);
            }
            if !to.is_null() {
                text::answer(&text, to, room);
            }
        }
        let longest = u32::try_from(volume.f_namemax).unwrap_or(255);
        let values = [device as u32, longest, ATTRIBUTES];
        numbers.0.iter().zip(values).for_each(|(place, value)| place.put(value));
        Ok(())
    }))
}

extern "win64" fn GetVolumeInformationA(
    name: Ptr<u8>,
    label: Ptr<u8>,
    label_room: u32,
    number: Ptr<u32>,
    longest: Ptr<u32>,
    attributes: Ptr<u32>,
    system: Ptr<u8>,
    system_room: u32,
) -> Bool {
    let name = (!name.is_null()).then(|| name.string());
    let numbers = Numbers([number, longest, attributes]);
    information(name, (label, label_room), &numbers, (system, system_room), |text| text.as_bytes().to_vec())
}

extern "win64" fn GetVolumeInformationW(
    name: Ptr<u16>,
    label: Ptr<u16>,
    label_room: u32,
    number: Ptr<u32>,
    longest: Ptr<u32>,
    attributes: Ptr<u32>,
    system: Ptr<u16>,
    system_room: u32,
) -> Bool {
    let name = (!name.is_null()).then(|| name.string());
    let numbers = Numbers([number, longest, attributes]);
    information(name, (label, label_room), &numbers, (system, system_room), wide)
}

/// Whether programs are looked for in the current folder too: a path always is, a name where a variable does not say
/// otherwise.
fn needs_current(name: &str) -> Bool {
    let variable = "NoDefaultCurrentDirectoryInExePath";
    (name.contains('\\') || teb::process().environment.get(variable).is_none()).into()
}

extern "win64" fn NeedCurrentDirectoryForExePathA(name: Ptr<u8>) -> Bool {
    needs_current(&name.string())
}

extern "win64" fn NeedCurrentDirectoryForExePathW(name: Ptr<u16>) -> Bool {
    needs_current(&name.string())
}

table! {
    /// Volumes.
    pub(crate) TABLE:
        GetDiskFreeSpaceA, GetDiskFreeSpaceW, GetDiskFreeSpaceExA, GetDiskFreeSpaceExW, GetVolumePathNameA,
        GetVolumePathNameW, GetVolumeInformationA, GetVolumeInformationW,
        NeedCurrentDirectoryForExePathA, NeedCurrentDirectoryForExePathW
}
