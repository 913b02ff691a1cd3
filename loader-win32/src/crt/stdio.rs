//! Streams. Text mode changes nothing: lines end as they do on the host.
#![allow(unsafe_code)] // the host's functions do to guest memory what the guest asks for

use super::{keep_errno, set_errno};
use crate::{
    guest::Ptr,
    path,
    stream::{self, Stream, ToHost},
};
use libc::{c_char, c_void};
use std::ffi::CString;

type File = Ptr<Stream>;

/// Functions of the host's C library, with its stream in place of the guest's.
macro_rules! over_host {
    ($($name:ident($($arg:ident: $type:ty),*) -> $ret:ty;)*) => {$(
        unsafe extern "win64" fn $name($($arg: $type),*) -> $ret {
            // SAFETY: the caller keeps the C standard's contract for this function, which is the host's too.
            unsafe { libc::$name($($arg.to_host()),*) }
        }
    )*};
}

over_host! {
    fread(to: *mut c_void, len: usize, n: usize, file: File) -> usize;
    fwrite(from: *const c_void, len: usize, n: usize, file: File) -> usize;
    fputs(text: *const c_char, file: File) -> i32;
    fputc(c: i32, file: File) -> i32;
    fgets(to: *mut c_char, room: i32, file: File) -> *mut c_char;
    fgetc(file: File) -> i32;
    ungetc(c: i32, file: File) -> i32;
    fflush(file: File) -> i32;
    feof(file: File) -> i32;
    ferror(file: File) -> i32;
    fileno(file: File) -> i32;
    puts(text: *const c_char) -> i32;
    putchar(c: i32) -> i32;
}

extern "win64" fn clearerr(file: File) {
    // SAFETY: the caller passes an open stream.
    unsafe { libc::clearerr(file.to_host()) }
}

extern "win64" fn rewind(file: File) {
    // SAFETY: the caller passes an open stream.
    unsafe { libc::rewind(file.to_host()) }
}

extern "win64" fn _fseeki64(file: File, offset: i64, from: i32) -> i32 {
    // SAFETY: the caller passes an open stream.
    let result = unsafe { libc::fseeko(file.to_host(), offset, from) };
    if result != 0 {
        keep_errno();
    }
    result
}

extern "win64" fn fseek(file: File, offset: i32, from: i32) -> i32 {
    _fseeki64(file, offset.into(), from)
}

extern "win64" fn _ftelli64(file: File) -> i64 {
    // SAFETY: the caller passes an open stream.
    unsafe { libc::ftello(file.to_host()) }
}

extern "win64" fn ftell(file: File) -> i32 {
    i32::try_from(_ftelli64(file)).unwrap_or(-1)
}

extern "win64" fn fgetpos(file: File, out: Ptr<i64>) -> i32 {
    let at = _ftelli64(file);
    out.put(at);
    if at < 0 { -1 } else { 0 }
}

extern "win64" fn fsetpos(file: File, at: Ptr<i64>) -> i32 {
    _fseeki64(file, at.get(), libc::SEEK_SET)
}

/// Buffering: 0 full, 0x40 by lines, 4 none. The host keeps the buffer, whoever offers one.
extern "win64" fn setvbuf(file: File, _buffer: usize, mode: i32, len: usize) -> i32 {
    let mode = match mode {
        0 => libc::_IOFBF,
        0x40 => libc::_IOLBF,
        4 => libc::_IONBF,
        _ => return -1,
    };
    // SAFETY: the caller passes an open stream; without a buffer the host makes its own.
    unsafe { libc::setvbuf(file.to_host(), std::ptr::null_mut(), mode, len) }
}

extern "win64" fn setbuf(file: File, buffer: usize) {
    setvbuf(file, buffer, if buffer == 0 { 4 } else { 0 }, 512);
}

/// The letters that the host knows.
fn mode(letters: &str) -> CString {
    let known: String = letters
        .split(',')
        .next()
        .unwrap_or("r")
        .chars()
        .filter(|c| "rwa+bx".contains(*c))
        .chain(['e'])
        .collect();
    CString::new(known).unwrap_or_default()
}

/// A host path without a zero in it, or `errno`.
pub(crate) fn host(name: &str) -> Option<CString> {
    let found = path::to_host(name).and_then(|p| CString::new(p).ok());
    if found.is_none() {
        set_errno(libc::ENOENT);
    }
    found
}

fn open(name: &str, letters: &str) -> *const Stream {
    let Some(name) = host(name) else {
        return std::ptr::null();
    };
    // SAFETY: both texts end with a zero.
    let file = unsafe { libc::fopen(name.as_ptr(), mode(letters).as_ptr()) };
    if file.is_null() {
        keep_errno();
    }
    stream::wrap(file)
}

extern "win64" fn fopen(name: Ptr<u8>, letters: Ptr<u8>) -> *const Stream {
    open(&name.string(), &letters.string())
}

extern "win64" fn _wfopen(name: Ptr<u16>, letters: Ptr<u16>) -> *const Stream {
    open(&name.string(), &letters.string())
}

fn open_s(out: Ptr<*const Stream>, file: *const Stream) -> i32 {
    out.put(file);
    if file.is_null() { super::errno() } else { 0 }
}

extern "win64" fn fopen_s(out: Ptr<*const Stream>, name: Ptr<u8>, letters: Ptr<u8>) -> i32 {
    open_s(out, fopen(name, letters))
}

extern "win64" fn _wfopen_s(out: Ptr<*const Stream>, name: Ptr<u16>, letters: Ptr<u16>) -> i32 {
    open_s(out, _wfopen(name, letters))
}

/// Who may share the file is not asked here.
extern "win64" fn _fsopen(name: Ptr<u8>, letters: Ptr<u8>, _share: i32) -> *const Stream {
    fopen(name, letters)
}

extern "win64" fn _wfsopen(name: Ptr<u16>, letters: Ptr<u16>, _share: i32) -> *const Stream {
    _wfopen(name, letters)
}

extern "win64" fn _fdopen(file: i32, letters: Ptr<u8>) -> *const Stream {
    // SAFETY: the text ends with a zero; a wrong file is an error.
    let host = unsafe { libc::fdopen(file, mode(&letters.string()).as_ptr()) };
    if host.is_null() {
        keep_errno();
    }
    stream::wrap(host)
}

extern "win64" fn tmpfile() -> *const Stream {
    // SAFETY: no conditions.
    stream::wrap(unsafe { libc::tmpfile() })
}

extern "win64" fn fclose(file: File) -> i32 {
    stream::close(file)
}

extern "win64" fn __acrt_iob_func(n: u32) -> *const Stream {
    stream::standard(n)
}

extern "win64" fn __iob_func() -> *const Stream {
    stream::standard(0)
}

/// Where the buffer fields lie, for C++ streams, which find them empty.
extern "win64" fn _get_stream_buffer_pointers(
    file: File,
    base: Ptr<usize>,
    next: Ptr<usize>,
    left: Ptr<usize>,
) -> i32 {
    if file.is_null() {
        return libc::EINVAL;
    }
    let [b, n, l] = file.shared().buffer();
    base.put(b);
    next.put(n);
    left.put(l);
    0
}

unsafe extern "C" {
    fn flockfile(file: *mut libc::FILE);
    fn funlockfile(file: *mut libc::FILE);
}

extern "win64" fn _lock_file(file: File) {
    // SAFETY: the caller passes an open stream.
    unsafe { flockfile(file.to_host()) }
}

extern "win64" fn _unlock_file(file: File) {
    // SAFETY: the caller passes an open stream that it locked.
    unsafe { funlockfile(file.to_host()) }
}

/// One wide character, as UTF-8; a surrogate alone cannot be written.
extern "win64" fn fputwc(unit: u16, file: File) -> u16 {
    let Some(c) = char::from_u32(unit.into()) else {
        set_errno(42); // EILSEQ
        return u16::MAX;
    };
    let mut bytes = [0; 4];
    let bytes = c.encode_utf8(&mut bytes).as_bytes();
    if write(file, bytes) { unit } else { u16::MAX }
}

extern "win64" fn fputws(text: Ptr<u16>, file: File) -> i32 {
    if write(file, text.string().as_bytes()) { 0 } else { -1 }
}

/// Writes all of some bytes.
pub(crate) fn write(file: File, bytes: &[u8]) -> bool {
    // SAFETY: the caller passes an open stream; the bytes are ours.
    let n = unsafe { libc::fwrite(bytes.as_ptr().cast(), 1, bytes.len(), file.to_host()) };
    n == bytes.len()
}

extern "win64" fn perror(text: Ptr<u8>) {
    let error = std::io::Error::from_raw_os_error(super::errno());
    let line = format!("{}: {error}\n", text.string());
    // SAFETY: the standard streams live for ever.
    write(unsafe { Ptr::new(stream::standard(2).cast_mut()) }, line.as_bytes());
}

table! {
    /// Streams.
    pub(crate) TABLE:
        fread, fwrite, fputs, fputc, putc = fputc, fgets, fgetc, getc = fgetc, ungetc, fflush, feof, ferror, _fileno = fileno,
        fileno, puts, putchar, clearerr, rewind, _fseeki64, fseek, _ftelli64, ftell, fgetpos, fsetpos, setvbuf, setbuf, fopen,
        _wfopen, fopen_s, _wfopen_s, _fsopen, _wfsopen, _fdopen, fdopen = _fdopen, tmpfile, fclose, _lock_file, _unlock_file,
        fputwc, putwc = fputwc, fputws, perror
}

table! {
    /// What ucrtbase has.
    pub(crate) UCRT:
        __acrt_iob_func, _get_stream_buffer_pointers, _fread_nolock = fread, _fwrite_nolock = fwrite, _fputc_nolock = fputc,
        _getc_nolock = fgetc, _fseeki64_nolock = _fseeki64, _ftelli64_nolock = _ftelli64, _fflush_nolock = fflush,
        _fclose_nolock = fclose
}

table! {
    /// What msvcrt has.
    pub(crate) MSVCRT: __iob_func
}
