//! Classes of characters, in the "C" locale.

use crate::kernel32::strings::{class, to_case};

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

fn of(c: i32) -> u16 {
    u8::try_from(c).map_or(0, bits)
}

macro_rules! classes {
    ($($name:ident $wide:ident: $mask:expr;)*) => {$(
        extern "win64" fn $name(c: i32) -> i32 {
            (of(c) & $mask).into()
        }
        extern "win64" fn $wide(c: u16) -> i32 {
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

extern "win64" fn towlower(c: u16) -> u16 {
    to_case(c, false)
}

extern "win64" fn towupper(c: u16) -> u16 {
    to_case(c, true)
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

table! {
    /// Classes.
    pub(crate) TABLE:
        __pctype_func, isalpha, iswalpha, isupper, iswupper, islower, iswlower, isdigit, iswdigit, isxdigit, iswxdigit,
        isspace, iswspace, ispunct, iswpunct, isalnum, iswalnum, isprint, iswprint, isgraph, iswgraph, iscntrl, iswcntrl,
        isblank, __isascii, isascii = __isascii, _isctype, iswctype, tolower, _tolower = tolower, toupper, _toupper = toupper,
        towlower, towupper, wctype
}
