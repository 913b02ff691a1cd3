//! C functions that ntdll has in its own way: numbers that do not fit are cut off, letters have the case of the system,
//! and classes of characters end with Latin-1.

use super::unicode::RtlAnsiCharToUnicodeChar;
use crate::{
    guest::Ptr,
    kernel32::strings::{ansi, to_case},
};

/// The number at the start of a text: 32 bits of it.
fn number(units: impl Iterator<Item = u16>) -> i32 {
    let blank = |unit: &u16| matches!(unit, 9..=13 | 0x20 | 0xa0);
    let mut units = units.skip_while(blank).peekable();
    let sign = units.next_if(|unit| [b'-', b'+'].map(u16::from).contains(unit));
    let digits = units.map_while(|unit| char::from_u32(unit.into()).and_then(|c| c.to_digit(10)));
    let amount = digits.fold(0u32, |n, digit| n.wrapping_mul(10).wrapping_add(digit)).cast_signed();
    if sign == Some(b'-'.into()) { amount.wrapping_neg() } else { amount }
}

extern "win64" fn atoi(text: Ptr<u8>) -> i32 {
    number(text.text().iter().map(|&byte| byte.into()))
}

extern "win64" fn _wtoi(text: Ptr<u16>) -> i32 {
    number(text.text().iter().copied())
}

/// Only letters of Latin-1 are made small.
extern "win64" fn towlower(unit: u16) -> u16 {
    match unit {
        0..0x100 => to_case(unit, false),
        _ => unit,
    }
}

extern "win64" fn towupper(unit: u16) -> u16 {
    to_case(unit, true)
}

extern "win64" fn tolower(c: i32) -> i32 {
    if (c as u8).is_ascii_uppercase() { c + 32 } else { c }
}

/// Of a character of two bytes, the first of which is the lower one here and the upper one in what comes out.
extern "win64" fn toupper(c: i32) -> i32 {
    let [first, second, ..] = c.to_le_bytes();
    let text = [first, second, 0];
    let mut at = text.as_ptr().expose_provenance();
    let unit = RtlAnsiCharToUnicodeChar(Ptr::from_guest((&raw mut at).expose_provenance() as u64));
    match *ansi(&[to_case(unit, true)]) {
        [one] => one.into(),
        [one, two] => u16::from_be_bytes([one, two]).into(),
        _ => c,
    }
}

const UPPER: u16 = 1;
const LOWER: u16 = 2;
const DIGIT: u16 = 4;
const SPACE: u16 = 8;
const PUNCT: u16 = 0x10;
const CONTROL: u16 = 0x20;
const BLANK: u16 = 0x40;
const HEX: u16 = 0x80;
const ALPHA: u16 = 0x100;
const LETTERS: u16 = UPPER | LOWER;

/// The class bits of a character of Latin-1.
fn class(unit: u16) -> u16 {
    let Ok(c) = u8::try_from(unit) else { return 0 };
    match c {
        9..=13 => CONTROL | SPACE,
        0..=31 | 0x7f..=0x9f => CONTROL,
        b' ' | 0xa0 => SPACE | BLANK,
        b'0'..=b'9' => DIGIT | HEX,
        b'A'..=b'F' => UPPER | HEX | ALPHA,
        b'a'..=b'f' => LOWER | HEX | ALPHA,
        0xb2 | 0xb3 | 0xb9 => PUNCT | DIGIT,
        0xd7 | 0xf7 => PUNCT,
        b'A'..=b'Z' | 0xc0..=0xde => UPPER | ALPHA,
        b'a'..=b'z' | 0xdf.. => LOWER | ALPHA,
        _ => PUNCT,
    }
}

/// A tab is a blank here.
extern "win64" fn iswctype(unit: u16, mask: u16) -> i32 {
    let tab = if unit == 9 { BLANK } else { 0 };
    ((class(unit) | tab) & mask).into()
}

macro_rules! classes {
    ($($narrow:ident $($wide:ident)?: $mask:expr;)*) => {$(
        /// Of ASCII.
        extern "win64" fn $narrow(c: i32) -> i32 {
            u8::try_from(c).map_or(0, |c| if c.is_ascii() { (class(c.into()) & ($mask)).into() } else { 0 })
        }
        $(extern "win64" fn $wide(unit: u16) -> i32 {
            let letters = if ($mask) & LETTERS == LETTERS { ALPHA } else { 0 };
            (class(unit) & ($mask | letters)).into()
        })?
    )*};
}

classes! {
    isalpha iswalpha: LETTERS;
    isdigit iswdigit: DIGIT;
    islower iswlower: LOWER;
    isupper: UPPER;
    isspace iswspace: SPACE;
    isxdigit iswxdigit: HEX;
    isalnum iswalnum: LETTERS | DIGIT;
    isprint iswprint: LETTERS | DIGIT | PUNCT | BLANK;
    isgraph iswgraph: LETTERS | DIGIT | PUNCT;
    iscntrl: CONTROL;
    ispunct: PUNCT;
}

table! {
    /// ntdll's own.
    pub(crate) TABLE:
        atoi, atol = atoi, _wtoi, _wtol = _wtoi, towlower, towupper, tolower, toupper, iswctype, isalpha, iswalpha, isdigit,
        iswdigit, islower, iswlower, isupper, isspace, iswspace, isxdigit, iswxdigit, isalnum, iswalnum, isprint, iswprint,
        isgraph, iswgraph, iscntrl, ispunct
}
