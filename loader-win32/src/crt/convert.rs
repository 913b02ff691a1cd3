//! Numbers and text. `long` has 32 bits here, so the integers are ours; floating point is the host's.
#![allow(unsafe_code)]

use super::{ctype::iswspace, invalid::invalid, set_errno, string::copy_s};
use crate::{guest::Ptr, text};
use libc::strtod as host_strtod;

/// How much of a text is a number, as msvcrt reads them: decimal digits, and no names for infinity.
pub(crate) fn decimal_len(text: &[u8]) -> usize {
    let digits = |at: usize| text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let start = text.iter().take_while(|b| matches!(b, 9..=13 | b' ')).count();
    let start = start + usize::from(matches!(text.get(start), Some(b'+' | b'-')));
    let whole = digits(start);
    let point = usize::from(text.get(start + whole) == Some(&b'.'));
    let fraction = if point == 1 { digits(start + whole + 1) } else { 0 };
    if whole + fraction == 0 {
        return 0;
    }
    let end = start + whole + point + fraction;
    if !matches!(text.get(end), Some(b'e' | b'E' | b'd' | b'D')) {
        return end;
    }
    let exponent = end + 1 + usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
    let exponent_digits = if exponent <= text.len() { digits(exponent) } else { 0 };
    if exponent_digits == 0 { end } else { exponent + exponent_digits }
}

/// The number at the start of a text, and how long it is there; `errno` says where it is too large or too small.
pub(crate) fn number(text: &[u8], legacy: bool) -> (f64, usize) {
    let text = if legacy { &text[..decimal_len(text)] } else { text };
    let exponent = |b: u8| if legacy && matches!(b, b'd' | b'D') { b'e' } else { b };
    let ended: Vec<u8> = text.iter().map(|&b| exponent(b)).chain([0]).collect();
    let mut stop = std::ptr::null_mut();
    // SAFETY: the text is ours and ends with a zero.
    let x = unsafe { host_strtod(ended.as_ptr().cast(), &raw mut stop) };
    let len = stop.addr() - ended.as_ptr().addr();
    let mantissa = text[..len].iter().take_while(|b| !matches!(b, b'e' | b'E' | b'd' | b'D' | b'p' | b'P'));
    let lost = match x {
        _ if x.is_infinite() => mantissa.clone().any(u8::is_ascii_digit),
        0.0 => mantissa.clone().any(|b| (b'1'..=b'9').contains(b)),
        _ => false,
    };
    if lost {
        set_errno(libc::ERANGE);
    }
    (x, len)
}

macro_rules! floats {
    ($($legacy:literal: $strtod:ident $wcstod:ident $atof:ident $wtof:ident;)*) => {$(
        pub(crate) extern "win64" fn $strtod(s: Ptr<u8>, end: Ptr<Ptr<u8>>) -> f64 {
            if s.is_null() {
                end.put(s);
                invalid();
                return 0.0;
            }
            let (x, len) = number(s.text(), $legacy);
            end.put(s.at(len));
            x
        }
        /// Wide digits are ASCII, so the narrow function reads them.
        extern "win64" fn $wcstod(s: Ptr<u16>, end: Ptr<Ptr<u16>>) -> f64 {
            if s.is_null() {
                end.put(s);
                invalid();
                return 0.0;
            }
            let ascii: Vec<u8> =
                s.text().iter().map_while(|&u| u8::try_from(u).ok().filter(u8::is_ascii)).collect();
            let (x, len) = number(&ascii, $legacy);
            end.put(s.at(len));
            x
        }
        extern "win64" fn $atof(s: Ptr<u8>) -> f64 {
            $strtod(s, Ptr::NULL)
        }
        extern "win64" fn $wtof(s: Ptr<u16>) -> f64 {
            $wcstod(s, Ptr::NULL)
        }
    )*};
}

floats! {
    false: strtod wcstod atof _wtof;
    true: legacy_strtod legacy_wcstod legacy_atof legacy_wtof;
}

extern "win64" fn strtof(s: Ptr<u8>, end: Ptr<Ptr<u8>>) -> f32 {
    to_float(strtod(s, end))
}

extern "win64" fn wcstof(s: Ptr<u16>, end: Ptr<Ptr<u16>>) -> f32 {
    to_float(wcstod(s, end))
}

/// A number with fewer digits; `errno` says where it is too large or too small for that.
fn to_float(x: f64) -> f32 {
    let float = x as f32;
    if float.is_infinite() && x.is_finite() || float == 0.0 && x != 0.0 {
        set_errno(libc::ERANGE);
    }
    float
}

/// An integer at the start of a text: what it is, whether it did not fit, and how many elements it took.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// The amount without its sign; the largest where it has more than 64 bits.
    pub amount: u64,
    /// Its last 64 bits.
    pub wrapped: u64,
    /// Whether there was a minus.
    pub negative: bool,
    /// Whether it has more than 64 bits.
    pub overflow: bool,
    /// Elements up to its end; 0 where there is no number.
    pub len: usize,
}

/// Reads an integer from ASCII text that `at` gives one by one (0 ends it).
pub(crate) fn parse(at: impl Fn(usize) -> u16, base: i32) -> Parsed {
    parse_in(at, base, |unit| matches!(unit, 9..=13 | 32))
}

/// The same from text in which other blanks stand, and digits of any script.
fn parse_in(at: impl Fn(usize) -> u16, base: i32, is_blank: impl Fn(u16) -> bool) -> Parsed {
    let digit = |i: usize| {
        let unit = at(i);
        let letter = || char::from(u8::try_from(unit).ok()?).to_digit(36);
        text::digit(unit).or_else(letter)
    };
    let mut i = (0..).find(|&i| !is_blank(at(i))).unwrap_or(0);
    let negative = at(i) == u16::from(b'-');
    i += usize::from(negative || at(i) == u16::from(b'+'));
    let is_hex = text::digit(at(i)) == Some(0) && [b'x', b'X'].map(u16::from).contains(&at(i + 1));
    let base = match base {
        0 if is_hex => 16,
        0 if text::digit(at(i)) == Some(0) => 8,
        0 => 10,
        b => b.unsigned_abs(),
    };
    if base == 16 && is_hex {
        i += 2;
    }
    let start = i;
    let (mut amount, mut wrapped, mut overflow) = (0u64, 0u64, false);
    while let Some(d) = digit(i).filter(|&d| d < base) {
        let next = amount.checked_mul(base.into()).and_then(|a| a.checked_add(d.into()));
        overflow |= next.is_none();
        amount = next.unwrap_or(u64::MAX);
        wrapped = wrapped.wrapping_mul(base.into()).wrapping_add(d.into());
        i += 1;
    }
    Parsed { amount, wrapped, negative, overflow, len: if i > start { i } else { 0 } }
}

/// A signed number of `bits` bits; too large ones become the limit, and `errno` says so.
fn signed(p: &Parsed, bits: u32) -> i64 {
    let limit = 1u64 << (bits - 1);
    let fits = !p.overflow && if p.negative { p.amount <= limit } else { p.amount < limit };
    match (fits, p.negative) {
        (true, true) => (p.amount as i64).wrapping_neg(),
        (true, false) => p.amount as i64,
        (false, negative) => {
            set_errno(libc::ERANGE);
            if negative { (limit as i64).wrapping_neg() } else { (limit - 1) as i64 }
        }
    }
}

fn unsigned(p: &Parsed, bits: u32) -> u64 {
    let limit = u64::MAX >> (64 - bits);
    if p.overflow || p.amount > limit {
        set_errno(libc::ERANGE);
    }
    let amount = if p.overflow { limit } else { p.amount.min(limit) };
    if p.negative { amount.wrapping_neg() & limit } else { amount }
}

/// No number, for there is no text or no such base.
const NONE: Parsed = Parsed { amount: 0, wrapped: 0, negative: false, overflow: false, len: 0 };

fn is_readable<T>(s: Ptr<T>, base: i32) -> bool {
    let readable = !s.is_null() && (base == 0 || (2..=36).contains(&base));
    if !readable {
        invalid();
    }
    readable
}

fn narrow(s: Ptr<u8>, end: Ptr<Ptr<u8>>, base: i32) -> Parsed {
    if !is_readable(s, base) {
        end.put(s);
        return NONE;
    }
    let p = parse(|i| s.at(i).get().into(), base);
    end.put(s.at(p.len));
    p
}

fn wide(s: Ptr<u16>, end: Ptr<Ptr<u16>>, base: i32) -> Parsed {
    if !is_readable(s, base) {
        end.put(s);
        return NONE;
    }
    let p = parse_in(|i| s.at(i).get(), base, |unit| iswspace(unit) != 0);
    end.put(s.at(p.len));
    p
}

extern "win64" fn strtol(s: Ptr<u8>, end: Ptr<Ptr<u8>>, base: i32) -> i32 {
    signed(&narrow(s, end, base), 32) as i32
}

extern "win64" fn strtoul(s: Ptr<u8>, end: Ptr<Ptr<u8>>, base: i32) -> u32 {
    unsigned(&narrow(s, end, base), 32) as u32
}

extern "win64" fn strtoll(s: Ptr<u8>, end: Ptr<Ptr<u8>>, base: i32) -> i64 {
    signed(&narrow(s, end, base), 64)
}

extern "win64" fn strtoull(s: Ptr<u8>, end: Ptr<Ptr<u8>>, base: i32) -> u64 {
    unsigned(&narrow(s, end, base), 64)
}

extern "win64" fn wcstol(s: Ptr<u16>, end: Ptr<Ptr<u16>>, base: i32) -> i32 {
    signed(&wide(s, end, base), 32) as i32
}

extern "win64" fn wcstoul(s: Ptr<u16>, end: Ptr<Ptr<u16>>, base: i32) -> u32 {
    unsigned(&wide(s, end, base), 32) as u32
}

extern "win64" fn wcstoll(s: Ptr<u16>, end: Ptr<Ptr<u16>>, base: i32) -> i64 {
    signed(&wide(s, end, base), 64)
}

extern "win64" fn wcstoull(s: Ptr<u16>, end: Ptr<Ptr<u16>>, base: i32) -> u64 {
    unsigned(&wide(s, end, base), 64)
}

extern "win64" fn atoi(s: Ptr<u8>) -> i32 {
    signed(&narrow(s, Ptr::NULL, 10), 32) as i32
}

extern "win64" fn _atoi64(s: Ptr<u8>) -> i64 {
    signed(&narrow(s, Ptr::NULL, 10), 64)
}

extern "win64" fn _wtoi(s: Ptr<u16>) -> i32 {
    signed(&wide(s, Ptr::NULL, 10), 32) as i32
}

extern "win64" fn _wtoi64(s: Ptr<u16>) -> i64 {
    signed(&wide(s, Ptr::NULL, 10), 64)
}

// msvcrt's, which do not notice that a number is too large.

fn wrapping(p: &Parsed) -> i64 {
    let amount = p.wrapped.cast_signed();
    if p.negative { amount.wrapping_neg() } else { amount }
}

extern "win64" fn legacy_atoi(s: Ptr<u8>) -> i32 {
    wrapping(&narrow(s, Ptr::NULL, 10)) as i32
}

extern "win64" fn legacy_wtoi(s: Ptr<u16>) -> i32 {
    wrapping(&wide(s, Ptr::NULL, 10)) as i32
}

extern "win64" fn legacy_atoi64(s: Ptr<u8>) -> i64 {
    wrapping(&narrow(s, Ptr::NULL, 10))
}

extern "win64" fn legacy_wtoi64(s: Ptr<u16>) -> i64 {
    wrapping(&wide(s, Ptr::NULL, 10))
}

/// The digits of a number in a base; what is no letter any more follows those in ASCII.
fn digits(mut n: u64, base: u32, minus: bool) -> Vec<u8> {
    let base = u64::from(base.max(2));
    let mut out = Vec::new();
    loop {
        let digit = (n % base) as u8;
        out.push(if digit < 10 { b'0' + digit } else { (b'a' - 10).wrapping_add(digit) });
        n /= base;
        if n == 0 {
            break;
        }
    }
    minus.then(|| out.push(b'-'));
    out.reverse();
    out
}

fn write<T: Copy + Default>(to: Ptr<T>, digits: &[T]) -> Ptr<T> {
    to.fill(digits);
    to.at(digits.len()).set(T::default());
    to
}

/// Digits with their zero, where there is room; there are bases from 2 to 36.
fn counted<T: Copy + Default>(to: Ptr<T>, room: usize, base: u32, digits: &[T]) -> i32 {
    if (2..=36).contains(&base) {
        return copy_s(to, room, digits, 0, false);
    }
    (!to.is_null() && room > 0).then(|| to.set(T::default()));
    invalid()
}

/// A minus is written in base ten only.
fn signed_digits(n: i64, bits: u32, base: u32) -> Vec<u8> {
    let minus = n < 0 && base == 10;
    digits(if minus { n.unsigned_abs() } else { n as u64 & u64::MAX >> (64 - bits) }, base, minus)
}

extern "win64" fn _itoa(n: i32, to: Ptr<u8>, base: u32) -> Ptr<u8> {
    write(to, &signed_digits(n.into(), 32, base))
}

extern "win64" fn _i64toa(n: i64, to: Ptr<u8>, base: u32) -> Ptr<u8> {
    write(to, &signed_digits(n, 64, base))
}

extern "win64" fn _ultoa(n: u32, to: Ptr<u8>, base: u32) -> Ptr<u8> {
    write(to, &digits(n.into(), base, false))
}

extern "win64" fn _ui64toa(n: u64, to: Ptr<u8>, base: u32) -> Ptr<u8> {
    write(to, &digits(n, base, false))
}

extern "win64" fn _itoa_s(n: i32, to: Ptr<u8>, room: usize, base: u32) -> i32 {
    counted(to, room, base, &signed_digits(n.into(), 32, base))
}

extern "win64" fn _i64toa_s(n: i64, to: Ptr<u8>, room: usize, base: u32) -> i32 {
    counted(to, room, base, &signed_digits(n, 64, base))
}

extern "win64" fn _ultoa_s(n: u32, to: Ptr<u8>, room: usize, base: u32) -> i32 {
    counted(to, room, base, &digits(n.into(), base, false))
}

extern "win64" fn _ui64toa_s(n: u64, to: Ptr<u8>, room: usize, base: u32) -> i32 {
    counted(to, room, base, &digits(n, base, false))
}

/// Digits are ASCII, so they are units as they are.
fn units(digits: &[u8]) -> Vec<u16> {
    digits.iter().map(|&digit| digit.into()).collect()
}

extern "win64" fn _itow(n: i32, to: Ptr<u16>, base: u32) -> Ptr<u16> {
    write(to, &units(&signed_digits(n.into(), 32, base)))
}

extern "win64" fn _i64tow(n: i64, to: Ptr<u16>, base: u32) -> Ptr<u16> {
    write(to, &units(&signed_digits(n, 64, base)))
}

extern "win64" fn _ultow(n: u32, to: Ptr<u16>, base: u32) -> Ptr<u16> {
    write(to, &units(&digits(n.into(), base, false)))
}

extern "win64" fn _ui64tow(n: u64, to: Ptr<u16>, base: u32) -> Ptr<u16> {
    write(to, &units(&digits(n, base, false)))
}

extern "win64" fn _itow_s(n: i32, to: Ptr<u16>, room: usize, base: u32) -> i32 {
    counted(to, room, base, &units(&signed_digits(n.into(), 32, base)))
}

extern "win64" fn _i64tow_s(n: i64, to: Ptr<u16>, room: usize, base: u32) -> i32 {
    counted(to, room, base, &units(&signed_digits(n, 64, base)))
}

extern "win64" fn _ultow_s(n: u32, to: Ptr<u16>, room: usize, base: u32) -> i32 {
    counted(to, room, base, &units(&digits(n.into(), base, false)))
}

extern "win64" fn _ui64tow_s(n: u64, to: Ptr<u16>, room: usize, base: u32) -> i32 {
    counted(to, room, base, &units(&digits(n, base, false)))
}

extern "win64" fn _rotl(n: u32, by: i32) -> u32 {
    n.rotate_left(by.cast_unsigned() % 32)
}

extern "win64" fn _rotr(n: u32, by: i32) -> u32 {
    n.rotate_right(by.cast_unsigned() % 32)
}

extern "win64" fn _rotl64(n: u64, by: i32) -> u64 {
    n.rotate_left(by.cast_unsigned() % 64)
}

extern "win64" fn _rotr64(n: u64, by: i32) -> u64 {
    n.rotate_right(by.cast_unsigned() % 64)
}

extern "win64" fn _byteswap_ushort(n: u16) -> u16 {
    n.swap_bytes()
}

extern "win64" fn _byteswap_ulong(n: u32) -> u32 {
    n.swap_bytes()
}

extern "win64" fn _byteswap_uint64(n: u64) -> u64 {
    n.swap_bytes()
}

table! {
    /// Numbers and text.
    pub(crate) TABLE:
        strtof, strtol, strtoul, strtoll, _strtoi64 = strtoll, strtoimax = strtoll, strtoull,
        _strtoui64 = strtoull, strtoumax = strtoull, wcstol, wcstoul, wcstoll, _wcstoi64 = wcstoll, wcstoimax = wcstoll,
        wcstoull, _wcstoui64 = wcstoull, wcstoumax = wcstoull, wcstof, _itoa, _ltoa = _itoa, itoa = _itoa, ltoa = _itoa, _i64toa,
        _ultoa, ultoa = _ultoa, _ui64toa, _itoa_s, _ltoa_s = _itoa_s, _i64toa_s, _ultoa_s, _ui64toa_s, _itow, _ltow = _itow,
        _i64tow, _ultow, _ui64tow, _itow_s, _ltow_s = _itow_s, _i64tow_s, _ultow_s, _ui64tow_s, _rotl, _lrotl = _rotl, _rotr, _lrotr = _rotr, _rotl64, _rotr64, _byteswap_ushort,
        _byteswap_ulong, _byteswap_uint64
}

table! {
    /// The same in a locale that is passed last, which is always "C": the argument is not looked at.
    pub(crate) IN_LOCALES:
        _strtof_l = strtof, _strtol_l = strtol, _strtoul_l = strtoul, _strtoi64_l = strtoll, _strtoll_l = strtoll,
        _strtoui64_l = strtoull, _strtoull_l = strtoull, _wcstof_l = wcstof, _wcstol_l = wcstol,
        _wcstoul_l = wcstoul, _wcstoi64_l = wcstoll, _wcstoll_l = wcstoll, _wcstoui64_l = wcstoull, _wcstoull_l = wcstoull
}

table! {
    /// What ucrtbase has.
    pub(crate) UCRT:
        strtod, _strtod_l = strtod, atof, _atof_l = atof, wcstod, _wcstod_l = wcstod, _wtof, _wtof_l = _wtof,
        atoi, atol = atoi, atoll = _atoi64, _atoi64, _wtoi, _wtol = _wtoi, _wtoi64, _wtoll = _wtoi64, _atoi_l = atoi,
        _atol_l = atoi, _atoi64_l = _atoi64, _atoll_l = _atoi64, _wtoi_l = _wtoi, _wtol_l = _wtoi, _wtoi64_l = _wtoi64,
        _wtoll_l = _wtoi64
}

table! {
    /// What msvcrt has.
    pub(crate) MSVCRT:
        strtod = legacy_strtod, _strtod_l = legacy_strtod, atof = legacy_atof, _atof_l = legacy_atof, wcstod = legacy_wcstod,
        _wcstod_l = legacy_wcstod, _wtof = legacy_wtof, _wtof_l = legacy_wtof,
        atoi = legacy_atoi, atol = legacy_atoi, _atoi64 = legacy_atoi64, _wtoi = legacy_wtoi, _wtol = legacy_wtoi,
        _wtoi64 = legacy_wtoi64, _atoi_l = legacy_atoi, _atol_l = legacy_atoi, _atoi64_l = legacy_atoi64,
        _wtoi_l = legacy_wtoi, _wtol_l = legacy_wtoi, _wtoi64_l = legacy_wtoi64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        let of = |s: &str, base| parse(|i| s.as_bytes().get(i).map_or(0, |&b| b.into()), base);
        assert_eq!((of(" -0x1Fz", 0).amount, of(" -0x1Fz", 0).len), (31, 6));
        assert_eq!((of("0x", 0).amount, of("0x", 0).len), (0, 0), "what says hexadecimal wants a digit");
        assert_eq!(of("077", 0).amount, 63);
        assert_eq!(of("abc", 10).len, 0);
        assert!(of("18446744073709551616", 10).overflow);
        assert_eq!(signed_digits(-5, 32, 16), b"fffffffb");
        assert_eq!(signed_digits(-5, 32, 10), b"-5");
    }

    #[test]
    fn floats() {
        assert_eq!([decimal_len(b" -1.5e3x"), decimal_len(b"1e"), decimal_len(b"1e+")], [7, 1, 1]);
        assert_eq!(
            [decimal_len(b"."), decimal_len(b".5"), decimal_len(b"inf"), decimal_len(b"0x1")],
            [0, 2, 0, 1]
        );
        assert_eq!(number(b"1d2", true), (100.0, 3));
        assert_eq!(number(b"1d2", false), (1.0, 1));
        assert_eq!(number(b"inf", true), (0.0, 0));
        assert_eq!(number(b"inf", false), (f64::INFINITY, 3));
    }
}
