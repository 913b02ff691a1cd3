//! Texts of given lengths between UTF-16, UTF-8 and the ANSI code page, and whether bytes look like UTF-16.

use crate::{
    guest::Ptr,
    kernel32::strings::{self, ansi, from_ansi, to_case},
    nt::status::{
        BUFFER_TOO_SMALL, INVALID_PARAMETER, INVALID_PARAMETER_4, INVALID_PARAMETER_5, SOME_NOT_MAPPED,
        SUCCESS,
    },
    text::length,
};

/// As many whole elements as there is room for; nothing says that some did not fit.
fn cut<T: Copy>(text: &[T], to: Ptr<T>, room: u32, done: Ptr<u32>) -> u32 {
    let fit = text.len().min(room as usize / size_of::<T>());
    to.fill(&text[..fit]);
    done.put(length(fit * size_of::<T>()));
    SUCCESS
}

extern "win64" fn RtlMultiByteToUnicodeN(
    to: Ptr<u16>,
    room: u32,
    done: Ptr<u32>,
    from: Ptr<u8>,
    len: u32,
) -> u32 {
    cut(&from_ansi(&from.slice(len as usize)), to, room, done)
}

extern "win64" fn RtlUnicodeToMultiByteN(
    to: Ptr<u8>,
    room: u32,
    done: Ptr<u32>,
    from: Ptr<u16>,
    len: u32,
) -> u32 {
    cut(&ansi(&from.slice(len as usize / 2)), to, room, done)
}

extern "win64" fn RtlUpcaseUnicodeToMultiByteN(
    to: Ptr<u8>,
    room: u32,
    done: Ptr<u32>,
    from: Ptr<u16>,
    len: u32,
) -> u32 {
    let units: Vec<u16> = from.slice(len as usize / 2).iter().map(|&unit| to_case(unit, true)).collect();
    cut(&ansi(&units), to, room, done)
}

extern "win64" fn RtlMultiByteToUnicodeSize(out: Ptr<u32>, from: Ptr<u8>, len: u32) -> u32 {
    out.put(length(from_ansi(&from.slice(len as usize)).len() * 2));
    SUCCESS
}

extern "win64" fn RtlUnicodeToMultiByteSize(out: Ptr<u32>, from: Ptr<u16>, len: u32) -> u32 {
    out.put(length(ansi(&from.slice(len as usize / 2)).len()));
    SUCCESS
}

/// Whole characters, as many as there is room for: each comes as its elements, and says whether it was one. Without a
/// place only their length is wanted.
fn characters<T: Copy>(
    characters: impl Iterator<Item = (Vec<T>, bool)>,
    to: Ptr<T>,
    room: u32,
    done: Ptr<u32>,
) -> u32 {
    let (mut out, mut status) = (Vec::new(), SUCCESS);
    let room = if to.is_null() { usize::MAX } else { room as usize / size_of::<T>() };
    for (character, meant) in characters {
        if out.len() + character.len() > room {
            status = BUFFER_TOO_SMALL;
            break;
        }
        if !meant {
            status = SOME_NOT_MAPPED;
        }
        out.extend(character);
    }
    to.fill(&out);
    done.put(length(out.len() * size_of::<T>()));
    status
}

extern "win64" fn RtlUnicodeToUTF8N(to: Ptr<u8>, room: u32, done: Ptr<u32>, from: Ptr<u16>, len: u32) -> u32 {
    match () {
        () if from.is_null() => return INVALID_PARAMETER_4,
        () if done.is_null() => return INVALID_PARAMETER,
        () if !to.is_null() && !len.is_multiple_of(2) => return INVALID_PARAMETER_5,
        () => {}
    }
    let units = from.slice(len as usize / 2);
    let text = char::decode_utf16(units.iter().copied()).map(|c| {
        let bytes =
            c.as_ref().unwrap_or(&char::REPLACEMENT_CHARACTER).encode_utf8(&mut [0; 4]).as_bytes().to_vec();
        (bytes, c.is_ok())
    });
    characters(text, to, room, done)
}

extern "win64" fn RtlUTF8ToUnicodeN(to: Ptr<u16>, room: u32, done: Ptr<u32>, from: Ptr<u8>, len: u32) -> u32 {
    match () {
        () if from.is_null() => return INVALID_PARAMETER_4,
        () if done.is_null() => return INVALID_PARAMETER,
        () => {}
    }
    let bytes = from.slice(len as usize);
    // Of a character of two units the first may be given alone.
    let text = strings::characters(&bytes).flat_map(|c| {
        let units = c.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf16(&mut [0; 2]).to_vec();
        units.into_iter().map(move |unit| (vec![unit], c.is_some()))
    });
    characters(text, to, room, done)
}

const STATISTICS: u32 = 2;
const CONTROLS: u32 = 4;
const SIGNATURE: u32 = 8;
const REVERSE_CONTROLS: u32 = 0x40;
const REVERSE_SIGNATURE: u32 = 0x80;
const ILLEGAL_CHARS: u32 = 0x100;
const ODD_LENGTH: u32 = 0x200;
const NULL_BYTES: u32 = 0x1000;
/// What speaks for UTF-16, and what against it.
const FOR: u32 = 0xf;
const AGAINST: u32 = 0xf0 | 0xf00;

/// What bytes look like, of the things that are asked; UTF-16 where something speaks for it and nothing against it. Of
/// the statistics only the plainest is done: whether the high bytes vary far less than the low ones.
extern "win64" fn RtlIsTextUnicode(from: Ptr<u8>, len: u32, out: Ptr<u32>) -> u8 {
    const MOST: usize = 256;
    let asked = if out.is_null() { u32::MAX } else { out.get() };
    let bytes = from.slice(len as usize);
    let units: Vec<u16> =
        bytes.as_chunks().0.iter().take(MOST).map(|&pair| u16::from_le_bytes(pair)).collect();
    let has = |signs: &[u16]| units.iter().any(|unit| signs.contains(unit));
    let variation = |byte: usize| -> u32 {
        let bytes = units.iter().map(|unit| i32::from(unit.to_le_bytes()[byte]));
        bytes.clone().zip(bytes.skip(1)).map(|(a, b)| a.abs_diff(b)).sum()
    };
    let all_ones = units.iter().filter(|&&unit| unit == 0).count() < units.len();
    let tests = [
        (STATISTICS, units.len() > 1 && all_ones && variation(1).saturating_mul(3) < variation(0)),
        (CONTROLS, has(&[0xd, 0xa, 0x9, 0x20, 0x3000])),
        (SIGNATURE, units.first() == Some(&0xfeff)),
        (REVERSE_CONTROLS, has(&[0xd00, 0xa00, 0x900, 0x2000])),
        (REVERSE_SIGNATURE, units.first() == Some(&0xfffe)),
        (ILLEGAL_CHARS, units.iter().skip(1).any(|unit| [0xfffe, 0xffff].contains(unit))),
        (ODD_LENGTH, !len.is_multiple_of(2)),
        (NULL_BYTES, units.iter().any(|unit| *unit != 0 && unit.to_le_bytes().contains(&0))),
    ];
    let seen = tests.iter().filter(|test| test.1).fold(0, |seen, test| seen | test.0) & asked;
    out.put(seen);
    (seen & AGAINST == 0 && seen & FOR != 0).into()
}

table! {
    /// Conversions.
    pub(crate) TABLE:
        RtlMultiByteToUnicodeN, RtlOemToUnicodeN = RtlMultiByteToUnicodeN, RtlUnicodeToMultiByteN,
        RtlUnicodeToOemN = RtlUnicodeToMultiByteN, RtlUpcaseUnicodeToMultiByteN,
        RtlUpcaseUnicodeToOemN = RtlUpcaseUnicodeToMultiByteN, RtlMultiByteToUnicodeSize, RtlUnicodeToMultiByteSize,
        RtlUnicodeToUTF8N, RtlUTF8ToUnicodeN, RtlIsTextUnicode
}
