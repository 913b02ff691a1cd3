//! What is known of an open file, and what of it can be changed.

use super::{
    INVALID_DEVICE_REQUEST, INVALID_HANDLE, INVALID_INFO_CLASS, LENGTH_MISMATCH, Outcome, Record, SUCCESS,
    Status, finish, status,
};
use crate::{
    guest::Ptr,
    kernel32::{
        changes,
        file::{READONLY, attributes, from_windows, on_file, times},
        time,
        wait::object,
    },
    path,
    text::{length, wide},
};
use rustix::fs::{OFlags, fcntl_getfl};
use std::{
    fs::{File, FileTimes, Metadata},
    io::{self, Seek, SeekFrom},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
};

/// Created, read, written, changed.
pub(super) fn four_times(m: &Metadata) -> [i64; 4] {
    let [created, read, written] = times(m);
    [created, read, written, time::from_unix(m.ctime(), m.ctime_nsec())]
}

fn basic(record: Record, m: &Metadata) -> Record {
    record.times(four_times(m)).word(attributes(m)).word(0)
}

/// Bytes on the disk, bytes in the file, names; whether it goes with its handle, whether it is a folder.
fn standard(record: Record, m: &Metadata, going: bool) -> Record {
    let links = u32::try_from(m.nlink()).unwrap_or(u32::MAX);
    record.long(m.blocks() * 512).long(m.len()).word(links).bytes(&[going.into(), m.is_dir().into(), 0, 0])
}

/// What its handle may be used for: `FILE_GENERIC_READ`, `FILE_GENERIC_WRITE` or both.
fn access(file: &File) -> u32 {
    match fcntl_getfl(file).map(|flags| flags & OFlags::RWMODE) {
        Ok(flags) if flags == OFlags::RDWR => 0x12_019f,
        Ok(flags) if flags == OFlags::WRONLY => 0x12_0116,
        _ => 0x12_0089,
    }
}

fn position(mut file: &File) -> u64 {
    file.stream_position().unwrap_or(0)
}

/// `FILE_SYNCHRONOUS_IO_NONALERT`: a call returns when all is done.
const MODE: u32 = 0x20;

/// The file's path without its drive: its length in bytes, and the text.
fn name(record: Record, file: &File) -> io::Result<Record> {
    let host = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let guest = path::to_guest(&host.to_string_lossy());
    let text = wide(guest.split_once(':').map_or(&*guest, |(_, rest)| rest));
    Ok(record.word(length(text.len() * 2)).text(&text))
}

/// One class of information, and how much room there must be for it at least.
fn information(file: &File, class: u32, going: bool) -> io::Result<Option<(Record, Option<usize>)>> {
    let (m, record) = (file.metadata()?, Record::default());
    let whole = |record| Some((record, None));
    Ok(match class {
        4 => whole(basic(record, &m)),
        5 => whole(standard(record, &m, going)),
        6 => whole(record.long(m.ino())),
        7 => whole(record.word(0)),
        8 => whole(record.word(access(file))),
        9 => Some((name(record, file)?, Some(8))),
        14 => whole(record.long(position(file))),
        16 => whole(record.word(MODE)),
        17 => whole(record.word(0)),
        18 => {
            let all = standard(basic(record, &m), &m, going).long(m.ino()).word(0).word(access(file));
            Some((name(all.long(position(file)).word(MODE).word(0), file)?, Some(104)))
        }
        34 => {
            let [size, used] = [m.len(), m.blocks() * 512];
            whole(record.times(four_times(&m)).long(used).long(size).word(attributes(&m)).word(0))
        }
        35 => whole(record.word(attributes(&m)).word(0)),
        _ => None,
    })
}

extern "win64" fn NtQueryInformationFile(
    handle: usize,
    out: Ptr<Outcome>,
    to: Ptr<u8>,
    room: u32,
    class: u32,
) -> Status {
    let going = object(handle).is_ok_and(|object| object.opened.is_doomed());
    let found = on_file(handle, |file| information(file, class, going)).map_err(status);
    finish(
        out,
        found.and_then(|found| match found {
            None => Err(INVALID_INFO_CLASS),
            Some((record, None)) => record.give(to, room),
            Some((record, Some(least))) => record.give_some(to, room, least),
        }),
    )
}

/// Times and attributes: 0 leaves a time as it is, -1 and -2 too. Of the attributes only the one that forbids writing is
/// kept.
fn set_basic(file: &File, times: [i64; 4], attributes: u32) -> io::Result<()> {
    let moment = |time: i64| if time > 0 { from_windows(time) } else { None };
    let mut new = FileTimes::new();
    new = moment(times[1]).into_iter().fold(new, FileTimes::set_accessed);
    new = moment(times[2]).into_iter().fold(new, FileTimes::set_modified);
    changes::set_times(file, new)?;
    if attributes != 0 {
        let mut permissions = file.metadata()?.permissions();
        let read_only = attributes & READONLY != 0;
        if permissions.readonly() != read_only {
            permissions.set_readonly(read_only);
            changes::set_permissions_of(file, permissions)?;
        }
    }
    Ok(())
}

fn seek(mut file: &File, to: i64) -> io::Result<()> {
    let to = u64::try_from(to).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    file.seek(SeekFrom::Start(to)).map(drop)
}

fn resize(file: &File, len: i64) -> io::Result<()> {
    file.set_len(u64::try_from(len).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?)
}

/// Changes what can be changed of an open file by itself: times and attributes, the position, the end.
extern "win64" fn NtSetInformationFile(
    handle: usize,
    out: Ptr<Outcome>,
    from: Ptr<u8>,
    len: u32,
    class: u32,
) -> Status {
    let least = match class {
        4 => 40,
        14 | 20 => 8,
        _ => return object(handle).map_or(INVALID_HANDLE, |_| INVALID_INFO_CLASS),
    };
    if len < least || from.is_null() {
        return LENGTH_MISMATCH;
    }
    let done = on_file(handle, |file| match class {
        4 => set_basic(file, from.cast().get(), from.at(32).cast::<u32>().get()),
        14 => seek(file, from.cast().get()),
        _ => resize(file, from.cast().get()),
    });
    finish(out, done.map(|()| (SUCCESS, 0)).map_err(status))
}

/// Nothing here is a device that could be asked for something.
extern "win64" fn NtDeviceIoControlFile(handle: usize) -> Status {
    object(handle).map_or(INVALID_HANDLE, |_| INVALID_DEVICE_REQUEST)
}

table! {
    /// Open files.
    pub(super) TABLE:
        NtQueryInformationFile, ZwQueryInformationFile = NtQueryInformationFile, NtSetInformationFile,
        ZwSetInformationFile = NtSetInformationFile, NtDeviceIoControlFile,
        ZwDeviceIoControlFile = NtDeviceIoControlFile, NtFsControlFile = NtDeviceIoControlFile
}
