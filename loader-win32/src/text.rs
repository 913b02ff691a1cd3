//! Text between guest and host: UTF-16 and UTF-8, and the rule by which Windows functions return text.

use crate::{
    guest::Ptr,
    kernel32::strings::{ansi, from_ansi},
};
use std::borrow::Cow;

/// Text of either width, for functions that are there for both.
pub(crate) trait Text: Copy + Default + PartialEq {
    /// A text that ends in a zero, without it; nothing of a null pointer.
    fn units(text: Ptr<Self>) -> Vec<u16>;
    /// UTF-16 in this width.
    fn of_units(units: &[u16]) -> Vec<Self>;

    /// A text of ours in this width.
    fn of(text: &str) -> Vec<Self> {
        Self::of_units(&wide(text))
    }
    /// A text that ends in a zero, with what is no character replaced.
    fn string(text: Ptr<Self>) -> String {
        String::from_utf16_lossy(&Self::units(text))
    }
    /// The same; `None` where the pointer is null.
    fn given(text: Ptr<Self>) -> Option<String> {
        (!text.is_null()).then(|| Self::string(text))
    }
}

impl Text for u16 {
    fn units(text: Ptr<Self>) -> Vec<u16> {
        text.text().into_owned()
    }
    fn of_units(units: &[u16]) -> Vec<Self> {
        units.into()
    }
}

impl Text for u8 {
    fn units(text: Ptr<Self>) -> Vec<u16> {
        from_ansi(text.text())
    }
    fn of_units(units: &[u16]) -> Vec<Self> {
        ansi(units)
    }
}

/// What text of either width is made of.
pub(crate) trait Letters: Text {
    fn of_bytes(bytes: &[u8]) -> Vec<Self>;
    fn ascii(letter: u8) -> Self;
    /// The letter, where it is one of ASCII.
    fn letter(self) -> Option<u8>;
    /// A text as the bytes of a narrow one.
    fn bytes(text: &[Self]) -> Cow<'_, [u8]>;
}

impl Letters for u8 {
    fn of_bytes(bytes: &[u8]) -> Vec<Self> {
        bytes.into()
    }
    fn ascii(letter: u8) -> Self {
        letter
    }
    fn letter(self) -> Option<u8> {
        Some(self)
    }
    fn bytes(text: &[Self]) -> Cow<'_, [u8]> {
        text.into()
    }
}

impl Letters for u16 {
    fn of_bytes(bytes: &[u8]) -> Vec<Self> {
        from_ansi(bytes)
    }
    fn ascii(letter: u8) -> Self {
        letter.into()
    }
    fn letter(self) -> Option<u8> {
        self.try_into().ok()
    }
    fn bytes(text: &[Self]) -> Cow<'_, [u8]> {
        ansi(text).into()
    }
}

/// The value of a decimal digit of any script, as Windows knows them.
pub(crate) fn digit(unit: u16) -> Option<u32> {
    const ZEROS: [u16; 18] = [
        0x30, 0x660, 0x6f0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xc66, 0xce6, 0xd66, 0xe50, 0xed0, 0xf20,
        0x1040, 0x17e0, 0x1810, 0xff10,
    ];
    let before = ZEROS.partition_point(|&zero| zero <= unit);
    let zero = before.checked_sub(1).map(|at| ZEROS[at])?;
    Some(u32::from(unit - zero)).filter(|&value| value < 10)
}

/// UTF-16 without a terminator.
pub(crate) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

/// UTF-16 with a terminator.
pub(crate) fn wide_z(text: &str) -> Vec<u16> {
    let mut wide = Vec::with_capacity(text.len() + 1); // a character never takes more units than bytes
    match text.is_ascii() {
        true => wide.extend(text.bytes().map(u16::from)), // many at a time
        false => wide.extend(text.encode_utf16()),
    }
    wide.push(0);
    wide
}

/// Copies `text` and a zero into `room` elements; where it does not fit, writes nothing and returns the room needed.
/// This is how `GetEnvironmentVariable`, `GetCurrentDirectory`, `GetTempPath` and others answer.
pub(crate) fn answer<T: Copy + Default>(text: &[T], to: Ptr<T>, room: u32) -> u32 {
    if text.len() < room as usize && !to.is_null() {
        to.fill(text);
        to.at(text.len()).put(T::default());
        length(text.len())
    } else {
        length(text.len() + 1)
    }
}

/// A length as Windows counts it.
pub(crate) fn length(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
