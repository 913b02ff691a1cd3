//! `scanf` over whatever gives one element after the other: bytes, or units of UTF-16.

use crate::{
    crt::convert,
    format::{Arguments, Dialect},
};

/// Where the text comes from.
pub(crate) trait Source {
    /// The next element.
    fn next(&mut self) -> Option<u16>;
    /// Takes back the element that was given last.
    fn back(&mut self, unit: u16);
}

/// What kind of `scanf` it is.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// Whether `%s` stores wide text.
    pub wide: bool,
    /// Whether the room for a text follows its place (`scanf_s`).
    pub secure: bool,
    /// Whose letters the pattern is written with.
    pub dialect: Dialect,
}

/// One conversion: `%*10ls`.
struct Spec {
    suppressed: bool,
    width: usize,
    /// The bytes of a number, where letters say it.
    bytes: Option<usize>,
    /// Whether text is wide, where letters say it.
    wide: Option<bool>,
}

/// A text that is being read, never more than one element ahead.
struct Input<'a> {
    source: &'a mut dyn Source,
    ahead: Option<u16>,
    at: usize,
    /// Where the field begins that is being read.
    field: usize,
}

impl Input<'_> {
    fn peek(&mut self) -> Option<u16> {
        if self.ahead.is_none() {
            self.ahead = self.source.next();
        }
        self.ahead
    }

    /// The next element, if it fits.
    fn take(&mut self, fits: impl Fn(u16) -> bool) -> Option<u16> {
        let unit = self.peek().filter(|&unit| fits(unit))?;
        self.ahead = None;
        self.at += 1;
        Some(unit)
    }

    /// The next elements that fit, at most `width`.
    fn take_all(&mut self, width: usize, fits: impl Fn(u16) -> bool) -> Vec<u16> {
        let mut taken = Vec::new();
        while taken.len() < width
            && let Some(unit) = self.take(&fits)
        {
            taken.push(unit);
        }
        taken
    }

    fn skip_space(&mut self) {
        while self.take(is_space).is_some() {}
        self.field = self.at;
    }
}

impl Drop for Input<'_> {
    fn drop(&mut self) {
        if let Some(unit) = self.ahead {
            self.source.back(unit);
        }
    }
}

fn is_space(unit: u16) -> bool {
    matches!(unit, 9..=13 | 32)
}

/// An element as the ASCII character that it is.
fn ascii(unit: u16) -> u8 {
    u8::try_from(unit).unwrap_or(0x80)
}

/// What stands between a percent sign and its letter, and what follows it.
fn spec(mut rest: &[u16], dialect: Dialect) -> (Spec, &[u16]) {
    let mut spec = Spec { suppressed: false, width: 0, bytes: None, wide: None };
    if let Some(after) = rest.strip_prefix(&[u16::from(b'*')]) {
        spec.suppressed = true;
        rest = after;
    }
    loop {
        let digits = rest.iter().take_while(|&&u| ascii(u).is_ascii_digit()).count();
        spec.width = rest[..digits]
            .iter()
            .fold(spec.width, |n, &d| n.saturating_mul(10).saturating_add(usize::from(d - u16::from(b'0'))));
        rest = &rest[digits..];
        let Some((bytes, wide, after)) = size(rest, dialect) else { break };
        // In msvcrt a second `h` takes the first one back, and digits may follow.
        let again = dialect == Dialect::Msvcrt && bytes == 2 && spec.bytes == Some(2);
        spec.bytes = if again { None } else { Some(bytes) };
        spec.wide = wide.or(spec.wide);
        rest = after;
        if dialect != Dialect::Msvcrt {
            break;
        }
    }
    if spec.width == 0 {
        spec.width = usize::MAX;
    }
    (spec, rest)
}

/// The size letters: the bytes of a number, whether text is wide, and what follows.
fn size(pattern: &[u16], dialect: Dialect) -> Option<(usize, Option<bool>, &[u16])> {
    const SIZES: [(&str, usize, Option<bool>); 12] = [
        ("hh", 1, Some(false)),
        ("h", 2, Some(false)),
        ("ll", 8, Some(true)),
        ("l", 4, Some(true)),
        ("w", 4, Some(true)),
        ("I64", 8, None),
        ("I32", 4, None),
        ("I", 8, None),
        ("z", 8, None),
        ("j", 8, None),
        ("t", 8, None),
        ("L", 8, None),
    ];
    let strip = |letters: &str| {
        let (head, rest) = pattern.split_at_checked(letters.len())?;
        letters.encode_utf16().eq(head.iter().copied()).then_some(rest)
    };
    let known = if dialect == Dialect::Msvcrt { &SIZES[1..] } else { &SIZES };
    known.iter().find_map(|&(letters, bytes, wide)| Some((bytes, wide, strip(letters)?)))
}

/// A set of elements in brackets: ranges, or all others.
struct Set {
    ranges: Vec<(u16, u16)>,
    negated: bool,
}

impl Set {
    fn has(&self, unit: u16) -> bool {
        self.ranges.iter().any(|r| (r.0..=r.1).contains(&unit)) != self.negated
    }
}

/// A set, and what follows it.
fn set(pattern: &[u16]) -> Option<(Set, &[u16])> {
    const CARET: u16 = b'^' as u16;
    const DASH: u16 = b'-' as u16;
    const END: u16 = b']' as u16;
    let negated = pattern.first() == Some(&CARET);
    let body = &pattern[usize::from(negated)..];
    let end = 1 + body.get(1..)?.iter().position(|&u| u == END)?; // a bracket that comes first is a member
    let mut ranges = Vec::new();
    let mut i = 0;
    while i < end {
        let range = body[i + 1] == DASH && i + 2 < end;
        let last = if range { body[i + 2] } else { body[i] };
        ranges.push((body[i].min(last), body[i].max(last)));
        i += if range { 3 } else { 1 };
    }
    Some((Set { ranges, negated }, &body[end + 1..]))
}

/// The letters of an integer: a sign, what names the base, digits.
fn integer(input: &mut Input<'_>, letter: u8, width: usize, dialect: Dialect) -> Option<u64> {
    input.skip_space();
    let base = match letter {
        b'i' => 0,
        b'o' => 8,
        b'x' | b'X' | b'p' => 16,
        _ => 10,
    };
    let mut text = input.take_all(width.min(1), |u| matches!(ascii(u), b'+' | b'-'));
    let signs = text.len();
    let mut digits = if base == 0 { 10 } else { base };
    // msvcrt takes an address without anything in front of it.
    let prefixed = matches!(base, 0 | 16) && !(letter == b'p' && dialect == Dialect::Msvcrt);
    if prefixed && text.len() < width && input.take(|u| ascii(u) == b'0').is_some() {
        text.push(b'0'.into());
        digits = if base == 0 { 8 } else { 16 };
        if text.len() < width
            && let Some(x) = input.take(|u| matches!(ascii(u), b'x' | b'X'))
        {
            text.push(x);
            digits = 16;
        }
    }
    let left = width - text.len();
    text.extend(input.take_all(left, |u| char::from(ascii(u)).is_digit(digits)));
    let number = convert::parse(|i| text.get(i).copied().unwrap_or(0), base as i32);
    let value = if number.negative { number.amount.wrapping_neg() } else { number.amount };
    (text.len() > signs).then_some(value)
}

/// A field that is being read, which has a width.
struct Field<'a, 'b> {
    input: &'a mut Input<'b>,
    text: Vec<u8>,
    width: usize,
}

impl Field<'_, '_> {
    /// Takes elements that fit, at most so many; how many there were.
    fn take(&mut self, most: usize, fits: impl Fn(u8) -> bool) -> usize {
        let taken = self.input.take_all((self.width - self.text.len()).min(most), |unit| fits(ascii(unit)));
        self.text.extend(taken.iter().map(|&unit| ascii(unit)));
        taken.len()
    }

    fn take_letter(&mut self, letter: u8) -> bool {
        self.take(1, |c| c.eq_ignore_ascii_case(&letter)) > 0
    }

    /// All of a word, or none of it fits any more.
    fn take_word(&mut self, word: &[u8]) -> Option<()> {
        word.iter().all(|&letter| self.take_letter(letter)).then_some(())
    }
}

/// The letters of a floating point number. ucrtbase knows names and hexadecimal digits, and wants an exponent to have
/// digits.
fn float(input: &mut Input<'_>, width: usize, dialect: Dialect) -> Option<f64> {
    input.skip_space();
    let old = dialect == Dialect::Msvcrt;
    let mut field = Field { input, text: Vec::new(), width };
    field.take(1, |c| matches!(c, b'+' | b'-'));
    if !old && field.take_letter(b'i') {
        field.take_word(b"nf")?;
        if field.take_letter(b'i') {
            field.take_word(b"nity")?;
        }
        return Some(convert::number(&field.text, false).0);
    }
    if !old && field.take_letter(b'n') {
        field.take_word(b"an")?;
        if field.take_letter(b'(') {
            field.take(usize::MAX, |c| c.is_ascii_alphanumeric() || c == b'_');
            field.take_word(b")")?;
        }
        return Some(convert::number(&field.text, false).0);
    }
    let mut whole = field.take(1, |c| c == b'0');
    let hexadecimal = !old && whole > 0 && field.take_letter(b'x');
    let is_digit = |c: u8| if hexadecimal { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
    if hexadecimal {
        whole = 0;
    }
    whole += field.take(usize::MAX, is_digit);
    let point = field.take(1, |c| c == b'.');
    let fraction = if point > 0 { field.take(usize::MAX, is_digit) } else { 0 };
    if whole + fraction == 0 {
        return None;
    }
    let number = field.text.len();
    if field.take_letter(if hexadecimal { b'p' } else { b'e' }) {
        field.take(1, |c| matches!(c, b'+' | b'-'));
        if field.take(usize::MAX, |c| c.is_ascii_digit()) == 0 {
            if !old {
                return None;
            }
            field.text.truncate(number); // an exponent without digits is none
        }
    }
    Some(convert::number(&field.text, old).0)
}

/// Whether this begins a conversion behind a percent sign. ucrtbase refuses what does not.
fn begins(unit: u16, dialect: Dialect) -> bool {
    match ascii(unit) {
        b'%' => false,
        _ if dialect != Dialect::Msvcrt => true,
        c => c.is_ascii_digit() || b"*hlLwIzjtdiuoxXpPeEfFgGaAnsScC[".contains(&c),
    }
}

/// Reads as a pattern says; how many results were stored, or -1 where the text ended before a first conversion was done.
pub(crate) fn scan(source: &mut dyn Source, pattern: &[u16], mut arguments: Arguments, kind: Kind) -> i32 {
    const PERCENT: u16 = b'%' as u16;
    let mut input = Input { source, ahead: None, at: 0, field: 0 };
    let (mut stored, mut converted) = (0, false);
    let mut rest = pattern;
    while let Some((&unit, after)) = rest.split_first() {
        rest = after;
        if is_space(unit) {
            input.skip_space();
            continue;
        }
        input.field = input.at;
        let conversion_begins =
            unit == PERCENT && rest.first().is_some_and(|&next| begins(next, kind.dialect));
        let step = match rest.first() {
            Some(_) if conversion_begins => conversion(&mut input, rest, &mut arguments, kind),
            next => {
                // What no conversion begins with stands for itself.
                let wanted = if unit == PERCENT { next.copied().unwrap_or(PERCENT) } else { unit };
                rest = &rest[usize::from(unit == PERCENT && next.is_some())..];
                input.take(|u| u == wanted).map(|_| (false, rest))
            }
        };
        let Some((done, after)) = step else {
            let over = !converted && input.peek().is_none() && input.at == input.field;
            return if over { -1 } else { stored };
        };
        stored += i32::from(done);
        converted |= conversion_begins;
        rest = after;
    }
    stored
}

/// One conversion: whether it stored something, and the rest of the pattern; `None` where the text does not fit.
fn conversion<'p>(
    input: &mut Input<'_>,
    rest: &'p [u16],
    arguments: &mut Arguments,
    kind: Kind,
) -> Option<(bool, &'p [u16])> {
    let (spec, rest) = spec(rest, kind.dialect);
    let (&letter, rest) = rest.split_first()?;
    let letter = ascii(letter);
    let mut store = |value: u64, bytes: usize| {
        if !spec.suppressed {
            arguments.pointer::<u8>().fill(&value.to_le_bytes()[..bytes]);
        }
    };
    match letter {
        b'd' | b'i' | b'u' | b'o' | b'x' | b'X' => {
            store(integer(input, letter, spec.width, kind.dialect)?, spec.bytes.unwrap_or(4));
        }
        b'p' => store(integer(input, b'p', spec.width, kind.dialect)?, 8),
        b'P' if kind.dialect == Dialect::Msvcrt => {
            store(integer(input, b'p', spec.width, kind.dialect)?, 8);
        }
        b'e' | b'E' | b'f' | b'F' | b'g' | b'G' | b'a' | b'A' => {
            let Some(x) = float(input, spec.width, kind.dialect) else {
                if kind.dialect != Dialect::Msvcrt {
                    input.field = input.at; // ucrtbase takes a number that the text ends in for none at all
                }
                return None;
            };
            match spec.bytes {
                Some(4 | 8) => store(x.to_bits(), 8),
                _ => store((x as f32).to_bits().into(), 4),
            }
        }
        b'n' => {
            store(input.at as u64, spec.bytes.unwrap_or(4));
            return Some((false, rest));
        }
        b's' | b'S' | b'c' | b'C' | b'[' => return text(input, letter, rest, arguments, &spec, kind),
        _ => return None,
    }
    Some((!spec.suppressed, rest))
}

/// A conversion of text.
fn text<'p>(
    input: &mut Input<'_>,
    letter: u8,
    rest: &'p [u16],
    arguments: &mut Arguments,
    spec: &Spec,
    kind: Kind,
) -> Option<(bool, &'p [u16])> {
    let (units, rest) = match letter {
        b's' | b'S' => {
            input.skip_space();
            (input.take_all(spec.width, |u| !is_space(u)), rest)
        }
        b'[' => {
            let (set, rest) = set(rest)?;
            (input.take_all(spec.width, |u| set.has(u)), rest)
        }
        _ => {
            let n = if spec.width == usize::MAX { 1 } else { spec.width };
            (input.take_all(n, |_| true), rest)
        }
    };
    if units.is_empty() {
        return None;
    }
    if spec.suppressed {
        return Some((false, rest));
    }
    let to = arguments.pointer::<u8>();
    let zero = !matches!(letter, b'c' | b'C');
    let wide = spec.wide.unwrap_or(kind.wide != matches!(letter, b'S' | b'C'));
    let room = if kind.secure { arguments.next() as u32 as usize } else { usize::MAX };
    let mut text: Vec<u16> = units.into_iter().chain(zero.then_some(0)).collect();
    let fits = text.len() <= room;
    if !fits {
        text.truncate(room); // they are stored as they are read, and then the text is made empty
        text.iter_mut().take(1).for_each(|first| *first = 0);
    }
    if wide {
        to.cast::<u16>().fill(&text);
    } else {
        to.fill(&text.iter().map(|&u| u8::try_from(u).unwrap_or(b'?')).collect::<Vec<u8>>());
    }
    fits.then_some((true, rest))
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;
    use crate::guest::Ptr;

    struct Text<'a>(std::str::Bytes<'a>);

    impl Source for Text<'_> {
        fn next(&mut self) -> Option<u16> {
            self.0.next().map(u16::from)
        }
        fn back(&mut self, _: u16) {}
    }

    fn of(text: &str, pattern: &str, out: &mut [[u8; 16]]) -> i32 {
        of_runtime(Dialect::Msvcrt, text, pattern, out)
    }

    fn of_runtime(dialect: Dialect, text: &str, pattern: &str, out: &mut [[u8; 16]]) -> i32 {
        let slots: Vec<u64> =
            out.iter_mut().map(|o| o.as_mut_ptr().expose_provenance() as u64).chain([0]).collect();
        // SAFETY: the slots and the places they lead to outlive the call.
        let arguments = Arguments::new(unsafe { Ptr::new(slots.as_ptr().cast_mut()) });
        let pattern: Vec<u16> = pattern.encode_utf16().collect();
        scan(&mut Text(text.bytes()), &pattern, arguments, Kind { wide: false, secure: false, dialect })
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
        assert_eq!(of("-", "%d", &mut out), 0, "there was something, and it is no number");
        assert_eq!(of("a ", "%*s %d", &mut out), 0, "a conversion was done, though nothing was stored");
        assert_eq!(of("12:34", "%2d:%2d", &mut out), 2);
        assert_eq!(of("[", "%[", &mut out), 0);
    }

    #[test]
    fn the_runtimes_differ() {
        let mut out = [[0; 16]; 2];
        let mut int = |dialect, text: &str, pattern: &str| {
            out[0] = [0xee; 16];
            (
                of_runtime(dialect, text, pattern, &mut out),
                u32::from_le_bytes(out[0][..4].try_into().unwrap()),
            )
        };
        use Dialect::{Msvcrt, Universal};
        assert_eq!((int(Msvcrt, "0x1f", "%p"), int(Universal, "0x1f", "%p")), ((1, 0), (1, 0x1f)));
        assert_eq!((int(Msvcrt, "12", "%P").0, int(Universal, "12", "%P").0), (1, 0));
        assert_eq!((int(Msvcrt, "300", "%hhd").1, int(Universal, "300", "%hhd").1), (300, 0xeeee_ee2c));
        assert_eq!(
            (int(Msvcrt, "12345", "%h02d").1, int(Msvcrt, "12345", "%2h0d").1),
            (0xeeee_000c, 0xeeee_3039)
        );
        assert_eq!((int(Msvcrt, "\"7@", "%\"%d%@").0, int(Universal, "\"7@", "%\"%d%@").0), (1, 0));
        assert_eq!((int(Msvcrt, "a ", "%*s %d").0, int(Universal, "a ", "%*s %d").0), (0, 0));
        let mut double = |dialect, text: &str| {
            (of_runtime(dialect, text, "%lf", &mut out), f64::from_le_bytes(out[0][..8].try_into().unwrap()))
        };
        assert_eq!((double(Msvcrt, "1.5e"), double(Universal, "1.5e").0), ((1, 1.5), -1));
        assert_eq!((double(Msvcrt, "0x1p3"), double(Universal, "0x1p3")), ((1, 0.0), (1, 8.0)));
        assert_eq!((double(Msvcrt, "inf").0, double(Universal, "-InfinityX")), (0, (1, f64::NEG_INFINITY)));
        assert_eq!(
            (double(Universal, "infi").0, double(Universal, "infix").0, double(Universal, "nan(7)").0),
            (-1, 0, 1)
        );
    }
}
