//! `scanf` in all its forms that take a `va_list`.

use super::{invalid::refused, stdio, wide_stdio};
use crate::{
    format::{Arguments, Dialect},
    guest::Ptr,
    scan::{self, Kind, Source},
    stream::{self, Stream},
};

// What the options of ucrtbase's common functions mean.
const SECURE: u64 = 1;
const LEGACY_WIDE: u64 = 2;
/// No option of theirs: it is msvcrt that asks.
const MSVCRT: u64 = 1 << 63;

/// A text in memory, up to its zero or its end.
struct Memory<T> {
    next: Ptr<T>,
    left: usize,
}

impl<T: Copy + Default + PartialEq + Into<u16>> Source for Memory<T> {
    fn next(&mut self) -> Option<u16> {
        let element = (self.left > 0).then(|| self.next.get()).filter(|e| *e != T::default())?;
        self.next = self.next.at(1);
        self.left -= 1;
        Some(element.into())
    }

    fn back(&mut self, _unit: u16) {} // nobody goes on reading here
}

/// The bytes of a stream.
struct Bytes(Ptr<Stream>);

impl Source for Bytes {
    fn next(&mut self) -> Option<u16> {
        stdio::get(self.0).map(u16::from)
    }

    fn back(&mut self, unit: u16) {
        stdio::unget(self.0, unit as u8);
    }
}

/// The wide characters of a stream.
struct Units(Ptr<Stream>);

impl Source for Units {
    fn next(&mut self) -> Option<u16> {
        wide_stdio::get_wide(self.0)
    }

    fn back(&mut self, unit: u16) {
        wide_stdio::unget_wide(self.0, unit);
    }
}

/// Reads by a pattern of bytes or of wide characters.
fn run<T: Copy + Default + PartialEq + Into<u16>>(
    mut source: impl Source,
    pattern: Ptr<T>,
    arguments: Ptr<u64>,
    kind: Kind,
) -> i32 {
    if pattern.is_null() {
        return refused();
    }
    let pattern: Vec<u16> =
        pattern.slice(pattern.count(usize::MAX)).iter().map(|&element| element.into()).collect();
    scan::scan(&mut source, &pattern, Arguments::new(arguments), kind)
}

fn kind(options: u64, wide: bool) -> Kind {
    let dialect = if options & MSVCRT != 0 { Dialect::Msvcrt } else { Dialect::Universal };
    Kind { wide, secure: options & SECURE != 0, dialect }
}

fn narrow(options: u64) -> Kind {
    kind(options, false)
}

fn wide(options: u64) -> Kind {
    kind(options, options & LEGACY_WIDE != 0)
}

extern "win64" fn __stdio_common_vsscanf(
    options: u64,
    from: Ptr<u8>,
    len: usize,
    pattern: Ptr<u8>,
    _locale: usize,
    arguments: Ptr<u64>,
) -> i32 {
    if from.is_null() {
        return refused();
    }
    run(Memory { next: from, left: len }, pattern, arguments, narrow(options))
}

extern "win64" fn __stdio_common_vswscanf(
    options: u64,
    from: Ptr<u16>,
    len: usize,
    pattern: Ptr<u16>,
    _locale: usize,
    arguments: Ptr<u64>,
) -> i32 {
    if from.is_null() {
        return refused();
    }
    run(Memory { next: from, left: len }, pattern, arguments, wide(options))
}

extern "win64" fn __stdio_common_vfscanf(
    options: u64,
    file: Ptr<Stream>,
    pattern: Ptr<u8>,
    _locale: usize,
    arguments: Ptr<u64>,
) -> i32 {
    if file.is_null() {
        return refused();
    }
    run(Bytes(file), pattern, arguments, narrow(options))
}

extern "win64" fn __stdio_common_vfwscanf(
    options: u64,
    file: Ptr<Stream>,
    pattern: Ptr<u16>,
    _locale: usize,
    arguments: Ptr<u64>,
) -> i32 {
    if file.is_null() {
        return refused();
    }
    run(Units(file), pattern, arguments, wide(options))
}

table! {
    /// What ucrtbase has.
    pub(crate) UCRT: __stdio_common_vsscanf, __stdio_common_vswscanf, __stdio_common_vfscanf, __stdio_common_vfwscanf
}

// msvcrt's own: each for plain texts, and with the room of a text after it.

macro_rules! msvcrt {
    ($($options:expr => $sscanf:ident $snscanf:ident $fscanf:ident $scanf:ident $swscanf:ident $snwscanf:ident $fwscanf:ident $wscanf:ident;)*) => {$(
        pub(crate) extern "win64" fn $sscanf(from: Ptr<u8>, pattern: Ptr<u8>, arguments: Ptr<u64>) -> i32 {
            __stdio_common_vsscanf($options, from, usize::MAX, pattern, 0, arguments)
        }
        pub(crate) extern "win64" fn $snscanf(from: Ptr<u8>, len: usize, pattern: Ptr<u8>, arguments: Ptr<u64>) -> i32 {
            __stdio_common_vsscanf($options, from, len, pattern, 0, arguments)
        }
        pub(crate) extern "win64" fn $fscanf(file: Ptr<Stream>, pattern: Ptr<u8>, arguments: Ptr<u64>) -> i32 {
            __stdio_common_vfscanf($options, file, pattern, 0, arguments)
        }
        pub(crate) extern "win64" fn $scanf(pattern: Ptr<u8>, arguments: Ptr<u64>) -> i32 {
            $fscanf(stream::input(), pattern, arguments)
        }
        pub(crate) extern "win64" fn $swscanf(from: Ptr<u16>, pattern: Ptr<u16>, arguments: Ptr<u64>) -> i32 {
            __stdio_common_vswscanf(($options) | LEGACY_WIDE, from, usize::MAX, pattern, 0, arguments)
        }
        pub(crate) extern "win64" fn $snwscanf(from: Ptr<u16>, len: usize, pattern: Ptr<u16>, arguments: Ptr<u64>) -> i32 {
            __stdio_common_vswscanf(($options) | LEGACY_WIDE, from, len, pattern, 0, arguments)
        }
        pub(crate) extern "win64" fn $fwscanf(file: Ptr<Stream>, pattern: Ptr<u16>, arguments: Ptr<u64>) -> i32 {
            __stdio_common_vfwscanf(($options) | LEGACY_WIDE, file, pattern, 0, arguments)
        }
        pub(crate) extern "win64" fn $wscanf(pattern: Ptr<u16>, arguments: Ptr<u64>) -> i32 {
            $fwscanf(stream::input(), pattern, arguments)
        }
    )*};
}

msvcrt! {
    MSVCRT => vsscanf vsnscanf vfscanf vscanf vswscanf vsnwscanf vfwscanf vwscanf;
    MSVCRT | SECURE => vsscanf_s vsnscanf_s vfscanf_s vscanf_s vswscanf_s vsnwscanf_s vfwscanf_s vwscanf_s;
}
