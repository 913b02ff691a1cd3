//! Files and folders, over the host's.

use super::{
    Bool, TRUE, answer, changes,
    error::{code, from_io},
    fail, opened, sharing, time,
    wait::object,
};
use crate::{
    guest::Ptr,
    object::Kind,
    path::{self, Drives},
    rtl::path::{Full, full},
    teb, text,
};
use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{IsTerminal, Seek, SeekFrom},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
    sync::atomic::Ordering::Relaxed,
    time::SystemTime,
};

pub(crate) const INVALID_HANDLE_VALUE: usize = usize::MAX;
const GENERIC_READ: u32 = 0x8000_0000;
pub(crate) const GENERIC_WRITE: u32 = 0x4000_0000;
pub(crate) const GENERIC_ALL: u32 = 0x1000_0000;
const DIRECTORY: u32 = 0x10;
pub(crate) const READONLY: u32 = 1;
const ARCHIVE: u32 = 0x20;
const REPARSE_POINT: u32 = 0x400;
/// `ERROR_DIRECTORY`.
pub(crate) const NOT_A_FOLDER: u32 = 267;
pub(crate) const BACKUP_SEMANTICS: u32 = 0x0200_0000;
pub(crate) const OPEN_REPARSE_POINT: u32 = 0x20_0000;
pub(crate) const DELETE_ON_CLOSE: u32 = 0x400_0000;
const OVERLAPPED: u32 = 0x4000_0000;
pub(crate) const DELETE: u32 = 0x1_0000;
const INVALID_ATTRIBUTES: u32 = u32::MAX;

/// The host path of a Windows path, or the error.
pub(crate) fn host(path: &str) -> Result<String, u32> {
    path::to_host(path).filter(|p| !path.is_empty() && !p.contains('\0')).ok_or(code::PATH_NOT_FOUND)
}

const INVALID_NAME: u32 = 123;

/// Whether no file can be called so.
fn is_no_name(path: &str) -> bool {
    path.trim_start_matches(r"\\?\").contains(['*', '?', '"', '<', '>', '|'])
}

/// Runs a host call on the host path of a guest path.
pub(crate) fn on_path<R>(path: &str, f: impl FnOnce(String) -> std::io::Result<R>) -> Result<R, u32> {
    if is_no_name(path) {
        return Err(INVALID_NAME);
    }
    let host = host(path)?;
    f(host.clone()).map_err(|e| match from_io(&e) {
        code::FILE_NOT_FOUND if !has_folder(&host) => code::PATH_NOT_FOUND,
        error => error,
    })
}

/// Whether the folder is there that a path names a file in.
fn has_folder(path: &str) -> bool {
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.is_none_or(Path::is_dir)
}

/// Runs a host call on the file behind a handle.
pub(crate) fn on_file<R>(handle: usize, f: impl FnOnce(&File) -> std::io::Result<R>) -> Result<R, u32> {
    match &object(handle)?.kind {
        Kind::File(file) => f(file).map_err(|e| from_io(&e)),
        _ => Err(code::INVALID_HANDLE),
    }
}

/// How a file is opened: `dwCreationDisposition`.
fn options(access: u32, disposition: u32) -> Option<OpenOptions> {
    let write = access & (GENERIC_WRITE | GENERIC_ALL | WRITE_DATA) != 0;
    let append = !write && access & APPEND_DATA != 0;
    let mut o = OpenOptions::new();
    o.read(access & (GENERIC_READ | GENERIC_ALL | 1) != 0 || !(write || append)).write(write).append(append);
    let creates = write || append;
    match disposition {
        1 if creates => o.create_new(true),
        2 if creates => o.create(true).truncate(write),
        3 => &mut o,
        4 if creates => o.create(true),
        5 if access & (GENERIC_WRITE | GENERIC_ALL) != 0 => o.truncate(true),
        1 | 2 | 4 => o.write(true).create(true).create_new(disposition == 1).truncate(disposition == 2),
        _ => return None,
    };
    Some(o)
}

/// What a handle is opened for: with an access, for a disposition of `CreateFile`, with flags.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub access: u32,
    pub share: u32,
    pub disposition: u32,
    pub flags: u32,
}

/// A link itself, and not where it leads: nothing can be read from it, but asked of it.
fn open_link(name: &str) -> Result<File, u32> {
    use std::os::unix::fs::OpenOptionsExt;
    on_path(name, |path| {
        OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)
    })
}

pub(crate) fn open(name: &str, request: Request) -> Result<usize, u32> {
    let Request { access, share, disposition, flags } = request;
    if options(access, disposition).is_none() {
        return Err(code::INVALID_PARAMETER);
    }
    let place = host(name)?;
    if name.ends_with(['\\', '/']) && [1, 2, 4].contains(&disposition) && !Path::new(&place).is_dir() {
        return Err(INVALID_NAME); // no file is called so
    }
    let link = flags & OPEN_REPARSE_POINT != 0 && Path::new(&place).is_symlink();
    if flags & BACKUP_SEMANTICS == 0 && !link && Path::new(&place).is_dir() {
        return Err(code::ACCESS_DENIED); // folders are opened by those who say so
    }
    if flags & DELETE_ON_CLOSE != 0 && access & (DELETE | GENERIC_ALL) == 0 {
        return Err(code::ACCESS_DENIED);
    }
    let options = options(access, disposition).ok_or(code::INVALID_PARAMETER)?;
    let existed = Path::new(&place).exists();
    // What nobody may write to is not written to by those either who might do anything.
    let writes = access & (GENERIC_WRITE | GENERIC_ALL | WRITE_DATA | APPEND_DATA) != 0 || disposition == 2;
    if existed
        && !link
        && writes
        && fs::metadata(&place).is_ok_and(|m| m.is_file() && m.permissions().readonly())
    {
        return Err(code::ACCESS_DENIED);
    }
    if existed && let Ok(m) = fs::metadata(&place) {
        sharing::check(&m, access, share)?;
    }
    // A folder is opened to be looked at, whatever may be done to what is in it.
    let folder = Path::new(&place).is_dir() && !link;
    if folder && ![3, 4].contains(&disposition) {
        return Err(if disposition == 1 { code::FILE_EXISTS } else { code::ACCESS_DENIED });
    }
    let options = if folder { OpenOptions::new().read(true).clone() } else { options };
    let file = if link { open_link(name) } else { on_path(name, |p| options.open(p)) };
    let file = file.map_err(|e| if e == code::ALREADY_EXISTS { code::FILE_EXISTS } else { e })?;
    if !existed && flags & READONLY != 0 {
        let rights = file.metadata().map(|m| m.permissions());
        let _ = rights.and_then(|mut rights| {
            rights.set_readonly(true);
            changes::set_permissions_of(&file, rights)
        });
    }
    teb::set_last_error(if existed && [2, 4].contains(&disposition) { code::ALREADY_EXISTS } else { 0 });
    let objects = &teb::process().objects;
    let object = objects.make(Kind::File(file));
    object.opened.access.store(access, Relaxed);
    object.opened.share.store(share, Relaxed);
    if let Kind::File(file) = &object.kind
        && let Ok(m) = file.metadata()
    {
        sharing::note(&m, &object);
    }
    object.opened.overlapped.store(flags & OVERLAPPED != 0, Relaxed);
    object.opened.input.store(name.to_ascii_uppercase().ends_with("CONIN$"), Relaxed);
    if flags & DELETE_ON_CLOSE != 0 {
        opened::doom(&object, opened::path(&object));
    }
    Ok(objects.add(object))
}

/// That the file behind a handle was opened for one of these.
pub(crate) fn needs(handle: usize, any: u32) -> Result<(), u32> {
    let object = object(handle)?;
    match &object.kind {
        Kind::File(_) if !object.opened.grants(&object.kind, any) => Err(code::ACCESS_DENIED),
        Kind::File(_) => Ok(()),
        _ => Err(code::INVALID_HANDLE),
    }
}

/// What a file is opened for: its contents, more of them, what is said of it.
pub(crate) const READ_DATA: u32 = 1;
pub(crate) const WRITE_DATA: u32 = 2;
pub(crate) const APPEND_DATA: u32 = 4;
pub(crate) const WRITE_ATTRIBUTES: u32 = 0x100;

pub(crate) fn or_invalid(result: Result<usize, u32>) -> usize {
    result.unwrap_or_else(|e| {
        fail(e);
        INVALID_HANDLE_VALUE
    })
}

/// Who deletes a file when it is closed may delete it.
fn with_delete(access: u32, flags: u32) -> u32 {
    if flags & DELETE_ON_CLOSE == 0 { access } else { access | DELETE }
}

pub(crate) extern "win64" fn CreateFileW(
    name: Ptr<u16>,
    access: u32,
    share: u32,
    _security: usize,
    disposition: u32,
    flags: u32,
    _template: usize,
) -> usize {
    or_invalid(open(
        &name.string(),
        Request { access: with_delete(access, flags), share, disposition, flags },
    ))
}

extern "win64" fn CreateFileA(
    name: Ptr<u8>,
    access: u32,
    share: u32,
    _security: usize,
    disposition: u32,
    flags: u32,
    _template: usize,
) -> usize {
    or_invalid(open(
        &name.string(),
        Request { access: with_delete(access, flags), share, disposition, flags },
    ))
}

extern "win64" fn FlushFileBuffers(handle: usize) -> Bool {
    answer(needs(handle, WRITE_DATA | APPEND_DATA).and_then(|()| on_file(handle, File::sync_all)))
}

/// Moves the place where the next read or write happens.
fn seek(handle: usize, distance: i64, from: u32) -> Result<u64, u32> {
    let to = match from {
        0 => SeekFrom::Start(u64::try_from(distance).map_err(|_| 131u32)?), // ERROR_NEGATIVE_SEEK
        1 => SeekFrom::Current(distance),
        2 => SeekFrom::End(distance),
        _ => return Err(code::INVALID_PARAMETER),
    };
    let moved = on_file(handle, |f| {
        let mut f = f;
        f.seek(to)
    });
    moved.map_err(|e| if e == code::INVALID_PARAMETER { 131 } else { e }) // before the file begins
}

extern "win64" fn SetFilePointerEx(handle: usize, distance: i64, out: Ptr<u64>, from: u32) -> Bool {
    answer(seek(handle, distance, from).map(|at| out.put(at)))
}

pub(crate) extern "win64" fn SetFilePointer(handle: usize, low: i32, high: Ptr<i32>, from: u32) -> u32 {
    let distance = if high.is_null() {
        low.into()
    } else {
        i64::from(high.get()) << 32 | i64::from(low.cast_unsigned())
    };
    match seek(handle, distance, from) {
        Ok(at) => {
            teb::set_last_error(0);
            high.put((at >> 32) as i32);
            at as u32
        }
        Err(e) => {
            fail(e);
            u32::MAX
        }
    }
}

extern "win64" fn SetEndOfFile(handle: usize) -> Bool {
    answer(needs(handle, WRITE_DATA).and_then(|()| {
        on_file(handle, |f| {
            let mut place = f;
            f.set_len(place.stream_position()?)
        })
    }))
}

extern "win64" fn GetFileSizeEx(handle: usize, out: Ptr<u64>) -> Bool {
    answer(on_file(handle, File::metadata).map(|m| out.put(m.len())))
}

extern "win64" fn GetFileSize(handle: usize, high: Ptr<u32>) -> u32 {
    match on_file(handle, File::metadata) {
        Ok(m) => {
            high.put((m.len() >> 32) as u32);
            m.len() as u32
        }
        Err(e) => {
            fail(e);
            u32::MAX
        }
    }
}

/// 1 a disk file, 2 a character device, 3 a pipe or socket, 0 unknown.
extern "win64" fn GetFileType(handle: usize) -> u32 {
    let kind = on_file(handle, |f| {
        let t = f.metadata()?.file_type();
        Ok(match () {
            () if t.is_char_device() || f.is_terminal() => 2,
            () if t.is_fifo() || t.is_socket() => 3,
            () => 1,
        })
    });
    teb::set_last_error(0);
    kind.unwrap_or_else(|e| fail(e) as u32)
}

/// What can be said of a file in a few bits.
pub(crate) fn attributes(m: &Metadata) -> u32 {
    let read_only = if m.permissions().readonly() { READONLY } else { 0 };
    let link = if m.is_symlink() { REPARSE_POINT } else { 0 };
    (if m.is_dir() { DIRECTORY } else { ARCHIVE }) | read_only | link
}

/// A moment that the caller gives.
pub(crate) fn from_windows(time: i64) -> Option<SystemTime> {
    let (seconds, nanoseconds) = time::to_unix(time);
    let after = std::time::Duration::new(seconds.unsigned_abs(), u32::try_from(nanoseconds).ok()?);
    if seconds < 0 { None } else { SystemTime::UNIX_EPOCH.checked_add(after) }
}

/// The times of a file: created, read, written.
pub(crate) fn times(m: &Metadata) -> [i64; 3] {
    [(m.ctime(), m.ctime_nsec()), (m.atime(), m.atime_nsec()), (m.mtime(), m.mtime_nsec())]
        .map(|(s, n)| time::from_unix(s, n))
}

/// `WIN32_FILE_ATTRIBUTE_DATA`.
#[repr(C, packed(4))]
#[derive(Clone, Copy)]
pub(crate) struct AttributeData {
    attributes: u32,
    times: [i64; 3],
    size_high: u32,
    size_low: u32,
}

/// What can be said of a file without opening it.
pub(crate) fn attribute_data(m: &Metadata) -> AttributeData {
    AttributeData {
        attributes: attributes(m),
        times: times(m),
        size_high: (m.len() >> 32) as u32,
        size_low: m.len() as u32,
    }
}

fn get_attributes(name: &str) -> u32 {
    match on_path(name, fs::metadata) {
        Ok(m) => attributes(&m),
        Err(e) => {
            fail(e);
            INVALID_ATTRIBUTES
        }
    }
}

extern "win64" fn GetFileAttributesA(name: Ptr<u8>) -> u32 {
    get_attributes(&name.string())
}

extern "win64" fn GetFileAttributesW(name: Ptr<u16>) -> u32 {
    get_attributes(&name.string())
}

extern "win64" fn GetFileAttributesExW(name: Ptr<u16>, level: u32, out: Ptr<AttributeData>) -> Bool {
    if level != 0 {
        return fail(code::INVALID_PARAMETER);
    }
    answer(on_path(&name.string(), fs::metadata).map(|m| out.put(attribute_data(&m))))
}

extern "win64" fn GetFileAttributesExA(name: Ptr<u8>, level: u32, out: Ptr<AttributeData>) -> Bool {
    if level != 0 {
        return fail(code::INVALID_PARAMETER);
    }
    answer(on_path(&name.string(), fs::metadata).map(|m| out.put(attribute_data(&m))))
}

/// `BY_HANDLE_FILE_INFORMATION`.
#[repr(C, packed(4))]
#[derive(Clone, Copy)]
struct HandleInformation {
    attributes: u32,
    times: [i64; 3],
    volume: u32,
    size_high: u32,
    size_low: u32,
    links: u32,
    index_high: u32,
    index_low: u32,
}

extern "win64" fn GetFileInformationByHandle(handle: usize, out: Ptr<HandleInformation>) -> Bool {
    answer(on_file(handle, File::metadata).map(|m| {
        out.put(HandleInformation {
            attributes: attributes(&m),
            times: times(&m),
            volume: m.dev() as u32,
            size_high: (m.len() >> 32) as u32,
            size_low: m.len() as u32,
            links: u32::try_from(m.nlink()).unwrap_or(u32::MAX),
            index_high: (m.ino() >> 32) as u32,
            index_low: m.ino() as u32,
        });
    }))
}

extern "win64" fn GetFileTime(handle: usize, created: Ptr<i64>, read: Ptr<i64>, written: Ptr<i64>) -> Bool {
    answer(on_file(handle, File::metadata).map(|m| {
        let [c, r, w] = times(&m);
        created.put(c);
        read.put(r);
        written.put(w);
    }))
}

/// What nobody may write to, nobody deletes.
pub(crate) fn delete(path: String) -> std::io::Result<()> {
    if fs::symlink_metadata(&path)?.permissions().readonly() {
        return Err(std::io::Error::from_raw_os_error(libc::EACCES));
    }
    let m = fs::metadata(&path);
    if m.is_ok_and(|m| sharing::check(&m, DELETE, sharing::SHARE_ALL).is_err()) {
        return Err(std::io::Error::from_raw_os_error(libc::EBUSY)); // somebody has it open who does not share that
    }
    changes::remove_file(path)
}

extern "win64" fn DeleteFileW(name: Ptr<u16>) -> Bool {
    answer(on_path(&name.string(), delete))
}

extern "win64" fn DeleteFileA(name: Ptr<u8>) -> Bool {
    answer(on_path(&name.string(), delete))
}

extern "win64" fn CreateDirectoryW(name: Ptr<u16>, _security: usize) -> Bool {
    answer(on_path(&name.string(), fs::create_dir))
}

extern "win64" fn CreateDirectoryA(name: Ptr<u8>, _security: usize) -> Bool {
    answer(on_path(&name.string(), fs::create_dir))
}

extern "win64" fn RemoveDirectoryW(name: Ptr<u16>) -> Bool {
    remove_folder(&name.string())
}

extern "win64" fn RemoveDirectoryA(name: Ptr<u8>) -> Bool {
    remove_folder(&name.string())
}

fn remove_folder(name: &str) -> Bool {
    const SHARING_VIOLATION: u32 = 32;
    let is_file = on_path(name, fs::metadata).is_ok_and(|m| !m.is_dir());
    // The folder that this process is in is open.
    let is_current = host(name).is_ok_and(|path| {
        let whole = |path: &Path| path.canonicalize().ok();
        whole(Path::new(&path)).is_some_and(|path| Some(path) == whole(Path::new(".")))
    });
    if is_current && matches!(teb::process().drives, Drives::Host) {
        return fail(SHARING_VIOLATION);
    }
    answer(if is_file { Err(NOT_A_FOLDER) } else { on_path(name, fs::remove_dir) })
}

const REPLACE_EXISTING: u32 = 1;

/// A file gets the name as it is spelled, even where one has it that differs in case only; that may be the file itself.
pub(crate) fn rename(from: &str, to: &str, flags: u32) -> Bool {
    if is_no_name(to) {
        return fail(INVALID_NAME);
    }
    answer(host(to).and_then(|there| {
        let there = Path::new(&there);
        let spelled = path::without_dots(to).rsplit(['\\', '/', ':']).next().filter(|name| !name.is_empty());
        let wanted = spelled.map_or(there.into(), |name| there.with_file_name(name));
        let whole = |path: &Path| path.canonicalize().ok();
        let own = host(from).ok().and_then(|from| whole(Path::new(&from)));
        let itself = own.is_some() && own == whole(there);
        if flags & REPLACE_EXISTING == 0 && !itself && there.exists() {
            return Err(code::ALREADY_EXISTS);
        }
        for place in [own.as_deref(), Some(there)].into_iter().flatten() {
            if let Ok(m) = fs::metadata(place) {
                sharing::check(&m, DELETE, sharing::SHARE_ALL)?;
            }
        }
        on_path(from, |from| {
            if !itself {
                changes::rename(&from, there)?;
            }
            if there == wanted {
                Ok(())
            } else {
                changes::rename(if itself { Path::new(&from) } else { there }, wanted)
            }
        })
    }))
}

extern "win64" fn MoveFileExW(from: Ptr<u16>, to: Ptr<u16>, flags: u32) -> Bool {
    rename(&from.string(), &to.string(), flags)
}

extern "win64" fn MoveFileExA(from: Ptr<u8>, to: Ptr<u8>, flags: u32) -> Bool {
    rename(&from.string(), &to.string(), flags)
}

extern "win64" fn MoveFileW(from: Ptr<u16>, to: Ptr<u16>) -> Bool {
    MoveFileExW(from, to, 0)
}

/// Changes the current folder: the host process's, where its whole tree is seen.
pub(crate) fn set_current(name: &str) -> Result<(), u32> {
    if !on_path(name, fs::metadata)?.is_dir() {
        return Err(NOT_A_FOLDER);
    }
    match teb::process().drives {
        Drives::Host => on_path(name, std::env::set_current_dir),
        Drives::Folder(_) if teb::process().drives.absolute(name) == current() => Ok(()),
        Drives::Folder(_) => Err(code::ACCESS_DENIED),
    }
}

extern "win64" fn SetCurrentDirectoryA(name: Ptr<u8>) -> Bool {
    answer(set_current(&name.string()))
}

extern "win64" fn SetCurrentDirectoryW(name: Ptr<u16>) -> Bool {
    answer(set_current(&name.string()))
}

fn current() -> String {
    teb::process().drives.current()
}

extern "win64" fn GetCurrentDirectoryW(room: u32, to: Ptr<u16>) -> u32 {
    text::answer(&text::wide(&current()), to, room)
}

extern "win64" fn GetCurrentDirectoryA(room: u32, to: Ptr<u8>) -> u32 {
    text::answer(current().as_bytes(), to, room)
}

/// The folder that the program's environment names for temporary files, or else the host's. It need not be there.
fn temporary() -> String {
    let process = teb::process();
    let named = ["TMP", "TEMP", "USERPROFILE"]
        .iter()
        .find_map(|name| process.environment.get(name).filter(|folder| host(folder).is_ok()));
    match named {
        Some(folder) => process.drives.absolute(&folder).trim_end_matches('\\').to_owned() + r"\",
        None => process.drives.temporary(),
    }
}

extern "win64" fn GetTempPath<T: text::Text>(room: u32, to: Ptr<T>) -> u32 {
    let folder = T::of(&temporary());
    let len = text::answer(&folder, to, room);
    // What is left of the room is zeros; all of it, where it is too small.
    let used = if len < room { len } else { 0 };
    if !to.is_null() {
        (used..room.min(i16::MAX as u32)).for_each(|nth| to.at(nth as usize).set(T::default()));
    }
    len
}

extern "win64" fn GetFullPathNameW(name: Ptr<u16>, room: u32, to: Ptr<u16>, part: Ptr<usize>) -> u32 {
    let name = name.string();
    if name.is_empty() {
        return 0;
    }
    let Full { path, name } = full(&name, &teb::process().drives.current());
    let path = text::wide(&path);
    let fits = path.len() < room as usize;
    part.put(name.filter(|_| fits).map_or(0, |n| to.at(n).addr()));
    text::answer(&path, to, room)
}

extern "win64" fn GetFullPathNameA(name: Ptr<u8>, room: u32, to: Ptr<u8>, part: Ptr<usize>) -> u32 {
    let name = name.string();
    if name.is_empty() {
        return 0;
    }
    let Full { path, name } = full(&name, &teb::process().drives.current());
    let last = name.and(path.rfind('\\')).filter(|_| path.len() < room as usize);
    part.put(last.map_or(0, |n| to.at(n + 1).addr()));
    text::answer(path.as_bytes(), to, room)
}

extern "win64" fn AreFileApisANSI() -> Bool {
    TRUE
}

/// A fixed disk (3), or no such root (1).
fn drive_type(root: Option<String>) -> u32 {
    let known = root.is_none_or(|name| host(&name).is_ok_and(|path| Path::new(&path).is_dir()));
    if known { 3 } else { 1 }
}

extern "win64" fn GetDriveTypeA(root: Ptr<u8>) -> u32 {
    drive_type((!root.is_null()).then(|| root.string()))
}

extern "win64" fn GetDriveTypeW(root: Ptr<u16>) -> u32 {
    drive_type((!root.is_null()).then(|| root.string()))
}

table! {
    /// Files.
    pub(crate) TABLE:
        CreateFileW, CreateFileA, FlushFileBuffers, SetFilePointerEx, SetFilePointer, SetEndOfFile,
        GetFileSizeEx, GetFileSize, GetFileType, GetFileAttributesA, GetFileAttributesW, GetFileAttributesExW,
        GetFileAttributesExA, GetFileInformationByHandle, GetFileTime, DeleteFileW, DeleteFileA, CreateDirectoryW,
        CreateDirectoryA, RemoveDirectoryW, RemoveDirectoryA, MoveFileExW, MoveFileExA, MoveFileW, GetCurrentDirectoryW,
        GetCurrentDirectoryA, SetCurrentDirectoryW, SetCurrentDirectoryA, GetTempPathW = GetTempPath::<u16>, GetTempPathA = GetTempPath::<u8>, GetTempPath2W = GetTempPath::<u16>,
        GetTempPath2A = GetTempPath::<u8>, GetFullPathNameW, GetFullPathNameA, AreFileApisANSI,
        GetDriveTypeW, GetDriveTypeA
}
