//! Files by number. The numbers are the host's own. Those that the program opens are texts unless it says otherwise.
#![allow(unsafe_code)] // the host's functions do to guest memory what the guest asks for

use super::{keep_errno, set_errno, stdio::host};
use crate::{
    guest::Ptr,
    kernel32::{changes, file::delete},
};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Keeps `errno` where a call failed.
pub(super) fn told<T: PartialOrd + Default>(result: T) -> T {
    if result < T::default() {
        keep_errno();
    }
    result
}

// How a file is opened, in Windows' numbers.
const FLAGS: [(i32, i32); 6] = [
    (0x1, libc::O_WRONLY),
    (0x2, libc::O_RDWR),
    (0x8, libc::O_APPEND),
    (0x100, libc::O_CREAT),
    (0x200, libc::O_TRUNC),
    (0x400, libc::O_EXCL),
];

fn flags(windows: i32) -> i32 {
    FLAGS.iter().filter(|f| windows & f.0 != 0).fold(0, |all, f| all | f.1)
}

fn open(name: &str, windows: i32, mode: i32) -> i32 {
    let Some(name) = host(name) else {
        return -1;
    };
    let rights: libc::c_uint = if mode & 0x80 != 0 { 0o666 } else { 0o444 };
    if is_folder(&name) {
        set_errno(libc::EACCES); // the host opens folders for reading
        return -1;
    }
    // SAFETY: the path ends with a zero.
    let file = told(unsafe { libc::open(name.as_ptr(), flags(windows) | libc::O_CLOEXEC, rights) });
    let kind = MODE_NAMES.into_iter().find(|mode| windows & mode != 0).unwrap_or_else(default_mode);
    set_mode(file, kind);
    file
}

extern "win64" fn _open(name: Ptr<u8>, flags: i32, mode: i32) -> i32 {
    open(&name.string(), flags, mode)
}

/// There is nobody to share a file with: the host lets everybody open it.
extern "win64" fn _sopen(name: Ptr<u8>, flags: i32, _share: i32, mode: i32) -> i32 {
    open(&name.string(), flags, mode)
}

extern "win64" fn _wsopen(name: Ptr<u16>, flags: i32, _share: i32, mode: i32) -> i32 {
    open(&name.string(), flags, mode)
}

extern "win64" fn _wopen(name: Ptr<u16>, flags: i32, mode: i32) -> i32 {
    open(&name.string(), flags, mode)
}

extern "win64" fn _sopen_s(out: Ptr<i32>, name: Ptr<u8>, flags: i32, share: i32, mode: i32) -> i32 {
    _sopen_dispatch(name, flags, share, mode, out, 1)
}

extern "win64" fn _wsopen_s(out: Ptr<i32>, name: Ptr<u16>, flags: i32, share: i32, mode: i32) -> i32 {
    _wsopen_dispatch(name, flags, share, mode, out, 1)
}

/// The same with rights that are looked at, where `secure` says so: there are those to read and to write.
extern "win64" fn _sopen_dispatch(
    name: Ptr<u8>,
    flags: i32,
    _share: i32,
    mode: i32,
    out: Ptr<i32>,
    secure: i32,
) -> i32 {
    if refused_rights(out, mode, secure) {
        return super::invalid::invalid();
    }
    opened(out, _open(name, flags, mode))
}

extern "win64" fn _wsopen_dispatch(
    name: Ptr<u16>,
    flags: i32,
    _share: i32,
    mode: i32,
    out: Ptr<i32>,
    secure: i32,
) -> i32 {
    if refused_rights(out, mode, secure) {
        return super::invalid::invalid();
    }
    opened(out, _wopen(name, flags, mode))
}

fn opened(out: Ptr<i32>, file: i32) -> i32 {
    out.put(file);
    if file < 0 { super::errno() } else { 0 }
}

fn refused_rights(out: Ptr<i32>, mode: i32, secure: i32) -> bool {
    const READ_AND_WRITE: i32 = 0x180;
    out.put(-1);
    out.is_null() || secure != 0 && mode & !READ_AND_WRITE != 0
}

/// Reads from a file as it is.
fn read(file: i32, to: Ptr<u8>, len: usize) -> i32 {
    // SAFETY: the caller passes `len` writable bytes.
    told(unsafe { libc::read(file, to.raw().cast(), len) }) as i32
}

/// In a text, Ctrl-Z is the end, and a line ends with one byte; so there may be less than asked for.
extern "win64" fn _read(file: i32, to: Ptr<u8>, len: u32) -> i32 {
    let n = read(file, to, len as usize);
    if n <= 0 || !is_text(file) {
        return n;
    }
    let bytes = to.slice(n as usize).to_vec();
    let end = bytes.iter().position(|&b| b == 0x1a).unwrap_or(bytes.len());
    let mut out: Vec<u8> = Vec::with_capacity(end);
    for (i, &byte) in bytes[..end].iter().enumerate() {
        let follows = if i + 1 < bytes.len() { bytes[i + 1] } else { next_byte(file) };
        if !(byte == b'\r' && follows == b'\n') {
            out.push(byte);
        }
    }
    if out.is_empty() && end > 0 {
        return _read(file, to, len); // nothing but the first half of a line's end
    }
    to.fill(&out);
    out.len() as i32
}

/// The byte that will be read next, or zero.
fn next_byte(file: i32) -> u8 {
    let mut byte = 0;
    // SAFETY: a file that has no places is an error.
    let at = unsafe { libc::lseek(file, 0, libc::SEEK_CUR) };
    // SAFETY: the place is ours; a wrong place is an error.
    unsafe { libc::pread(file, (&raw mut byte).cast(), 1, at) };
    byte
}

extern "win64" fn _write(file: i32, from: Ptr<u8>, len: u32) -> i32 {
    let with_returns = is_text(file).then(|| with_returns(&from.slice(len as usize)));
    let (at, n) =
        with_returns.as_ref().map_or((from.raw().cast_const(), len as usize), |t| (t.as_ptr(), t.len()));
    // SAFETY: the caller passes `len` readable bytes, or they are ours.
    let written = told(unsafe { libc::write(file, at.cast(), n) });
    if written == n as isize { len as i32 } else { written as i32 }
}

/// The three standard files are the host's and stay open.
extern "win64" fn _close(file: i32) -> i32 {
    if (0..3).contains(&file) {
        return 0;
    }
    forget(file);
    // SAFETY: the file is one that guest code opened, and gives back.
    told(unsafe { libc::close(file) })
}

extern "win64" fn _lseeki64(file: i32, offset: i64, from: i32) -> i64 {
    // SAFETY: a wrong file is an error.
    told(unsafe { libc::lseek(file, offset, from) })
}

extern "win64" fn _lseek(file: i32, offset: i32, from: i32) -> i32 {
    i32::try_from(_lseeki64(file, offset.into(), from)).unwrap_or(-1)
}

extern "win64" fn _telli64(file: i32) -> i64 {
    _lseeki64(file, 0, libc::SEEK_CUR)
}

extern "win64" fn _isatty(file: i32) -> i32 {
    // SAFETY: a wrong file is no terminal.
    unsafe { libc::isatty(file) }
}

extern "win64" fn _dup(file: i32) -> i32 {
    // SAFETY: a wrong file is an error.
    let copy = told(unsafe { libc::dup(file) });
    set_mode(copy, mode_of(file));
    copy
}

extern "win64" fn _commit(file: i32) -> i32 {
    // SAFETY: a wrong file is an error.
    told(unsafe { libc::fsync(file) })
}

extern "win64" fn _chsize_s(file: i32, len: i64) -> i32 {
    // SAFETY: a wrong file is an error.
    if told(unsafe { libc::ftruncate(file, len) }) < 0 { super::errno() } else { 0 }
}

pub(crate) const TEXT: i32 = 0x4000;
pub(crate) const BINARY: i32 = 0x8000;
const MODE_NAMES: [i32; 5] = [TEXT, BINARY, 0x1_0000, 0x2_0000, 0x4_0000];

/// How each file is read and written; zero where nobody said it. Windows has no more numbers either.
static MODES: [AtomicI32; 2048] = [const { AtomicI32::new(0) }; 2048];

fn place(file: i32) -> Option<&'static AtomicI32> {
    usize::try_from(file).ok().and_then(|n| MODES.get(n))
}

/// Whether a line of the file ends with two bytes. The three standard files are the host's, where it never does.
pub(crate) fn is_text(file: i32) -> bool {
    file > 2 && ![BINARY, super::unicode_text::UTF16].contains(&mode_of(file))
}

/// How a file is read and written.
pub(crate) fn mode_of(file: i32) -> i32 {
    match place(file).map_or(BINARY, |mode| mode.load(Relaxed)) {
        0 => TEXT,
        mode => mode,
    }
}

/// Sets how a file is read and written, and says how it was.
pub(crate) fn set_mode(file: i32, mode: i32) -> i32 {
    let before = mode_of(file);
    if let Some(place) = place(file) {
        place.store(mode, Relaxed);
    }
    before
}

/// A file is closed; its number may become another one's.
pub(crate) fn forget(file: i32) {
    super::handles::forget(file);
    set_mode(file, 0);
}

/// How files are opened where the program does not say it: as its variable `_fmode` has it.
pub(crate) fn default_mode() -> i32 {
    if FILE_MODE.load(Relaxed) & BINARY != 0 { BINARY } else { TEXT }
}

/// `_fmode`.
pub(crate) static FILE_MODE: AtomicI32 = AtomicI32::new(0);

/// A text as a file has it.
pub(crate) fn with_returns(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    for &byte in text {
        if byte == b'\n' {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out
}

/// Whether a host path leads to a folder, which cannot be opened as a file.
pub(crate) fn is_folder(path: &std::ffi::CStr) -> bool {
    path.to_str().is_ok_and(|path| std::path::Path::new(path).is_dir())
}

extern "win64" fn _setmode(file: i32, mode: i32) -> i32 {
    // SAFETY: only asks whether the file is open.
    let open = unsafe { libc::fcntl(file, libc::F_GETFD) } >= 0;
    if !open || !MODE_NAMES.contains(&mode) {
        set_errno(if open { libc::EINVAL } else { libc::EBADF });
        return -1;
    }
    set_mode(file, mode)
}

extern "win64" fn _dup2(file: i32, to: i32) -> i32 {
    // SAFETY: a wrong file is an error.
    if told(unsafe { libc::dup2(file, to) }) < 0 {
        return -1;
    }
    super::handles::forget(to);
    set_mode(to, mode_of(file));
    0
}

extern "win64" fn _creat(name: Ptr<u8>, mode: i32) -> i32 {
    open(&name.string(), 0x302, mode) // to read and write, created, emptied
}

extern "win64" fn _tell(file: i32) -> i32 {
    _lseek(file, 0, libc::SEEK_CUR)
}

extern "win64" fn _filelengthi64(file: i32) -> i64 {
    super::stat::size(file)
}

extern "win64" fn _filelength(file: i32) -> i32 {
    i32::try_from(_filelengthi64(file)).unwrap_or(-1)
}

/// Whether the next read would find nothing.
extern "win64" fn _eof(file: i32) -> i32 {
    let (at, len) = (_telli64(file), _filelengthi64(file));
    if at < 0 || len < 0 { -1 } else { (at >= len).into() }
}

extern "win64" fn _chsize(file: i32, len: i32) -> i32 {
    if _chsize_s(file, len.into()) == 0 { 0 } else { -1 }
}

/// Two ends: to read from, to write to.
extern "win64" fn _pipe(ends: Ptr<[i32; 2]>, _room: u32, windows: i32) -> i32 {
    let mut both = [0; 2];
    // SAFETY: the place is ours.
    if told(unsafe { libc::pipe2(both.as_mut_ptr(), libc::O_CLOEXEC) }) < 0 {
        return -1;
    }
    let kind = MODE_NAMES.into_iter().find(|mode| windows & mode != 0).unwrap_or_else(default_mode);
    for end in both {
        set_mode(end, kind);
    }
    ends.set(both);
    0
}

/// Who may write to a file: everybody or nobody.
fn change_rights(name: &str, mode: i32) -> i32 {
    on_path(name, |path| {
        let mut rights = std::fs::metadata(&path)?.permissions();
        rights.set_readonly(mode & 0x80 == 0);
        changes::set_permissions(path, rights)
    })
}

extern "win64" fn _chmod(name: Ptr<u8>, mode: i32) -> i32 {
    change_rights(&name.string(), mode)
}

extern "win64" fn _wchmod(name: Ptr<u16>, mode: i32) -> i32 {
    change_rights(&name.string(), mode)
}

/// The rights that new files do not get: of Windows' two, reading (0x100) is never taken away.
extern "win64" fn _umask(mask: i32) -> i32 {
    static MASK: AtomicI32 = AtomicI32::new(0);
    MASK.swap(mask & 0x180, Relaxed)
}

// What is known of a file.

// The tree.

/// Runs a call of the standard library on a host path: 0, or -1 and `errno`.
fn on_path(name: &str, f: impl FnOnce(String) -> std::io::Result<()>) -> i32 {
    let Some(path) = crate::path::to_host(name) else {
        set_errno(libc::ENOENT);
        return -1;
    };
    f(path).map_or_else(
        |e| {
            set_errno(super::errno_from_os(e.raw_os_error().unwrap_or(libc::EINVAL)));
            -1
        },
        |()| 0,
    )
}

fn remove_folder(path: String) -> std::io::Result<()> {
    if std::fs::metadata(&path)?.is_dir() {
        return std::fs::remove_dir(path);
    }
    Err(std::io::Error::from_raw_os_error(libc::EINVAL))
}

extern "win64" fn remove(name: Ptr<u8>) -> i32 {
    on_path(&name.string(), delete)
}

extern "win64" fn _wremove(name: Ptr<u16>) -> i32 {
    on_path(&name.string(), delete)
}

fn move_file(from: &str, to: &str) -> i32 {
    let Some(to) = crate::path::to_host(to) else {
        set_errno(libc::ENOENT);
        return -1;
    };
    on_path(from, |from| {
        std::fs::metadata(&from)?;
        if std::path::Path::new(&to).exists() {
            return Err(std::io::Error::from_raw_os_error(libc::EEXIST)); // unlike the host, Windows does not replace
        }
        changes::rename(from, to)
    })
}

extern "win64" fn rename(from: Ptr<u8>, to: Ptr<u8>) -> i32 {
    move_file(&from.string(), &to.string())
}

extern "win64" fn _wrename(from: Ptr<u16>, to: Ptr<u16>) -> i32 {
    move_file(&from.string(), &to.string())
}

extern "win64" fn _mkdir(name: Ptr<u8>) -> i32 {
    on_path(&name.string(), std::fs::create_dir)
}

extern "win64" fn _wmkdir(name: Ptr<u16>) -> i32 {
    on_path(&name.string(), std::fs::create_dir)
}

extern "win64" fn _rmdir(name: Ptr<u8>) -> i32 {
    on_path(&name.string(), remove_folder)
}

extern "win64" fn _wrmdir(name: Ptr<u16>) -> i32 {
    on_path(&name.string(), remove_folder)
}

fn access(name: &str, mode: i32) -> i32 {
    let Some(name) = host(name) else {
        return -1;
    };
    let may_write =
        || name.to_str().is_ok_and(|path| !std::fs::metadata(path).is_ok_and(|m| m.permissions().readonly()));
    if mode & 2 != 0 && !may_write() {
        set_errno(libc::EACCES); // even for those who may write everywhere
        return -1;
    }
    // SAFETY: the path ends with a zero. The numbers for reading and writing are the same.
    told(unsafe { libc::access(name.as_ptr(), mode & 6) })
}

extern "win64" fn _access(name: Ptr<u8>, mode: i32) -> i32 {
    access(&name.string(), mode)
}

extern "win64" fn _access_s(name: Ptr<u8>, mode: i32) -> i32 {
    if _access(name, mode) == 0 { 0 } else { super::errno() }
}

extern "win64" fn _waccess_s(name: Ptr<u16>, mode: i32) -> i32 {
    if _waccess(name, mode) == 0 { 0 } else { super::errno() }
}

extern "win64" fn _waccess(name: Ptr<u16>, mode: i32) -> i32 {
    access(&name.string(), mode)
}

table! {
    /// Files by number.
    pub(crate) TABLE:
        _open, open = _open, _wopen, _sopen, _wsopen, _sopen_s, _wsopen_s, _sopen_dispatch, _wsopen_dispatch, _creat, creat = _creat, _read, read = _read, _write,
        write = _write, _close, close = _close, _lseeki64, _lseek, lseek = _lseek, _telli64, _tell, tell = _tell, _eof,
        eof = _eof, _filelength, filelength = _filelength, _filelengthi64, _isatty, isatty = _isatty, _dup, dup = _dup, _dup2,
        dup2 = _dup2, _pipe, _commit, _chsize, chsize = _chsize, _chsize_s, _setmode, setmode = _setmode,
        remove, _unlink = remove,
        unlink = remove, _wremove, _wunlink = _wremove, rename, _wrename, _mkdir, mkdir = _mkdir, _wmkdir, _rmdir,
        rmdir = _rmdir, _wrmdir, _access, access = _access, _waccess, _access_s, _waccess_s, _chmod, chmod = _chmod, _wchmod,
        _umask, umask = _umask
}
