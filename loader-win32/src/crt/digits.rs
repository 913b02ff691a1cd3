//! The digits of a floating point number and where its point is: `_ecvt`, `_fcvt`, `_gcvt` and their safe forms. The
//! runtimes differ in how they round.

use super::{
    invalid::{invalid, refuse},
    string::copy_s,
};
use crate::{
    format::{Decimal, Places, Rounding, Style, Width, general, named_digits},
    guest::Ptr,
    teb,
};
use libc::c_char;
use std::ffi::CString;

/// More digits than this are not given out: Microsoft's runtime has room for no more (`_CVTBUFSIZE`, less two).
const MOST_DIGITS: i32 = 347;

/// The first `n` digits of a number without its sign, and where the point is among them.
fn significant(x: f64, n: i32, rounding: Rounding) -> (Vec<u8>, i32) {
    let n = n.clamp(0, MOST_DIGITS) as usize;
    if let Some(digits) = named_digits(x, n) {
        return (digits, 1);
    }
    let Decimal { mut digits, point } = Decimal::of(x, Places::Significant(n), rounding);
    digits.truncate(n);
    (digits, point)
}

/// The digits up to `n` behind the point, or all but so many before it, and where the point is among them.
fn fixed(x: f64, n: i32, rounding: Rounding) -> (Vec<u8>, i32) {
    let n = n.clamp(-MOST_DIGITS, MOST_DIGITS);
    let digits = usize::try_from(n).unwrap_or(0);
    if let Some(digits) = named_digits(x, digits + 1) {
        return (digits, 1);
    }
    if n >= 0 || x == 0.0 {
        let Decimal { digits, point } = Decimal::of(x, Places::Fraction(digits), rounding);
        return (digits, point);
    }
    let Decimal { point, .. } = Decimal::of(x, Places::Significant(17), rounding);
    match usize::try_from(point + n) {
        Ok(kept) if kept > 0 => significant(x, kept as i32, rounding),
        _ => (Vec::new(), point),
    }
}

/// Digits in the thread's own place.
fn give(digits: Vec<u8>) -> *const c_char {
    let text = CString::new(digits).unwrap_or_default();
    teb::own(|o| {
        *o.digits.borrow_mut() = text;
        o.digits.borrow().as_ptr()
    })
}

/// Digits where there must be room for them.
fn give_s(
    to: Ptr<u8>,
    room: usize,
    point: Ptr<i32>,
    sign: Ptr<i32>,
    digits: impl FnOnce() -> Vec<u8>,
) -> i32 {
    if to.is_null() || room == 0 || point.is_null() || sign.is_null() {
        if room > 0 {
            to.put(0);
        }
        return invalid();
    }
    copy_s(to, room, &digits(), 0, false)
}

fn general_s(x: f64, n: i32, (to, room): (Ptr<u8>, usize), style: Style) -> i32 {
    if to.is_null() || room == 0 {
        return invalid();
    }
    let n = usize::try_from(n).unwrap_or(0);
    let text = general(x, n, style);
    if n >= room || text.len() >= room {
        to.set(0);
        return refuse(libc::ERANGE);
    }
    copy_s(to, room, &text, 0, false)
}

macro_rules! digits {
    ($($rounding:expr, $style:expr => $ecvt:ident $ecvt_s:ident $fcvt:ident $fcvt_s:ident $gcvt:ident $gcvt_s:ident $table:ident;)*) => {$(
        /// So many digits.
        extern "win64" fn $ecvt(x: f64, n: i32, point: Ptr<i32>, negative: Ptr<i32>) -> *const c_char {
            let (digits, at) = significant(x, n, $rounding);
            point.put(at);
            negative.put(x.is_sign_negative().into());
            give(digits)
        }
        extern "win64" fn $ecvt_s(to: Ptr<u8>, room: usize, x: f64, n: i32, point: Ptr<i32>, negative: Ptr<i32>) -> i32 {
            give_s(to, room, point, negative, || {
                let (digits, at) = significant(x, n, $rounding);
                point.set(at);
                negative.set(x.is_sign_negative().into());
                digits
            })
        }
        /// So many digits behind the point.
        extern "win64" fn $fcvt(x: f64, n: i32, point: Ptr<i32>, negative: Ptr<i32>) -> *const c_char {
            let (digits, at) = fixed(x, n, $rounding);
            point.put(at);
            negative.put(x.is_sign_negative().into());
            give(digits)
        }
        extern "win64" fn $fcvt_s(to: Ptr<u8>, room: usize, x: f64, n: i32, point: Ptr<i32>, negative: Ptr<i32>) -> i32 {
            give_s(to, room, point, negative, || {
                let (digits, at) = fixed(x, n, $rounding);
                point.set(at);
                negative.set(x.is_sign_negative().into());
                digits
            })
        }
        /// As `%g`.
        extern "win64" fn $gcvt(x: f64, n: i32, to: Ptr<u8>) -> Ptr<u8> {
            if to.is_null() {
                invalid();
                return Ptr::NULL;
            }
            let Ok(n) = usize::try_from(n) else {
                refuse(libc::ERANGE);
                return Ptr::NULL;
            };
            let text = general(x, n, $style);
            to.fill(&text);
            to.at(text.len()).set(0);
            to
        }
        extern "win64" fn $gcvt_s(to: Ptr<u8>, room: usize, x: f64, n: i32) -> i32 {
            general_s(x, n, (to, room), $style)
        }
        table! {
            /// Of one runtime.
            pub(crate) $table: _ecvt = $ecvt, ecvt = $ecvt, _ecvt_s = $ecvt_s, _fcvt = $fcvt, fcvt = $fcvt, _fcvt_s = $fcvt_s,
                _gcvt = $gcvt, gcvt = $gcvt, _gcvt_s = $gcvt_s
        }
    )*};
}

digits! {
    Rounding::Away, Style::universal(Width::Narrow) => ecvt ecvt_s fcvt fcvt_s gcvt gcvt_s UCRT;
    Rounding::Seventeen, Style::msvcrt(Width::Narrow) => ecvt_17 ecvt_s_17 fcvt_17 fcvt_s_17 gcvt_17 gcvt_s_17 MSVCRT;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        let significant = |x, n| significant(x, n, Rounding::Seventeen);
        let fixed = |x, n| fixed(x, n, Rounding::Seventeen);
        let of = |digits: &str, point| (digits.as_bytes().to_vec(), point);
        assert_eq!((significant(123.456, 4), significant(0.0, 3)), (of("1235", 3), of("000", 0)));
        assert_eq!((fixed(123.456, 1), fixed(123.456, -1)), (of("1235", 3), of("12", 3)));
        assert_eq!((fixed(99.99, 1), fixed(0.6, 0), fixed(1e-4, 1)), (of("1000", 3), of("1", 1), of("", -3)));
        assert_eq!((significant(f64::INFINITY, 2), fixed(f64::INFINITY, 5)), (of("1$", 1), of("1#INF0", 1)));
        assert_eq!(significant(123_456_789_012_345_678_901.0, 20), of("12345678901234568000", 21));
        // However many digits are asked for.
        for x in [0.0, -1.5, 1e300, 1e-300, f64::INFINITY, f64::NAN] {
            for n in [i32::MIN, -1, 0, 1, 65_536, i32::MAX] {
                for rounding in [Rounding::Seventeen, Rounding::Away] {
                    assert!(super::significant(x, n, rounding).0.len() <= MOST_DIGITS as usize);
                    let most = f64::MAX_10_EXP as usize + 1 + MOST_DIGITS as usize;
                    assert!(super::fixed(x, n, rounding).0.len() <= most);
                }
            }
        }
    }
}
