//! What is in a folder that is open.

use super::{
    BUFFER_OVERFLOW, INVALID_INFO_CLASS, LENGTH_MISMATCH, NO_MORE_FILES, NO_SUCH_FILE, Outcome, Record,
    SUCCESS, Status, file::four_times, finish, status,
};
use crate::{
    guest::Ptr,
    kernel32::{
        file::{attributes, on_file},
        find::list,
        wait::object,
    },
    lock,
    text::{length, wide},
};
use std::{
    collections::VecDeque,
    fs::Metadata,
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
};

type Entries = VecDeque<(String, Metadata)>;

/// What is left of a folder that is being read, and the pattern of the first call, which stays.
pub(crate) struct Listing {
    pattern: String,
    left: Entries,
}

/// `UNICODE_STRING`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Text {
    len: u16,
    room: u16,
    at: Ptr<u16>,
}

/// Everything in the folder that fits a pattern.
fn entries(handle: usize, pattern: &str) -> Result<Entries, u32> {
    let path = on_file(handle, |file| match file.metadata()?.is_dir() {
        true => Ok(format!("/proc/self/fd/{}", file.as_raw_fd())),
        false => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    })?;
    Ok(list(&path, pattern)?.rest().to_vec().into())
}

/// Where the name begins in an entry of a class.
fn name_at(class: u32) -> Option<usize> {
    Some(match class {
        1 => 64,
        2 => 68,
        3 => 94,
        12 => 12,
        37 => 104,
        38 => 80,
        _ => return None,
    })
}

/// One entry; the distance to the next one is filled in later.
fn entry(class: u32, name: &str, m: &Metadata) -> Vec<u8> {
    let name = wide(name);
    let record = Record::default().word(0).word(0);
    if class == 12 {
        return record.word(length(name.len() * 2)).text(&name).0;
    }
    let record = record.times(four_times(m)).long(m.len()).long(m.blocks() * 512);
    let record = record.word(attributes(m)).word(length(name.len() * 2));
    let no_short_name = [0; 26];
    let record = match class {
        1 => record,
        2 => record.word(0),
        3 => record.word(0).bytes(&no_short_name),
        37 => record.word(0).bytes(&no_short_name).bytes(&[0; 2]).long(m.ino()),
        _ => record.word(0).word(0).long(m.ino()),
    };
    record.text(&name).0
}

/// As many entries as there is room for; what does not fit is for the next call.
fn fill(left: &mut Entries, class: u32, to: Ptr<u8>, room: usize, single: bool) -> (Status, usize) {
    let (mut at, mut last) = (0, None);
    while let Some((name, m)) = left.front() {
        let bytes = entry(class, name, m);
        let start = usize::next_multiple_of(at, 8);
        if start.checked_add(bytes.len()).is_none_or(|end| end > room) {
            if last.is_none() {
                // Not even the first: it is cut off, and comes again.
                to.fill(&bytes[..room.min(bytes.len())]);
                return (BUFFER_OVERFLOW, room);
            }
            break;
        }
        to.at(start).fill(&bytes);
        if let Some(before) = last {
            to.at(before).cast::<u32>().set(length(start - before));
        }
        (at, last) = (start + bytes.len(), Some(start));
        left.pop_front();
        if single {
            break;
        }
    }
    (if last.is_some() { SUCCESS } else { NO_MORE_FILES }, at)
}

/// What is in a folder, from where the last call ended, or again from the start.
extern "win64" fn NtQueryDirectoryFile(
    handle: usize,
    _event: usize,
    _routine: usize,
    _context: usize,
    out: Ptr<Outcome>,
    to: Ptr<u8>,
    room: u32,
    class: u32,
    single: u8,
    pattern: Ptr<Text>,
    again: u8,
) -> Status {
    let Some(head) = name_at(class) else { return INVALID_INFO_CLASS };
    if to.is_null() || (room as usize) < head {
        return LENGTH_MISMATCH;
    }
    let pattern = if pattern.is_null() { None } else { Some(pattern.get()) };
    let pattern = pattern.filter(|text| text.len > 0 && !text.at.is_null());
    let pattern = pattern
        .map_or("*".into(), |text| String::from_utf16_lossy(&text.at.slice(usize::from(text.len / 2))));
    let folder = match object(handle) {
        Ok(object) => object,
        Err(error) => return status(error),
    };
    let mut listing = lock(&folder.opened.queried);
    if again != 0 || listing.is_none() {
        let pattern = listing.take().map_or(pattern, |listing| listing.pattern);
        let left = match entries(handle, &pattern) {
            Ok(entries) if entries.is_empty() => return NO_SUCH_FILE,
            Ok(entries) => entries,
            Err(error) => return status(error),
        };
        *listing = Some(Listing { pattern, left });
    }
    let Some(listing) = &mut *listing else { return NO_MORE_FILES };
    finish(out, Ok(fill(&mut listing.left, class, to, room as usize, single != 0)))
}

table! {
    /// Folders.
    pub(super) TABLE: NtQueryDirectoryFile, ZwQueryDirectoryFile = NtQueryDirectoryFile
}
