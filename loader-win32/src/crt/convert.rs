//! Numbers and text. `long` has 32 bits here, so the integers are ours; floating point is the host's.
#![allow(unsafe_code)]

use super::{set_errno, string::copy_s};
use crate::{guest::Ptr, teb};
use libc::{c_char, strtod as host_strtod, strtof as host_strtof};
use std::ffi::CString;

unsafe extern "win64" fn strtod(s: *const c_char, end: *mut *mut c_char) -> f64 {
    // SAFETY: the caller keeps the contract of `strtod`.
    unsafe { host_strtod(s, end) }
}

unsafe extern "win64" fn strtof(s: *const c_char, end: *mut *mut c_char) -> f32 {
    // SAFETY: the caller keeps the contract of `strtof`.
    unsafe { host_strtof(s, end) }
}

unsafe extern "win64" fn atof(s: *const c_char) -> f64 {
    // SAFETY: the caller keeps the contract of `atof`.
    unsafe { host_strtod(s, std::ptr::null_mut()) }
}

/// An integer at the start of a text: what it is, whether it did not fit, and how many elements it took.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// The amount without its sign.
    pub amount: u64,
    /// Whether there was a minus.
    pub negative: bool,
    /// Whether it has more than 64 bits.
    pub overflow: bool,
    /// Elements up to its end; 0 where there is no number.
    pub len: usize,
}

/// Reads an integer from elements that `at` gives one by one (0 ends them).
pub(crate) fn parse(at: impl Fn(usize) -> u16, base: i32) -> Parsed {
    let digit = |i: usize| {
        let c = u8::try_from(at(i)).ok()?;
        char::from(c).to_digit(36)
    };
    let mut i = (0..).find(|&i| !matches!(at(i), 9..=13 | 32)).unwrap_or(0);
    let negative = at(i) == u16::from(b'-');
    i += usize::from(negative || at(i) == u16::from(b'+'));
    let is_hex = at(i) == u16::from(b'0')
        && [b'x', b'X'].contains(&(at(i + 1) as u8))
        && digit(i + 2).is_some_and(|d| d < 16);
    let base = match base {
        0 if is_hex => 16,
        0 if at(i) == u16::from(b'0') => 8,
        0 => 10,
        b => b.unsigned_abs(),
    };
    if base == 16 && is_hex {
        i += 2;
    }
    let start = i;
    let (mut amount, mut overflow) = (0u64, false);
    while let Some(d) = digit(i).filter(|&d| d < base) {
        let next = amount.checked_mul(base.into()).and_then(|a| a.checked_add(d.into()));
        overflow |= next.is_none();
        amount = next.unwrap_or(u64::MAX);
        i += 1;
    }
    Parsed { amount, negative, overflow, len: if i > start { i } else { 0 } }
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
        return limit;
    }
    if p.negative { p.amount.wrapping_neg() & limit } else { p.amount }
}

fn narrow(s: Ptr<u8>, end: Ptr<Ptr<u8>>, base: i32) -> Parsed {
    let p = parse(|i| s.at(i).get().into(), base);
    end.put(s.at(p.len));
    p
}

fn wide(s: Ptr<u16>, end: Ptr<Ptr<u16>>, base: i32) -> Parsed {
    let p = parse(|i| s.at(i).get(), base);
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

/// Wide digits are ASCII, so the narrow function reads them.
extern "win64" fn wcstod(s: Ptr<u16>, end: Ptr<Ptr<u16>>) -> f64 {
    let ascii: Vec<u8> =
        s.text().iter().map_while(|&u| u8::try_from(u).ok().filter(u8::is_ascii)).chain([0]).collect();
    let mut stop = std::ptr::null_mut();
    // SAFETY: the text is ours and ends with a zero.
    let value = unsafe { host_strtod(ascii.as_ptr().cast(), &raw mut stop) };
    end.put(s.at(stop.addr() - ascii.as_ptr().addr()));
    value
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

/// The digits of a number in a base from 2 to 36.
fn digits(mut n: u64, base: u32, minus: bool) -> Vec<u8> {
    let base = u64::from(base.clamp(2, 36));
    let mut out = Vec::new();
    loop {
        out.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(n % base) as usize]);
        n /= base;
        if n == 0 {
            break;
        }
    }
    minus.then(|| out.push(b'-'));
    out.reverse();
    out
}

fn write(to: Ptr<u8>, digits: &[u8]) -> Ptr<u8> {
    to.fill(digits);
    to.at(digits.len()).set(0);
    to
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
    copy_s(to, room, &signed_digits(n.into(), 32, base), 0, false)
}

extern "win64" fn _i64toa_s(n: i64, to: Ptr<u8>, room: usize, base: u32) -> i32 {
    copy_s(to, room, &signed_digits(n, 64, base), 0, false)
}

extern "win64" fn _ultoa_s(n: u32, to: Ptr<u8>, room: usize, base: u32) -> i32 {
    copy_s(to, room, &digits(n.into(), base, false), 0, false)
}

extern "win64" fn _ui64toa_s(n: u64, to: Ptr<u8>, room: usize, base: u32) -> i32 {
    copy_s(to, room, &digits(n, base, false), 0, false)
}

/// Digits are ASCII, so they are units as they are.
fn units(digits: &[u8]) -> Vec<u16> {
    digits.iter().map(|&digit| digit.into()).collect()
}

fn write_wide(to: Ptr<u16>, digits: &[u8]) -> Ptr<u16> {
    to.fill(&units(digits));
    to.at(digits.len()).set(0);
    to
}

extern "win64" fn _itow(n: i32, to: Ptr<u16>, base: u32) -> Ptr<u16> {
    write_wide(to, &signed_digits(n.into(), 32, base))
}

extern "win64" fn _i64tow(n: i64, to: Ptr<u16>, base: u32) -> Ptr<u16> {
    write_wide(to, &signed_digits(n, 64, base))
}

extern "win64" fn _ultow(n: u32, to: Ptr<u16>, base: u32) -> Ptr<u16> {
    write_wide(to, &digits(n.into(), base, false))
}

extern "win64" fn _ui64tow(n: u64, to: Ptr<u16>, base: u32) -> Ptr<u16> {
    write_wide(to, &digits(n, base, false))
}

extern "win64" fn _itow_s(n: i32, to: Ptr<u16>, room: usize, base: u32) -> i32 {
    copy_s(to, room, &units(&signed_digits(n.into(), 32, base)), 0, false)
}

extern "win64" fn _i64tow_s(n: i64, to: Ptr<u16>, room: usize, base: u32) -> i32 {
    copy_s(to, room, &units(&signed_digits(n, 64, base)), 0, false)
}

extern "win64" fn _ultow_s(n: u32, to: Ptr<u16>, room: usize, base: u32) -> i32 {
    copy_s(to, room, &units(&digits(n.into(), base, false)), 0, false)
}

extern "win64" fn _ui64tow_s(n: u64, to: Ptr<u16>, room: usize, base: u32) -> i32 {
    copy_s(to, room, &units(&digits(n, base, false)), 0, false)
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

/// The decimal digits of a number, `n` of them or as many as reach `n` places behind the point; where the point is.
fn decimal(x: f64, n: usize, behind_point: bool) -> (Vec<u8>, i32) {
    let text =
        if behind_point { format!("{:.n$}", x.abs()) } else { format!("{:.*e}", n.max(1) - 1, x.abs()) };
    let (number, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = number.find('.').unwrap_or(number.len()) as i32 + exponent.parse::<i32>().unwrap_or(0);
    let digits = number.bytes().filter(u8::is_ascii_digit);
    if behind_point {
        let zeros = digits.clone().take_while(|&d| d == b'0').count();
        let all: Vec<u8> = digits.skip(zeros).collect();
        let point = if all.is_empty() { -(n as i32) } else { point - zeros as i32 };
        return (all, if x == 0.0 { 0 } else { point });
    }
    if x == 0.0 { (vec![b'0'; n], 0) } else { (digits.take(n).collect(), point) }
}

/// Digits in the thread's own place.
fn give(digits: &[u8]) -> *const c_char {
    let text = CString::new(digits).unwrap_or_default();
    teb::own(|o| {
        *o.digits.borrow_mut() = text;
        o.digits.borrow().as_ptr()
    })
}

extern "win64" fn _ecvt(x: f64, n: i32, point: Ptr<i32>, negative: Ptr<i32>) -> *const c_char {
    let (digits, at) = decimal(x, usize::try_from(n).unwrap_or(0), false);
    point.put(at);
    negative.put((x < 0.0).into());
    give(&digits)
}

extern "win64" fn _fcvt(x: f64, n: i32, point: Ptr<i32>, negative: Ptr<i32>) -> *const c_char {
    let (digits, at) = decimal(x, usize::try_from(n).unwrap_or(0), true);
    point.put(at);
    negative.put((x < 0.0).into());
    give(&digits)
}

/// As `%g` in msvcrt's own way.
extern "win64" fn _gcvt(x: f64, n: i32, to: Ptr<u8>) -> Ptr<u8> {
    let digits = crate::format::general(x, usize::try_from(n).unwrap_or(0));
    write(to, &digits)
}

extern "win64" fn _wtof(s: Ptr<u16>) -> f64 {
    wcstod(s, Ptr::NULL)
}

extern "win64" fn wcstof(s: Ptr<u16>, end: Ptr<Ptr<u16>>) -> f32 {
    wcstod(s, end) as f32
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
        strtod, strtof, atof, strtol, strtoul, strtoll, _strtoi64 = strtoll, strtoimax = strtoll, strtoull,
        _strtoui64 = strtoull, strtoumax = strtoull, wcstol, wcstoul, wcstoll, _wcstoi64 = wcstoll, wcstoimax = wcstoll,
        wcstoull, _wcstoui64 = wcstoull, wcstoumax = wcstoull, wcstod, wcstof, atoi, atol = atoi, atoll = _atoi64, _atoi64,
        _wtoi, _wtol = _wtoi, _wtoi64, _wtoll = _wtoi64, _wtof, _itoa, _ltoa = _itoa, itoa = _itoa, ltoa = _itoa, _i64toa,
        _ultoa, ultoa = _ultoa, _ui64toa, _itoa_s, _ltoa_s = _itoa_s, _i64toa_s, _ultoa_s, _ui64toa_s, _itow, _ltow = _itow,
        _i64tow, _ultow, _ui64tow, _itow_s, _ltow_s = _itow_s, _i64tow_s, _ultow_s, _ui64tow_s, _ecvt, ecvt = _ecvt, _fcvt,
        fcvt = _fcvt, _gcvt, gcvt = _gcvt, _rotl, _lrotl = _rotl, _rotr, _lrotr = _rotr, _rotl64, _rotr64, _byteswap_ushort,
        _byteswap_ulong, _byteswap_uint64
}

table! {
    /// The same in a locale that is passed last, which is always "C": the argument is not looked at.
    pub(crate) IN_LOCALES:
        _strtod_l = strtod, _strtof_l = strtof, _atof_l = atof, _atoi_l = atoi, _atol_l = atoi, _atoi64_l = _atoi64,
        _atoll_l = _atoi64, _strtol_l = strtol, _strtoul_l = strtoul, _strtoi64_l = strtoll, _strtoll_l = strtoll,
        _strtoui64_l = strtoull, _strtoull_l = strtoull, _wcstod_l = wcstod, _wcstof_l = wcstof, _wcstol_l = wcstol,
        _wcstoul_l = wcstoul, _wcstoi64_l = wcstoll, _wcstoll_l = wcstoll, _wcstoui64_l = wcstoull,
        _wcstoull_l = wcstoull, _wtof_l = _wtof, _wtoi_l = _wtoi, _wtol_l = _wtoi, _wtoi64_l = _wtoi64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        let of = |s: &str, base| parse(|i| s.as_bytes().get(i).map_or(0, |&b| b.into()), base);
        assert_eq!((of(" -0x1Fz", 0).amount, of(" -0x1Fz", 0).len), (31, 6));
        assert_eq!((of("0x", 0).amount, of("0x", 0).len), (0, 1));
        assert_eq!(of("077", 0).amount, 63);
        assert_eq!(of("abc", 10).len, 0);
        assert!(of("18446744073709551616", 10).overflow);
        assert_eq!(signed_digits(-5, 32, 16), b"fffffffb");
        assert_eq!(signed_digits(-5, 32, 10), b"-5");
    }
}
