//! Volumes: the host's tree is one, whatever is mounted where; how full it is depends on the folder that is asked for.

use super::{
    Bool, answer,
    error::code,
    file::{host, on_path},
};
use crate::{
    guest::Ptr,
    teb,
    text::{self, Text},
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
extern "win64" fn GetDiskFreeSpaceEx<T: Text>(
    name: Ptr<T>,
    usable: Ptr<u64>,
    all: Ptr<u64>,
    free: Ptr<u64>,
) -> Bool {
    answer(volume(T::given(name)).map(|volume| {
        let of = |blocks: u64| blocks.saturating_mul(volume.f_frsize);
        usable.put(of(volume.f_bavail));
        all.put(of(volume.f_blocks));
        free.put(of(volume.f_bfree));
    }))
}

/// The same in clusters, which are the host's blocks.
extern "win64" fn GetDiskFreeSpace<T: Text>(
    name: Ptr<T>,
    sectors_each: Ptr<u32>,
    sector: Ptr<u32>,
    free: Ptr<u32>,
    all: Ptr<u32>,
) -> Bool {
    let low = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    answer(volume(T::given(name)).map(|volume| {
        sectors_each.put(sectors(&volume));
        sector.put(SECTOR as u32);
        free.put(low(volume.f_bavail));
        all.put(low(volume.f_blocks));
    }))
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

extern "win64" fn GetVolumePathName<T: Text>(name: Ptr<T>, to: Ptr<T>, room: u32) -> Bool {
    answer(root(&T::string(name)).map(|root| T::of(&root)).and_then(|root| match () {
        () if to.is_null() || room == 0 => Err(code::INVALID_PARAMETER),
        () if root.len() >= room as usize => Err(NAME_TOO_LONG),
        () => {
            text::answer(&root, to, room);
            Ok(())
        }
    }))
}

/// The root, which ends in a backslash, or the current drive's; the label, which is empty; the volume's number, the longest
/// name, what it can do; the system's name.
fn information<T: Text>(
    name: Option<String>,
    label: (Ptr<T>, u32),
    numbers: [Ptr<u32>; 3],
    system: (Ptr<T>, u32),
) -> Bool {
    let name = name.unwrap_or_else(|| teb::process().drives.current()[..3].into());
    if !name.ends_with('\\') {
        return super::fail(INVALID_NAME);
    }
    let found =
        volume(Some(name.clone())).and_then(|volume| Ok((volume, on_path(&name, std::fs::metadata)?.dev())));
    answer(found.and_then(|(volume, device)| {
        for ((to, room), text) in [(label, ""), (system, "NTFS")] {
            let text = T::of(text);
            if !to.is_null() && text.len() >= room as usize {
                return Err(code::BAD_LENGTH);
            }
            if !to.is_null() {
                text::answer(&text, to, room);
            }
        }
        let longest = u32::try_from(volume.f_namemax).unwrap_or(255);
        let values = [device as u32, longest, ATTRIBUTES];
        numbers.iter().zip(values).for_each(|(place, value)| place.put(value));
        Ok(())
    }))
}

extern "win64" fn GetVolumeInformation<T: Text>(
    name: Ptr<T>,
    label: Ptr<T>,
    label_room: u32,
    number: Ptr<u32>,
    longest: Ptr<u32>,
    attributes: Ptr<u32>,
    system: Ptr<T>,
    system_room: u32,
) -> Bool {
    let numbers = [number, longest, attributes];
    information(T::given(name), (label, label_room), numbers, (system, system_room))
}

/// Whether programs are looked for in the current folder too: a path always is, a name where a variable does not say
/// otherwise.
extern "win64" fn NeedCurrentDirectoryForExePath<T: Text>(name: Ptr<T>) -> Bool {
    let variable = "NoDefaultCurrentDirectoryInExePath";
    (T::string(name).contains('\\') || teb::process().environment.get(variable).is_none()).into()
}

table! {
    /// Volumes.
    pub(crate) TABLE:
        GetDiskFreeSpaceA = GetDiskFreeSpace::<u8>, GetDiskFreeSpaceW = GetDiskFreeSpace::<u16>,
        GetDiskFreeSpaceExA = GetDiskFreeSpaceEx::<u8>, GetDiskFreeSpaceExW = GetDiskFreeSpaceEx::<u16>,
        GetVolumePathNameA = GetVolumePathName::<u8>, GetVolumePathNameW = GetVolumePathName::<u16>,
        GetVolumeInformationA = GetVolumeInformation::<u8>, GetVolumeInformationW = GetVolumeInformation::<u16>,
        NeedCurrentDirectoryForExePathA = NeedCurrentDirectoryForExePath::<u8>,
        NeedCurrentDirectoryForExePathW = NeedCurrentDirectoryForExePath::<u16>
}
