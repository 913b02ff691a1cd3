//! Streams. In a text that the program opens, a line ends with two bytes in the file and with one in the program, and
//! Ctrl-Z is the end; the three standard streams are the host's, where lines end as they always do.
#![allow(unsafe_code)] // the host's functions do to guest memory what the guest asks for

use super::{
    files,
    invalid::{invalid, refused},
    keep_errno, set_errno, unicode_text,
};
use crate::{
    guest::Ptr,
    path,
    stream::{self, Stream, ToHost},
};
use std::{
    ffi::CString,
    sync::atomic::{AtomicI32, Ordering::Relaxed},
};

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
    ferror(file: File) -> i32;
    fileno(file: File) -> i32;
}

const RETURN: u8 = b'\r';
pub(super) const LINE_END: u8 = b'\n';
const CTRL_Z: u8 = 0x1a;

fn is_text(file: File) -> bool {
    files::is_text(file.shared().file())
}

fn host_get(file: File) -> Option<u8> {
    // SAFETY: the caller passes an open stream.
    u8::try_from(unsafe { libc::fgetc(file.to_host()) }).ok()
}

/// Puts one byte back, which is read next.
pub(crate) fn unget(file: File, byte: u8) {
    // SAFETY: the caller passes an open stream.
    unsafe { libc::ungetc(byte.into(), file.to_host()) };
}

/// The next byte, as the program sees it.
pub(crate) fn get(file: File) -> Option<u8> {
    if !is_text(file) {
        return host_get(file);
    }
    match host_get(file)? {
        CTRL_Z => {
            unget(file, CTRL_Z);
            file.shared().set_ended(true);
            None
        }
        RETURN => Some(match host_get(file) {
            Some(LINE_END) => LINE_END,
            other => {
                other.into_iter().for_each(|byte| unget(file, byte));
                RETURN
            }
        }),
        byte => Some(byte),
    }
}

/// Writes all of some bytes.
pub(crate) fn write(file: File, bytes: &[u8]) -> bool {
    let with_returns = is_text(file).then(|| files::with_returns(bytes));
    let bytes = with_returns.as_deref().unwrap_or(bytes);
    // SAFETY: the caller passes an open stream; the bytes are ours or the guest's.
    let n = unsafe { libc::fwrite(bytes.as_ptr().cast(), 1, bytes.len(), file.to_host()) };
    if n < bytes.len() {
        keep_errno();
    }
    n == bytes.len()
}

extern "win64" fn fread(to: Ptr<u8>, len: usize, n: usize, file: File) -> usize {
    if !is_text(file) {
        // SAFETY: the caller passes an open stream and room for `n` elements.
        return unsafe { libc::fread(to.raw().cast(), len, n, file.to_host()) };
    }
    let all = len.saturating_mul(n);
    let read = (0..all).map_while(|i| get(file).map(|byte| to.at(i).set(byte))).count();
    read.checked_div(len).unwrap_or(0)
}

extern "win64" fn fwrite(from: Ptr<u8>, len: usize, n: usize, file: File) -> usize {
    if !is_text(file) {
        // SAFETY: the caller passes an open stream and `n` elements.
        return unsafe { libc::fwrite(from.raw().cast(), len, n, file.to_host()) };
    }
    if write(file, &from.slice(len.saturating_mul(n))) { n } else { 0 }
}

extern "win64" fn fputs(text: Ptr<u8>, file: File) -> i32 {
    if write(file, text.text()) { 0 } else { -1 }
}

extern "win64" fn fputc(c: i32, file: File) -> i32 {
    if write(file, &[c as u8]) { i32::from(c as u8) } else { -1 }
}

extern "win64" fn fgetc(file: File) -> i32 {
    get(file).map_or(-1, i32::from)
}

extern "win64" fn ungetc(c: i32, file: File) -> i32 {
    if c == -1 {
        return -1;
    }
    file.shared().set_ended(false);
    unget(file, c as u8);
    i32::from(c as u8)
}

/// Elements up to and with the end of a line, and a zero; null where there are none.
pub(super) fn line<T: Copy + Default + From<u8> + PartialEq>(
    to: Ptr<T>,
    room: i32,
    mut next: impl FnMut() -> Option<T>,
) -> Ptr<T> {
    let most = usize::try_from(room).unwrap_or(0).saturating_sub(1);
    let mut n = 0;
    while n < most
        && let Some(element) = next()
    {
        to.at(n).set(element);
        n += 1;
        if element == T::from(LINE_END) {
            break;
        }
    }
    if n == 0 && room != 1 {
        return Ptr::NULL;
    }
    to.at(n).set(T::default());
    to
}

extern "win64" fn fgets(to: Ptr<u8>, room: i32, file: File) -> Ptr<u8> {
    line(to, room, || get(file))
}

/// A line of standard input without its end, however long it is.
extern "win64" fn gets(to: Ptr<u8>) -> Ptr<u8> {
    without_end(line(to, i32::MAX, || get(stream::input())))
}

pub(super) fn without_end<T: Copy + Default + From<u8> + PartialEq>(text: Ptr<T>) -> Ptr<T> {
    let len = text.count(usize::MAX);
    let last = text.at(len.saturating_sub(1));
    if len > 0 && last.get() == T::from(LINE_END) {
        last.set(T::default());
    }
    text
}

extern "win64" fn getchar() -> i32 {
    fgetc(stream::input())
}

extern "win64" fn putchar(c: i32) -> i32 {
    fputc(c, stream::output())
}

extern "win64" fn puts(text: Ptr<u8>) -> i32 {
    let done = write(stream::output(), text.text()) && write(stream::output(), &[LINE_END]);
    if done { 0 } else { -1 }
}

extern "win64" fn feof(file: File) -> i32 {
    // SAFETY: the caller passes an open stream.
    let ended = unsafe { libc::feof(file.to_host()) } != 0;
    if ended || file.shared().ended() { 0x10 } else { 0 }
}

extern "win64" fn clearerr(file: File) {
    file.shared().set_ended(false);
    // SAFETY: the caller passes an open stream.
    unsafe { libc::clearerr(file.to_host()) }
}

extern "win64" fn clearerr_s(file: File) -> i32 {
    if file.is_null() {
        return invalid();
    }
    clearerr(file);
    0
}

extern "win64" fn rewind(file: File) {
    _fseeki64(file, 0, libc::SEEK_SET);
    clearerr(file);
}

/// A whole number, as its bytes lie in memory.
extern "win64" fn _getw(file: File) -> i32 {
    let mut word = [0; 4];
    for byte in &mut word {
        match get(file) {
            Some(b) => *byte = b,
            None => return -1,
        }
    }
    i32::from_le_bytes(word)
}

extern "win64" fn _putw(word: i32, file: File) -> i32 {
    if write(file, &word.to_le_bytes()) { word } else { -1 }
}

/// What the macros of old compilers call when the buffer has nothing: it never has.
extern "win64" fn _filbuf(file: File) -> i32 {
    file.shared().nothing_buffered();
    fgetc(file)
}

extern "win64" fn _flsbuf(c: i32, file: File) -> i32 {
    file.shared().nothing_buffered();
    fputc(c, file)
}

extern "win64" fn _fseeki64(file: File, offset: i64, from: i32) -> i32 {
    file.shared().set_ended(false);
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

/// Buffering: 0 full, 0x40 by lines, which is full as well, 4 none. The host keeps the buffer, whoever offers one.
extern "win64" fn setvbuf(file: File, _buffer: usize, mode: i32, len: usize) -> i32 {
    let mode = match mode {
        0 | 0x40 if (2..=i32::MAX as usize).contains(&len) => libc::_IOFBF,
        4 => libc::_IONBF,
        _ => return refused(),
    };
    // SAFETY: the caller passes an open stream; without a buffer the host makes its own.
    unsafe { libc::setvbuf(file.to_host(), std::ptr::null_mut(), mode, len) }
}

extern "win64" fn setbuf(file: File, buffer: usize) {
    setvbuf(file, buffer, if buffer == 0 { 4 } else { 0 }, 512);
}

/// The letters that the host knows, and how the file is read and written; `None` where the mode makes no sense.
fn mode(letters: &str) -> Option<(CString, i32)> {
    let encoding = unicode_text::asked(letters);
    let letters = letters.split(',').next().unwrap_or("").trim_start();
    let known = letters.chars().all(|c| "rwa+btxcnSRTDNe ".contains(c));
    // Only what is made can be asked not to be there yet.
    let exclusive = letters.contains('x') && !letters.starts_with('w');
    if !letters.starts_with(['r', 'w', 'a']) || !known || exclusive || encoding.is_none() {
        invalid();
        return None;
    }
    let kind = match () {
        () if let Some(kind) = encoding.flatten() => kind,
        () if letters.contains('b') => files::BINARY,
        () if letters.contains('t') => files::TEXT,
        () => files::default_mode(),
    };
    let known: String = letters.chars().filter(|c| "rwa+x".contains(*c)).chain(['e']).collect();
    Some((CString::new(known).ok()?, kind))
}

/// A host path without a zero in it, or `errno`.
pub(crate) fn host(name: &str) -> Option<CString> {
    let found = path::to_host(name).filter(|_| !name.is_empty()).and_then(|p| CString::new(p).ok());
    if found.is_none() {
        set_errno(libc::ENOENT);
    }
    found
}

/// A stream around one of the host, or `errno`.
fn opened(host: *mut libc::FILE, kind: i32) -> *const Stream {
    if host.is_null() {
        keep_errno();
    } else {
        // SAFETY: the stream is open.
        files::set_mode(unsafe { libc::fileno(host) }, kind);
    }
    stream::wrap(host)
}

fn open(name: &str, letters: &str) -> *const Stream {
    let Some(((letters, kind), name)) = mode(letters).and_then(|mode| Some((mode, host(name)?))) else {
        return std::ptr::null();
    };
    if files::is_folder(&name) {
        set_errno(libc::EACCES); // the host opens folders for reading
        return std::ptr::null();
    }
    let text = unicode_text::settle(&name, &letters.to_string_lossy(), kind);
    // SAFETY: both texts end with a zero.
    let host = unsafe { libc::fopen(name.as_ptr(), letters.as_ptr()) };
    if !host.is_null() && !text.mark.is_empty() {
        // SAFETY: the stream is open; the mark is ours.
        unsafe { libc::fwrite(text.mark.as_ptr().cast(), 1, text.mark.len(), host) };
    }
    if !host.is_null() && text.start > 0 {
        // SAFETY: as above.
        unsafe { libc::fseeko(host, text.start, libc::SEEK_SET) };
    }
    opened(host, text.kind)
}

fn reopen(name: &str, letters: &str, file: File) -> *const Stream {
    let Some(((letters, kind), name)) = mode(letters).and_then(|mode| Some((mode, host(name)?))) else {
        return std::ptr::null();
    };
    // SAFETY: both texts end with a zero, and the caller passes an open stream.
    let host = unsafe { libc::freopen(name.as_ptr(), letters.as_ptr(), file.to_host()) };
    if host.is_null() {
        keep_errno();
        return std::ptr::null();
    }
    // SAFETY: the stream is open.
    let number = unsafe { libc::fileno(host) };
    file.shared().set_file(number);
    files::set_mode(number, kind);
    file.raw()
}

extern "win64" fn freopen(name: Ptr<u8>, letters: Ptr<u8>, file: File) -> *const Stream {
    reopen(&name.string(), &letters.string(), file)
}

extern "win64" fn _wfreopen(name: Ptr<u16>, letters: Ptr<u16>, file: File) -> *const Stream {
    reopen(&name.string(), &letters.string(), file)
}

extern "win64" fn freopen_s(out: Ptr<*const Stream>, name: Ptr<u8>, letters: Ptr<u8>, file: File) -> i32 {
    open_s(out, freopen(name, letters, file))
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
    if out.is_null() {
        return invalid();
    }
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
    let Some((known, _)) = mode(&letters.string()) else {
        return std::ptr::null();
    };
    // SAFETY: the text ends with a zero; a wrong file is an error.
    let host = unsafe { libc::fdopen(file, known.as_ptr()) };
    let kind = if letters.text().contains(&b'b') { files::BINARY } else { files::mode_of(file) };
    opened(host, kind)
}

/// A file of bytes, not a text.
extern "win64" fn tmpfile() -> *const Stream {
    // SAFETY: no conditions.
    opened(unsafe { libc::tmpfile() }, files::BINARY)
}

extern "win64" fn tmpfile_s(out: Ptr<*const Stream>) -> i32 {
    open_s(out, tmpfile())
}

extern "win64" fn fclose(file: File) -> i32 {
    if !stream::is_open(file) {
        return refused();
    }
    files::forget(file.shared().file());
    stream::close(file)
}

/// Closes all but the standard streams; how many those were.
extern "win64" fn _fcloseall() -> i32 {
    stream::close_all() as i32
}

/// Writes what is buffered; how many streams there are.
extern "win64" fn _flushall() -> i32 {
    // SAFETY: null means all streams.
    unsafe { libc::fflush(std::ptr::null_mut()) };
    stream::open_ones() as i32
}

/// How many streams a program may have open, as it says: the host allows more than either runtime.
static MOST_STREAMS: AtomicI32 = AtomicI32::new(512);

extern "win64" fn _getmaxstdio() -> i32 {
    MOST_STREAMS.load(Relaxed)
}

fn set_most(wanted: i32, limit: i32) -> i32 {
    if !(20..=limit).contains(&wanted) {
        return refused();
    }
    MOST_STREAMS.store(wanted, Relaxed);
    wanted
}

extern "win64" fn _setmaxstdio(wanted: i32) -> i32 {
    set_most(wanted, 8192)
}

extern "win64" fn legacy_setmaxstdio(wanted: i32) -> i32 {
    set_most(wanted, 2048)
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

/// Writes what is buffered, of one stream or of all. What was read ahead stays.
extern "win64" fn fflush(file: File) -> i32 {
    if !file.is_null() && is_reading(file) {
        return 0;
    }
    // SAFETY: the caller passes an open stream, or null for all.
    let result = unsafe { libc::fflush(file.to_host()) };
    if result != 0 {
        keep_errno();
    }
    result
}

/// msvcrt's, which forgets what was read ahead.
extern "win64" fn legacy_fflush(file: File) -> i32 {
    if file.is_null() || !is_reading(file) {
        return fflush(file);
    }
    file.shared().set_ended(false);
    // SAFETY: the caller passes an open stream.
    unsafe { __fpurge(file.to_host()) };
    0
}

/// Whether a stream is for reading, or was read from last.
fn is_reading(file: File) -> bool {
    // SAFETY: the caller passes an open stream.
    unsafe { __freading(file.to_host()) != 0 }
}

unsafe extern "C" {
    fn __freading(file: *mut libc::FILE) -> i32;
    fn __fpurge(file: *mut libc::FILE);
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

fn tell_error(text: &str) {
    let colon = if text.is_empty() { "" } else { ": " };
    let line = format!("{text}{colon}{}\n", super::string::message(super::errno()));
    write(stream::errors(), line.as_bytes());
}

extern "win64" fn perror(text: Ptr<u8>) {
    tell_error(&text.string());
}

extern "win64" fn _wperror(text: Ptr<u16>) {
    tell_error(&text.string());
}

table! {
    /// Streams.
    pub(crate) TABLE:
        fread, fwrite, fputs, fputc, putc = fputc, fgets, fgetc, getc = fgetc, ungetc, feof, ferror, _fileno = fileno,
        fileno, puts, putchar, _fputchar = putchar, getchar, _fgetchar = getchar, clearerr, clearerr_s, rewind, _fseeki64, fseek,
        _ftelli64, ftell, fgetpos, fsetpos, setvbuf, setbuf, fopen, _wfopen, fopen_s, _wfopen_s, _fsopen, _wfsopen, _fdopen,
        fdopen = _fdopen, freopen, _wfreopen, freopen_s, tmpfile, tmpfile_s, fclose, _fcloseall, fcloseall = _fcloseall, _getmaxstdio, _flushall, _lock_file, _unlock_file, _getw,
        _putw, gets, perror, _wperror
}

table! {
    /// What ucrtbase has.
    pub(crate) UCRT:
        fflush, _setmaxstdio, __acrt_iob_func, _get_stream_buffer_pointers, _fread_nolock = fread, _fwrite_nolock = fwrite, _fputc_nolock = fputc,
        _putc_nolock = fputc, _getc_nolock = fgetc, _fgetc_nolock = fgetc, _ungetc_nolock = ungetc, _fseek_nolock = fseek,
        _fseeki64_nolock = _fseeki64, _ftell_nolock = ftell, _ftelli64_nolock = _ftelli64, _fflush_nolock = fflush,
        _fclose_nolock = fclose
}

table! {
    /// What msvcrt has.
    pub(crate) MSVCRT: fflush = legacy_fflush, _setmaxstdio = legacy_setmaxstdio, __iob_func, _iob = stream::standard_ones(), _filbuf, _flsbuf
}
