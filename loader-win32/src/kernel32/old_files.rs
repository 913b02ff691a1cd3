//! Files as programs of sixteen bits had them, which some still ask for; and what is seldom asked for otherwise: reading into pages
//! here and there, replacing a file by another, the streams of a file.

use super::{
    Bool, FALSE, answer, changes,
    error::code,
    fail,
    file::{CreateFileW, Request, SetFilePointer, host, on_file, on_path, open, or_invalid},
    find::Search,
    sharing::{SHARE_ALL, SHARE_READ, SHARE_WRITE},
    transfer::{Overlapped, finish, read, write},
    wait::{CloseHandle, object},
};
use crate::{
    guest::Ptr,
    object::Kind,
    teb,
    text::{self, Text},
};
use std::{fs, io::Seek, path::Path};

const HFILE_ERROR: i32 = -1;
const GENERIC_READ: u32 = 0x8000_0000;
const GENERIC_WRITE: u32 = 0x4000_0000;
const CREATE_ALWAYS: u32 = 2;
const OPEN_EXISTING: u32 = 3;

/// The accesses of `OF_READ`, `OF_WRITE` and `OF_READWRITE`.
fn access(mode: u32) -> Option<u32> {
    [GENERIC_READ, GENERIC_WRITE, GENERIC_READ | GENERIC_WRITE].get(mode as usize & 3).copied()
}

/// The shares of `OF_SHARE_EXCLUSIVE`, `OF_SHARE_DENY_WRITE` and `OF_SHARE_DENY_READ`; otherwise everything is shared that these
/// functions can do.
fn shares(mode: u32) -> u32 {
    match mode & 0x70 {
        0x10 => 0,
        0x20 => SHARE_READ,
        0x30 => SHARE_WRITE,
        _ => SHARE_READ | SHARE_WRITE,
    }
}

/// A handle as these functions have it.
fn short(handle: usize) -> i32 {
    handle as i32 // handles are small numbers, and the one that is none is -1
}

fn long(file: i32) -> usize {
    file as isize as usize
}

extern "win64" fn _lopen(name: Ptr<u8>, mode: u32) -> i32 {
    let Some(access) = access(mode) else {
        fail(code::INVALID_PARAMETER);
        return HFILE_ERROR;
    };
    let request = Request { access, share: shares(mode), disposition: OPEN_EXISTING, flags: 0 };
    short(or_invalid(open(&u8::string(name), request)))
}

extern "win64" fn _lcreat(name: Ptr<u8>, attributes: u32) -> i32 {
    const KEPT: u32 = 7; // read only, hidden, of the system
    let access = GENERIC_READ | GENERIC_WRITE;
    let request = Request { access, share: SHARE_ALL, disposition: CREATE_ALWAYS, flags: attributes & KEPT };
    short(or_invalid(open(&u8::string(name), request)))
}

extern "win64" fn _lclose(file: i32) -> i32 {
    if CloseHandle(long(file)) == FALSE { HFILE_ERROR } else { 0 }
}

/// How much was moved.
fn moved(result: Result<usize, u32>) -> i32 {
    result.map_or_else(
        |error| {
            fail(error);
            HFILE_ERROR
        },
        |n| n as i32,
    )
}

extern "win64" fn _hread(file: i32, to: Ptr<u8>, len: i32) -> i32 {
    moved(u32::try_from(len).map_err(|_| code::INVALID_PARAMETER).and_then(|n| read(long(file), to, n, None)))
}

/// To write nothing is to end the file here.
extern "win64" fn _hwrite(file: i32, from: Ptr<u8>, len: i32) -> i32 {
    moved(match u32::try_from(len) {
        Ok(0) => on_file(long(file), |f| {
            let mut place = f;
            f.set_len(place.stream_position()?)
        })
        .map(|()| 0),
        Ok(n) => write(long(file), from, n, None),
        Err(_) => Err(code::INVALID_PARAMETER),
    })
}

extern "win64" fn _llseek(file: i32, distance: i32, from: i32) -> i32 {
    SetFilePointer(long(file), distance, Ptr::NULL, from.cast_unsigned()).cast_signed()
}

/// `OFSTRUCT`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Description {
    size: u8,
    fixed: u8,
    error: u16,
    reserved: [u16; 2],
    path: [u8; 128],
}

const _: () = assert!(size_of::<Description>() == 136);

/// Opens, makes or deletes a file, or only looks for it, and says its whole path.
extern "win64" fn OpenFile(name: Ptr<u8>, out: Ptr<Description>, mode: u32) -> i32 {
    const PARSE: u32 = 0x100;
    const DELETE: u32 = 0x200;
    const CREATE: u32 = 0x1000;
    const EXIST: u32 = 0x4000;
    const REOPEN: u32 = 0x8000;
    const BUFFER_OVERFLOW: u32 = 111;
    if out.is_null() {
        return HFILE_ERROR;
    }
    let before = out.get();
    let name = if mode & REOPEN != 0 {
        let end = before.path.iter().position(|&b| b == 0).unwrap_or(before.path.len());
        String::from_utf8_lossy(&before.path[..end]).into_owned()
    } else {
        u8::string(name)
    };
    let full = teb::process().drives.absolute(&name);
    let mut new = Description { size: 136, fixed: 1, error: 0, reserved: [0; 2], path: [0; 128] };
    let known = new.path.len() > full.len();
    if known {
        new.path[..full.len()].copy_from_slice(full.as_bytes());
    }
    let opened = |disposition| {
        let access = access(mode).ok_or(code::INVALID_PARAMETER)?;
        open(&full, Request { access, share: shares(mode), disposition, flags: 0 })
    };
    let done = match () {
        () if !known || name.is_empty() => Err(if known { code::FILE_NOT_FOUND } else { BUFFER_OVERFLOW }),
        () if mode & PARSE != 0 => Ok(0),
        () if mode & DELETE != 0 => on_path(&full, super::file::delete).map(|()| 1),
        () if mode & CREATE != 0 => opened(CREATE_ALWAYS),
        () => opened(OPEN_EXISTING),
    };
    let done = done.inspect(|&handle| {
        if mode & EXIST != 0 && mode & (PARSE | DELETE) == 0 {
            CloseHandle(handle);
        }
    });
    new.error = done.err().unwrap_or(0) as u16;
    out.set(new);
    match done {
        Ok(handle) if mode & EXIST != 0 && handle != 0 => 1,
        Ok(handle) => short(handle),
        Err(error) => {
            fail(error);
            HFILE_ERROR
        }
    }
}

const PAGE: u32 = 4096;

/// Moves whole pages, from or to places all over; `one` moves one of them, and says how much it was.
fn pages(
    segments: Ptr<Ptr<u8>>,
    len: u32,
    overlapped: Ptr<Overlapped>,
    one: impl Fn(Ptr<u8>, u32, u64) -> Result<usize, u32>,
) -> Result<usize, u32> {
    if overlapped.is_null() || segments.is_null() || !len.is_multiple_of(PAGE) {
        return Err(code::INVALID_PARAMETER);
    }
    let start = overlapped.get().offset();
    let mut all = 0;
    for nth in 0..len / PAGE {
        let at = start.saturating_add(u64::from(nth) * u64::from(PAGE));
        let n = one(segments.at(nth as usize).get(), PAGE, at)?;
        all += n;
        if n < PAGE as usize {
            break;
        }
    }
    Ok(all)
}

extern "win64" fn ReadFileScatter(
    handle: usize,
    segments: Ptr<Ptr<u8>>,
    len: u32,
    _reserved: usize,
    overlapped: Ptr<Overlapped>,
) -> Bool {
    let done = pages(segments, len, overlapped, |to, n, at| read(handle, to, n, Some(at)));
    answer(done.and_then(|n| {
        if n == 0 && len != 0 {
            return Err(code::HANDLE_EOF);
        }
        finish(handle, overlapped, n);
        Ok(())
    }))
}

extern "win64" fn WriteFileGather(
    handle: usize,
    segments: Ptr<Ptr<u8>>,
    len: u32,
    _reserved: usize,
    overlapped: Ptr<Overlapped>,
) -> Bool {
    let done = pages(segments, len, overlapped, |from, n, at| write(handle, from, n, Some(at)));
    answer(done.map(|n| finish(handle, overlapped, n)))
}

/// A file takes the name of another, which may keep one for itself. What was the other's stays with the name: that nobody
/// may write is a refusal.
fn replace(name: &str, by: &str, backup: Option<&str>) -> Result<(), u32> {
    const UNABLE_TO_REMOVE_REPLACED: u32 = 1175;
    let old = on_path(name, |path| fs::metadata(&path).map(|m| (path, m)))?;
    let new = on_path(by, |path| fs::metadata(&path).map(|_| path))?;
    if old.1.permissions().readonly() {
        return Err(code::ACCESS_DENIED);
    }
    if let Some(backup) = backup {
        let backup = host(backup)?;
        if Path::new(&backup).metadata().is_ok_and(|m| m.permissions().readonly()) {
            return Err(UNABLE_TO_REMOVE_REPLACED);
        }
        on_path(name, |path| changes::rename(path, backup)).map_err(|_| UNABLE_TO_REMOVE_REPLACED)?;
    }
    changes::rename(new, old.0).map_err(|e| super::error::from_io(&e))
}

extern "win64" fn ReplaceFile<T: Text>(
    name: Ptr<T>,
    by: Ptr<T>,
    backup: Ptr<T>,
    _flags: u32,
    _exclude: usize,
    _reserved: usize,
) -> Bool {
    if name.is_null() || by.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    answer(replace(&T::string(name), &T::string(by), T::given(backup).as_deref()))
}

/// `WIN32_FIND_STREAM_DATA`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Stream {
    size: i64,
    name: [u16; 296],
}

/// A file has one stream here, and a folder none.
extern "win64" fn FindFirstStreamW(name: Ptr<u16>, level: u32, out: Ptr<Stream>, flags: u32) -> usize {
    if level != 0 || flags != 0 || out.is_null() {
        return or_invalid(Err(code::INVALID_PARAMETER));
    }
    or_invalid(on_path(&name.string(), fs::metadata).and_then(|m| {
        if m.is_dir() {
            return Err(code::HANDLE_EOF);
        }
        let mut stream = Stream { size: i64::try_from(m.len()).unwrap_or(i64::MAX), name: [0; 296] };
        stream.name.iter_mut().zip(text::wide("::$DATA")).for_each(|(to, unit)| *to = unit);
        out.set(stream);
        Ok(teb::process().objects.open(Kind::Find(Search::over().into())))
    }))
}

extern "win64" fn FindNextStreamW(handle: usize, _out: Ptr<Stream>) -> Bool {
    answer(object(handle).and_then(|object| match object.kind {
        Kind::Find(_) => Err(code::HANDLE_EOF),
        _ => Err(code::INVALID_HANDLE),
    }))
}

/// Who may do this might read what others have deleted: nobody here may.
extern "win64" fn SetFileValidData(handle: usize, _len: i64) -> Bool {
    answer(on_file(handle, |_| Ok(())).and(Err(code::PRIVILEGE_NOT_HELD)))
}

/// Another handle of the file, with an access of its own.
extern "win64" fn ReOpenFile(handle: usize, access: u32, share: u32, flags: u32) -> usize {
    let path =
        object(handle).and_then(|object| super::opened::guest_path(&object).ok_or(code::INVALID_HANDLE));
    match path {
        Ok(path) => {
            let name = text::wide_z(&path);
            let name = Ptr::from_guest(name.as_ptr().expose_provenance() as u64);
            CreateFileW(name, access, share, 0, OPEN_EXISTING, flags, 0)
        }
        Err(error) => or_invalid(Err(error)),
    }
}

table! {
    /// Old and seldom functions of files.
    pub(crate) TABLE:
        _lopen, _lcreat, _lclose, _hread, _lread = _hread, _hwrite, _lwrite = _hwrite, _llseek, OpenFile, ReadFileScatter,
        WriteFileGather, ReplaceFileA = ReplaceFile::<u8>, ReplaceFileW = ReplaceFile::<u16>,
        FindFirstStreamW, FindNextStreamW, SetFileValidData, ReOpenFile
}
