//! Text between guest and host: UTF-16 and UTF-8, and the rule by which Windows functions return text.

use crate::{
    guest::Ptr,
    kernel32::strings::{ansi, from_ansi},
};

/// Text of either width, for functions that are there for both.
pub(crate) trait Text: Copy + Default {
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

/// UTF-8 of units, with those that stand alone as if they were characters: what is put together of such pieces may be
/// whole again.
pub(crate) fn loose(units: &[u16]) -> Vec<u8> {
    let mut out = Vec::with_capacity(units.len());
    for c in char::decode_utf16(units.iter().copied()) {
        match c {
            Ok(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(alone) => {
                let unit = alone.unpaired_surrogate();
                out.extend([0xed, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8]);
            }
        }
    }
    out
}

/// Calls with what comes between units that stand alone, and with those units.
fn pieces(mut bytes: &[u8], mut text: impl FnMut(&[u8], Option<u16>)) {
    let alone = |three: &[u8]| matches!(three, [0xed, 0xa0..=0xbf, 0x80..=0xbf]);
    while let Some(at) = bytes.windows(3).position(alone) {
        let unit = 0xd000 | u16::from(bytes[at + 1] & 0x3f) << 6 | u16::from(bytes[at + 2] & 0x3f);
        text(&bytes[..at], Some(unit));
        bytes = &bytes[at + 3..];
    }
    text(bytes, None);
}

/// Units of what [`loose`] made.
pub(crate) fn of_loose(bytes: &[u8]) -> Vec<u16> {
    let mut out = Vec::with_capacity(bytes.len());
    pieces(bytes, |text, alone| {
        out.extend(String::from_utf8_lossy(text).encode_utf16());
        out.extend(alone);
    });
    out
}

/// The same as UTF-8, with units that stand alone replaced; bytes that are none of it stay as they are.
pub(crate) fn strict(bytes: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    pieces(&bytes, |text, alone| {
        out.extend_from_slice(text);
        out.extend_from_slice(if alone.is_some() { "\u{fffd}".as_bytes() } else { b"" });
    });
    out
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
