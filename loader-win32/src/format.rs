//! `printf`: a format, and the arguments as Windows code passes them, one 8-byte slot each.

use crate::{guest::Ptr, text};
use std::ffi::CString;

/// A Windows `va_list`: the address of the next slot. A floating point number lies in its slot as a double.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments(Ptr<u64>);

impl Arguments {
    /// The arguments from a slot on.
    pub(crate) fn new(first: Ptr<u64>) -> Self {
        Self(first)
    }

    /// The next slot.
    pub(crate) fn next(&mut self) -> u64 {
        let value = self.0.get();
        self.0 = self.0.at(1);
        value
    }

    /// The next slot, as a pointer.
    pub(crate) fn pointer<T>(&mut self) -> Ptr<T> {
        let slot = self.0.cast::<Ptr<T>>();
        self.0 = self.0.at(1);
        slot.get()
    }
}

/// How wide the text is, of which a format is a part: `%s` means text of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// `printf`
    Narrow,
    /// `wprintf`, where `%s` is wide
    Wide,
    /// `wprintf` as the C standard has it: `%s` is narrow
    WideStandard,
}

/// How a runtime reads formats and writes numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// What `%s` means.
    pub width: Width,
    /// As msvcrt does it: `1.#INF` for infinity, and `hh` says no more than `h`.
    pub legacy: bool,
    /// As msvcrt does it: an exponent has three digits.
    pub long_exponents: bool,
}

/// The size that a conversion's letters give it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Size {
    Byte,
    Short,
    #[default]
    Int,
    Long,
    Quad,
    LongDouble,
}

/// One conversion: `%-08.3lld`.
#[derive(Clone, Copy, Debug, Default)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    size: Size,
}

/// Widths and precisions beyond this are not believed.
const LIMIT: usize = 1 << 20;

impl Spec {
    fn flag(&mut self, c: u8) -> bool {
        match c {
            b'-' => self.left = true,
            b'+' => self.plus = true,
            b' ' => self.space = true,
            b'#' => self.alternate = true,
            b'0' => self.zero = true,
            _ => return false,
        }
        true
    }

    /// Fills up to the width; zeros go between `sign` and `body`.
    fn pad(&self, out: &mut Vec<u8>, sign: &[u8], body: &[u8], zeros: bool) {
        let fill = self.width.saturating_sub(sign.len() + body.len());
        let (before, between, after) = match (self.left, zeros) {
            (true, _) => (0, 0, fill),
            (false, true) => (0, fill, 0),
            (false, false) => (fill, 0, 0),
        };
        out.extend(std::iter::repeat_n(b' ', before));
        out.extend_from_slice(sign);
        out.extend(std::iter::repeat_n(b'0', between));
        out.extend_from_slice(body);
        out.extend(std::iter::repeat_n(b' ', after));
    }

    fn sign(&self, negative: bool) -> &'static [u8] {
        match (negative, self.plus, self.space) {
            (true, ..) => b"-",
            (false, true, _) => b"+",
            (false, false, true) => b" ",
            _ => b"",
        }
    }

    /// A slot as a signed number of the size.
    fn signed(&self, slot: u64) -> i64 {
        match self.size {
            Size::Byte => i64::from(slot as i8),
            Size::Short => i64::from(slot as i16),
            Size::Quad => slot.cast_signed(),
            _ => i64::from(slot as i32), // `long` too has 32 bits
        }
    }

    fn unsigned(&self, slot: u64) -> u64 {
        match self.size {
            Size::Byte => slot & 0xff,
            Size::Short => slot & 0xffff,
            Size::Quad => slot,
            _ => slot & 0xffff_ffff,
        }
    }

    /// Digits with at least the precision; none at all for zero with precision zero.
    fn integer(&self, out: &mut Vec<u8>, sign: &[u8], digits: String, is_zero: bool) {
        let digits = if is_zero && self.precision == Some(0) { String::new() } else { digits };
        let missing = self.precision.unwrap_or(0).saturating_sub(digits.len());
        let body = "0".repeat(missing) + &digits;
        self.pad(out, sign, body.as_bytes(), self.zero && self.precision.is_none());
    }

    fn number(&self, out: &mut Vec<u8>, letter: u8, slot: u64) {
        if matches!(letter, b'd' | b'i') {
            let n = self.signed(slot);
            return self.integer(out, self.sign(n < 0), n.unsigned_abs().to_string(), n == 0);
        }
        let n = self.unsigned(slot);
        let (prefix, digits): (&[u8], _) = match letter {
            b'x' => (b"0x", format!("{n:x}")),
            b'X' => (b"0X", format!("{n:X}")),
            b'o' => (b"", format!("{n:o}")),
            b'b' => (b"0b", format!("{n:b}")),
            _ => (b"", n.to_string()),
        };
        let leads = letter == b'o' && self.alternate && !digits.starts_with('0');
        let digits = if leads { format!("0{digits}") } else { digits };
        let prefix = if self.alternate && n != 0 { prefix } else { b"" };
        let is_zero = n == 0 && !(self.alternate && letter == b'o');
        self.integer(out, prefix, digits, is_zero);
    }

    /// A floating point number: the host formats it, with the same letters and meanings.
    fn float(&self, out: &mut Vec<u8>, letter: u8, x: f64, style: Style) {
        let hexadecimal = matches!(letter, b'a' | b'A');
        let precision = self.precision.or(hexadecimal.then_some(13)); // all digits, where the host leaves zeros out
        let (named, body) = match name(x, style.legacy) {
            Some(name) if style.legacy => (true, self.legacy_name(letter, name)),
            Some(name) if letter.is_ascii_uppercase() => (true, name.to_ascii_uppercase().into()),
            Some(name) => (true, name.into()),
            None => (false, host_float(letter, self.alternate, precision, x.abs())),
        };
        let body = if style.long_exponents && !hexadecimal { three_digits(body) } else { body };
        let (prefix, rest) = body.split_at(if hexadecimal && !named { 2 } else { 0 });
        let sign = [self.sign(x.is_sign_negative()), prefix].concat();
        self.pad(out, &sign, rest, self.zero && (style.legacy || !named));
    }

    /// msvcrt formats the names of infinity and of what is no number as if they were digits, and rounds them.
    fn legacy_name(&self, letter: u8, name: &str) -> Vec<u8> {
        let precision = self.precision.unwrap_or(6);
        let general = matches!(letter, b'g' | b'G');
        let kept = if general { precision.max(1) } else { precision + 1 };
        let mut digits = name.as_bytes().to_vec();
        if digits.get(kept).is_some_and(|&next| next >= b'5') {
            digits[kept - 1] += 1;
        }
        let padded = if general && !self.alternate { kept.min(digits.len()) } else { kept };
        digits.resize(padded, b'0');
        if digits.len() > 1 || self.alternate {
            digits.insert(1, b'.');
        }
        if matches!(letter, b'e' | b'E') {
            digits.extend([letter, b'+', b'0', b'0', b'0']);
        }
        digits
    }

    fn text(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        self.pad(out, b"", bytes, self.zero);
    }
}

/// What a number that has no digits is called, without its sign.
fn name(x: f64, legacy: bool) -> Option<&'static str> {
    const MANTISSA: u64 = (1 << 52) - 1;
    const QUIET: u64 = 1 << 51;
    let names = match x.to_bits() & MANTISSA {
        _ if x.is_finite() => return None,
        0 => ["1#INF", "inf"],
        QUIET if x.is_sign_negative() => ["1#IND", "nan(ind)"],
        bits if bits & QUIET == 0 => ["1#SNAN", "nan(snan)"],
        _ => ["1#QNAN", "nan"],
    };
    Some(names[usize::from(!legacy)])
}

/// An exponent of two digits gets a third.
fn three_digits(mut body: Vec<u8>) -> Vec<u8> {
    if let Some(at) = body.iter().position(|b| matches!(b, b'e' | b'E')).filter(|at| body.len() - at == 4) {
        body.insert(at + 2, b'0');
    }
    body
}

/// A number without sign and width, formatted by the host's C library.
#[allow(unsafe_code)]
fn host_float(letter: u8, alternate: bool, precision: Option<usize>, x: f64) -> Vec<u8> {
    let precision = precision.map_or(-1, |p| i32::try_from(p).unwrap_or(0));
    let format = format!("%{}.*{}", if alternate { "#" } else { "" }, char::from(letter));
    let format = CString::new(format).unwrap_or_default();
    let mut room = vec![0u8; 400 + usize::try_from(precision).unwrap_or(0)];
    // SAFETY: the format takes a precision and a double, and the room is as long as is said.
    let n = unsafe { libc::snprintf(room.as_mut_ptr().cast(), room.len(), format.as_ptr(), precision, x) };
    room.truncate(usize::try_from(n).unwrap_or(0).min(room.len()));
    if room.is_empty() { b"?".to_vec() } else { room }
}

/// A number as `%g` writes it, with this precision.
pub(crate) fn general(x: f64, precision: usize, legacy: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let spec = Spec { precision: Some(precision.min(LIMIT)), ..Spec::default() };
    spec.float(&mut out, b'g', x, Style { width: Width::Narrow, legacy, long_exponents: legacy });
    out
}

/// A narrow text, at most as long as the precision.
fn narrow(from: Ptr<u8>, precision: Option<usize>) -> Vec<u8> {
    if from.is_null() {
        return b"(null)"[..6.min(precision.unwrap_or(6))].to_vec();
    }
    from.slice(from.count(precision.unwrap_or(usize::MAX))).to_vec()
}

/// A wide text as UTF-8, at most as many units as the precision.
fn wide(from: Ptr<u16>, precision: Option<usize>) -> Vec<u8> {
    if from.is_null() {
        return narrow(Ptr::NULL, precision);
    }
    text::loose(&from.slice(from.count(precision.unwrap_or(usize::MAX))))
}

/// The size letters at the start of `rest`, and what follows them.
fn size(rest: &[u8]) -> (Size, &[u8]) {
    const SIZES: [(&[u8], Size); 11] = [
        (b"hh", Size::Byte),
        (b"h", Size::Short),
        (b"ll", Size::Quad),
        (b"l", Size::Long),
        (b"I64", Size::Quad),
        (b"I32", Size::Int),
        (b"I", Size::Quad),
        (b"z", Size::Quad),
        (b"j", Size::Quad),
        (b"t", Size::Quad),
        (b"L", Size::LongDouble),
    ];
    SIZES
        .iter()
        .find_map(|(letters, size)| Some((*size, rest.strip_prefix(*letters)?)))
        .unwrap_or((Size::Int, rest.strip_prefix(b"w").map_or(rest, |r| r)))
}

/// A number in the format itself, or one from the arguments (`*`).
fn amount<'a>(rest: &'a [u8], arguments: &mut Arguments) -> (i64, &'a [u8]) {
    if let Some(rest) = rest.strip_prefix(b"*") {
        return (i64::from(arguments.next() as i32), rest);
    }
    let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let value = rest[..len].iter().fold(0i64, |n, d| (n * 10 + i64::from(d - b'0')).min(LIMIT as i64));
    (value, &rest[len..])
}

/// What follows a percent sign: the conversion, its letter, and the rest of the format.
fn spec<'a>(mut rest: &'a [u8], arguments: &mut Arguments, style: Style) -> Option<(Spec, u8, &'a [u8])> {
    let mut spec = Spec::default();
    while let Some((_, more)) = rest.split_first().filter(|(c, _)| spec.flag(**c)) {
        rest = more;
    }
    let (width, after) = amount(rest, arguments);
    spec.left |= width < 0;
    spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(0).min(LIMIT);
    rest = after;
    if let Some(after) = rest.strip_prefix(b".") {
        let (precision, after) = amount(after, arguments);
        spec.precision = usize::try_from(precision).ok().map(|p| p.min(LIMIT));
        rest = after;
    }
    let wide_text = rest.starts_with(b"w");
    let (size, after) = size(rest);
    spec.size = match size {
        _ if wide_text => Size::Long,
        Size::Byte if style.legacy => Size::Short,
        size => size,
    };
    let (&letter, rest) = after.split_first()?;
    Some((spec, letter, rest))
}

/// The formatted text; `None` for a format that Windows refuses (an unfinished conversion, an unknown letter, `%n`).
pub(crate) fn format(pattern: &[u8], mut arguments: Arguments, style: Style) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(pattern.len() + 32);
    let mut rest = pattern;
    while let Some(at) = rest.iter().position(|&b| b == b'%') {
        out.extend_from_slice(&rest[..at]);
        let (spec, letter, after) = spec(&rest[at + 1..], &mut arguments, style)?;
        rest = after;
        // `S` and `C` mean the other width; `h` and `l` settle it.
        let wide_text = match (spec.size, letter, style.width) {
            (Size::Short, ..) => false,
            (Size::Long | Size::Quad, ..) => true,
            (_, b's' | b'c', Width::Wide) | (_, b'S' | b'C', Width::Narrow | Width::WideStandard) => true,
            _ => false,
        };
        match letter {
            b'd' | b'i' | b'u' | b'x' | b'X' | b'o' | b'b' => spec.number(&mut out, letter, arguments.next()),
            b'e' | b'E' | b'f' | b'F' | b'g' | b'G' | b'a' | b'A' => {
                spec.float(&mut out, letter, f64::from_bits(arguments.next()), style);
            }
            b's' | b'S' if wide_text => spec.text(&mut out, &wide(arguments.pointer(), spec.precision)),
            b's' | b'S' => spec.text(&mut out, &narrow(arguments.pointer(), spec.precision)),
            b'c' | b'C' if wide_text => {
                let unit = arguments.next() as u16;
                spec.text(&mut out, &text::loose(&[unit]));
            }
            b'c' | b'C' => spec.text(&mut out, &[arguments.next() as u8]),
            b'p' => spec.text(&mut out, format!("{:016X}", arguments.next()).as_bytes()),
            b'%' => out.push(b'%'),
            // msvcrt writes a letter that means nothing.
            _ if style.legacy && letter != b'n' => out.push(letter),
            _ => return None,
        }
    }
    out.extend_from_slice(rest);
    if style.width == Width::Narrow && std::str::from_utf8(&out).is_err() {
        out = text::strict(out);
    }
    Some(out)
}

/// The same for a wide format, as units.
pub(crate) fn format_wide(pattern: &Ptr<u16>, arguments: Arguments, style: Style) -> Option<Vec<u16>> {
    let bytes = format(&text::loose(&pattern.text()), arguments, style)?;
    Some(text::of_loose(&bytes))
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;

    const UNIVERSAL: Style = Style { width: Width::Narrow, legacy: false, long_exponents: false };

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
            "%f", "%.0f", "%10.3f", "%-12.1f|", "%+e", "% g", "%G", "%#.3g", "%012.4f", "%.17g", "%.20e",
            "%08g",
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
        let all = [f64::INFINITY, f64::from_bits(0x7ff8 << 48), ind, f64::from_bits(0x7ff4 << 48)]
            .map(f64::to_bits);
        assert_eq!(of("%f %f %f %f", &all), "inf nan -nan(ind) nan(snan)");
        assert_eq!(of("%F|%05E|%+g", &[all[0]; 3]), "INF|  INF|+inf");
    }

    #[test]
    fn as_msvcrt_writes_numbers() {
        let old = |pattern, slots: &[u64]| {
            written(pattern, slots, Style { width: Width::Narrow, legacy: true, long_exponents: true })
        };
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
}
