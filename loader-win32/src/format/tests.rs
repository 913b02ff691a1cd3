#![allow(unsafe_code)]

use super::*;
use crate::text;
use std::ffi::CString;

const UNIVERSAL: Style = Style {
    width: Width::Narrow,
    dialect: Dialect::Universal,
    exponent_digits: 2,
    rounding: Rounding::Even,
    counts: false,
};

fn of(pattern: &str, slots: &[u64]) -> String {
    written(pattern, slots, UNIVERSAL)
}

fn written(pattern: &str, slots: &[u64], style: Style) -> String {
    let slots = [slots, &[0; 4]].concat();
    // SAFETY: the slots outlive the call; formats in these tests take no more than are there.
    let arguments = Arguments::new(unsafe { Ptr::new(slots.as_ptr().cast_mut()) });
    String::from_utf8(format(pattern.as_bytes(), arguments, style).unwrap()).unwrap()
}

/// What the host says, for one double.
fn host(pattern: &str, x: f64) -> String {
    let pattern = CString::new(pattern).unwrap();
    let mut room = [0u8; 600];
    // SAFETY: every pattern in these tests takes one double.
    let n = unsafe { libc::snprintf(room.as_mut_ptr().cast(), room.len(), pattern.as_ptr(), x) };
    String::from_utf8(room[..n as usize].to_vec()).unwrap()
}

#[test]
fn integers() {
    let minus = (-5i64).cast_unsigned();
    for (pattern, slot, expected) in [
        ("%d", minus, "-5"),
        ("%5d|", 42, "   42|"),
        ("%-5d|", 42, "42   |"),
        ("%05d", minus, "-0005"),
        ("%+d", 5, "+5"),
        ("% d", 5, " 5"),
        ("%.3d", 5, "005"),
        ("%8.3d", minus, "    -005"),
        ("%.0d|", 0, "|"),
        ("%u", minus, "4294967291"),
        ("%lu", minus, "4294967291"),
        ("%llu", minus, "18446744073709551611"),
        ("%I64d", minus, "-5"),
        ("%zx", 255, "ff"),
        ("%#x", 255, "0xff"),
        ("%#010X", 255, "0X000000FF"),
        ("%#x", 0, "0"),
        ("%#o", 8, "010"),
        ("%#.0o", 0, "0"),
        ("%hhd", 0x1ff, "-1"),
        ("%hu", 0x1_2345, "9029"),
        ("%p", 0x1234, "0000000000001234"),
        ("%c%%", 65, "A%"),
    ] {
        assert_eq!(of(pattern, &[slot]), expected, "{pattern}");
    }
    assert_eq!(of("%*d|%-*d|", &[4, 7, 4, 7]), "   7|7   |");
    assert_eq!(of("%.*d", &[3, 7]), "007");
}

#[test]
fn floats_as_the_host_has_them() {
    let values = [0.0, -0.0, 1.5, -2.25, 1e-7, 123_456_789.125, 1e300, f64::INFINITY, f64::NAN, 5e-324];
    let patterns = [
        "%f", "%.0f", "%10.3f", "%-12.1f|", "%+e", "% g", "%G", "%#.3g", "%012.4f", "%.17g", "%.20e", "%08g",
    ];
    for x in values {
        for pattern in patterns {
            assert_eq!(of(pattern, &[x.to_bits()]), host(pattern, x), "{pattern} {x}");
        }
    }
}

#[test]
fn all_hexadecimal_digits() {
    assert_eq!(
        of("%a %.1a %A", &[1.5f64, 1.5, -1.0].map(f64::to_bits)),
        "0x1.8000000000000p+0 0x1.8p+0 -0X1.0000000000000P+0"
    );
}

#[test]
fn what_has_no_digits() {
    let ind = -f64::from_bits(0x7ff8 << 48);
    let all =
        [f64::INFINITY, f64::from_bits(0x7ff8 << 48), ind, f64::from_bits(0x7ff4 << 48)].map(f64::to_bits);
    assert_eq!(of("%f %f %f %f", &all), "inf nan -nan(ind) nan(snan)");
    assert_eq!(of("%F|%05E|%+g", &[all[0]; 3]), "INF|  INF|+inf");
}

#[test]
fn as_msvcrt_writes_numbers() {
    let old = |pattern, slots: &[u64]| written(pattern, slots, Style::msvcrt(Width::Narrow));
    let doubles = |x: f64| [x.to_bits(); 4];
    assert_eq!(old("%e %.0E %g %#g", &doubles(1e-5)), "1.000000e-005 1E-005 1e-005 1.00000e-005");
    assert_eq!(old("%e %f %.3a", &doubles(1e100))[..13], *"1.000000e+100");
    assert_eq!(old("%f %e %g %.1f", &doubles(f64::INFINITY)), "1.#INF00 1.#INF00e+000 1.#INF 1.$");
    assert_eq!(old("%.2f %.0f %08.4f %+.3g", &doubles(f64::INFINITY)), "1.#J 1 001.#INF +1.#J");
    assert_eq!(old("%f %g", &doubles(f64::from_bits(0xfff8 << 48))), "-1.#IND00 -1.#IND");
    assert_eq!(old("%hhd", &[0x1ff]), "511");
}

#[test]
fn texts() {
    let (narrow, wide) = (c"hello", text::wide_z("w\u{f6}rld"));
    let (n, w) = (narrow.as_ptr().expose_provenance() as u64, wide.as_ptr().expose_provenance() as u64);
    assert_eq!(of("%s", &[n]), "hello");
    assert_eq!(of("%.2s|%7s|%-7s|", &[n, n, n]), "he|  hello|hello  |");
    assert_eq!(of("%ls %S", &[w, w]), "w\u{f6}rld w\u{f6}rld");
    assert_eq!(of("%s %.3s", &[0, 0]), "(null) (nu");
}

#[test]
fn refused() {
    // SAFETY: none of these takes an argument.
    let none = Arguments::new(unsafe { Ptr::new(std::ptr::null_mut()) });
    for pattern in ["%", "%5", "%ll", "%."] {
        assert_eq!(format(pattern.as_bytes(), none, UNIVERSAL), None, "{pattern}");
    }
}

#[test]
fn what_msvcrt_does_not_know_stands_for_itself() {
    let old = |pattern, slots: &[u64]| written(pattern, slots, Style::msvcrt(Width::Narrow));
    assert_eq!(old("%k%m%_1I64d%I%Iq%I0d", &[]), "km_1I64dIIqI0d");
    assert_eq!(old("%3h%w|%-F%", &[]), "%w|%");
    assert_eq!(old("%Fd %Nd %Ix %zx %t", &[1, 2, 0x1_0000_0000, 1]), "1 2 100000000 1 t");
    assert_eq!(old("%*1d|%#020p", &[1, 3, 57]), "          3|  0X0000000000000039");
    assert_eq!(of("%*1d|%p", &[5, 3, 57]), "3|0000000000000039", "elsewhere digits replace the star");
}

#[test]
fn rounding() {
    let with = |rounding, pattern, x: f64| {
        let style = Style { rounding, ..Style::universal(Width::Narrow) };
        written(pattern, &[x.to_bits()], style)
    };
    for (x, pattern, [seventeen, away, even]) in [
        (0.5, "%.0f", ["1", "1", "0"]),
        (2.5, "%.0f", ["3", "3", "2"]),
        (0.125, "%.2f", ["0.13", "0.13", "0.12"]),
        (1.0 / 3.0, "%.20f", ["0.33333333333333331000", "0.33333333333333331483", "0.33333333333333331483"]),
        (9.999_999_999_999_999e-5, "%g", ["0.0001"; 3]),
        (1.031_25, "%.1a", ["0x1.1p+0", "0x1.1p+0", "0x1.0p+0"]),
        (1.5, "%.0a", ["0x2p+0"; 3]),
        (1e22, "%.0f", ["10000000000000000000000"; 3]),
        (5e-324, "%a", ["0x0.0000000000001p-1022"; 3]),
    ] {
        let rounded = [Rounding::Seventeen, Rounding::Away, Rounding::Even].map(|r| with(r, pattern, x));
        assert_eq!(rounded, [seventeen, away, even], "{pattern} {x}");
    }
}

#[test]
fn numbered_arguments() {
    let (text, wide) = (c"test", text::wide_z("\u{f6}\u{1f600}"));
    let slots = [2, text.as_ptr().expose_provenance() as u64, 3, wide.as_ptr().expose_provenance() as u64];
    // SAFETY: the slots outlive the calls; no format takes more than are there.
    let arguments = Arguments::new(unsafe { Ptr::new(slots.as_ptr().cast_mut()) });
    let numbered = |pattern: &str| {
        format_numbered(pattern.as_bytes(), arguments, UNIVERSAL).map(|t| String::from_utf8(t).unwrap())
    };
    assert_eq!(numbered("%2$*3$s %2$.*1$s").unwrap(), "test te");
    assert_eq!(numbered("%d %.1s").unwrap(), "2 t");
    assert_eq!(
        [numbered("%d %1$d"), numbered("%1$d %d"), numbered("%0$d"), numbered("%101$d")],
        [None, None, None, None]
    );
    // Text of either width in text of either, counted in what it is made of.
    let pattern = text::wide("%2$hs|%4$.1s|%4$5ls|");
    let units = format_numbered(&pattern, arguments, Style::msvcrt(Width::Wide)).unwrap();
    assert_eq!(String::from_utf16(&units).unwrap(), "test|\u{f6}|  \u{f6}\u{1f600}|");
    assert_eq!(numbered("%4$.1ls|%4$.2ls|%4$.5ls").unwrap(), "|\u{f6}|\u{f6}");
}
