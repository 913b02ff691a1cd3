//! What an open file says of itself, and what may be changed in it, class by class.

use super::{
    Bool, answer, changes,
    error::{code, from_io},
    file::{self, DELETE, GENERIC_ALL, attributes, from_windows, times},
    find,
    opened::{self, doom},
    wait::object,
};
use crate::{
    guest::Ptr,
    lock,
    object::{Kind, Object},
    text::{self, Text, length},
};
use std::{
    fs::{self, File, FileTimes, Metadata},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
};

const MORE_DATA: u32 = 234;
const DIR_NOT_EMPTY: u32 = 145;

/// `FILE_INFO_BY_HANDLE_CLASS`, as far as it is answered.
mod class {
    pub(super) const BASIC: u32 = 0;
    pub(super) const STANDARD: u32 = 1;
    pub(super) const NAME: u32 = 2;
    pub(super) const RENAME: u32 = 3;
    pub(super) const DISPOSITION: u32 = 4;
    pub(super) const ALLOCATION: u32 = 5;
    pub(super) const END_OF_FILE: u32 = 6;
    pub(super) const STREAM: u32 = 7;
    pub(super) const COMPRESSION: u32 = 8;
    pub(super) const ATTRIBUTE_TAG: u32 = 9;
    pub(super) const ID_BOTH_DIRECTORY: u32 = 10;
    pub(super) const ID_BOTH_DIRECTORY_RESTART: u32 = 11;
    pub(super) const FULL_DIRECTORY: u32 = 14;
    pub(super) const FULL_DIRECTORY_RESTART: u32 = 15;
    pub(super) const ALIGNMENT: u32 = 17;
    pub(super) const ID: u32 = 18;
    pub(super) const ID_EXTENDED_DIRECTORY: u32 = 19;
    pub(super) const ID_EXTENDED_DIRECTORY_RESTART: u32 = 20;
    pub(super) const DISPOSITION_EX: u32 = 21;
    pub(super) const RENAME_EX: u32 = 22;
}

/// Bytes of a structure, in the order in which they stand there.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn words(mut self, words: &[u32]) -> Self {
        words.iter().for_each(|word| self.0.extend(word.to_le_bytes()));
        self
    }

    fn longs(mut self, longs: &[i64]) -> Self {
        longs.iter().for_each(|long| self.0.extend(long.to_le_bytes()));
        self
    }

    fn units(mut self, text: &str) -> Self {
        text.encode_utf16().for_each(|unit| self.0.extend(unit.to_le_bytes()));
        self
    }

    fn zeros(mut self, n: usize) -> Self {
        self.0.resize(self.0.len() + n, 0);
        self
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Created, read, written, changed.
fn four_times(m: &Metadata) -> [i64; 4] {
    let [created, read, written] = times(m);
    [created, read, written, super::time::from_unix(m.ctime(), m.ctime_nsec())]
}

/// How long it is, and how much room it takes.
fn sizes(m: &Metadata) -> [i64; 2] {
    if m.is_dir() { [0, 0] } else { [signed(m.len()), signed(m.blocks().saturating_mul(512))] }
}

/// The tag of a link, as Windows' own symbolic links have it.
fn tag(m: &Metadata) -> u32 {
    if m.is_symlink() { 0xa000_000c } else { 0 }
}

/// The name of an open file on its drive. A pipe has one too, that nobody opens it by.
fn name(object: &Object, m: &Metadata) -> String {
    let path =
        opened::guest_path(object).map(|path| path.split_at(path.find('\\').unwrap_or(0)).1.to_owned());
    path.unwrap_or_else(|| format!(r"\Win32Pipes.{:08x}.{:08x}", std::process::id(), m.ino()))
}

/// What is written before the text of a structure, and how much of it a caller must have room for.
struct Answer {
    bytes: Vec<u8>,
    least: usize,
}

impl Answer {
    fn whole(bytes: Bytes) -> Self {
        Self { least: bytes.0.len(), bytes: bytes.0 }
    }
}

fn ask(object: &Object, file: &File, class: u32) -> Result<Answer, u32> {
    let m = file.metadata().map_err(|e| from_io(&e))?;
    let [len, room] = sizes(&m);
    let bytes = Bytes::default();
    Ok(match class {
        class::BASIC => Answer::whole(bytes.longs(&four_times(&m)).words(&[attributes(&m), 0])),
        class::STANDARD => {
            let links = u32::try_from(m.nlink()).unwrap_or(u32::MAX);
            let flags = u32::from(object.opened.is_doomed()) | u32::from(m.is_dir()) << 8;
            Answer::whole(bytes.longs(&[room, len]).words(&[links, flags]))
        }
        class::NAME => {
            let name = name(object, &m);
            let units = name.encode_utf16().count();
            Answer { bytes: bytes.words(&[length(units * 2)]).units(&name).0, least: 8 }
        }
        class::STREAM if m.is_dir() => return Err(code::HANDLE_EOF),
        class::STREAM => {
            let name = "::$DATA";
            let head = bytes.words(&[0, length(name.len() * 2)]).longs(&[len, room]);
            Answer { bytes: head.units(name).0, least: 32 }
        }
        class::COMPRESSION => Answer::whole(bytes.longs(&[len]).words(&[0, 0])),
        class::ATTRIBUTE_TAG => Answer::whole(bytes.words(&[attributes(&m), tag(&m)])),
        class::ALIGNMENT => Answer::whole(bytes.words(&[0])),
        class::ID => Answer::whole(bytes.longs(&[m.dev().cast_signed(), m.ino().cast_signed(), 0])),
        _ => return Err(code::INVALID_PARAMETER),
    })
}

/// One entry of a folder, without where the next one is.
fn entry(class: u32, name: &str, m: &Metadata) -> Vec<u8> {
    let [len, room] = sizes(m);
    let units = length(name.encode_utf16().count() * 2);
    let head = Bytes::default().words(&[0]).longs(&four_times(m)).longs(&[len, room]);
    let head = head.words(&[attributes(m), units, 0]);
    match class {
        class::ID_BOTH_DIRECTORY | class::ID_BOTH_DIRECTORY_RESTART => {
            head.zeros(28).longs(&[m.ino().cast_signed()]) // no short name
        }
        class::ID_EXTENDED_DIRECTORY | class::ID_EXTENDED_DIRECTORY_RESTART => {
            head.words(&[tag(m)]).longs(&[m.ino().cast_signed(), 0])
        }
        _ => head,
    }
    .units(name)
    .0
}

/// As many entries of a folder as there is room for, from where the last call stopped.
fn list(object: &Object, file: &File, class: u32, out: Ptr<u8>, room: usize) -> Result<(), u32> {
    if !file.metadata().map_err(|e| from_io(&e))?.is_dir() {
        return Err(code::INVALID_PARAMETER);
    }
    let restart = [
        class::ID_BOTH_DIRECTORY_RESTART,
        class::FULL_DIRECTORY_RESTART,
        class::ID_EXTENDED_DIRECTORY_RESTART,
    ];
    let mut listing = lock(&object.opened.listing);
    if listing.is_none() || restart.contains(&class) {
        let path = opened::path(object).ok_or(code::INVALID_HANDLE)?;
        *listing = Some(find::list(&path, "*")?);
    }
    let Some(listing) = listing.as_mut() else { return Err(code::NO_MORE_FILES) };
    let mut bytes: Vec<u8> = Vec::new();
    let (mut last, mut n) = (None, 0);
    for (name, m) in listing.rest() {
        let entry = entry(class, name, m);
        let start = bytes.len().next_multiple_of(8);
        if start + 4 + entry.len() > room {
            break;
        }
        if let Some(last) = last {
            let step = length(start - last).to_le_bytes();
            bytes[last..last + 4].copy_from_slice(&step);
        }
        bytes.resize(start + 4, 0);
        bytes.extend(entry);
        (last, n) = (Some(start), n + 1);
    }
    match (n, listing.rest().is_empty()) {
        (0, true) => Err(code::NO_MORE_FILES),
        (0, false) => Err(MORE_DATA),
        _ => {
            listing.skip(n);
            out.fill(&bytes);
            Ok(())
        }
    }
}

/// Runs `f` on the file behind a handle, and on its object.
fn with_file<R>(handle: usize, f: impl FnOnce(&Arc<Object>, &File) -> Result<R, u32>) -> Result<R, u32> {
    let object = object(handle)?;
    match &object.kind {
        Kind::File(file) => f(&object, file),
        _ => Err(code::INVALID_HANDLE),
    }
}

extern "win64" fn GetFileInformationByHandleEx(handle: usize, class: u32, out: Ptr<u8>, room: u32) -> Bool {
    let room = room as usize;
    answer(with_file(handle, |object, file| {
        if out.is_null() {
            return Err(code::NOACCESS);
        }
        if matches!(class, class::ID_BOTH_DIRECTORY..=class::ID_BOTH_DIRECTORY_RESTART)
            || matches!(class, class::FULL_DIRECTORY..=class::FULL_DIRECTORY_RESTART)
            || matches!(class, class::ID_EXTENDED_DIRECTORY..=class::ID_EXTENDED_DIRECTORY_RESTART)
        {
            return list(object, file, class, out, room);
        }
        let Answer { bytes, least } = ask(object, file, class)?;
        if room < least {
            return Err(code::BAD_LENGTH);
        }
        out.fill(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room { Err(MORE_DATA) } else { Ok(()) }
    }))
}

/// Times and attributes; what is zero stays as it is, and so does what is to stay so in spite of later writes (-1).
fn set_basic(file: &File, from: Ptr<u8>) -> Result<(), u32> {
    let time = |nth: usize| {
        let time = from.cast::<i64>().at(nth).get();
        match time {
            0 | -1 => Ok(None),
            time => from_windows(time).map(Some).ok_or(code::INVALID_PARAMETER),
        }
    };
    let mut given = FileTimes::new();
    if let Some(read) = time(1)? {
        given = given.set_accessed(read);
    }
    if let Some(written) = time(2)? {
        given = given.set_modified(written);
    }
    changes::set_times(file, given).map_err(|e| from_io(&e))?;
    match from.cast::<u32>().at(8).get() {
        0 => Ok(()),
        attributes => {
            let mut rights = file.metadata().map_err(|e| from_io(&e))?.permissions();
            rights.set_readonly(attributes & file::READONLY != 0);
            changes::set_permissions_of(file, rights).map_err(|e| from_io(&e))
        }
    }
}

const DELETES: u32 = 1;
const POSIX: u32 = 2;
const IGNORE_READONLY: u32 = 0x10;

/// The name of the file goes with its last handle, or at once, or it stays after all.
fn dispose(object: &Object, file: &File, flags: u32) -> Result<(), u32> {
    if flags & DELETES == 0 {
        doom(object, None);
        return Ok(());
    }
    let path = opened::path(object).ok_or(code::ACCESS_DENIED)?;
    let m = file.metadata().map_err(|e| from_io(&e))?;
    if m.permissions().readonly() && !m.is_symlink() && flags & IGNORE_READONLY == 0 {
        return Err(code::ACCESS_DENIED);
    }
    if m.is_dir() && fs::read_dir(&path).map_err(|e| from_io(&e))?.next().is_some() {
        return Err(DIR_NOT_EMPTY);
    }
    if flags & POSIX == 0 {
        doom(object, Some(path));
        return Ok(());
    }
    let gone = if m.is_dir() { fs::remove_dir(&path) } else { changes::remove_file(&path) };
    gone.map_err(|e| from_io(&e))
}

/// The file gets another name: a whole one, or one in its own folder.
fn rename(object: &Object, from: Ptr<u8>, len: usize, replaces: bool) -> Result<(), u32> {
    const NAME: usize = 20;
    let root = from.at(8).cast::<usize>().get();
    let bytes = from.at(16).cast::<u32>().get() as usize;
    if bytes == 0 || !bytes.is_multiple_of(2) || bytes > len - NAME {
        return Err(code::INVALID_PARAMETER);
    }
    let name = String::from_utf16_lossy(&from.at(NAME).cast::<u16>().slice(bytes / 2));
    let name = match root {
        0 => name.trim_start_matches(r"\??\").to_owned(),
        root => {
            let folder = opened::guest_path(&*super::wait::object(root)?).ok_or(code::INVALID_HANDLE)?;
            format!(r"{folder}\{name}")
        }
    };
    let own = opened::path(object).ok_or(code::ACCESS_DENIED)?;
    let to = match name.contains(['\\', '/']) {
        true => file::host(&name)?,
        false => Path::new(&own).with_file_name(&name).to_string_lossy().into_owned(),
    };
    if !replaces && Path::new(&to).exists() {
        return Err(code::ALREADY_EXISTS);
    }
    changes::rename(&own, to).map_err(|e| from_io(&e))
}

/// How long a class's structure is at least; `None` for one that nothing can be set by.
fn size(class: u32) -> Option<u32> {
    match class {
        class::BASIC => Some(40),
        class::RENAME | class::RENAME_EX => Some(24),
        class::DISPOSITION => Some(1),
        class::DISPOSITION_EX => Some(4),
        class::ALLOCATION | class::END_OF_FILE => Some(8),
        _ => None,
    }
}

extern "win64" fn SetFileInformationByHandle(handle: usize, class: u32, from: Ptr<u8>, len: u32) -> Bool {
    answer(with_file(handle, |object, file| {
        let least = size(class).ok_or(code::INVALID_PARAMETER)?;
        if from.is_null() {
            return Err(code::NOACCESS);
        }
        if len < least {
            return Err(code::BAD_LENGTH);
        }
        let deletes = [class::RENAME, class::RENAME_EX, class::DISPOSITION, class::DISPOSITION_EX];
        if deletes.contains(&class) && !object.opened.may(DELETE | GENERIC_ALL) {
            return Err(code::ACCESS_DENIED);
        }
        let (flag, word) = (u32::from(from.get() != 0), || from.cast::<u32>().get());
        let long = || u64::try_from(from.cast::<i64>().get()).map_err(|_| code::INVALID_PARAMETER);
        match class {
            class::BASIC => set_basic(file, from),
            class::RENAME => rename(object, from, len as usize, flag != 0),
            class::RENAME_EX => rename(object, from, len as usize, word() & 1 != 0),
            class::DISPOSITION => dispose(object, file, flag),
            class::DISPOSITION_EX => dispose(object, file, word()),
            _ => {
                let (to, now) = (long()?, file.metadata().map_err(|e| from_io(&e))?.len());
                // Room that is not used yet, the host finds when it is.
                match class == class::ALLOCATION && to >= now {
                    true => Ok(()),
                    false => file.set_len(to).map_err(|e| from_io(&e)),
                }
            }
        }
    }))
}

const NAME_GUID: u32 = 1;
const NAME_NT: u32 = 2;
const NAME_NONE: u32 = 4;
const NAME_OPENED: u32 = 8;

/// The path of an open file, in one of the ways in which volumes are named.
fn final_path(handle: usize, flags: u32) -> Result<String, u32> {
    let path = with_file(handle, |object, _| opened::guest_path(object).ok_or(1))?; // ERROR_INVALID_FUNCTION
    let (drive, rest) = path.split_at(path.find('\\').unwrap_or(0));
    match flags & !NAME_OPENED {
        0 => Ok(format!(r"\\?\{path}")),
        NAME_NONE => Ok(rest.to_owned()),
        NAME_NT => Ok(super::volume::device(drive).ok_or(code::PATH_NOT_FOUND)? + rest),
        NAME_GUID => Err(code::PATH_NOT_FOUND), // volumes have no such names here
        _ => Err(code::INVALID_PARAMETER),
    }
}

extern "win64" fn GetFinalPathNameByHandle<T: Text>(handle: usize, to: Ptr<T>, room: u32, flags: u32) -> u32 {
    final_path(handle, flags)
        .map_or_else(|e| super::fail(e) as u32, |path| text::answer(&T::of(&path), to, room))
}

/// Changes in a folder are not told: its file system does not support it, as is said where that is so.
extern "win64" fn ReadDirectoryChangesW(
    handle: usize,
    _to: usize,
    _room: u32,
    _below: Bool,
    _what: u32,
    _done: usize,
    _overlapped: usize,
    _routine: usize,
) -> Bool {
    answer(with_file(handle, |_, _| Err(1))) // ERROR_INVALID_FUNCTION
}

/// No device here has requests of its own.
extern "win64" fn DeviceIoControl(
    handle: usize,
    _request: u32,
    _from: usize,
    _from_len: u32,
    _to: usize,
    _to_room: u32,
    done: Ptr<u32>,
    _overlapped: usize,
) -> Bool {
    done.put(0);
    answer(with_file(handle, |_, _| Err(1))) // ERROR_INVALID_FUNCTION
}

table! {
    /// Open files.
    pub(crate) TABLE:
        GetFileInformationByHandleEx, SetFileInformationByHandle, GetFinalPathNameByHandleW = GetFinalPathNameByHandle::<u16>, GetFinalPathNameByHandleA = GetFinalPathNameByHandle::<u8>,
        ReadDirectoryChangesW, DeviceIoControl
}
