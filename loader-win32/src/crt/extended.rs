//! Numbers of 80 bits, which only the processor's old unit has: read from text, for compilers that keep them in ten bytes.

use crate::guest::Ptr;

/// What reading says: fine, too small, too large, no digits.
const FINE: i32 = 0;
const UNDERFLOW: i32 = 1;
const OVERFLOW: i32 = 2;
const NO_DIGITS: i32 = 4;

/// How `_atodbl` and `_atoflt` say it.
const LIMIT_OF_FLOATS: [i32; 2] = [4, 3];

const BIAS: i64 = 16383;
const LARGEST: i64 = 0x7fff;
/// The mantissa's first bit, which is written out.
const FIRST: u64 = 1 << 63;

/// A whole number of any size, its lowest word first.
struct Whole(Vec<u32>);

impl Whole {
    fn times(&mut self, by: u32, mut carry: u32) {
        for word in &mut self.0 {
            let product = u64::from(*word) * u64::from(by) + u64::from(carry);
            (*word, carry) = (product as u32, (product >> 32) as u32);
        }
        if carry > 0 {
            self.0.push(carry);
        }
    }

    /// Divides, and tells whether anything was left.
    fn divide(&mut self, by: u32) -> bool {
        let mut rest = 0u64;
        for word in self.0.iter_mut().rev() {
            let all = rest << 32 | u64::from(*word);
            (*word, rest) = ((all / u64::from(by)) as u32, all % u64::from(by));
        }
        rest != 0
    }

    fn bits(&self) -> usize {
        let top = self.0.iter().rposition(|&word| word != 0);
        top.map_or(0, |top| top * 32 + 32 - self.0[top].leading_zeros() as usize)
    }

    fn bit(&self, at: usize) -> bool {
        self.0.get(at / 32).is_some_and(|word| word >> (at % 32) & 1 != 0)
    }

    /// The top bits as a mantissa of so many, rounded half to even; what was lost before counts as a little more.
    fn rounded(&self, keep: usize, more: bool) -> (u64, bool) {
        let bits = self.bits();
        let cut = bits.saturating_sub(keep);
        let mantissa = (cut..bits).rev().fold(0u64, |all, at| all << 1 | u64::from(self.bit(at)));
        let half = cut > 0 && self.bit(cut - 1);
        let above = more || (0..cut.saturating_sub(1)).any(|at| self.bit(at));
        let up = half && (above || mantissa & 1 != 0);
        let (sum, over) = mantissa.overflowing_add(up.into());
        (if over { FIRST } else { sum }, over)
    }
}

/// What is too large or too small however many digits it has.
const MOST_DIGITS: usize = 6000;

/// A number as its ten bytes: sixteen bits with the sign and the exponent, and the mantissa; and what reading says.
fn extended(digits: &[u8], exponent: i64) -> (u16, u64, i32) {
    const STEP: u32 = 1_000_000_000;
    let digits = &digits[digits.iter().take_while(|&&d| d == b'0').count()..];
    if digits.is_empty() {
        return (0, 0, FINE);
    }
    let kept = digits.len().min(MOST_DIGITS);
    let exponent = exponent.saturating_add((digits.len() - kept) as i64);
    let size = exponent.saturating_add(kept as i64);
    if size > 5000 {
        return (LARGEST as u16, FIRST, OVERFLOW);
    }
    if size < -5100 {
        return (0, 0, UNDERFLOW);
    }
    let mut number = Whole(Vec::new());
    digits[..kept].iter().for_each(|d| number.times(10, u32::from(d - b'0')));
    let mut more = digits[kept..].iter().any(|&d| d != b'0');
    let mut shift = 0i64;
    for _ in 0..exponent.max(0) {
        number.times(10, 0);
    }
    if exponent < 0 {
        let n = exponent.unsigned_abs();
        let words = n as usize / 9 + 5; // nine digits have fewer bits than a word
        number.0.splice(0..0, std::iter::repeat_n(0, words));
        shift = words as i64 * 32;
        (0..n / 9).for_each(|_| more |= number.divide(STEP));
        (0..n % 9).for_each(|_| more |= number.divide(10));
    }
    let at = number.bits() as i64 - 1 - shift + BIAS; // the exponent, as it is written
    let keep = if at > 0 { 64 } else { usize::try_from(64 + at - 1).unwrap_or(0) };
    if keep == 0 && at < -63 {
        return (0, 0, FINE);
    }
    let (mantissa, over) = number.rounded(keep, more);
    if at <= 0 {
        return ((mantissa & FIRST != 0).into(), mantissa, FINE);
    }
    let mantissa = mantissa << (64 - number.bits().min(64)); // short ones are exact
    let at = at + i64::from(over);
    if at >= LARGEST { (LARGEST as u16, FIRST, OVERFLOW) } else { (at as u16, mantissa, FINE) }
}

/// A decimal number at the start of a text: whether it is negative, its digits, their exponent, and how long it is.
fn parts(text: &[u8]) -> Option<(bool, Vec<u8>, i64, usize)> {
    let len = super::convert::decimal_len(text);
    let number = text[..len].trim_ascii_start();
    let negative = number.first() == Some(&b'-');
    let (mantissa, exponent) = match number.iter().position(|b| matches!(b, b'e' | b'E' | b'd' | b'D')) {
        Some(at) => (&number[..at], str::from_utf8(&number[at + 1..]).unwrap_or("")),
        None => (number, "0"),
    };
    let limit = if exponent.starts_with('-') { i64::MIN / 4 } else { i64::MAX / 4 };
    let exponent = exponent.parse::<i64>().unwrap_or(limit).clamp(i64::MIN / 4, i64::MAX / 4);
    let behind = mantissa.iter().position(|&b| b == b'.').map_or(0, |point| mantissa.len() - point - 1);
    let digits: Vec<u8> = mantissa.iter().copied().filter(u8::is_ascii_digit).collect();
    (len > 0).then_some((negative, digits, exponent - behind as i64, len))
}

/// Stores ten bytes; where the text goes on is told as well.
extern "win64" fn __STRINGTOLD(to: Ptr<u8>, end: Ptr<Ptr<u8>>, text: Ptr<u8>, _multi_byte: i32) -> i32 {
    let Some((negative, digits, exponent, len)) = parts(text.text()) else {
        to.fill(&[0; 10]);
        end.put(text);
        return NO_DIGITS;
    };
    let (head, mantissa, said) = extended(&digits, exponent);
    to.fill(&mantissa.to_le_bytes());
    to.at(8).fill(&(head | u16::from(negative) << 15).to_le_bytes());
    end.put(text.at(len));
    said
}

extern "win64" fn _atoldbl(to: Ptr<u8>, text: Ptr<u8>) -> i32 {
    match __STRINGTOLD(to, Ptr::NULL, text, 0) {
        UNDERFLOW => LIMIT_OF_FLOATS[0],
        OVERFLOW => LIMIT_OF_FLOATS[1],
        _ => 0,
    }
}

/// What a number that was read says: 3 where it is too large, 4 where it is too small to be exact.
fn said(x: f64, smallest: f64, nothing: bool) -> i32 {
    match () {
        () if x.is_infinite() => LIMIT_OF_FLOATS[1],
        () if !nothing && x.abs() < smallest => LIMIT_OF_FLOATS[0],
        () => 0,
    }
}

/// The number that a text begins with, and whether it is zero as it is written.
fn read(text: Ptr<u8>) -> (f64, bool) {
    let before = super::errno();
    let (x, len) = super::convert::number(text.text(), true);
    super::set_errno(before);
    let mantissa = text.text()[..len].iter().take_while(|b| !b.is_ascii_alphabetic());
    (x, !mantissa.into_iter().any(|b| (b'1'..=b'9').contains(b)))
}

extern "win64" fn _atodbl(to: Ptr<f64>, text: Ptr<u8>) -> i32 {
    let (x, nothing) = read(text);
    to.put(x);
    said(x, f64::MIN_POSITIVE, nothing)
}

extern "win64" fn _atoflt(to: Ptr<f32>, text: Ptr<u8>) -> i32 {
    let (x, nothing) = read(text);
    to.put(x as f32);
    said(f64::from(x as f32), f64::from(f32::MIN_POSITIVE), nothing)
}

table! {
    /// What both have.
    pub(crate) TABLE: _atodbl, _atodbl_l = _atodbl, _atoflt, _atoflt_l = _atoflt, _atoldbl, _atoldbl_l = _atoldbl
}

table! {
    /// What msvcrt has.
    pub(crate) MSVCRT: __STRINGTOLD, __STRINGTOLD_L = __STRINGTOLD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (u16, u64, i32) {
        let (_, digits, exponent, _) = parts(text.as_bytes()).unwrap();
        extended(&digits, exponent)
    }

    #[test]
    fn eighty_bits() {
        assert_eq!(of("1"), (0x3fff, FIRST, FINE));
        assert_eq!(of("0.5"), (0x3ffe, FIRST, FINE));
        assert_eq!(of("10"), (0x4002, 0xa << 60, FINE));
        assert_eq!(of("0.1"), (0x3ffb, 0xcccc_cccc_cccc_cccd, FINE));
        assert_eq!(of("18446744073709551615"), (0x403e, u64::MAX, FINE));
        assert_eq!(of("36893488147419103231"), (0x4040, FIRST, FINE), "one bit too many is rounded up");
        assert_eq!(
            (of("1e4932").2, of("1.19e4932").2, of("1e99999999999999999999").2),
            (FINE, OVERFLOW, OVERFLOW)
        );
        assert_eq!((of("3.65e-4951"), of("1e-5200").2, of("0e99")), ((0, 1, FINE), UNDERFLOW, (0, 0, FINE)));
        assert_eq!(of("3.3621031431120935063e-4932"), (1, FIRST, FINE), "the smallest that is normal");
        let long = format!("1{}e-7999", "0".repeat(7999));
        assert_eq!(of(&long), (0x3fff, FIRST, FINE));
    }
}
