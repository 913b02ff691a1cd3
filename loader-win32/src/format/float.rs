//! Floating point numbers in decimal and hexadecimal, as either runtime rounds and writes them.

use super::{LIMIT, Style};

/// What becomes of the digits that there is no place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// Half away from zero, and of a number only 17 digits are known: msvcrt.
    Seventeen,
    /// Half away from zero, with all the digits that a number has: ucrtbase as it began.
    Away,
    /// Half to the even digit: ucrtbase since, for programs that ask for it.
    Even,
}

/// How many digits are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Places {
    /// So many in all.
    Significant(usize),
    /// So many behind the point.
    Fraction(usize),
}

/// No double has more decimal digits than this; the rest are zeros.
const ALL: usize = 1100;

/// Decimal digits without leading zeros, and how many of them are before the point: the number is 0.DIGITS times ten to
/// the power of `point`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub digits: Vec<u8>,
    pub point: i32,
}

impl Decimal {
    /// The number without its sign.
    pub(crate) fn of(x: f64, places: Places, rounding: Rounding) -> Self {
        let x = x.abs();
        if x == 0.0 {
            let (Places::Significant(n) | Places::Fraction(n)) = places;
            return Self { digits: vec![b'0'; n], point: 0 };
        }
        let rounded = match (rounding, places) {
            (Rounding::Seventeen, _) => Self::significant(x, 17).away(places),
            (_, Places::Significant(0)) => Self::significant(x, ALL).away(places),
            (Rounding::Away, _) if Self::is_half(x, places) => Self::significant(x, ALL).away(places),
            (_, Places::Significant(n)) => Self::significant(x, n.min(ALL)),
            (_, Places::Fraction(n)) => Self::fraction(x, n.min(ALL)),
        };
        let wanted = match places {
            Places::Significant(n) => n,
            Places::Fraction(n) => usize::try_from(i64::from(rounded.point) + n as i64).unwrap_or(0),
        };
        let mut digits = rounded.digits;
        digits.resize(wanted, b'0');
        Self { digits, ..rounded }
    }

    /// The first digits, rounded half to even.
    fn significant(x: f64, n: usize) -> Self {
        let text = format!("{:.*e}", n.max(1) - 1, x);
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let point = exponent.parse::<i32>().unwrap_or(0) + 1;
        Self { digits: digits.bytes().filter(u8::is_ascii_digit).collect(), point }
    }

    /// The digits up to the `n`th behind the point, rounded half to even.
    fn fraction(x: f64, n: usize) -> Self {
        let text = format!("{x:.n$}");
        let whole = text.find('.').unwrap_or(text.len());
        let all: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).collect();
        let zeros = all.iter().take_while(|&&digit| digit == b'0').count();
        match all.len() == zeros {
            true => Self { digits: Vec::new(), ..Self::significant(x, 17) },
            false => Self { digits: all[zeros..].to_vec(), point: whole as i32 - zeros as i32 },
        }
    }

    /// Whether what is cut off is exactly half of the last digit that stays. Few digits more mostly tell.
    fn is_half(x: f64, places: Places) -> bool {
        const MORE: usize = 20;
        let half = |more: usize| {
            let (longer, kept) = match places {
                Places::Significant(n) => (Self::significant(x, (n + more).min(ALL)), n as i64),
                Places::Fraction(n) => {
                    let longer = Self::fraction(x, (n + more).min(ALL));
                    let kept = i64::from(longer.point) + n as i64;
                    (longer, kept)
                }
            };
            let cut = usize::try_from(kept).ok().and_then(|kept| longer.digits.get(kept..));
            cut.and_then(<[u8]>::split_first)
                .is_some_and(|(first, rest)| *first == b'5' && rest.iter().all(|d| *d == b'0'))
        };
        half(MORE) && half(ALL)
    }

    /// The digits that are wanted, rounded half away from zero.
    fn away(mut self, places: Places) -> Self {
        let kept = match places {
            Places::Significant(n) => n as i64,
            Places::Fraction(n) => i64::from(self.point) + n as i64,
        };
        let Ok(kept) = usize::try_from(kept) else {
            return Self { digits: Vec::new(), ..self };
        };
        let up = self.digits.get(kept).is_some_and(|&next| next >= b'5');
        self.digits.truncate(kept);
        if !up {
            return self;
        }
        while let Some(last) = self.digits.pop() {
            if last < b'9' {
                self.digits.push(last + 1);
                return self;
            }
        }
        Self { digits: vec![b'1'], point: self.point + 1 }
    }
}

/// What a number that has no digits is called, without its sign.
pub(super) fn name(x: f64, old: bool) -> Option<&'static str> {
    const MANTISSA: u64 = (1 << 52) - 1;
    const QUIET: u64 = 1 << 51;
    let names = match x.to_bits() & MANTISSA {
        _ if x.is_finite() => return None,
        0 => ["1#INF", "inf"],
        QUIET if x.is_sign_negative() => ["1#IND", "nan(ind)"],
        bits if bits & QUIET == 0 => ["1#SNAN", "nan(snan)"],
        _ => ["1#QNAN", "nan"],
    };
    Some(names[usize::from(!old)])
}

/// The name of a number that has no digits, as if they were some: rounded to `kept` of them, or filled up with zeros.
pub(crate) fn named_digits(x: f64, kept: usize) -> Option<Vec<u8>> {
    let mut digits = name(x, true)?.as_bytes().to_vec();
    if let Some(last) = kept.checked_sub(1)
        && digits.get(kept).is_some_and(|&next| next >= b'5')
    {
        digits[last] += 1;
    }
    digits.resize(kept, b'0');
    Some(digits)
}

/// A number to be written: its letter, its precision, and whether a point stays that nothing follows.
pub(super) struct Written {
    pub letter: u8,
    pub precision: Option<usize>,
    pub alternate: bool,
    pub style: Style,
}

impl Written {
    /// A number without sign and width. What is no number has digits too where names are old.
    pub(super) fn digits(&self, x: f64) -> Vec<u8> {
        let precision = self.precision.unwrap_or(6);
        match self.letter {
            b'f' | b'F' => {
                let decimal = self.decimal(x, Places::Fraction(precision), precision + 1);
                self.fixed(decimal, precision)
            }
            b'e' | b'E' => {
                self.scientific(self.decimal(x, Places::Significant(precision + 1), precision + 1))
            }
            b'a' | b'A' => self.hexadecimal(x),
            _ => self.general(x, precision.max(1)),
        }
    }

    fn decimal(&self, x: f64, places: Places, kept: usize) -> Decimal {
        match named_digits(x, kept) {
            Some(digits) => Decimal { digits, point: 1 },
            None => Decimal::of(x, places, self.style.rounding),
        }
    }

    fn point(&self, out: &mut Vec<u8>, fraction: &[u8]) {
        if self.alternate || !fraction.is_empty() {
            out.push(b'.');
        }
        out.extend_from_slice(fraction);
    }

    fn fixed(&self, decimal: Decimal, precision: usize) -> Vec<u8> {
        let before = usize::try_from(decimal.point).unwrap_or(0).min(decimal.digits.len());
        let (whole, rest) = decimal.digits.split_at(before);
        let mut out = if whole.is_empty() { b"0".to_vec() } else { whole.to_vec() };
        let zeros = precision.saturating_sub(rest.len());
        let mut fraction = vec![b'0'; zeros];
        fraction.extend_from_slice(&rest[..rest.len().min(precision)]);
        self.point(&mut out, &fraction);
        out
    }

    fn scientific(&self, decimal: Decimal) -> Vec<u8> {
        let Some((&first, fraction)) = decimal.digits.split_first() else { return Vec::new() };
        let is_zero = decimal.digits.iter().all(|&digit| digit == b'0');
        let exponent = if is_zero { 0 } else { decimal.point - 1 };
        let mut out = vec![first];
        self.point(&mut out, fraction);
        out.push(if self.letter.is_ascii_uppercase() { b'E' } else { b'e' });
        out.push(if exponent < 0 { b'-' } else { b'+' });
        let width = self.style.exponent_digits;
        out.extend(format!("{:0width$}", exponent.unsigned_abs()).bytes());
        out
    }

    /// As short as may be: with an exponent where the number is small or has more digits than are wanted.
    fn general(&self, x: f64, precision: usize) -> Vec<u8> {
        let mut decimal = self.decimal(x, Places::Significant(precision), precision);
        if x == 0.0 {
            decimal.point = 1;
        }
        let exponent = i64::from(decimal.point) - 1;
        let mut fraction = usize::try_from(precision as i64 - decimal.point as i64).unwrap_or(0);
        if !self.alternate {
            let end = decimal.digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1);
            fraction = fraction.saturating_sub(decimal.digits.len() - end);
            decimal.digits.truncate(end);
        }
        if !(-4..precision as i64).contains(&exponent) {
            return self.scientific(decimal);
        }
        let whole = usize::try_from(decimal.point).unwrap_or(0);
        decimal.digits.resize(whole.max(decimal.digits.len()), b'0');
        self.fixed(decimal, fraction)
    }

    /// With `0x` in front; where names are old, those have a place behind it too.
    fn hexadecimal(&self, x: f64) -> Vec<u8> {
        const DIGITS: usize = 13;
        const BITS: u32 = 52;
        let precision = self.precision.unwrap_or(DIGITS);
        let (lead, fraction, exponent) = match named_digits(x, precision + 1) {
            Some(digits) => (1, String::from_utf8_lossy(&digits[1..]).into_owned(), 0),
            None => {
                let bits = x.abs().to_bits();
                let (lead, exponent) = match bits >> BITS {
                    0 if bits == 0 => (0, 0),
                    0 => (0, -1022),
                    biased => (1, biased as i64 - 1023),
                };
                let kept = precision.min(DIGITS);
                let cut = ((DIGITS - kept) * 4) as u32;
                let all = lead << BITS | bits & ((1 << BITS) - 1);
                let lost = all & ((1 << cut) - 1);
                let half = (1u64 << cut) / 2;
                let short = all >> cut;
                let to_even = self.style.rounding == Rounding::Even && short & 1 == 0;
                let short = short + u64::from(lost > half || cut > 0 && lost == half && !to_even);
                let digits = short & ((1 << (kept * 4)) - 1);
                let fraction = match kept {
                    0 => String::new(),
                    kept => format!("{digits:0kept$x}"),
                };
                (short >> (kept * 4), fraction, exponent)
            }
        };
        let upper = self.letter.is_ascii_uppercase();
        let mut out = format!("0x{lead}").into_bytes();
        let fraction = format!("{fraction:0<width$}", width = precision.min(LIMIT));
        self.point(&mut out, fraction.as_bytes());
        out.extend(format!("p{exponent:+}").bytes());
        if upper { out.to_ascii_uppercase() } else { out }
    }
}
