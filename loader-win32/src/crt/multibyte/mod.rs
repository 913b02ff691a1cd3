//! Text of which a character may take two bytes: the code page that a program chooses with `_setmbcp`, apart from the
//! locale, and what it says of single bytes. Read next: `text` (strings), then `japanese` (what only code page 932 has).

pub(crate) mod japanese;
pub(crate) mod text;

use super::{ctype, invalid::invalid};
use crate::guest::Ptr;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering::SeqCst};

// Bits of `_mbctype`.
const SYMBOL: u8 = 1;
const PUNCTUATION: u8 = 2;
const LEAD: u8 = 4;
const TRAIL: u8 = 8;
const UPPER: u8 = 0x10;
const LOWER: u8 = 0x20;

/// A code page whose characters have one byte or two: which bytes are first ones, and which are second ones.
struct DoubleByte {
    page: i32,
    lead: &'static [(u8, u8)],
    trail: &'static [(u8, u8)],
}

const DOUBLE_BYTE: [DoubleByte; 5] = [
    DoubleByte { page: JAPANESE, lead: &[(0x81, 0x9f), (0xe0, 0xfc)], trail: &[(0x40, 0x7e), (0x80, 0xfc)] },
    DoubleByte { page: 936, lead: &[(0x81, 0xfe)], trail: &[(0x40, 0xfe)] },
    DoubleByte { page: 949, lead: &[(0x81, 0xfe)], trail: &[(0x41, 0xfe)] },
    DoubleByte { page: 950, lead: &[(0x81, 0xfe)], trail: &[(0x40, 0x7e), (0xa1, 0xfe)] },
    DoubleByte {
        page: 1361,
        lead: &[(0x81, 0xd3), (0xd8, 0xde), (0xe0, 0xf9)],
        trail: &[(0x31, 0x7e), (0x81, 0xfe)],
    },
];

const JAPANESE: i32 = 932;
const UTF8: i32 = 65001;

/// `_mbctype`: bits for -1 (the end of a file) and every byte. Programs read it.
static BITS: [AtomicU8; 257] = {
    let mut bits = [const { AtomicU8::new(0) }; 257];
    let mut byte = 0;
    while byte < 256 {
        bits[byte + 1] = AtomicU8::new(of_letter(byte as u8));
        byte += 1;
    }
    bits
};

/// The code page; 0 where every character is one byte.
static PAGE: AtomicI32 = AtomicI32::new(0);

const fn of_letter(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => UPPER,
        b'a'..=b'z' => LOWER,
        _ => 0,
    }
}

/// The bits of a byte in a code page.
fn bits(page: i32, byte: u8) -> u8 {
    let within = |ranges: &[(u8, u8)]| ranges.iter().any(|r| (r.0..=r.1).contains(&byte));
    let kana = match byte {
        0xa1..=0xa5 if page == JAPANESE => PUNCTUATION,
        0xa6..=0xdf if page == JAPANESE => SYMBOL,
        _ => 0,
    };
    let double = DOUBLE_BYTE.iter().find(|double| double.page == page).map_or(0, |double| {
        let lead = if within(double.lead) { LEAD } else { 0 };
        lead | if within(double.trail) { TRAIL } else { 0 }
    });
    of_letter(byte) | kana | double
}

fn has(c: u32, bit: u8) -> bool {
    BITS[usize::from(c as u8) + 1].load(SeqCst) & bit != 0
}

/// Whether a byte begins a character of two.
fn is_lead(byte: u8) -> bool {
    has(byte.into(), LEAD)
}

fn is_trail(byte: u8) -> bool {
    has(byte.into(), TRAIL)
}

fn is_japanese() -> bool {
    PAGE.load(SeqCst) == JAPANESE
}

extern "win64" fn _getmbcp() -> i32 {
    PAGE.load(SeqCst)
}

/// Chooses the code page. The program's own ones (-2, -3 and -4) are UTF-8, which has no pairs of bytes; 0 is none.
extern "win64" fn _setmbcp(page: i32) -> i32 {
    let page = match page {
        -6 | -4 | -3 | -2 => UTF8,
        page => page,
    };
    let single = |page: i32| matches!(page, 0 | 437 | 850..=858 | 860..=866 | 869 | 874 | 1250..=1258 | 20127 | 28591..=28605 | UTF8);
    if !single(page) && !DOUBLE_BYTE.iter().any(|double| double.page == page) {
        invalid();
        return -1;
    }
    PAGE.store(page, SeqCst);
    for byte in 0..=u8::MAX {
        BITS[usize::from(byte) + 1].store(bits(page, byte), SeqCst);
    }
    0
}

extern "win64" fn __p__mbctype() -> *const [AtomicU8; 257] {
    &raw const BITS
}

// One byte, as it stands for itself.

extern "win64" fn _ismbblead(c: u32) -> i32 {
    has(c, LEAD).into()
}

extern "win64" fn _ismbbtrail(c: u32) -> i32 {
    has(c, TRAIL).into()
}

extern "win64" fn _ismbbkana(c: u32) -> i32 {
    (is_japanese() && has(c, SYMBOL | PUNCTUATION)).into()
}

extern "win64" fn _ismbbkalnum(c: u32) -> i32 {
    has(c, SYMBOL).into()
}

extern "win64" fn _ismbbkpunct(c: u32) -> i32 {
    has(c, PUNCTUATION).into()
}

extern "win64" fn _ismbbalnum(c: u32) -> i32 {
    (ctype::isalnum((c & 0xff) as i32) != 0 || has(c, SYMBOL)).into()
}

extern "win64" fn _ismbbalpha(c: u32) -> i32 {
    (ctype::isalpha((c & 0xff) as i32) != 0 || has(c, SYMBOL)).into()
}

extern "win64" fn _ismbbgraph(c: u32) -> i32 {
    (ctype::isgraph((c & 0xff) as i32) != 0 || has(c, SYMBOL | PUNCTUATION)).into()
}

extern "win64" fn _ismbbprint(c: u32) -> i32 {
    (ctype::isprint((c & 0xff) as i32) != 0 || has(c, SYMBOL | PUNCTUATION)).into()
}

extern "win64" fn _ismbbpunct(c: u32) -> i32 {
    (ctype::ispunct((c & 0xff) as i32) != 0 || has(c, PUNCTUATION)).into()
}

// What kind of byte it is.
const SINGLE_BYTE: i32 = 0;
const LEAD_BYTE: i32 = 1;
const TRAIL_BYTE: i32 = 2;
const ILLEGAL: i32 = -1;

/// What a byte is that follows one of this kind.
extern "win64" fn _mbbtype(byte: u8, before: i32) -> i32 {
    match before {
        LEAD_BYTE if is_trail(byte) => TRAIL_BYTE,
        LEAD_BYTE => ILLEGAL,
        _ if is_lead(byte) => LEAD_BYTE,
        _ if _ismbbprint(byte.into()) != 0 => SINGLE_BYTE,
        _ => ILLEGAL,
    }
}

/// What the byte is that is so far on in a text.
extern "win64" fn _mbsbtype(text: Ptr<u8>, at: usize) -> i32 {
    let mut kind = SINGLE_BYTE;
    for i in 0..=at {
        let byte = text.at(i).get();
        kind = match byte {
            0 => return ILLEGAL,
            _ => _mbbtype(byte, kind),
        };
    }
    kind
}

// Characters as numbers: the first byte is the higher one.

fn bytes_of(c: u32) -> (u8, u8) {
    ((c >> 8) as u8, c as u8)
}

fn is_pair(c: u32) -> bool {
    let (lead, trail) = bytes_of(c);
    c <= 0xffff && is_lead(lead) && is_trail(trail)
}

extern "win64" fn _ismbclegal(c: u32) -> i32 {
    is_pair(c).into()
}

/// A question about characters of one byte; those of two have no class that is known here, but that they can be printed.
macro_rules! classes {
    ($($name:ident: $byte:path, $pair:literal;)*) => {$(
        extern "win64" fn $name(c: u32) -> i32 {
            if c > 0xff { ($pair && is_pair(c)).into() } else { ($byte(c.cast_signed()) != 0).into() }
        }
    )*};
}

classes! {
    _ismbcalnum: ctype::isalnum, false;
    _ismbcalpha: ctype::isalpha, false;
    _ismbcdigit: ctype::isdigit, false;
    _ismbcgraph: ctype::isgraph, true;
    _ismbclower: ctype::islower, false;
    _ismbcprint: ctype::isprint, true;
    _ismbcpunct: ctype::ispunct, false;
    _ismbcspace: ctype::isspace, false;
    _ismbcupper: ctype::isupper, false;
}

/// Wide letters of a code page: the first capital, the first small one, and how many there are.
const WIDE_LETTERS: [(i32, u32, u32, u32); 4] = [
    (JAPANESE, 0x8260, 0x8281, 26),
    (936, 0xa3c1, 0xa3e1, 26),
    (936, 0xa2f1, 0xa2a1, 10), // Roman numerals
    (949, 0xa3c1, 0xa3e1, 26),
];

/// The letter of the other case: of ASCII letters, and of the wide ones of a code page.
fn change(c: u32, upper: bool) -> u32 {
    if let Ok(byte) = u8::try_from(c) {
        return if upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }.into();
    }
    let page = PAGE.load(SeqCst);
    let mut letters = WIDE_LETTERS.iter().filter(|letters| letters.0 == page);
    let changed = letters.find_map(|&(_, capital, small, n)| {
        let (from, to) = if upper { (small, capital) } else { (capital, small) };
        (from..from + n).contains(&c).then(|| c - from + to)
    });
    changed.unwrap_or(c)
}

extern "win64" fn _mbctolower(c: u32) -> u32 {
    change(c, false)
}

extern "win64" fn _mbctoupper(c: u32) -> u32 {
    change(c, true)
}

table! {
    /// Single bytes and characters.
    pub(crate) TABLE:
        _getmbcp, _setmbcp, __p__mbctype, _ismbblead, _ismbbtrail, _ismbbkana, _ismbbkalnum, _ismbbkpunct, _ismbbalnum,
        _ismbbalpha, _ismbbgraph, _ismbbprint, _ismbbpunct, _mbbtype, _mbsbtype, _ismbclegal, _ismbcalnum, _ismbcalpha,
        _ismbcdigit, _ismbcgraph, _ismbclower, _ismbcprint, _ismbcpunct, _ismbcspace, _ismbcupper, _mbctolower, _mbctoupper
}

table! {
    /// The same in a locale that is passed last: there is none that has a code page of its own.
    pub(crate) IN_LOCALES:
        _ismbblead_l = _ismbblead, _ismbbtrail_l = _ismbbtrail, _ismbbkana_l = _ismbbkana, _ismbbkalnum_l = _ismbbkalnum,
        _ismbbkpunct_l = _ismbbkpunct, _ismbbalnum_l = _ismbbalnum, _ismbbalpha_l = _ismbbalpha, _ismbbgraph_l = _ismbbgraph,
        _ismbbprint_l = _ismbbprint, _ismbbpunct_l = _ismbbpunct, _mbbtype_l = _mbbtype, _mbsbtype_l = _mbsbtype,
        _ismbclegal_l = _ismbclegal, _ismbcalnum_l = _ismbcalnum, _ismbcalpha_l = _ismbcalpha, _ismbcdigit_l = _ismbcdigit,
        _ismbcgraph_l = _ismbcgraph, _ismbclower_l = _ismbclower, _ismbcprint_l = _ismbcprint, _ismbcpunct_l = _ismbcpunct,
        _ismbcspace_l = _ismbcspace, _ismbcupper_l = _ismbcupper, _mbctolower_l = _mbctolower, _mbctoupper_l = _mbctoupper
}

table! {
    /// What msvcrt has.
    pub(crate) MSVCRT: _mbctype = &raw const BITS
}
