//! What is done to the tree of files by name: copies, moves, attributes, names that are free, searches for a file.

use super::{
    Bool, answer, changes,
    error::code,
    fail,
    file::{
        CreateFileW, NOT_A_FOLDER, READONLY, WRITE_ATTRIBUTES, from_windows, host, needs, on_file, on_path,
        rename,
    },
};
use crate::{guest::Ptr, teb, text};
use std::{
    fs::{self, FileTimes},
    path::Path,
};

/// `CREATEFILE2_EXTENDED_PARAMETERS`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Extended {
    size: u32,
    attributes: u32,
    flags: u32,
    quality: u32,
    security: usize,
    template: usize,
}

extern "win64" fn CreateFile2(
    name: Ptr<u16>,
    access: u32,
    share: u32,
    disposition: u32,
    extended: Ptr<Extended>,
) -> usize {
    let extended = (!extended.is_null()).then(|| extended.get());
    if extended.is_some_and(|extended| (extended.size as usize) < size_of::<Extended>()) {
        fail(code::INVALID_PARAMETER);
        return usize::MAX;
    }
    let flags = extended.map_or(0, |extended| extended.attributes & 0x7_ffff | extended.flags);
    CreateFileW(name, access, share, 0, disposition, flags, 0)
}

fn exists(name: &str) -> bool {
    host(name).is_ok_and(|path| Path::new(&path).exists())
}

extern "win64" fn MoveFileA(from: Ptr<u8>, to: Ptr<u8>) -> Bool {
    rename(&from.string(), &to.string(), 0)
}

extern "win64" fn CreateHardLinkA(name: Ptr<u8>, existing: Ptr<u8>, _security: usize) -> Bool {
    link(&name.string(), &existing.string())
}

extern "win64" fn CreateHardLinkW(name: Ptr<u16>, existing: Ptr<u16>, _security: usize) -> Bool {
    link(&name.string(), &existing.string())
}

fn link(name: &str, existing: &str) -> Bool {
    answer(host(name).and_then(|name| on_path(existing, |existing| changes::hard_link(existing, name))))
}

/// Of the attributes the host keeps one: that nobody may write.
fn set_attributes(name: &str, attributes: u32) -> Bool {
    answer(on_path(name, |path| {
        let mut rights = fs::metadata(&path)?.permissions();
        rights.set_readonly(attributes & READONLY != 0);
        changes::set_permissions(path, rights)
    }))
}

extern "win64" fn SetFileAttributesA(name: Ptr<u8>, attributes: u32) -> Bool {
    set_attributes(&name.string(), attributes)
}

extern "win64" fn SetFileAttributesW(name: Ptr<u16>, attributes: u32) -> Bool {
    set_attributes(&name.string(), attributes)
}

/// Null leaves a time as it is, and so do all ones. When the file was created, the host says.
extern "win64" fn SetFileTime(handle: usize, _created: Ptr<i64>, read: Ptr<i64>, written: Ptr<i64>) -> Bool {
    let given = |time: Ptr<i64>| {
        (!time.is_null()).then(|| time.get()).filter(|time| ![0, -1].contains(time)).and_then(from_windows)
    };
    answer(needs(handle, WRITE_ATTRIBUTES).and_then(|()| {
        on_file(handle, |file| {
            let times = FileTimes::new();
            let times = given(read).map_or(times, |at| times.set_accessed(at));
            let times = given(written).map_or(times, |at| times.set_modified(at));
            changes::set_times(file, times)
        })
    }))
}

/// A name of the folder, three letters and four hexadecimal digits. Without a number, the first that is free, and the
/// file is made.
fn temporary(folder: &str, prefix: &str, number: u32) -> Result<(String, u32), u32> {
    if !host(folder).is_ok_and(|path| Path::new(&path).is_dir()) {
        return Err(NOT_A_FOLDER);
    }
    let separator = if folder.ends_with(['\\', '/']) { "" } else { "\\" };
    let prefix: String = prefix.chars().take(3).collect();
    let name = |n: u32| format!("{folder}{separator}{prefix}{:X}.tmp", n & 0xffff);
    if number != 0 {
        return Ok((name(number), number));
    }
    let start = u32::from_le_bytes(crate::bcrypt::random());
    let free = |n: &u32| *n != 0 && on_path(&name(*n), fs::File::create_new).is_ok();
    let n = (0..0xffff).map(|i| start.wrapping_add(i) & 0xffff).find(free).ok_or(code::FILE_EXISTS)?;
    Ok((name(n), n))
}

extern "win64" fn GetTempFileNameA(folder: Ptr<u8>, prefix: Ptr<u8>, number: u32, to: Ptr<u8>) -> u32 {
    temporary(&folder.string(), &prefix.string(), number).map_or_else(
        |e| fail(e) as u32,
        |(name, n)| {
            text::answer(name.as_bytes(), to, 260);
            n
        },
    )
}

extern "win64" fn GetTempFileNameW(folder: Ptr<u16>, prefix: Ptr<u16>, number: u32, to: Ptr<u16>) -> u32 {
    temporary(&folder.string(), &prefix.string(), number).map_or_else(
        |e| fail(e) as u32,
        |(name, n)| {
            text::answer(&text::wide(&name), to, 260);
            n
        },
    )
}

/// Where a file is: in the folders of the list, or, without one, where programs are looked for.
fn find(folders: Option<String>, name: &str, extension: Option<String>) -> Option<String> {
    let process = teb::process();
    let bare = name.rsplit(['\\', '/']).next().unwrap_or(name);
    let name = format!("{name}{}", extension.filter(|_| !bare.contains('.')).unwrap_or_default());
    if name.contains(['\\', '/', ':']) {
        return Some(process.drives.absolute(&name)).filter(|full| exists(full));
    }
    let usual = || {
        let program = crate::process::program_path();
        let own = program.rsplit_once('\\').map_or("", |(folder, _)| folder).to_owned();
        [own, process.drives.current(), process.environment.get("PATH").unwrap_or_default()].join(";")
    };
    let folders = folders.unwrap_or_else(usual);
    let inside = |folder: &str| process.drives.absolute(&format!("{folder}\\{name}"));
    folders.split(';').filter(|folder| !folder.is_empty()).map(inside).find(|full| exists(full))
}

extern "win64" fn SearchPathA(
    folders: Ptr<u8>,
    name: Ptr<u8>,
    extension: Ptr<u8>,
    room: u32,
    to: Ptr<u8>,
    part: Ptr<usize>,
) -> u32 {
    let given = |text: Ptr<u8>| (!text.is_null()).then(|| text.string());
    match find(given(folders), &name.string(), given(extension)) {
        Some(full) => {
            part.put(full.rfind('\\').map_or(0, |at| to.at(at + 1).addr()));
            text::answer(full.as_bytes(), to, room)
        }
        None => fail(code::FILE_NOT_FOUND) as u32,
    }
}

extern "win64" fn SearchPathW(
    folders: Ptr<u16>,
    name: Ptr<u16>,
    extension: Ptr<u16>,
    room: u32,
    to: Ptr<u16>,
    part: Ptr<usize>,
) -> u32 {
    let given = |text: Ptr<u16>| (!text.is_null()).then(|| text.string());
    match find(given(folders), &name.string(), given(extension)) {
        Some(full) => {
            let full = text::wide(&full);
            part.put(full.iter().rposition(|&u| u == u16::from(b'\\')).map_or(0, |at| to.at(at + 1).addr()));
            text::answer(&full, to, room)
        }
        None => fail(code::FILE_NOT_FOUND) as u32,
    }
}

/// A path with its names as they are spelled where it leads.
fn spelled(name: &str) -> Result<String, u32> {
    if name.is_empty() || !exists(name) {
        return Err(on_path(name, fs::metadata).err().unwrap_or(code::FILE_NOT_FOUND));
    }
    let place = host(name)?;
    let mut there = place.split('/').filter(|part| !part.is_empty()).rev();
    let mut parts: Vec<&str> = name.split('\\').flat_map(|part| part.split('/')).collect();
    // From the end on, as far as both go.
    for part in parts.iter_mut().rev().filter(|part| !part.is_empty()) {
        let Some(same) = there.next().filter(|same| same.eq_ignore_ascii_case(part)) else { break };
        *part = same;
    }
    // The separators stay what they were.
    let mut out = String::with_capacity(name.len());
    let mut separators = name.chars().filter(|&c| ['\\', '/'].contains(&c));
    for part in parts {
        out.push_str(part);
        out.extend(separators.next());
    }
    Ok(out)
}

/// The host has no short names: a path that leads somewhere is its own short and its own long one.
extern "win64" fn GetLongPathName<T: text::Text>(name: Ptr<T>, to: Ptr<T>, room: u32) -> u32 {
    if name.is_null() {
        return fail(code::INVALID_PARAMETER) as u32;
    }
    spelled(&T::string(name)).map_or_else(|e| fail(e) as u32, |path| text::answer(&T::of(&path), to, room))
}

table! {
    /// Files by name.
    pub(crate) TABLE:
        CreateFile2, MoveFileA, CreateHardLinkA, CreateHardLinkW, SetFileAttributesA, SetFileAttributesW, SetFileTime,
        GetTempFileNameA, GetTempFileNameW, SearchPathA, SearchPathW, GetLongPathNameA = GetLongPathName::<u8>,
        GetLongPathNameW = GetLongPathName::<u16>, GetShortPathNameA = GetLongPathName::<u8>,
        GetShortPathNameW = GetLongPathName::<u16>
}
