//! `printf` in all its forms that take a `va_list`.

use super::{
    invalid::{invalid, refuse, refused},
    stdio, wide_stdio,
};
use crate::{
    format::{self, Arguments, Dialect, Rounding, Style, Width},
    guest::Ptr,
    stream::Stream,
    teb,
    text::Letters,
};
use std::{
    io::Write,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};

/// What a process may choose about formats.
#[derive(Default)]
pub(crate) struct Choices {
    /// `_set_output_format`: 1 where exponents have two digits in msvcrt too.
    output_format: AtomicU32,
    /// `_set_printf_count_output`: whether `%n` is allowed.
    counts: AtomicU32,
}

/// What becomes of a text that does not fit where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is cut and ended, and its whole length is the answer (`snprintf`).
    Standard,
    /// It is cut and has no end (`_snprintf`).
    Legacy,
    /// It is cut and ended, and the answer says so (`swprintf`).
    Plain,
}

/// How one call of a runtime works.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    style: Style,
    ending: Ending,
    /// Whether a format may say which argument it means.
    numbered: bool,
}

impl Rules {
    /// By the options of ucrtbase's common functions.
    pub(super) fn universal(options: u64) -> Self {
        const LEGACY_TERMINATION: u64 = 1;
        const STANDARD_SNPRINTF: u64 = 2;
        const LEGACY_WIDE: u64 = 4;
        const LEGACY_MSVCRT: u64 = 8;
        const LONG_EXPONENTS: u64 = 16;
        const STANDARD_ROUNDING: u64 = 32;
        let has = |option: u64| options & option != 0;
        let style = Style {
            dialect: if has(LEGACY_MSVCRT) { Dialect::Compatible } else { Dialect::Universal },
            exponent_digits: if has(LONG_EXPONENTS) { 3 } else { 2 },
            rounding: if has(STANDARD_ROUNDING) { Rounding::Even } else { Rounding::Away },
            counts: counts_allowed(),
            ..Style::universal(if has(LEGACY_WIDE) { Width::Wide } else { Width::WideStandard })
        };
        let ending = match () {
            () if has(STANDARD_SNPRINTF) => Ending::Standard,
            () if has(LEGACY_TERMINATION) => Ending::Legacy,
            () => Ending::Plain,
        };
        Self { style, ending, numbered: false }
    }

    /// msvcrt's own.
    pub(super) fn msvcrt() -> Self {
        let short = teb::process().runtime.formats.output_format.load(SeqCst) == TWO_DIGITS;
        let style = Style {
            exponent_digits: if short { 2 } else { 3 },
            counts: counts_allowed(),
            ..Style::msvcrt(Width::Wide)
        };
        Self { style, ending: Ending::Legacy, numbered: false }
    }

    pub(super) fn numbered(self) -> Self {
        Self { numbered: true, ending: Ending::Plain, ..self }
    }

    pub(super) fn ending(self, ending: Ending) -> Self {
        Self { ending, ..self }
    }

    fn format<T: Letters>(self, pattern: Ptr<T>, arguments: Ptr<u64>) -> Option<Vec<T>> {
        if pattern.is_null() {
            return None;
        }
        let width = if size_of::<T>() == 1 { Width::Narrow } else { self.style.width };
        let style = Style { width, ..self.style };
        let format = if self.numbered { format::format_numbered } else { format::format };
        format(&pattern.slice(pattern.count(usize::MAX)), Arguments::new(arguments), style)
    }

    /// Into a place for `room` elements.
    pub(super) fn to_place<T: Letters>(
        self,
        to: Ptr<T>,
        room: usize,
        pattern: Ptr<T>,
        arguments: Ptr<u64>,
    ) -> i32 {
        self.format(pattern, arguments).map_or_else(refused, |text| put(&text, to, room, self.ending))
    }

    /// The same for a text that must fit.
    pub(super) fn to_place_s<T: Letters>(
        self,
        to: Ptr<T>,
        room: usize,
        pattern: Ptr<T>,
        arguments: Ptr<u64>,
    ) -> i32 {
        self.format(pattern, arguments).map_or_else(refused, |text| put_s(&text, to, room))
    }

    /// The same for a text of which at most `most` elements are wanted.
    pub(super) fn to_place_n<T: Letters>(
        self,
        (to, room): (Ptr<T>, usize),
        most: usize,
        pattern: Ptr<T>,
        arguments: Ptr<u64>,
    ) -> i32 {
        self.format(pattern, arguments).map_or_else(refused, |text| put_n(&text, to, room, most))
    }

    pub(super) fn to_file(self, file: Ptr<Stream>, pattern: Ptr<u8>, arguments: Ptr<u64>) -> i32 {
        if file.is_null() {
            return refused();
        }
        let text = self.format(pattern, arguments);
        text.map_or_else(refused, |text| if stdio::write(file, &text) { length(text.len()) } else { -1 })
    }

    pub(super) fn to_file_wide(self, file: Ptr<Stream>, pattern: Ptr<u16>, arguments: Ptr<u64>) -> i32 {
        if file.is_null() {
            return refused();
        }
        let text = self.format(pattern, arguments);
        text.map_or_else(
            refused,
            |text| if wide_stdio::write_wide(file, &text) { length(text.len()) } else { -1 },
        )
    }

    /// To the console itself, wherever standard output goes; a process without one writes nothing.
    pub(super) fn to_console<T: Letters>(self, pattern: Ptr<T>, arguments: Ptr<u64>) -> i32 {
        let Some(text) = self.format(pattern, arguments) else { return refused() };
        let mut console = match std::fs::OpenOptions::new().write(true).open("/dev/tty") {
            Ok(console) => console,
            Err(_) => return -1,
        };
        if console.write_all(&T::bytes(&text)).is_ok() { length(text.len()) } else { -1 }
    }
}

/// How `_set_output_format` asks for two digits.
const TWO_DIGITS: u32 = 1;

fn counts_allowed() -> bool {
    teb::process().runtime.formats.counts.load(SeqCst) != 0
}

fn length(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(-1)
}

/// Puts a text where there is room for `room` elements.
fn put<T: Copy + Default>(text: &[T], to: Ptr<T>, room: usize, ending: Ending) -> i32 {
    let fits = text.len() < room;
    let zero = || to.at(text.len().min(room - 1)).set(T::default());
    if to.is_null() || room == 0 && ending == Ending::Standard {
        return length(text.len());
    }
    to.fill(&text[..text.len().min(room)]);
    match ending {
        _ if fits => zero(),
        Ending::Standard => zero(),
        Ending::Legacy => return if text.len() == room { length(room) } else { -1 },
        Ending::Plain if room == 0 => return -1,
        Ending::Plain => {
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
    put(text, to, room, Ending::Standard)
}

/// At most `most` elements; `usize::MAX` cuts off what does not fit.
fn put_n<T: Copy + Default>(text: &[T], to: Ptr<T>, room: usize, most: usize) -> i32 {
    if to.is_null() || room == 0 {
        return refused();
    }
    let cut = text.len() > most || most == usize::MAX && text.len() >= room;
    let text = &text[..text.len().min(most)];
    match most {
        usize::MAX => drop(put(text, to, room, Ending::Standard)),
        _ if put_s(text, to, room) < 0 => return -1,
        _ => {}
    }
    if cut { -1 } else { length(text.len()) }
}

/// The common functions of ucrtbase, for bytes and for wide characters: into a place, into one where the text must fit,
/// with numbered arguments, into one with a limit, into a file, and into one with numbered arguments.
macro_rules! common {
    ($($letter:ty: $plain:ident $must_fit:ident $numbered:ident $limited:ident $file:ident $file_numbered:ident $to_file:ident $console:ident $console_numbered:ident;)*) => {$(
        extern "win64" fn $plain(options: u64, to: Ptr<$letter>, room: usize, pattern: Ptr<$letter>, _locale: usize, arguments: Ptr<u64>) -> i32 {
            Rules::universal(options).to_place(to, room, pattern, arguments)
        }
        extern "win64" fn $must_fit(options: u64, to: Ptr<$letter>, room: usize, pattern: Ptr<$letter>, _locale: usize, arguments: Ptr<u64>) -> i32 {
            Rules::universal(options).to_place_s(to, room, pattern, arguments)
        }
        extern "win64" fn $numbered(options: u64, to: Ptr<$letter>, room: usize, pattern: Ptr<$letter>, _locale: usize, arguments: Ptr<u64>) -> i32 {
            if to.is_null() || room == 0 {
                return refused();
            }
            Rules::universal(options).numbered().to_place(to, room, pattern, arguments).max(-1)
        }
        extern "win64" fn $limited(options: u64, to: Ptr<$letter>, room: usize, most: usize, pattern: Ptr<$letter>, _locale: usize, arguments: Ptr<u64>) -> i32 {
            Rules::universal(options).to_place_n((to, room), most, pattern, arguments)
        }
        extern "win64" fn $file(options: u64, file: Ptr<Stream>, pattern: Ptr<$letter>, _locale: usize, arguments: Ptr<u64>) -> i32 {
            Rules::universal(options).$to_file(file, pattern, arguments)
        }
        extern "win64" fn $file_numbered(options: u64, file: Ptr<Stream>, pattern: Ptr<$letter>, _locale: usize, arguments: Ptr<u64>) -> i32 {
            Rules::universal(options).numbered().$to_file(file, pattern, arguments)
        }
        extern "win64" fn $console(options: u64, pattern: Ptr<$letter>, _locale: usize, arguments: Ptr<u64>) -> i32 {
            Rules::universal(options).to_console(pattern, arguments)
        }
        extern "win64" fn $console_numbered(options: u64, pattern: Ptr<$letter>, _locale: usize, arguments: Ptr<u64>) -> i32 {
            Rules::universal(options).numbered().to_console(pattern, arguments)
        }
    )*};
}

common! {
    u8: __stdio_common_vsprintf __stdio_common_vsprintf_s __stdio_common_vsprintf_p __stdio_common_vsnprintf_s
        __stdio_common_vfprintf __stdio_common_vfprintf_p to_file __conio_common_vcprintf __conio_common_vcprintf_p;
    u16: __stdio_common_vswprintf __stdio_common_vswprintf_s __stdio_common_vswprintf_p __stdio_common_vsnwprintf_s
        __stdio_common_vfwprintf __stdio_common_vfwprintf_p to_file_wide __conio_common_vcwprintf __conio_common_vcwprintf_p;
}

extern "win64" fn _get_printf_count_output() -> i32 {
    counts_allowed().into()
}

/// Allows `%n`, which is forbidden at first; the answer is what was before.
extern "win64" fn _set_printf_count_output(wanted: i32) -> i32 {
    (teb::process().runtime.formats.counts.swap((wanted != 0).into(), SeqCst) != 0).into()
}

extern "win64" fn _get_output_format() -> u32 {
    teb::process().runtime.formats.output_format.load(SeqCst)
}

/// Exponents of two digits (1) or of three (0); anything else is refused.
extern "win64" fn _set_output_format(wanted: u32) -> u32 {
    if wanted > TWO_DIGITS {
        invalid();
        return _get_output_format();
    }
    teb::process().runtime.formats.output_format.swap(wanted, SeqCst)
}

table! {
    /// What both have.
    pub(crate) TABLE: _get_printf_count_output, _set_printf_count_output
}

table! {
    /// What ucrtbase has.
    pub(crate) UCRT:
        __stdio_common_vsprintf, __stdio_common_vsprintf_s, __stdio_common_vsprintf_p, __stdio_common_vsnprintf_s,
        __stdio_common_vswprintf, __stdio_common_vswprintf_s, __stdio_common_vswprintf_p, __stdio_common_vsnwprintf_s,
        __stdio_common_vfprintf, __stdio_common_vfprintf_s = __stdio_common_vfprintf, __stdio_common_vfprintf_p,
        __stdio_common_vfwprintf, __stdio_common_vfwprintf_s = __stdio_common_vfwprintf, __stdio_common_vfwprintf_p,
        __conio_common_vcprintf, __conio_common_vcprintf_s = __conio_common_vcprintf, __conio_common_vcprintf_p,
        __conio_common_vcwprintf, __conio_common_vcwprintf_s = __conio_common_vcwprintf, __conio_common_vcwprintf_p
}

table! {
    /// What msvcrt has.
    pub(crate) MSVCRT: _get_output_format, _set_output_format
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;

    #[test]
    fn room() {
        let mut buffer = [b'#'; 8];
        let mut put_in = |text: &[u8], room: usize, ending: Ending| {
            buffer = [b'#'; 8];
            // SAFETY: the buffer is longer than any room below.
            let n = put(text, unsafe { Ptr::new(buffer.as_mut_ptr()) }, room, ending);
            (n, buffer)
        };
        assert_eq!(put_in(b"abc", 4, Ending::Standard), (3, *b"abc\0####"));
        assert_eq!(put_in(b"abcd", 4, Ending::Standard), (4, *b"abc\0####"));
        assert_eq!(put_in(b"abcd", 4, Ending::Legacy), (4, *b"abcd####"));
        assert_eq!(put_in(b"abcde", 4, Ending::Legacy), (-1, *b"abcd####"));
        assert_eq!(put_in(b"abcde", 4, Ending::Plain), (-2, *b"abc\0####"));
        assert_eq!(put_in(b"abcde", 0, Ending::Standard), (5, *b"########"));
        assert_eq!(put(b"abc", Ptr::NULL, 0, Ending::Standard), 3);
    }
}
