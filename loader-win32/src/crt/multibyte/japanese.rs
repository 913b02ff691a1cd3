//! What only code page 932 has: kana of two kinds, letters of two widths, the planes of JIS, and its other numbering. In
//! every other code page a character stays what it is.

use super::{bytes_of, is_japanese, is_pair};
use crate::crt::set_errno;

const EILSEQ: i32 = 42;
/// The first Katakana and the first Hiragana; the former leave out one number, which can be no second byte.
const KATAKANA: u32 = 0x8340;
const KATAKANA_END: u32 = 0x8396;
const HIRAGANA: u32 = 0x829f;
const HIRAGANA_END: u32 = 0x82f1;
const LEFT_OUT: u32 = 0x837f;

fn is_katakana(c: u32) -> bool {
    (KATAKANA..=KATAKANA_END).contains(&c) && c != LEFT_OUT
}

extern "win64" fn _ismbckata(c: u32) -> i32 {
    (is_japanese() && is_katakana(c)).into()
}

extern "win64" fn _ismbchira(c: u32) -> i32 {
    (is_japanese() && (HIRAGANA..=HIRAGANA_END).contains(&c)).into()
}

/// Punctuation and signs.
extern "win64" fn _ismbcsymbol(c: u32) -> i32 {
    (is_japanese() && (0x8141..=0x81ac).contains(&c) && c != 0x817f).into()
}

fn is_level(c: u32, range: std::ops::RangeInclusive<u32>) -> i32 {
    (is_japanese() && is_pair(c) && range.contains(&c)).into()
}

/// What is no Kanji.
extern "win64" fn _ismbcl0(c: u32) -> i32 {
    is_level(c, 0x8140..=0x889e)
}

/// Kanji of the first level.
extern "win64" fn _ismbcl1(c: u32) -> i32 {
    is_level(c, 0x889f..=0x9872)
}

/// Kanji of the second.
extern "win64" fn _ismbcl2(c: u32) -> i32 {
    is_level(c, 0x989f..=0xeaa4)
}

extern "win64" fn _mbctohira(c: u32) -> u32 {
    let hiragana = c.wrapping_sub(KATAKANA).wrapping_add(HIRAGANA) - u32::from(c > LEFT_OUT);
    if is_japanese() && is_katakana(c) && hiragana <= HIRAGANA_END { hiragana } else { c }
}

extern "win64" fn _mbctokata(c: u32) -> u32 {
    if _ismbchira(c) == 0 {
        return c;
    }
    let katakana = c - HIRAGANA + KATAKANA;
    katakana + u32::from(katakana >= LEFT_OUT)
}

/// From JIS: its rows are half as many here, twice as long.
extern "win64" fn _mbcjistojms(c: u32) -> u32 {
    if !is_japanese() {
        return c;
    }
    let (row, cell) = bytes_of(c);
    let legal = |byte: u8| (0x21..=0x7e).contains(&byte);
    if c > 0xffff || !legal(row) || !legal(cell) {
        set_errno(EILSEQ);
        return 0;
    }
    let (row, cell) = (u32::from(row), u32::from(cell));
    let trail = match row % 2 {
        0 => cell + 0x7e,
        _ => cell + 0x1f + u32::from(cell >= 0x60), // 0x7f is left out
    };
    let lead = (row - 0x21) / 2 + 0x81;
    let lead = if lead > 0x9f { lead + 0x40 } else { lead };
    lead << 8 | trail
}

/// To JIS, as far as it goes.
extern "win64" fn _mbcjmstojis(c: u32) -> u32 {
    if !is_japanese() {
        return c;
    }
    if !is_pair(c) || c >= 0xf000 {
        set_errno(EILSEQ);
        return 0;
    }
    let (lead, trail) = bytes_of(c);
    let lead = u32::from(lead) - if lead >= 0xe0 { 0xc1 } else { 0x81 };
    let trail = u32::from(trail);
    let (row, cell) = match trail {
        0x9f.. => (lead * 2 + 0x22, trail - 0x7e),
        _ => (lead * 2 + 0x21, trail - 0x1f - u32::from(trail > 0x7f)),
    };
    row << 8 | cell
}

/// The wide forms of the bytes from 0x20 to 0x7e.
const OF_ASCII: [u16; 95] = [
    0x8140, 0x8149, 0x8168, 0x8194, 0x8190, 0x8193, 0x8195, 0x8166, 0x8169, 0x816a, 0x8196, 0x817b, 0x8143,
    0x817c, 0x8144, 0x815e, 0x824f, 0x8250, 0x8251, 0x8252, 0x8253, 0x8254, 0x8255, 0x8256, 0x8257, 0x8258,
    0x8146, 0x8147, 0x8183, 0x8181, 0x8184, 0x8148, 0x8197, 0x8260, 0x8261, 0x8262, 0x8263, 0x8264, 0x8265,
    0x8266, 0x8267, 0x8268, 0x8269, 0x826a, 0x826b, 0x826c, 0x826d, 0x826e, 0x826f, 0x8270, 0x8271, 0x8272,
    0x8273, 0x8274, 0x8275, 0x8276, 0x8277, 0x8278, 0x8279, 0x816d, 0x818f, 0x816e, 0x814f, 0x8151, 0x8165,
    0x8281, 0x8282, 0x8283, 0x8284, 0x8285, 0x8286, 0x8287, 0x8288, 0x8289, 0x828a, 0x828b, 0x828c, 0x828d,
    0x828e, 0x828f, 0x8290, 0x8291, 0x8292, 0x8293, 0x8294, 0x8295, 0x8296, 0x8297, 0x8298, 0x8299, 0x829a,
    0x816f, 0x8162, 0x8170, 0x8150,
];
/// The wide forms of the bytes from 0xa1 to 0xdf.
const OF_KANA: [u16; 63] = [
    0x8142, 0x8175, 0x8176, 0x8141, 0x8145, 0x8392, 0x8340, 0x8342, 0x8344, 0x8346, 0x8348, 0x8383, 0x8385,
    0x8387, 0x8362, 0x815b, 0x8341, 0x8343, 0x8345, 0x8347, 0x8349, 0x834a, 0x834c, 0x834e, 0x8350, 0x8352,
    0x8354, 0x8356, 0x8358, 0x835a, 0x835c, 0x835e, 0x8360, 0x8363, 0x8365, 0x8367, 0x8369, 0x836a, 0x836b,
    0x836c, 0x836d, 0x836e, 0x8371, 0x8374, 0x8377, 0x837a, 0x837d, 0x837e, 0x8380, 0x8381, 0x8382, 0x8384,
    0x8386, 0x8388, 0x8389, 0x838a, 0x838b, 0x838c, 0x838d, 0x838f, 0x8393, 0x814a, 0x814b,
];
/// The wide form of a byte.
extern "win64" fn _mbbtombc(c: u32) -> u32 {
    let wide = match c {
        _ if !is_japanese() => None,
        0x20..=0x7e => OF_ASCII.get(c as usize - 0x20),
        0xa1..=0xdf => OF_KANA.get(c as usize - 0xa1),
        _ => None,
    };
    wide.map_or(c, |&wide| wide.into())
}

/// The byte for a wide character, where there is one.
extern "win64" fn _mbctombb(c: u32) -> u32 {
    let place = |table: &[u16], first: u32, wide: u32| {
        let at = table.iter().position(|&other| u32::from(other) == wide)?;
        u32::try_from(at).ok().map(|at| at + first)
    };
    let of_kana = |wide: u32| place(&OF_KANA, 0xa1, wide);
    if !is_japanese() {
        return c;
    }
    let kana = if _ismbchira(c) != 0 { _mbctokata(c) } else { c };
    let plain = place(&OF_ASCII, 0x20, c).or_else(|| of_kana(kana));
    plain.or_else(|| is_katakana(kana).then(|| without_mark(kana)).and_then(of_kana)).unwrap_or(c)
}

/// The Katakana that one with a mark, or a small one without a byte of its own, comes from.
fn without_mark(kana: u32) -> u32 {
    match kana {
        0x838e => 0x838f,                              // small WA
        0x8390 => 0x8343,                              // WI, as I
        0x8391 => 0x8347,                              // WE, as E
        0x8394 => 0x8345,                              // VU
        0x8395 => 0x834a,                              // small KA
        0x8396 => 0x8350,                              // small KE
        0x8372..=0x837c => kana - (kana - 0x8371) % 3, // HA to HO, each with two marks
        _ => kana - 1,                                 // the rest have one mark
    }
}

table! {
    /// For code page 932.
    pub(crate) TABLE:
        _ismbckata, _ismbchira, _ismbcsymbol, _ismbcl0, _ismbcl1, _ismbcl2, _mbctohira, _mbctokata, _mbcjistojms, _mbcjmstojis,
        _mbbtombc, _mbctombb
}
