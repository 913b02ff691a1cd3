//! Paths and folders: taking paths apart, the current folder, searches.
#![allow(unsafe_code)] // one call of the host's

use super::{
    invalid::{invalid, refuse},
    memory::{copy_z, malloc},
    set_errno,
};
use crate::{
    guest::Ptr,
    kernel32::{
        file::set_current,
        find::{Search, search},
    },
    lock,
    object::Kind,
    path, teb,
    text::wide,
};
use libc::{EINVAL, ENOENT, ERANGE};

/// Elements of texts: bytes, or units of UTF-16.
trait Element: Copy + Default + PartialEq + From<u8> {}

impl Element for u8 {}
impl Element for u16 {}

fn is<T: Element>(element: T, letters: &[u8]) -> bool {
    letters.iter().any(|&letter| element == T::from(letter))
}

/// A path's parts: drive, folder, name, extension.
fn parts<T: Element>(path: &[T]) -> [&[T]; 4] {
    let has_drive = path.len() > 1 && is(path[1], b":");
    let (drive, rest) = path.split_at(if has_drive { 2 } else { 0 });
    let name_at = rest.iter().rposition(|&c| is(c, br"\/")).map_or(0, |at| at + 1);
    let (folder, name) = rest.split_at(name_at);
    let (name, extension) = name.split_at(name.iter().rposition(|&c| is(c, b".")).unwrap_or(name.len()));
    [drive, folder, name, extension]
}

fn put<T: Element>(part: &[T], to: Ptr<T>) {
    to.fill(part);
    if !to.is_null() {
        to.at(part.len()).set(T::default());
    }
}

fn split<T: Element>(path: &[T], to: [Ptr<T>; 4]) {
    parts(path).into_iter().zip(to).for_each(|(part, to)| put(part, to));
}

/// Every part must fit; a part that is not wanted has neither a place nor room.
fn split_s<T: Element>(path: Ptr<T>, to: [(Ptr<T>, usize); 4]) -> i32 {
    let clear = || to.iter().filter(|to| !to.0.is_null() && to.1 > 0).for_each(|to| to.0.set(T::default()));
    if path.is_null() || to.iter().any(|to| to.0.is_null() != (to.1 == 0)) {
        clear();
        return invalid();
    }
    let path = path.slice(path.count(usize::MAX));
    let parts = parts(&path);
    if parts.iter().zip(to).any(|(part, to)| !to.0.is_null() && part.len() >= to.1) {
        clear();
        return refuse(ERANGE);
    }
    parts.into_iter().zip(to).for_each(|(part, to)| put(part, to.0));
    0
}

extern "win64" fn _splitpath(path: Ptr<u8>, drive: Ptr<u8>, folder: Ptr<u8>, name: Ptr<u8>, end: Ptr<u8>) {
    split(path.text(), [drive, folder, name, end]);
}

extern "win64" fn _wsplitpath(
    path: Ptr<u16>,
    drive: Ptr<u16>,
    folder: Ptr<u16>,
    name: Ptr<u16>,
    end: Ptr<u16>,
) {
    split(&path.text(), [drive, folder, name, end]);
}

extern "win64" fn _splitpath_s(
    path: Ptr<u8>,
    drive: Ptr<u8>,
    drive_room: usize,
    folder: Ptr<u8>,
    folder_room: usize,
    name: Ptr<u8>,
    name_room: usize,
    end: Ptr<u8>,
    end_room: usize,
) -> i32 {
    split_s(path, [(drive, drive_room), (folder, folder_room), (name, name_room), (end, end_room)])
}

extern "win64" fn _wsplitpath_s(
    path: Ptr<u16>,
    drive: Ptr<u16>,
    drive_room: usize,
    folder: Ptr<u16>,
    folder_room: usize,
    name: Ptr<u16>,
    name_room: usize,
    end: Ptr<u16>,
    end_room: usize,
) -> i32 {
    split_s(path, [(drive, drive_room), (folder, folder_room), (name, name_room), (end, end_room)])
}

/// A path of parts, with the colon, the separator and the dot that they lack.
fn joined<T: Element>(drive: &[T], folder: &[T], name: &[T], extension: &[T]) -> Vec<T> {
    let mut path: Vec<T> =
        drive.iter().take(1).copied().chain(drive.first().map(|_| T::from(b':'))).collect();
    path.extend_from_slice(folder);
    path.extend(folder.last().filter(|&&last| !is(last, br"\/")).map(|_| T::from(b'\\')));
    path.extend_from_slice(name);
    path.extend(extension.first().filter(|&&first| !is(first, b".")).map(|_| T::from(b'.')));
    path.extend_from_slice(extension);
    path
}

extern "win64" fn _makepath(to: Ptr<u8>, drive: Ptr<u8>, folder: Ptr<u8>, name: Ptr<u8>, end: Ptr<u8>) {
    put(&joined(drive.text(), folder.text(), name.text(), end.text()), to);
}

extern "win64" fn _wmakepath(to: Ptr<u16>, drive: Ptr<u16>, folder: Ptr<u16>, name: Ptr<u16>, end: Ptr<u16>) {
    put(&joined(&drive.text(), &folder.text(), &name.text(), &end.text()), to);
}

extern "win64" fn _makepath_s(
    to: Ptr<u8>,
    room: usize,
    drive: Ptr<u8>,
    folder: Ptr<u8>,
    name: Ptr<u8>,
    end: Ptr<u8>,
) -> i32 {
    put_s(to, room, &joined(drive.text(), folder.text(), name.text(), end.text()))
}

/// A path where it must fit. Of one that does not, as much as there is room for is left there, but for its start.
fn put_s<T: Element>(to: Ptr<T>, room: usize, path: &[T]) -> i32 {
    if path.len() >= room && room > 0 {
        to.fill(&path[..room - 1]);
    }
    super::string::copy_s(to, room, path, 0, false)
}

extern "win64" fn _wmakepath_s(
    to: Ptr<u16>,
    room: usize,
    drive: Ptr<u16>,
    folder: Ptr<u16>,
    name: Ptr<u16>,
    end: Ptr<u16>,
) -> i32 {
    put_s(to, room, &joined(&drive.text(), &folder.text(), &name.text(), &end.text()))
}

/// Gives a text: in the caller's room, or in a block that the caller frees.
fn give<T: Element>(text: &[T], to: Ptr<T>, room: usize, make: impl FnOnce(&[T]) -> Ptr<T>) -> Ptr<T> {
    if to.is_null() {
        return make(text);
    }
    if text.len() >= room {
        set_errno(ERANGE);
        return Ptr::NULL;
    }
    put(text, to);
    to
}

fn wide_block(units: &[u16]) -> Ptr<u16> {
    let block = malloc((units.len() + 1) * 2).cast::<u16>();
    put(units, block);
    block
}

/// The whole path of a name; of an empty one, the current folder's.
fn full(name: &str) -> String {
    let drives = &teb::process().drives;
    if name.is_empty() { drives.current() } else { drives.absolute(name) }
}

extern "win64" fn _fullpath(to: Ptr<u8>, name: Ptr<u8>, room: usize) -> Ptr<u8> {
    give(full(&name.string()).as_bytes(), to, room, copy_z)
}

extern "win64" fn _wfullpath(to: Ptr<u16>, name: Ptr<u16>, room: usize) -> Ptr<u16> {
    give(&wide(&full(&name.string())), to, room, wide_block)
}

extern "win64" fn _getcwd(to: Ptr<u8>, room: i32) -> Ptr<u8> {
    give(full("").as_bytes(), to, usize::try_from(room).unwrap_or(0), copy_z)
}

extern "win64" fn _wgetcwd(to: Ptr<u16>, room: i32) -> Ptr<u16> {
    give(&wide(&full("")), to, usize::try_from(room).unwrap_or(0), wide_block)
}

fn change(name: &str) -> i32 {
    if set_current(name).is_ok() {
        return 0;
    }
    set_errno(ENOENT);
    -1
}

extern "win64" fn _chdir(name: Ptr<u8>) -> i32 {
    change(&name.string())
}

extern "win64" fn _wchdir(name: Ptr<u16>) -> i32 {
    change(&name.string())
}

/// The number of the current drive: 1 is `A:`.
extern "win64" fn _getdrive() -> i32 {
    full("").bytes().next().map_or(0, |letter| i32::from(letter.to_ascii_uppercase() - b'A' + 1))
}

// Searches.

/// `struct _finddata64_t` of either width, and `_finddata64i32_t`, whose size has 32 bits.
#[repr(C)]
#[derive(Clone, Copy)]
struct Found<S, T> {
    attributes: u32,
    /// Created, read, written.
    times: [i64; 3],
    size: S,
    name: [T; 260],
}

const _: () = assert!(size_of::<Found<i64, u8>>() == 304 && size_of::<Found<u32, u8>>() == 296);

/// The next name of a search.
fn next<S, T: Element>(
    search: &mut Search,
    out: Ptr<Found<S, T>>,
    size: impl FnOnce(u64) -> S,
    encode: impl FnOnce(&str) -> Vec<T>,
) -> Option<()>
where
    Found<S, T>: Copy,
{
    let entry = search.entry()?;
    let mut name = [T::default(); 260];
    name.iter_mut().take(259).zip(encode(&entry.name)).for_each(|(to, element)| *to = element);
    out.put(Found { attributes: entry.attributes, times: entry.times, size: size(entry.size), name });
    Some(())
}

fn first(pattern: &str, next: impl FnOnce(&mut Search) -> Option<()>) -> isize {
    let found = search(pattern).ok().and_then(|mut search| {
        next(&mut search)?;
        Some(teb::process().objects.open(Kind::Find(search.into())))
    });
    found.map_or_else(
        || {
            set_errno(ENOENT);
            -1
        },
        usize::cast_signed,
    )
}

fn again(handle: usize, next: impl FnOnce(&mut Search) -> Option<()>) -> i32 {
    let object = teb::process().objects.get(handle);
    match object.as_deref().map(|object| &object.kind) {
        Some(Kind::Find(search)) if next(&mut lock(search)).is_some() => return 0,
        Some(Kind::Find(_)) => set_errno(ENOENT),
        _ => set_errno(EINVAL),
    }
    -1
}

fn narrow(name: &str) -> Vec<u8> {
    name.as_bytes().to_vec()
}

macro_rules! searches {
    ($($first:ident $next:ident: $size:ty, $element:ty, $encode:ident;)*) => {$(
        extern "win64" fn $first(pattern: Ptr<$element>, out: Ptr<Found<$size, $element>>) -> isize {
            first(&pattern.string(), |search| next(search, out, |size| size as $size, $encode))
        }
        extern "win64" fn $next(handle: usize, out: Ptr<Found<$size, $element>>) -> i32 {
            again(handle, |search| next(search, out, |size| size as $size, $encode))
        }
    )*};
}

searches! {
    _findfirst64 _findnext64: i64, u8, narrow;
    _findfirst64i32 _findnext64i32: u32, u8, narrow;
    _wfindfirst64 _wfindnext64: i64, u16, wide;
    _wfindfirst64i32 _wfindnext64i32: u32, u16, wide;
}

extern "win64" fn _findclose(handle: usize) -> i32 {
    if teb::process().objects.close(handle).is_some() {
        return 0;
    }
    set_errno(EINVAL);
    -1
}

// Names of files that are not there.

/// A name in a folder that no file has.
fn unused(folder: &str, prefix: &str) -> Option<String> {
    let free = |name: &String| path::to_host(name).is_some_and(|p| !std::path::Path::new(&p).exists());
    let number = u32::from_le_bytes(crate::bcrypt::random());
    (0..1000u32).map(|n| format!("{folder}{prefix}{:x}", number.wrapping_add(n))).find(free)
}

extern "win64" fn _tempnam(folder: Ptr<u8>, prefix: Ptr<u8>) -> Ptr<u8> {
    let own = teb::process().environment.get("TMP").unwrap_or_else(|| folder.string());
    let known = path::to_host(&own).filter(|p| !own.is_empty() && std::path::Path::new(p).is_dir());
    let folder = if known.is_some() { format!("{own}\\") } else { teb::process().drives.temporary() };
    unused(&folder, &prefix.string()).map_or(Ptr::NULL, |name| copy_z(name.as_bytes()))
}

extern "win64" fn tmpnam(to: Ptr<u8>) -> Ptr<u8> {
    let folder = teb::process().drives.temporary();
    unused(&folder, "s").map_or(Ptr::NULL, |name| give(name.as_bytes(), to, usize::MAX, copy_z))
}

extern "win64" fn tmpnam_s(to: Ptr<u8>, room: usize) -> i32 {
    let name = unused(&teb::process().drives.temporary(), "s").unwrap_or_default();
    super::string::copy_s(to, room, name.as_bytes(), 0, false)
}

/// Puts letters and numbers in place of six `X` so that no file has the name.
extern "win64" fn _mktemp(pattern: Ptr<u8>) -> Ptr<u8> {
    let text = pattern.string();
    let Some(stem) = text.strip_suffix("XXXXXX") else {
        invalid();
        return Ptr::NULL;
    };
    let number = std::process::id() % 100_000;
    let free = |name: &String| path::to_host(name).is_some_and(|p| !std::path::Path::new(&p).exists());
    match ('a'..='z').map(|letter| format!("{stem}{letter}{number:05}")).find(free) {
        Some(name) => give(name.as_bytes(), pattern, usize::MAX, copy_z),
        None => {
            set_errno(libc::EEXIST);
            Ptr::NULL
        }
    }
}

/// Where a file is found: here, or in the folders of a variable.
/// The path of a file: it is there, or in a folder of those that a variable lists.
fn find(name: &str, variable: &str) -> Option<String> {
    let there = |name: &str| path::to_host(name).is_some_and(|p| std::path::Path::new(&p).exists());
    if there(name) {
        return Some(full(name));
    }
    let folders = teb::process().environment.get(variable).unwrap_or_default();
    let inside = |folder: &str| {
        let between = if folder.ends_with(['\\', '/', ':']) { "" } else { "\\" };
        format!("{folder}{between}{name}")
    };
    // Quotes hide what separates, and are no part of a name.
    let mut quoted = false;
    let separates = |c: char| {
        quoted ^= c == '"';
        c == ';' && !quoted
    };
    let folders = folders.split(separates).map(|folder| folder.replace('"', ""));
    folders.filter(|folder| !folder.is_empty()).map(|folder| inside(&folder)).find(|name| there(name))
}

fn search_s<T: Element + crate::text::Text>(name: Ptr<T>, variable: Ptr<T>, to: Ptr<T>, room: usize) -> i32 {
    if name.is_null() || variable.is_null() || to.is_null() || room == 0 {
        return invalid();
    }
    let found = match T::string(name) {
        name if name.is_empty() => None,
        name => find(&name, &T::string(variable)),
    };
    match found {
        Some(found) => super::string::copy_s(to, room, &T::of(&found), 0, false),
        None => {
            to.set(T::default());
            set_errno(ENOENT);
            ENOENT
        }
    }
}

/// Where there is room for the longest path.
extern "win64" fn _searchenv(name: Ptr<u8>, variable: Ptr<u8>, to: Ptr<u8>) {
    search_s(name, variable, to, LONGEST);
}

extern "win64" fn _wsearchenv(name: Ptr<u16>, variable: Ptr<u16>, to: Ptr<u16>) {
    search_s(name, variable, to, LONGEST);
}

extern "win64" fn _searchenv_s(name: Ptr<u8>, variable: Ptr<u8>, to: Ptr<u8>, room: usize) -> i32 {
    search_s(name, variable, to, room)
}

extern "win64" fn _wsearchenv_s(name: Ptr<u16>, variable: Ptr<u16>, to: Ptr<u16>, room: usize) -> i32 {
    search_s(name, variable, to, room)
}

/// `_MAX_PATH`.
const LONGEST: usize = 260;

table! {
    /// Paths and folders.
    pub(crate) TABLE:
        _splitpath, _wsplitpath, _splitpath_s, _wsplitpath_s, _makepath, _wmakepath, _makepath_s, _wmakepath_s, _fullpath,
        _wfullpath, _getcwd, getcwd = _getcwd, _wgetcwd, _chdir, chdir = _chdir, _wchdir, _getdrive, _findfirst64, _findnext64,
        _findfirst64i32, _findnext64i32, _wfindfirst64, _wfindnext64, _wfindfirst64i32, _wfindnext64i32, _findclose, _tempnam,
        tmpnam, tmpnam_s, _mktemp, _searchenv, _wsearchenv, _searchenv_s, _wsearchenv_s
}

table! {
    /// What msvcrt has.
    pub(crate) MSVCRT:
        _findfirst = _findfirst64i32, _findnext = _findnext64i32, _findfirsti64 = _findfirst64, _findnexti64 = _findnext64,
        _wfindfirst = _wfindfirst64i32, _wfindnext = _wfindnext64i32, _wfindfirsti64 = _wfindfirst64,
        _wfindnexti64 = _wfindnext64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_apart_and_together() {
        for (path, expected) in [
            (r"c:\a\b.c.txt", ["c:", r"\a\", "b.c", ".txt"]),
            ("name", ["", "", "name", ""]),
            (r"x.y\z", ["", r"x.y\", "z", ""]),
            ("d:.e", ["d:", "", "", ".e"]),
        ] {
            let found = parts(path.as_bytes()).map(|part| std::str::from_utf8(part).unwrap());
            assert_eq!(found, expected, "{path}");
        }
        assert_eq!(joined(b"c", br"\a", b"b", b"txt"), br"c:\a\b.txt");
        assert_eq!(joined(b"", b"a/", b"b", b".c"), b"a/b.c");
    }
}
