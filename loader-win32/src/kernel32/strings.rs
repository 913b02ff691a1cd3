//! Text: code pages, classes of characters, comparison, and the small `lstr` functions.
//!
//! The ANSI and OEM code pages are UTF-8. Also known: 1252, 28591 (Latin-1), 20127 (ASCII) and 65000 (UTF-7).

use super::{Bool, FALSE, TRUE, error::code, fail, utf7};
use crate::{guest::Ptr, text};
use std::borrow::Cow;

const UTF8: u32 = 65001;
const UTF7: u32 = 65000;
const ERR_INVALID_CHARS: u32 = 8;
/// Precomposed, composite, glyphs for control characters, and the above.
const DECODING_FLAGS: u32 = 15;
const WC_ERR_INVALID_CHARS: u32 = 0x80;
/// Characters that are put together, what becomes of those that cannot be, the above, and no likenesses.
const ENCODING_FLAGS: u32 = 0x6f0;

/// The code page that a number stands for, or `None` where it is not known.
fn code_page(number: u32) -> Option<u32> {
    match number {
        0..=3 | UTF8 => Some(UTF8), // ACP, OEMCP, MACCP, THREAD_ACP
        UTF7 | 1252 | 28591 | 20127 => Some(number),
        _ => None,
    }
}

/// What the bytes from 0x80 to 0x9f mean in code page 1252, where Latin-1 has control characters.
const SIGNS_OF_1252: [u16; 32] = [
    0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d,
    0x17d, 0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a,
    0x153, 0x9d, 0x17e, 0x178,
];

/// What a byte means in a code page where each is a character.
fn unit_of(page: u32, byte: u8) -> u16 {
    match byte {
        0x80..=0x9f if page == 1252 => SIGNS_OF_1252[usize::from(byte - 0x80)],
        _ => byte.into(),
    }
}

/// The byte that means a character in such a code page.
fn byte_of(page: u32, unit: u32) -> Option<u8> {
    let sign = || (0x80..=0x9f).find(|&byte| u32::from(unit_of(page, byte)) == unit);
    match (page, unit) {
        (1252, 0x80..=0x9f | 0x100..) => sign(),
        (20127, 0x80..) => None,
        _ => u8::try_from(unit).ok(),
    }
}

/// The characters of UTF-8, `None` for what is none. What begins like one counts as one, with a second byte that could
/// follow, even where that would make it too long, a surrogate, or beyond the last character.
pub(crate) fn characters(bytes: &[u8]) -> impl Iterator<Item = Option<char>> {
    let mut taken = false;
    bytes.utf8_chunks().flat_map(move |chunk| {
        let (valid, invalid) = (chunk.valid(), chunk.invalid());
        let follows = taken && valid.is_empty() && matches!(invalid, [0x80..=0xbf]);
        taken = matches!(invalid, [0xe0 | 0xed | 0xf0 | 0xf4]);
        let broken = (!invalid.is_empty() && !follows).then_some(None);
        valid.chars().map(Some).chain(broken)
    })
}

/// UTF-16 of bytes, and whether all of them mean something.
fn decode(page: u32, bytes: &[u8]) -> (Vec<u16>, bool) {
    match page {
        UTF8 => match std::str::from_utf8(bytes) {
            Ok(text) => (text::wide(text), true),
            Err(_) => {
                let all = characters(bytes).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
                (all.flat_map(|c| c.encode_utf16(&mut [0; 2]).to_vec()).collect(), false)
            }
        },
        UTF7 => (utf7::decode(bytes), true),
        _ => (bytes.iter().map(|&b| unit_of(page, b)).collect(), page != 20127 || bytes.is_ascii()),
    }
}

/// Bytes of UTF-16, whether something was replaced, and whether no unit stands alone.
fn encode(page: u32, units: &[u16], default: u8) -> (Vec<u8>, bool, bool) {
    if page == UTF7 {
        return (utf7::encode(units), false, true);
    }
    let (mut replaced, mut whole) = (false, true);
    let mut out = Vec::with_capacity(units.len());
    for c in char::decode_utf16(units.iter().copied()) {
        whole &= c.is_ok();
        let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
        if page == UTF8 {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let byte = byte_of(page, c.into());
        replaced |= byte.is_none();
        out.push(byte.unwrap_or(default));
    }
    (out, replaced, whole)
}

/// The same text in the ANSI code page.
pub(crate) fn ansi(units: &[u16]) -> Vec<u8> {
    encode(UTF8, units, b'?').0
}

/// The same text in UTF-16, of the ANSI code page.
pub(crate) fn from_ansi(bytes: &[u8]) -> Vec<u16> {
    decode(UTF8, bytes).0
}

/// The elements that a length stands for: a count, or -1 for everything up to and with the zero.
fn counted<T: Copy + Default + PartialEq>(from: &Ptr<T>, len: i32) -> Cow<'_, [T]> {
    from.slice(usize::try_from(len).unwrap_or_else(|_| from.count(usize::MAX).saturating_add(1)))
}

/// Gives a converted text: its length where there is no room asked for, otherwise all of it or the error.
pub(crate) fn give<T: Copy>(text: &[T], to: Ptr<T>, room: i32) -> i32 {
    let len = i32::try_from(text.len()).unwrap_or(i32::MAX);
    if room == 0 {
        return len;
    }
    let fit = usize::try_from(room.min(len)).unwrap_or(0);
    to.fill(&text[..fit]);
    if len > room { fail(code::INSUFFICIENT_BUFFER) } else { len }
}

/// A text with something in it that means nothing is given, but where that was to be said it is no success.
fn strictly(given: i32, fine: bool) -> i32 {
    if fine || given == 0 { given } else { fail(code::NO_UNICODE_TRANSLATION) }
}

extern "win64" fn MultiByteToWideChar(
    page: u32,
    flags: u32,
    from: Ptr<u8>,
    len: i32,
    to: Ptr<u16>,
    room: i32,
) -> i32 {
    let Some(page) = code_page(page).filter(|_| len != 0 && room >= 0 && !from.is_null()) else {
        return fail(code::INVALID_PARAMETER);
    };
    if flags & !DECODING_FLAGS != 0 || page == UTF7 && flags != 0 {
        return fail(code::INVALID_FLAGS);
    }
    if to.is_null() && room > 0 {
        return fail(code::INVALID_PARAMETER);
    }
    let (wide, whole) = decode(page, &counted(&from, len));
    strictly(give(&wide, to, room), whole || flags & ERR_INVALID_CHARS == 0)
}

extern "win64" fn WideCharToMultiByte(
    page: u32,
    flags: u32,
    from: Ptr<u16>,
    len: i32,
    to: Ptr<u8>,
    room: i32,
    default: Ptr<u8>,
    used: Ptr<Bool>,
) -> i32 {
    let Some(page) = code_page(page).filter(|_| len != 0 && room >= 0 && !from.is_null()) else {
        return fail(code::INVALID_PARAMETER);
    };
    if to.is_null() && room > 0 {
        return fail(code::INVALID_PARAMETER);
    }
    if [UTF8, UTF7].contains(&page) && !(default.is_null() && used.is_null()) {
        return fail(code::INVALID_PARAMETER);
    }
    if flags & !ENCODING_FLAGS != 0 || page == UTF7 && flags != 0 {
        return fail(code::INVALID_FLAGS);
    }
    let instead = if default.is_null() { b'?' } else { default.get() };
    let (bytes, replaced, whole) = encode(page, &counted(&from, len), instead);
    used.put(replaced.into());
    strictly(give(&bytes, to, room), whole || flags & WC_ERR_INVALID_CHARS == 0)
}

extern "win64" fn GetACP() -> u32 {
    UTF8
}

extern "win64" fn IsValidCodePage(page: u32) -> Bool {
    if page > 3 && code_page(page).is_some() { TRUE } else { fail(code::INVALID_PARAMETER) }
}

/// `CPINFO`.
#[repr(C)]
#[derive(Clone, Copy)]
struct CodePageInfo {
    max_char_size: u32,
    default_char: [u8; 2],
    lead_bytes: [u8; 12],
}

extern "win64" fn GetCPInfo(page: u32, out: Ptr<CodePageInfo>) -> Bool {
    let Some(page) = code_page(page).filter(|_| !out.is_null()) else {
        return fail(code::INVALID_PARAMETER);
    };
    let max_char_size = match page {
        UTF8 => 4,
        UTF7 => 5,
        _ => 1,
    };
    out.put(CodePageInfo { max_char_size, default_char: [b'?', 0], lead_bytes: [0; 12] });
    TRUE
}

/// `CPINFOEXW`.
#[repr(C)]
#[derive(Clone, Copy)]
struct CodePageDetails {
    max_char_size: u32,
    default_char: [u8; 2],
    lead_bytes: [u8; 12],
    wide_default: u16,
    page: u32,
    name: [u16; 260],
}

const _: () = assert!(size_of::<CodePageDetails>() == 544);

extern "win64" fn GetCPInfoExW(page: u32, flags: u32, out: Ptr<CodePageDetails>) -> Bool {
    if flags != 0 || GetCPInfo(page, out.cast()) == FALSE {
        return fail(code::INVALID_PARAMETER);
    }
    let CodePageInfo { max_char_size, default_char, lead_bytes } = out.cast().get();
    let page = code_page(page).unwrap_or(page);
    let known = if page == UTF8 { format!("{page} (UTF-8)") } else { page.to_string() };
    let mut name = [0; 260];
    name.iter_mut().zip(known.encode_utf16()).for_each(|(to, unit)| *to = unit);
    let wide_default = if page == UTF8 { 0xfffd } else { u16::from(b'?') };
    out.set(CodePageDetails { max_char_size, default_char, lead_bytes, wide_default, page, name });
    TRUE
}

/// UTF-8 has no lead bytes in the sense of the double-byte code pages.
extern "win64" fn IsDBCSLeadByteEx(_page: u32, _byte: u8) -> Bool {
    FALSE
}

extern "win64" fn IsDBCSLeadByte(_byte: u8) -> Bool {
    FALSE
}

const CTYPE1: u32 = 1;
const CTYPE2: u32 = 2;
const CTYPE3: u32 = 4;

/// The class bits of a UTF-16 unit. Surrogates belong to no class of the first kind.
pub(crate) fn class(unit: u16) -> u16 {
    let Some(c) = char::from_u32(unit.into()) else {
        return 0x200;
    };
    let bits = [
        (c.is_uppercase(), 1),
        (c.is_lowercase(), 2),
        (text::digit(unit).is_some(), 4),
        (matches!(c, '\t'..='\r' | ' ' | '\u{85}' | '\u{a0}') || c.is_whitespace(), 8),
        (c.is_ascii_punctuation() || is_latin_sign(c), 0x10),
        (c.is_control(), 0x20),
        (matches!(c, ' ' | '\t' | '\u{a0}'), 0x40),
        (c.is_ascii_hexdigit() || is_wide_hexdigit(c), 0x80),
        (c.is_alphabetic(), 0x100),
    ];
    bits.iter().filter(|b| b.0).fold(0x200, |sum, b| sum | b.1)
}

fn is_wide_hexdigit(c: char) -> bool {
    matches!(c, '\u{ff10}'..='\u{ff19}' | '\u{ff21}'..='\u{ff26}' | '\u{ff41}'..='\u{ff46}')
}

fn is_latin_sign(c: char) -> bool {
    matches!(c, '\u{a1}'..='\u{bf}' | '\u{d7}' | '\u{f7}') && !c.is_alphanumeric()
}

extern "win64" fn GetStringTypeW(kind: u32, from: Ptr<u16>, len: i32, out: Ptr<u16>) -> Bool {
    let of = |unit: u16| match kind {
        CTYPE1 => Some(class(unit)),
        CTYPE2 => Some(match class(unit) {
            c if c & 0x100 != 0 => 1, // left to right
            c if c & 4 != 0 => match unit {
                0x660..=0x669 => 6,                          // Arabic number
                0x30..=0x39 | 0x6f0..=0x6f9 | 0xff10.. => 3, // European number
                _ => 1,
            },
            c if c & 8 != 0 => 10, // white space
            _ => 11,               // other neutral
        }),
        CTYPE3 => Some(if class(unit) & 0x100 != 0 { 0x8000 } else { 0 }),
        _ => None,
    };
    let classes: Option<Vec<u16>> = counted(&from, len).iter().map(|&u| of(u)).collect();
    match classes {
        Some(classes) => {
            out.fill(&classes);
            TRUE
        }
        None => fail(code::INVALID_PARAMETER),
    }
}

extern "win64" fn GetStringTypeExW(_locale: u32, kind: u32, from: Ptr<u16>, len: i32, out: Ptr<u16>) -> Bool {
    GetStringTypeW(kind, from, len, out)
}

const LOWERCASE: u32 = 0x100;
const UPPERCASE: u32 = 0x200;
const SORTKEY: u32 = 0x400;
const BYTEREV: u32 = 0x800;

/// A UTF-16 unit in the other case, where that is one unit too. Windows' tables turn only what comes back: the micro sign
/// and the theta sign do not.
pub(crate) fn to_case(unit: u16, upper: bool) -> u16 {
    if matches!((unit, upper), (0xb5, true) | (0x3f4, false)) {
        return unit;
    }
    let Some(c) = char::from_u32(unit.into()) else {
        return unit;
    };
    let mut turned = c.to_uppercase();
    let mut lowered = c.to_lowercase();
    let (first, rest) = if upper { (turned.next(), turned.next()) } else { (lowered.next(), lowered.next()) };
    match (first, rest) {
        (Some(c), None) => u16::try_from(u32::from(c)).unwrap_or(unit),
        _ => unit,
    }
}

fn cased(flags: u32, unit: u16) -> u16 {
    match flags & (LOWERCASE | UPPERCASE) {
        LOWERCASE => to_case(unit, false),
        UPPERCASE => to_case(unit, true),
        _ => unit,
    }
}

/// Maps case; a sort key is the text itself, which sorts by code.
fn map_string(flags: u32, from: Ptr<u16>, len: i32, to: Ptr<u16>, room: i32) -> i32 {
    let units = counted(&from, len);
    if units.is_empty() || room < 0 || flags & BYTEREV != 0 {
        return fail(code::INVALID_PARAMETER);
    }
    if flags & (LOWERCASE | UPPERCASE) == LOWERCASE | UPPERCASE {
        return fail(code::INVALID_FLAGS);
    }
    if flags & SORTKEY != 0 {
        let key: Vec<u8> = units.iter().flat_map(|u| u.to_be_bytes()).chain([0]).collect();
        return give(&key, to.cast(), room);
    }
    let mapped: Vec<u16> = units.iter().map(|&unit| cased(flags, unit)).collect();
    give(&mapped, to, room)
}

extern "win64" fn LCMapStringEx(
    _locale: Ptr<u16>,
    flags: u32,
    from: Ptr<u16>,
    len: i32,
    to: Ptr<u16>,
    room: i32,
    _version: usize,
    _reserved: usize,
    _sort: usize,
) -> i32 {
    map_string(flags, from, len, to, room)
}

extern "win64" fn LCMapStringA(
    _locale: u32,
    flags: u32,
    from: Ptr<u8>,
    len: i32,
    to: Ptr<u8>,
    room: i32,
) -> i32 {
    let bytes = counted(&from, len);
    if from.is_null() || bytes.is_empty() || room < 0 || flags & (BYTEREV | SORTKEY) != 0 {
        return fail(code::INVALID_PARAMETER);
    }
    let units: Vec<u16> = decode(UTF8, &bytes).0;
    let mapped: Vec<u16> = units.iter().map(|&unit| cased(flags, unit)).collect();
    give(String::from_utf16_lossy(&mapped).as_bytes(), to, room)
}

extern "win64" fn LCMapStringW(
    _locale: u32,
    flags: u32,
    from: Ptr<u16>,
    len: i32,
    to: Ptr<u16>,
    room: i32,
) -> i32 {
    map_string(flags, from, len, to, room)
}

const LESS: i32 = 1;
pub(crate) const EQUAL: i32 = 2;
const GREATER: i32 = 3;
pub(crate) const NORM_IGNORECASE: u32 = 1;

fn ordering(order: std::cmp::Ordering) -> i32 {
    match order {
        std::cmp::Ordering::Less => LESS,
        std::cmp::Ordering::Equal => EQUAL,
        std::cmp::Ordering::Greater => GREATER,
    }
}

/// Compares as people sort: signs before digits before letters, and case only where all else is equal, the small letter
/// first. Letters with accents are letters of their own here.
pub(crate) fn collate(one: &[u16], other: &[u16], flags: u32) -> i32 {
    let rank = |unit: u16| match class(unit) {
        bits if bits & 0x100 != 0 => 2,
        bits if bits & 4 != 0 => 1,
        _ => 0,
    };
    let letters = |units: &[u16]| -> Vec<(u8, u16)> {
        units.iter().map(|&unit| (rank(unit), to_case(unit, true))).collect()
    };
    let capitals = |units: &[u16]| -> Vec<bool> { units.iter().map(|&unit| class(unit) & 1 != 0).collect() };
    let order = letters(one).cmp(&letters(other));
    ordering(if flags & NORM_IGNORECASE == 0 {
        order.then_with(|| capitals(one).cmp(&capitals(other)))
    } else {
        order
    })
}

/// Compares by code, with or without case.
fn compare(one: &[u16], other: &[u16], ignore_case: bool) -> i32 {
    let key = |units: &[u16]| -> Vec<u16> {
        units.iter().map(|&u| if ignore_case { to_case(u, true) } else { u }).collect()
    };
    ordering(key(one).cmp(&key(other)))
}

/// Without the zero that a length of -1 includes.
fn bare(units: &[u16], len: i32) -> &[u16] {
    if len < 0 { units.split_last().map_or(&[], |(_, rest)| rest) } else { units }
}

extern "win64" fn CompareStringOrdinal(
    one: Ptr<u16>,
    n: i32,
    other: Ptr<u16>,
    m: i32,
    ignore_case: Bool,
) -> i32 {
    if one.is_null() || other.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    compare(bare(&counted(&one, n), n), bare(&counted(&other, m), m), ignore_case != 0)
}

extern "win64" fn CompareStringW(
    _locale: u32,
    flags: u32,
    one: Ptr<u16>,
    n: i32,
    other: Ptr<u16>,
    m: i32,
) -> i32 {
    if one.is_null() || other.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    collate(bare(&counted(&one, n), n), bare(&counted(&other, m), m), flags)
}

extern "win64" fn CompareStringA(
    _locale: u32,
    flags: u32,
    one: Ptr<u8>,
    n: i32,
    other: Ptr<u8>,
    m: i32,
) -> i32 {
    if one.is_null() || other.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    let wide = |text: &Ptr<u8>, len: i32| from_ansi(&counted(text, len));
    collate(bare(&wide(&one, n), n), bare(&wide(&other, m), m), flags)
}

extern "win64" fn CompareStringEx(
    _locale: Ptr<u16>,
    flags: u32,
    one: Ptr<u16>,
    n: i32,
    other: Ptr<u16>,
    m: i32,
    _version: usize,
    _reserved: usize,
    _param: usize,
) -> i32 {
    CompareStringW(0, flags, one, n, other, m)
}

table! {
    /// Text.
    pub(crate) TABLE:
        MultiByteToWideChar, WideCharToMultiByte, GetACP, GetOEMCP = GetACP, IsValidCodePage, GetCPInfo, GetCPInfoExW, IsDBCSLeadByteEx,
        IsDBCSLeadByte, GetStringTypeW, GetStringTypeExW, LCMapStringEx, LCMapStringW, LCMapStringA, CompareStringOrdinal, CompareStringW, CompareStringA,
        CompareStringEx
}
