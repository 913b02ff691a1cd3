//! What is known of the volume that a file is on.

use super::{INVALID_INFO_CLASS, Outcome, Record, Status, finish, status};
use crate::{
    guest::Ptr,
    kernel32::{
        file::on_file,
        space::{ATTRIBUTES, SECTOR, sectors},
    },
    text::{length, wide},
};
use rustix::fs::fstatvfs;
use std::{
    fs::File,
    io,
    os::unix::fs::{FileTypeExt, MetadataExt},
};

/// What kind of device a file is or is on: a pipe, the null device, a console, or a disk.
fn device(file: &File) -> io::Result<u32> {
    let m = file.metadata()?;
    let null = m.file_type().is_char_device() && m.rdev() == rustix::fs::makedev(1, 3);
    Ok(match m.file_type() {
        kind if kind.is_fifo() || kind.is_socket() => 0x11,
        _ if null => 0x15,
        kind if kind.is_char_device() => 0x50,
        _ => 7,
    })
}

/// One class of information, and how much room there must be for it at least.
fn information(file: &File, class: u32) -> io::Result<Option<(Record, usize)>> {
    let record = Record::default();
    let (record, least) = match class {
        1 => (record.long(0).word(file.metadata()?.dev() as u32).word(0).bytes(&[0; 8]), 24),
        3 | 7 => {
            let volume = fstatvfs(file)?;
            let record = record.long(volume.f_blocks).long(volume.f_bavail);
            let record = if class == 7 { record.long(volume.f_bfree) } else { record };
            (record.word(sectors(&volume)).word(SECTOR as u32), if class == 7 { 32 } else { 24 })
        }
        4 => (record.word(device(file)?).word(0), 8),
        5 => {
            let name = wide("NTFS");
            let longest = u32::try_from(fstatvfs(file)?.f_namemax).unwrap_or(255);
            (record.word(ATTRIBUTES).word(longest).word(length(name.len() * 2)).text(&name), 16)
        }
        _ => return Ok(None),
    };
    Ok(Some((record, least)))
}

extern "win64" fn NtQueryVolumeInformationFile(
    handle: usize,
    out: Ptr<Outcome>,
    to: Ptr<u8>,
    room: u32,
    class: u32,
) -> Status {
    let found = on_file(handle, |file| information(file, class)).map_err(status);
    finish(
        out,
        found.and_then(|found| match found {
            None => Err(INVALID_INFO_CLASS),
            Some((record, least)) => record.give_some(to, room, least),
        }),
    )
}

table! {
    /// Volumes.
    pub(super) TABLE:
        NtQueryVolumeInformationFile, ZwQueryVolumeInformationFile = NtQueryVolumeInformationFile
}
