//! `scanf` over a text in memory.

use crate::{crt::convert, format::Arguments, guest::Ptr};

/// One conversion.
struct Spec {
    suppressed: bool,
    width: usize,
    bytes: usize,
    wide_text: bool,
}

/// A text that is being read.
struct Input<'a> {
    text: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace() || b == 11) {
            self.at += 1;
        }
    }

    /// The next bytes that fit, at most `width`.
    fn take(&mut self, width: usize, fits: impl Fn(u8) -> bool) -> &[u8] {
        let rest = &self.text[self.at.min(self.text.len())..];
        let len = rest.iter().take(width).take_while(|&&b| fits(b)).count();
        self.at += len;
        &rest[..len]
    }
}

/// The size letters: how many bytes a result has, and whether its text is wide.
fn size(rest: &[u8]) -> (usize, bool, &[u8]) {
    const SIZES: [(&[u8], usize, bool); 10] = [
        (b"hh", 1, false),
        (b"h", 2, false),
        (b"ll", 8, true),
        (b"l", 4, true),
        (b"I64", 8, false),
        (b"I32", 4, false),
        (b"z", 8, false),
        (b"j", 8, false),
        (b"t", 8, false),
        (b"L", 8, false),
    ];
    SIZES
        .iter()
        .find_map(|&(letters, n, wide)| Some((n, wide, rest.strip_prefix(letters)?)))
        .unwrap_or((0, false, rest))
}

/// Writes the low bytes of a number.
fn store(to: Ptr<u8>, value: u64, bytes: usize) {
    to.fill(&value.to_le_bytes()[..bytes]);
}

/// Writes a text, with a zero where it is one (`%s`) and without where it is only bytes (`%c`).
fn store_text(to: Ptr<u8>, bytes: &[u8], wide: bool, zero: bool) {
    let end: &[u8] = if zero { &[0] } else { &[] };
    let all = [bytes, end].concat();
    if wide {
        let units: Vec<u16> = all.iter().map(|&b| b.into()).collect();
        to.cast::<u16>().fill(&units);
    } else {
        to.fill(&all);
    }
}

/// A set of bytes in brackets, and what follows it.
fn set(pattern: &[u8]) -> Option<([bool; 256], &[u8])> {
    let negated = pattern.first() == Some(&b'^');
    let body = &pattern[usize::from(negated)..];
    let end = 1 + body.get(1..)?.iter().position(|&b| b == b']')?; // a bracket that comes first is a member
    let mut members = [negated; 256];
    let mut i = 0;
    while i < end {
        let range = body[i + 1] == b'-' && i + 2 < end;
        let last = if range { body[i + 2] } else { body[i] };
        (body[i].min(last)..=body[i].max(last)).for_each(|b| members[usize::from(b)] = !negated);
        i += if range { 3 } else { 1 };
    }
    Some((members, &body[end + 1..]))
}

fn integer(input: &mut Input<'_>, letter: u8, width: usize) -> Option<u64> {
    input.skip_space();
    let base = match letter {
        b'i' => 0,
        b'o' => 8,
        b'x' | b'X' | b'p' => 16,
        _ => 10,
    };
    let rest = &input.text[input.at..];
    let rest = &rest[..rest.len().min(width)];
    let p = convert::parse(|i| rest.get(i).map_or(0, |&b| b.into()), base);
    input.at += p.len;
    let value = if p.negative { p.amount.wrapping_neg() } else { p.amount };
    (p.len > 0).then_some(value)
}

fn float(input: &mut Input<'_>, width: usize) -> Option<f64> {
    input.skip_space();
    let start = input.at;
    let part = input.take(width, |b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    // The longest beginning that is a number.
    let found = (1..=part.len())
        .rev()
        .find_map(|n| Some((n, std::str::from_utf8(&part[..n]).ok()?.parse::<f64>().ok()?)));
    input.at = start + found.map_or(0, |f| f.0);
    found.map(|f| f.1)
}

/// Reads as a format says; how many results were stored, or -1 where the text ended before the first. `secure`: texts are
/// followed by the room there is (`sscanf_s`).
pub(crate) fn scan(text: &[u8], pattern: &[u8], mut arguments: Arguments, secure: bool) -> i32 {
    let mut input = Input { text, at: 0 };
    let mut stored = 0;
    let mut rest = pattern;
    while let Some((&c, after)) = rest.split_first() {
        rest = after;
        if c.is_ascii_whitespace() {
            input.skip_space();
            continue;
        }
        if c != b'%' || rest.first() == Some(&b'%') {
            if c == b'%' {
                rest = &rest[1..];
                input.skip_space();
            }
            match input.peek() {
                Some(b) if b == c => input.at += 1,
                Some(_) => return stored,
                None => return if stored == 0 { -1 } else { stored },
            }
            continue;
        }
        let Some((done, after)) = conversion(&mut input, rest, &mut arguments, secure) else {
            let over = input.peek().is_none() && stored == 0;
            return if over { -1 } else { stored };
        };
        stored += i32::from(done);
        rest = after;
    }
    stored
}

/// One conversion: whether it stored something, and the rest of the format; `None` where the text does not fit.
fn conversion<'p>(
    input: &mut Input<'_>,
    rest: &'p [u8],
    arguments: &mut Arguments,
    secure: bool,
) -> Option<(bool, &'p [u8])> {
    let suppressed = rest.first() == Some(&b'*');
    let rest = &rest[usize::from(suppressed)..];
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let width =
        rest[..digits].iter().fold(0usize, |n, d| n.saturating_mul(10).saturating_add(usize::from(d - b'0')));
    let (bytes, wide_text, rest) = size(&rest[digits..]);
    let spec = Spec { suppressed, width: if width == 0 { usize::MAX } else { width }, bytes, wide_text };
    let (&letter, rest) = rest.split_first()?;
    let pointer = |arguments: &mut Arguments| if suppressed { Ptr::NULL } else { arguments.pointer::<u8>() };
    match letter {
        b'd' | b'i' | b'u' | b'o' | b'x' | b'X' | b'p' => {
            let value = integer(input, letter, spec.width)?;
            let bytes = match (letter, spec.bytes) {
                (b'p', _) => 8,
                (_, 0) => 4,
                (_, n) => n,
            };
            store_unless(&spec, || store(pointer(arguments), value, bytes));
        }
        b'e' | b'E' | b'f' | b'F' | b'g' | b'G' | b'a' | b'A' => {
            let x = float(input, spec.width)?;
            let double = spec.bytes != 0;
            let value = if double { x.to_bits() } else { (x as f32).to_bits().into() };
            store_unless(&spec, || store(pointer(arguments), value, if double { 8 } else { 4 }));
        }
        b'n' => {
            let at = input.at as u64;
            store_unless(&spec, || store(pointer(arguments), at, spec.bytes.max(4)));
            return Some((false, rest));
        }
        b's' | b'S' | b'c' | b'C' | b'[' => {
            return text_conversion(input, letter, rest, arguments, &spec, secure);
        }
        _ => return None,
    }
    Some((!spec.suppressed, rest))
}

fn store_unless(spec: &Spec, f: impl FnOnce()) {
    if !spec.suppressed {
        f();
    }
}

fn text_conversion<'p>(
    input: &mut Input<'_>,
    letter: u8,
    rest: &'p [u8],
    arguments: &mut Arguments,
    spec: &Spec,
    secure: bool,
) -> Option<(bool, &'p [u8])> {
    let (bytes, rest) = match letter {
        b's' | b'S' => {
            input.skip_space();
            (input.take(spec.width, |b| !b.is_ascii_whitespace() && b != 11).to_vec(), rest)
        }
        b'[' => {
            let (members, rest) = set(rest)?;
            (input.take(spec.width, |b| members[usize::from(b)]).to_vec(), rest)
        }
        _ => {
            let n = if spec.width == usize::MAX { 1 } else { spec.width };
            let bytes = input.take(n, |_| true).to_vec();
            if bytes.len() < n {
                return None;
            }
            (bytes, rest)
        }
    };
    if bytes.is_empty() {
        return None;
    }
    if spec.suppressed {
        return Some((false, rest));
    }
    let to = arguments.pointer::<u8>();
    let zero = !matches!(letter, b'c' | b'C');
    if secure && (arguments.next() as u32 as usize) < bytes.len() + usize::from(zero) {
        return None;
    }
    store_text(to, &bytes, spec.wide_text || matches!(letter, b'S' | b'C'), zero);
    Some((true, rest))
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;

    fn of(text: &str, pattern: &str, out: &mut [[u8; 16]]) -> i32 {
        let slots: Vec<u64> =
            out.iter_mut().map(|o| o.as_mut_ptr().expose_provenance() as u64).chain([0]).collect();
        // SAFETY: the slots and the places they lead to outlive the call.
        let arguments = Arguments::new(unsafe { Ptr::new(slots.as_ptr().cast_mut()) });
        scan(text.as_bytes(), pattern.as_bytes(), arguments, false)
    }

    #[test]
    fn conversions() {
        let mut out = [[0; 16]; 4];
        assert_eq!(of(" 12 -0x1f abc 2.5x", "%d %i %s %lf", &mut out), 4);
        assert_eq!(i32::from_le_bytes(out[0][..4].try_into().unwrap()), 12);
        assert_eq!(i32::from_le_bytes(out[1][..4].try_into().unwrap()), -31);
        assert_eq!(&out[2][..4], b"abc\0");
        assert_eq!(f64::from_le_bytes(out[3][..8].try_into().unwrap()), 2.5);
        assert_eq!(of("ab]c1", "%[]a-c]%*d%n", &mut out), 1);
        assert_eq!((&out[0][..5], out[1][0]), (&b"ab]c\0"[..], 5));
        assert_eq!(of("", "%d", &mut out), -1);
        assert_eq!(of("x", "%d", &mut out), 0);
        assert_eq!(of("12:34", "%2d:%2d", &mut out), 2);
        assert_eq!(of("[", "%[", &mut out), 0);
    }
}
