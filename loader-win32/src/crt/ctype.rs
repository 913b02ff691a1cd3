//! Classes of characters, in the "C" locale.

use super::wide::ascii_case;
use crate::kernel32::strings;
use std::sync::atomic::{AtomicI32, AtomicPtr};

const UPPER: u16 = 1;
const LOWER: u16 = 2;
const DIGIT: u16 = 4;
const SPACE: u16 = 8;
const PUNCT: u16 = 0x10;
const CONTROL: u16 = 0x20;
const BLANK: u16 = 0x40;
const HEX: u16 = 0x80;
const ALPHA: u16 = 0x103;

/// The class bits of a byte.
const fn bits(b: u8) -> u16 {
    let mut bits = 0;
    if b.is_ascii_uppercase() {
        bits |= UPPER | 0x100;
    }
    if b.is_ascii_lowercase() {
        bits |= LOWER | 0x100;
    }
    if b.is_ascii_digit() {
        bits |= DIGIT;
    }
    if matches!(b, 9..=13 | b' ') {
        bits |= SPACE;
    }
    if b.is_ascii_punctuation() {
        bits |= PUNCT;
    }
    if b.is_ascii_control() {
        bits |= CONTROL;
    }
    if matches!(b, b' ') {
        bits |= BLANK;
    }
    if b.is_ascii_hexdigit() {
        bits |= HEX;
    }
    bits
}

/// Bits for -1 (the end of a file) and every byte.
static CLASSES: [u16; 257] = {
    let mut table = [0; 257];
    let mut i = 0;
    while i < 256 {
        table[i + 1] = bits(i as u8);
        i += 1;
    }
    table
};

pub(crate) extern "win64" fn __pctype_func() -> *const u16 {
    CLASSES[1..].as_ptr()
}

/// The class bits of a wide character. What is blank is told otherwise than the system does.
fn class(unit: u16) -> u16 {
    const BLANKS: [u16; 3] = [0x20, 0x3000, 0xfeff];
    strings::class(unit) & !BLANK | if BLANKS.contains(&unit) { BLANK } else { 0 }
}

fn of(c: i32) -> u16 {
    u8::try_from(c).map_or(0, bits)
}

macro_rules! classes {
    ($($name:ident $wide:ident: $mask:expr;)*) => {$(
        pub(crate) extern "win64" fn $name(c: i32) -> i32 {
            (of(c) & $mask).into()
        }
        pub(crate) extern "win64" fn $wide(c: u16) -> i32 {
            (class(c) & $mask).into()
        }
    )*};
}

classes! {
    isalpha iswalpha: ALPHA;
    isupper iswupper: UPPER;
    islower iswlower: LOWER;
    isdigit iswdigit: DIGIT;
    isxdigit iswxdigit: HEX;
    isspace iswspace: SPACE;
    ispunct iswpunct: PUNCT;
    isalnum iswalnum: ALPHA | DIGIT;
    isprint iswprint: ALPHA | DIGIT | PUNCT | BLANK;
    isgraph iswgraph: ALPHA | DIGIT | PUNCT;
    iscntrl iswcntrl: CONTROL;
}

extern "win64" fn isblank(c: i32) -> i32 {
    [9, 32].contains(&c).into()
}

extern "win64" fn __isascii(c: i32) -> i32 {
    (0..128).contains(&c).into()
}

extern "win64" fn _isctype(c: i32, mask: i32) -> i32 {
    i32::from(of(c)) & mask
}

extern "win64" fn iswctype(c: u16, mask: u16) -> i32 {
    (class(c) & mask).into()
}

extern "win64" fn tolower(c: i32) -> i32 {
    u8::try_from(c).map_or(c, |b| b.to_ascii_lowercase().into())
}

extern "win64" fn toupper(c: i32) -> i32 {
    u8::try_from(c).map_or(c, |b| b.to_ascii_uppercase().into())
}

/// Without a question whether it is a letter of the other case.
extern "win64" fn _tolower(c: i32) -> i32 {
    c - i32::from(b'A') + i32::from(b'a')
}

extern "win64" fn _toupper(c: i32) -> i32 {
    c - i32::from(b'a') + i32::from(b'A')
}

extern "win64" fn towlower(c: u16) -> u16 {
    ascii_case(c, false)
}

extern "win64" fn towupper(c: u16) -> u16 {
    ascii_case(c, true)
}

/// The class that a name stands for.
extern "win64" fn wctype(name: crate::guest::Ptr<u8>) -> u16 {
    match name.text() {
        b"alnum" => ALPHA | DIGIT,
        b"alpha" => ALPHA,
        b"cntrl" => CONTROL,
        b"digit" => DIGIT,
        b"graph" => ALPHA | DIGIT | PUNCT,
        b"lower" => LOWER,
        b"print" => ALPHA | DIGIT | PUNCT | BLANK,
        b"punct" => PUNCT,
        b"blank" | b"space" => SPACE,
        b"upper" => UPPER,
        b"xdigit" => HEX,
        _ => 0,
    }
}

extern "win64" fn __iscsym(c: i32) -> i32 {
    (isalnum(c) != 0 || c == i32::from(b'_')).into()
}

extern "win64" fn __iscsymf(c: i32) -> i32 {
    (isalpha(c) != 0 || c == i32::from(b'_')).into()
}

extern "win64" fn __toascii(c: i32) -> i32 {
    c & 0x7f
}

extern "win64" fn iswascii(c: u16) -> i32 {
    (c < 0x80).into()
}

extern "win64" fn iswblank(c: u16) -> i32 {
    if c == 9 { BLANK.into() } else { (class(c) & BLANK).into() }
}

/// In a locale a tab is none.
extern "win64" fn _isblank_l(c: i32) -> i32 {
    (of(c) & BLANK).into()
}

extern "win64" fn isleadbyte(_c: i32) -> i32 {
    0
}

/// Variables of msvcrt: the table of classes, and how many bytes a character has at most.
static CLASS_TABLE: AtomicPtr<u16> = AtomicPtr::new((&raw const CLASSES[1]).cast_mut());
static LONGEST_CHARACTER: AtomicI32 = AtomicI32::new(1);

table! {
    /// What msvcrt has.
    pub(crate) MSVCRT: _pctype = &raw const CLASS_TABLE, __mb_cur_max = &raw const LONGEST_CHARACTER
}

table! {
    /// Classes.
    pub(crate) TABLE:
        __pctype_func, isalpha, iswalpha, isupper, iswupper, islower, iswlower, isdigit, iswdigit, isxdigit, iswxdigit,
        isspace, iswspace, ispunct, iswpunct, isalnum, iswalnum, isprint, iswprint, isgraph, iswgraph, iscntrl, iswcntrl,
        isblank, iswblank, __isascii, isascii = __isascii, __toascii, toascii = __toascii, iswascii, __iscsym, iscsym = __iscsym,
        __iscsymf, iscsymf = __iscsymf, isleadbyte, _isctype, iswctype, is_wctype = iswctype, tolower, _tolower, toupper,
        _toupper, towlower, towupper, wctype
}

table! {
    /// The same in a locale that is passed last, which is always "C": the argument is not looked at.
    pub(crate) IN_LOCALES:
        _isalpha_l = isalpha, _iswalpha_l = iswalpha, _isupper_l = isupper, _iswupper_l = iswupper, _islower_l = islower,
        _iswlower_l = iswlower, _isdigit_l = isdigit, _iswdigit_l = iswdigit, _isxdigit_l = isxdigit,
        _iswxdigit_l = iswxdigit, _isspace_l = isspace, _iswspace_l = iswspace, _ispunct_l = ispunct, _iswpunct_l = iswpunct,
        _isalnum_l = isalnum, _iswalnum_l = iswalnum, _isprint_l = isprint, _iswprint_l = iswprint, _isgraph_l = isgraph,
        _iswgraph_l = iswgraph, _iscntrl_l = iscntrl, _iswcntrl_l = iswcntrl, _isleadbyte_l = isleadbyte,
        _isctype_l = _isctype, _iswctype_l = iswctype, _tolower_l = tolower, _toupper_l = toupper, _towlower_l = towlower,
        _towupper_l = towupper, _isblank_l, _iswblank_l = iswblank
}
