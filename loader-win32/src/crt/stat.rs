//! What is known of a file: `_stat` in all its forms, which differ in how wide sizes and times are.
#![allow(unsafe_code)] // the host's functions fill places of ours

use super::{files::told, set_errno, stdio::host};
use crate::guest::Ptr;

/// Of rights, Windows knows who may write, which here is everybody or nobody; folders, and files that are programs by their
/// name, may be executed.
fn rights(s: &libc::stat, name: &str) -> u16 {
    let is_folder = s.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let ends = |end: &&str| name.len() > 4 && name[name.len() - 4..].eq_ignore_ascii_case(end);
    let is_program = name.is_char_boundary(name.len().saturating_sub(4))
        && [".exe", ".com", ".bat", ".cmd"].iter().any(ends);
    let write = if is_folder || s.st_mode & 0o222 != 0 { 0o222 } else { 0 };
    let execute = if is_folder || is_program { 0o111 } else { 0 };
    0o444 | write | execute
}

/// `_S_IFDIR`.
const FOLDER: u16 = 0x4000;

/// The host's answer, in fields that all forms share.
struct Known {
    device: u32,
    mode: u16,
    links: i16,
    size: i64,
    times: [i64; 3],
}

/// `struct _stat64` and the others.
#[repr(C)]
#[derive(Clone, Copy)]
struct Stat<S, T> {
    device: u32,
    inode: u16,
    mode: u16,
    links: i16,
    owner: [i16; 2],
    same_device: u32,
    size: S,
    times: [T; 3],
}

const _: () = assert!(size_of::<Stat<i64, i64>>() == 56 && size_of::<Stat<i32, i64>>() == 48);
const _: () = assert!(size_of::<Stat<i64, i32>>() == 48 && size_of::<Stat<i32, i32>>() == 36);

fn known(s: &libc::stat, name: &str) -> Known {
    const KINDS: [(u32, u16); 4] =
        [(libc::S_IFDIR, FOLDER), (libc::S_IFCHR, 0x2000), (libc::S_IFIFO, 0x1000), (libc::S_IFREG, 0x8000)];
    let kind = KINDS.iter().find(|k| s.st_mode & libc::S_IFMT == k.0).map_or(0, |k| k.1);
    Known {
        device: s.st_dev as u32,
        mode: kind | rights(s, name),
        links: i16::try_from(s.st_nlink).unwrap_or(i16::MAX),
        size: if kind == FOLDER { 0 } else { s.st_size },
        times: [s.st_atime, s.st_mtime, s.st_ctime],
    }
}

/// Asks the host, which fills the place that `ask` is given.
fn ask(name: &str, ask: impl FnOnce(*mut libc::stat) -> i32) -> Result<Known, i32> {
    let mut place = std::mem::MaybeUninit::<libc::stat>::zeroed();
    if told(ask(place.as_mut_ptr())) != 0 {
        return Err(-1);
    }
    // SAFETY: zeroed, which is valid, and then filled.
    Ok(known(&unsafe { place.assume_init() }, name))
}

fn of_file(file: i32) -> Result<Known, i32> {
    // SAFETY: the place is ours; a wrong file is an error.
    ask("", |place| unsafe { libc::fstat(file, place) })
}

fn of_path(name: &str) -> Result<Known, i32> {
    let path = host(name).ok_or(-1)?;
    // SAFETY: the place is ours; the path ends with a zero.
    let known = ask(name, |place| unsafe { libc::stat(path.as_ptr(), place) })?;
    if name.ends_with(['\\', '/']) && known.mode & FOLDER == 0 {
        set_errno(libc::ENOENT); // only a folder has something behind it
        return Err(-1);
    }
    Ok(known)
}

/// How long a file is; -1 where it is none.
pub(super) fn size(file: i32) -> i64 {
    of_file(file).map_or(-1, |known| known.size)
}

/// Stores it; a size or a time that does not fit is an error.
fn put<S: Copy + TryFrom<i64>, T: Copy + TryFrom<i64>>(
    known: Result<Known, i32>,
    out: Ptr<Stat<S, T>>,
) -> i32 {
    const EOVERFLOW: i32 = 132;
    let Known { device, mode, links, size, times } = match known {
        Ok(known) => known,
        Err(error) => return error,
    };
    let [accessed, changed, made] = times.map(|time| T::try_from(time));
    let (Ok(size), Ok(accessed), Ok(changed), Ok(made)) = (S::try_from(size), accessed, changed, made) else {
        set_errno(EOVERFLOW);
        return -1;
    };
    let times = [accessed, changed, made];
    out.put(Stat { device, inode: 0, mode, links, owner: [0; 2], same_device: device, size, times });
    0
}

macro_rules! stats {
    ($($size:ty, $time:ty: $fstat:ident $stat:ident $wstat:ident;)*) => {$(
        extern "win64" fn $fstat(file: i32, out: Ptr<Stat<$size, $time>>) -> i32 {
            put(of_file(file), out)
        }
        extern "win64" fn $stat(name: Ptr<u8>, out: Ptr<Stat<$size, $time>>) -> i32 {
            put(of_path(&name.string()), out)
        }
        extern "win64" fn $wstat(name: Ptr<u16>, out: Ptr<Stat<$size, $time>>) -> i32 {
            put(of_path(&name.string()), out)
        }
    )*};
}

stats! {
    i64, i64: _fstat64 _stat64 _wstat64;
    i32, i64: _fstat64i32 _stat64i32 _wstat64i32;
    i64, i32: _fstat32i64 _stat32i64 _wstat32i64;
    i32, i32: _fstat32 _stat32 _wstat32;
}

table! {
    /// What both have.
    pub(crate) TABLE:
        _fstat64, _stat64, _wstat64, _fstat64i32, _stat64i32, _wstat64i32, _fstat32i64, _stat32i64, _wstat32i64, _fstat32,
        _stat32, _wstat32
}

table! {
    /// What msvcrt has: sizes with 32 bits where nothing else is said, and times with 64.
    pub(crate) MSVCRT:
        _fstat = _fstat64i32, _fstati64 = _fstat64, _stat = _stat64i32, _stati64 = _stat64, _wstat = _wstat64i32,
        _wstati64 = _wstat64
}
