//! `printf` in all its forms that take a `va_list`.

use super::{
    invalid::{refuse, refused},
    stdio,
};
use crate::{
    format::{self, Arguments, Style, Width},
    guest::Ptr,
    stream::{self, Stream},
};
use std::io::Write;

// What the options of ucrtbase's common functions mean.
const LEGACY_TERMINATION: u64 = 1;
const STANDARD_SNPRINTF: u64 = 2;
const LEGACY_WIDE: u64 = 4;
const LEGACY_MSVCRT: u64 = 8;
const LONG_EXPONENTS: u64 = 16;
/// What msvcrt's own functions do.
const MSVCRT_OPTIONS: u64 = LEGACY_TERMINATION | LEGACY_WIDE | LEGACY_MSVCRT | LONG_EXPONENTS;

fn style(options: u64, width: Width) -> Style {
    Style { width, legacy: options & LEGACY_MSVCRT != 0, long_exponents: options & LONG_EXPONENTS != 0 }
}

fn length(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(-1)
}

fn narrow(pattern: Ptr<u8>, arguments: Ptr<u64>, options: u64) -> Option<Vec<u8>> {
    let style = style(options, Width::Narrow);
    (!pattern.is_null()).then(|| format::format(pattern.text(), Arguments::new(arguments), style)).flatten()
}

fn wide(pattern: Ptr<u16>, arguments: Ptr<u64>, options: u64) -> Option<Vec<u16>> {
    let width = if options & LEGACY_WIDE != 0 { Width::Wide } else { Width::WideStandard };
    let style = style(options, width);
    (!pattern.is_null()).then(|| format::format_wide(&pattern, Arguments::new(arguments), style)).flatten()
}

/// Puts a text where there is room for `room` elements, by the rules that the options name.
fn put<T: Copy + Default>(text: &[T], to: Ptr<T>, room: usize, options: u64) -> i32 {
    let fits = text.len() < room;
    let zero = || to.at(text.len().min(room - 1)).set(T::default());
    if to.is_null() || room == 0 && options & STANDARD_SNPRINTF != 0 {
        return length(text.len());
    }
    to.fill(&text[..text.len().min(room)]);
    match () {
        () if fits => zero(),
        () if options & STANDARD_SNPRINTF != 0 => zero(),
        () if options & LEGACY_TERMINATION != 0 => return if text.len() == room { length(room) } else { -1 },
        () if room == 0 => return -1,
        () => {
            zero();
            return -2;
        }
    }
    length(text.len())
}

/// Puts a text where it must fit with its zero, or leaves nothing there.
fn put_s<T: Copy + Default>(text: &[T], to: Ptr<T>, room: usize) -> i32 {
    if to.is_null() || room == 0 {
        return refused();
    }
    if text.len() >= room {
        to.set(T::default());
        refuse(libc::ERANGE);
        return -1;
    }
    put(text, to, room, STANDARD_SNPRINTF)
}

extern "win64" fn __stdio_common_vsprintf(
    options: u64,
    to: Ptr<u8>,
    room: usize,
    pattern: Ptr<u8>,
    _locale: usize,
    arguments: Ptr<u64>,
) -> i32 {
    narrow(pattern, arguments, options).map_or_else(refused, |text| put(&text, to, room, options))
}

extern "win64" fn __stdio_common_vsprintf_s(
    options: u64,
    to: Ptr<u8>,
    room: usize,
    pattern: Ptr<u8>,
    _locale: usize,
    arguments: Ptr<u64>,
) -> i32 {
    narrow(pattern, arguments, options).map_or_else(refused, |text| put_s(&text, to, room))
}

/// At most `most` elements; `usize::MAX` cuts off what does not fit.
fn put_n<T: Copy + Default>(text: &[T], to: Ptr<T>, room: usize, most: usize) -> i32 {
    if to.is_null() || room == 0 {
        return refused();
    }
    let cut = text.len() > most || most == usize::MAX && text.len() >= room;
    let text = &text[..text.len().min(most)];
    match most {
        usize::MAX => drop(put(text, to, room, STANDARD_SNPRINTF)),
        _ if put_s(text, to, room) < 0 => return -1,
        _ => {}
    }
    if cut { -1 } else { length(text.len()) }
}

extern "win64" fn __stdio_common_vsnprintf_s(
    options: u64,
    to: Ptr<u8>,
    room: usize,
    most: usize,
    pattern: Ptr<u8>,
    _locale: usize,
    arguments: Ptr<u64>,
) -> i32 {
    narrow(pattern, arguments, options).map_or_else(refused, |text| put_n(&text, to, room, most))
}

extern "win64" fn __stdio_common_vswprintf(
    options: u64,
    to: Ptr<u16>,
    room: usize,
    pattern: Ptr<u16>,
    _locale: usize,
    arguments: Ptr<u64>,
) -> i32 {
    wide(pattern, arguments, options).map_or_else(refused, |text| put(&text, to, room, options))
}

extern "win64" fn __stdio_common_vswprintf_s(
    options: u64,
    to: Ptr<u16>,
    room: usize,
    pattern: Ptr<u16>,
    _locale: usize,
    arguments: Ptr<u64>,
) -> i32 {
    wide(pattern, arguments, options).map_or_else(refused, |text| put_s(&text, to, room))
}

extern "win64" fn __stdio_common_vsnwprintf_s(
    options: u64,
    to: Ptr<u16>,
    room: usize,
    most: usize,
    pattern: Ptr<u16>,
    _locale: usize,
    arguments: Ptr<u64>,
) -> i32 {
    wide(pattern, arguments, options).map_or_else(refused, |text| put_n(&text, to, room, most))
}

fn write(file: Ptr<Stream>, text: &[u8]) -> i32 {
    if stdio::write(file, text) { length(text.len()) } else { -1 }
}

extern "win64" fn __stdio_common_vfprintf(
    options: u64,
    file: Ptr<Stream>,
    pattern: Ptr<u8>,
    _locale: usize,
    arguments: Ptr<u64>,
) -> i32 {
    narrow(pattern, arguments, options).map_or_else(refused, |text| write(file, &text))
}

/// To the console itself, wherever standard output goes; a process without one writes nothing.
extern "win64" fn __conio_common_vcprintf(
    options: u64,
    pattern: Ptr<u8>,
    _locale: usize,
    arguments: Ptr<u64>,
) -> i32 {
    let to_console = |text: Vec<u8>| {
        let console = std::fs::OpenOptions::new().write(true).open("/dev/tty");
        let written = console.and_then(|mut c| c.write_all(&text));
        if written.is_ok() { length(text.len()) } else { -1 }
    };
    narrow(pattern, arguments, options).map_or_else(refused, to_console)
}

extern "win64" fn __stdio_common_vfwprintf(
    options: u64,
    file: Ptr<Stream>,
    pattern: Ptr<u16>,
    _locale: usize,
    arguments: Ptr<u64>,
) -> i32 {
    let text = wide(pattern, arguments, options);
    text.map_or_else(refused, |text| if stdio::write_wide(file, &text) { length(text.len()) } else { -1 })
}

table! {
    /// What ucrtbase has.
    pub(crate) UCRT:
        __stdio_common_vsprintf, __stdio_common_vsprintf_s, __stdio_common_vsnprintf_s, __stdio_common_vswprintf,
        __stdio_common_vswprintf_s, __stdio_common_vsnwprintf_s, __stdio_common_vfprintf,
        __stdio_common_vfprintf_s = __stdio_common_vfprintf, __stdio_common_vfwprintf,
        __stdio_common_vfwprintf_s = __stdio_common_vfwprintf, __conio_common_vcprintf
}

// msvcrt's own.

pub(crate) extern "win64" fn vfprintf(file: Ptr<Stream>, pattern: Ptr<u8>, arguments: Ptr<u64>) -> i32 {
    __stdio_common_vfprintf(MSVCRT_OPTIONS, file, pattern, 0, arguments)
}

pub(crate) extern "win64" fn vprintf(pattern: Ptr<u8>, arguments: Ptr<u64>) -> i32 {
    vfprintf(stream::output(), pattern, arguments)
}

pub(crate) extern "win64" fn vfwprintf(file: Ptr<Stream>, pattern: Ptr<u16>, arguments: Ptr<u64>) -> i32 {
    __stdio_common_vfwprintf(MSVCRT_OPTIONS, file, pattern, 0, arguments)
}

pub(crate) extern "win64" fn vwprintf(pattern: Ptr<u16>, arguments: Ptr<u64>) -> i32 {
    vfwprintf(stream::output(), pattern, arguments)
}

pub(crate) extern "win64" fn _vcprintf(pattern: Ptr<u8>, arguments: Ptr<u64>) -> i32 {
    __conio_common_vcprintf(MSVCRT_OPTIONS, pattern, 0, arguments)
}

pub(crate) extern "win64" fn vsprintf(to: Ptr<u8>, pattern: Ptr<u8>, arguments: Ptr<u64>) -> i32 {
    _vsnprintf(to, usize::MAX, pattern, arguments)
}

/// Without the room's size: msvcrt's is older than the C standard's.
pub(crate) extern "win64" fn vswprintf(to: Ptr<u16>, pattern: Ptr<u16>, arguments: Ptr<u64>) -> i32 {
    _vsnwprintf(to, usize::MAX, pattern, arguments)
}

pub(crate) extern "win64" fn _vsnprintf(
    to: Ptr<u8>,
    room: usize,
    pattern: Ptr<u8>,
    arguments: Ptr<u64>,
) -> i32 {
    __stdio_common_vsprintf(MSVCRT_OPTIONS, to, room, pattern, 0, arguments)
}

pub(crate) extern "win64" fn _vsnwprintf(
    to: Ptr<u16>,
    room: usize,
    pattern: Ptr<u16>,
    arguments: Ptr<u64>,
) -> i32 {
    __stdio_common_vswprintf(MSVCRT_OPTIONS, to, room, pattern, 0, arguments)
}

/// How long the text would be.
pub(crate) extern "win64" fn _vscprintf(pattern: Ptr<u8>, arguments: Ptr<u64>) -> i32 {
    _vsnprintf(Ptr::NULL, 0, pattern, arguments)
}

pub(crate) extern "win64" fn _vscwprintf(pattern: Ptr<u16>, arguments: Ptr<u64>) -> i32 {
    _vsnwprintf(Ptr::NULL, 0, pattern, arguments)
}

pub(crate) extern "win64" fn vsprintf_s(
    to: Ptr<u8>,
    room: usize,
    pattern: Ptr<u8>,
    arguments: Ptr<u64>,
) -> i32 {
    __stdio_common_vsprintf_s(MSVCRT_OPTIONS, to, room, pattern, 0, arguments)
}

pub(crate) extern "win64" fn vswprintf_s(
    to: Ptr<u16>,
    room: usize,
    pattern: Ptr<u16>,
    arguments: Ptr<u64>,
) -> i32 {
    __stdio_common_vswprintf_s(MSVCRT_OPTIONS, to, room, pattern, 0, arguments)
}

pub(crate) extern "win64" fn _vsnprintf_s(
    to: Ptr<u8>,
    room: usize,
    most: usize,
    pattern: Ptr<u8>,
    arguments: Ptr<u64>,
) -> i32 {
    __stdio_common_vsnprintf_s(MSVCRT_OPTIONS, to, room, most, pattern, 0, arguments)
}

pub(crate) extern "win64" fn _vsnwprintf_s(
    to: Ptr<u16>,
    room: usize,
    most: usize,
    pattern: Ptr<u16>,
    arguments: Ptr<u64>,
) -> i32 {
    __stdio_common_vsnwprintf_s(MSVCRT_OPTIONS, to, room, most, pattern, 0, arguments)
}

table! {
    /// What msvcrt has.
    pub(crate) MSVCRT: vfprintf, vfprintf_s = vfprintf, vprintf, vprintf_s = vprintf, vfwprintf, vfwprintf_s = vfwprintf, vwprintf,
        vwprintf_s = vwprintf, _vcprintf, vsprintf, vswprintf, _vswprintf = vswprintf, _vsnprintf, vsnprintf = _vsnprintf,
        _vsnwprintf, _vscprintf, _vscwprintf, vsprintf_s, vswprintf_s, _vsnprintf_s, _vsnwprintf_s
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;

    #[test]
    fn room() {
        let mut buffer = [b'#'; 8];
        let mut put_in = |text: &[u8], room: usize, options: u64| {
            buffer = [b'#'; 8];
            // SAFETY: the buffer is longer than any room below.
            let n = put(text, unsafe { Ptr::new(buffer.as_mut_ptr()) }, room, options);
            (n, buffer)
        };
        assert_eq!(put_in(b"abc", 4, STANDARD_SNPRINTF), (3, *b"abc\0####"));
        assert_eq!(put_in(b"abcd", 4, STANDARD_SNPRINTF), (4, *b"abc\0####"));
        assert_eq!(put_in(b"abcd", 4, LEGACY_TERMINATION), (4, *b"abcd####"));
        assert_eq!(put_in(b"abcde", 4, LEGACY_TERMINATION), (-1, *b"abcd####"));
        assert_eq!(put_in(b"abcde", 4, 0), (-2, *b"abc\0####"));
        assert_eq!(put_in(b"abcde", 0, STANDARD_SNPRINTF), (5, *b"########"));
        assert_eq!(put(b"abc", Ptr::NULL, 0, STANDARD_SNPRINTF), 3);
    }
}
