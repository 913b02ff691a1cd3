//! `printf`: a format, and the arguments as Windows code passes them, one 8-byte slot each.
//!
//! msvcrt and ucrtbase read the same letters with other meanings; [`Dialect`] is where they differ. What they write numbers
//! with is `float`.

mod arguments;
mod float;
#[cfg(test)]
mod tests;

use crate::{guest::Ptr, text::Letters};
pub(crate) use arguments::Arguments;
use arguments::{Source, taken};
pub(crate) use float::{Decimal, Places, Rounding, named_digits};
use float::{Written, name};

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

/// Whose letters a format is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// msvcrt: what it does not know stands for itself.
    Msvcrt,
    /// ucrtbase for programs that were written for msvcrt.
    Compatible,
    /// ucrtbase: what it does not know is refused.
    Universal,
}

impl Dialect {
    /// Whether `F` and `N` stand before a letter, without a meaning, and infinity is called `1.#INF`.
    fn is_old(self) -> bool {
        self != Self::Universal
    }

    /// Whether `I`, `z`, `j` and `t` say something only before the letter of an integer, and size letters add up.
    fn is_lenient(self) -> bool {
        self == Self::Msvcrt
    }
}

/// How a runtime reads formats and writes numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// What `%s` means.
    pub width: Width,
    /// What letters mean.
    pub dialect: Dialect,
    /// The least number of digits of an exponent.
    pub exponent_digits: usize,
    /// How numbers are rounded.
    pub rounding: Rounding,
    /// Whether `%n` is allowed, as a program may wish.
    pub counts: bool,
}

impl Style {
    /// As msvcrt does it.
    pub(crate) fn msvcrt(width: Width) -> Self {
        Self {
            width,
            dialect: Dialect::Msvcrt,
            exponent_digits: 3,
            rounding: Rounding::Seventeen,
            counts: false,
        }
    }

    /// As ucrtbase does it without options.
    pub(crate) fn universal(width: Width) -> Self {
        Self {
            width,
            dialect: Dialect::Universal,
            exponent_digits: 2,
            rounding: Rounding::Away,
            counts: false,
        }
    }
}

/// The size that a conversion's letters give a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Size {
    Byte,
    Short,
    #[default]
    Int, // and `long`
    Quad,
}

/// What a conversion's letters say about text.
#[derive(Clone, Copy, Debug, Default)]
struct Letter {
    narrow: bool,
    wide: bool,
    /// As wide as the format (`T`).
    natural: bool,
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
    text: Letter,
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

    /// What follows a percent sign, up to the letter.
    fn read<T: Letters>(rest: &mut &[T], source: &mut Source, dialect: Dialect) -> Option<Self> {
        let mut spec = Self::default();
        while let Some((_, more)) =
            rest.split_first().filter(|(c, _)| c.letter().is_some_and(|c| spec.flag(c)))
        {
            *rest = more;
        }
        let width = source.amount(rest, dialect)?;
        spec.left |= width < 0;
        spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(0).min(LIMIT);
        if taken(rest, b".") {
            spec.precision = usize::try_from(source.amount(rest, dialect)?).ok().map(|p| p.min(LIMIT));
        }
        while spec.size(rest, dialect) && dialect.is_lenient() {}
        Some(spec)
    }

    /// One size; false where there is none.
    fn size<T: Letters>(&mut self, rest: &mut &[T], dialect: Dialect) -> bool {
        let old = dialect.is_old();
        let before_integer = |rest: &[T]| {
            let next = rest.get(1).and_then(|c| c.letter());
            !dialect.is_lenient() || matches!(next, Some(b'd' | b'i' | b'o' | b'u' | b'x' | b'X'))
        };
        match () {
            () if !dialect.is_lenient() && taken(rest, b"hh") => {
                (self.size, self.text.narrow) = (Size::Byte, true)
            }
            () if taken(rest, b"h") => (self.size, self.text.narrow) = (Size::Short, true),
            () if taken(rest, b"ll") => (self.size, self.text.wide) = (Size::Quad, true),
            () if taken(rest, b"l") => (self.size, self.text.wide) = (Size::Int, true),
            () if taken(rest, b"w") => self.text.wide = true,
            () if taken(rest, b"L") => {}
            () if old && (taken(rest, b"F") || taken(rest, b"N")) => {}
            () if !dialect.is_lenient() && taken(rest, b"T") => self.text.natural = true,
            () if taken(rest, b"I64") => self.size = Size::Quad,
            () if taken(rest, b"I32") => self.size = Size::Int,
            () if before_integer(rest)
                && [b"I", b"z", b"j", b"t"].iter().any(|letter| taken(rest, *letter)) =>
            {
                self.size = Size::Quad;
            }
            () => return false,
        }
        true
    }

    /// Fills up to the width; zeros go between `sign` and `body`.
    fn pad<T: Letters>(&self, out: &mut Vec<T>, sign: &[u8], body: &[T], zeros: bool) {
        let fill = self.width.saturating_sub(sign.len() + body.len());
        let (before, between, after) = match (self.left, zeros) {
            (true, _) => (0, 0, fill),
            (false, true) => (0, fill, 0),
            (false, false) => (fill, 0, 0),
        };
        out.extend(std::iter::repeat_n(T::ascii(b' '), before));
        out.extend(sign.iter().map(|&c| T::ascii(c)));
        out.extend(std::iter::repeat_n(T::ascii(b'0'), between));
        out.extend_from_slice(body);
        out.extend(std::iter::repeat_n(T::ascii(b' '), after));
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
            Size::Int => i64::from(slot as i32), // `long` too has 32 bits
        }
    }

    fn unsigned(&self, slot: u64) -> u64 {
        match self.size {
            Size::Byte => slot & 0xff,
            Size::Short => slot & 0xffff,
            Size::Quad => slot,
            Size::Int => slot & 0xffff_ffff,
        }
    }

    /// Digits with at least the precision; none at all for zero with precision zero.
    fn integer<T: Letters>(&self, out: &mut Vec<T>, sign: &[u8], digits: String, is_zero: bool) {
        let digits = if is_zero && self.precision == Some(0) { String::new() } else { digits };
        let missing = self.precision.unwrap_or(0).saturating_sub(digits.len());
        let body = "0".repeat(missing) + &digits;
        self.pad(out, sign, &T::of_bytes(body.as_bytes()), self.zero && self.precision.is_none());
    }

    fn number<T: Letters>(&self, out: &mut Vec<T>, letter: u8, slot: u64) {
        if matches!(letter, b'd' | b'i') {
            let n = self.signed(slot);
            return self.integer(out, self.sign(n < 0), n.unsigned_abs().to_string(), n == 0);
        }
        let n = self.unsigned(slot);
        let (prefix, digits): (&[u8], _) = match letter {
            b'x' => (b"0x", format!("{n:x}")),
            b'X' => (b"0X", format!("{n:X}")),
            b'o' => (b"", format!("{n:o}")),
            _ => (b"", n.to_string()),
        };
        let leads = letter == b'o' && self.alternate && !digits.starts_with('0');
        let digits = if leads { format!("0{digits}") } else { digits };
        let prefix = if self.alternate && n != 0 { prefix } else { b"" };
        let is_zero = n == 0 && !(self.alternate && letter == b'o');
        self.integer(out, prefix, digits, is_zero);
    }

    /// An address: all its digits.
    fn address<T: Letters>(self, out: &mut Vec<T>, slot: u64) {
        Self { precision: Some(16), size: Size::Quad, ..self }.number(out, b'X', slot);
    }

    fn float<T: Letters>(&self, out: &mut Vec<T>, letter: u8, x: f64, style: Style) {
        let old = style.dialect.is_old();
        let named = name(x, old).filter(|_| !old);
        let body = match named {
            Some(name) if letter.is_ascii_uppercase() => name.to_ascii_uppercase().into_bytes(),
            Some(name) => name.into(),
            None => Written { letter, precision: self.precision, alternate: self.alternate, style }.digits(x),
        };
        let prefix = if named.is_none() && matches!(letter, b'a' | b'A') { 2 } else { 0 };
        let (prefix, rest) = body.split_at(prefix);
        let sign = [self.sign(x.is_sign_negative()), prefix].concat();
        self.pad(out, &sign, &T::of_bytes(rest), self.zero && named.is_none());
    }

    fn text<T: Letters>(&self, out: &mut Vec<T>, text: &[T]) {
        self.pad(out, b"", text, self.zero);
    }

    /// Whether a text is wide. `S` and `C` mean the other width; size letters settle it.
    fn is_wide<T>(&self, letter: u8, width: Width) -> bool {
        let format_is_wide = size_of::<T>() == 2;
        let other = matches!(letter, b'S' | b'C');
        match self.text {
            Letter { narrow: true, .. } if format_is_wide => false,
            Letter { wide: true, .. } => true,
            Letter { narrow: true, .. } => false,
            Letter { natural: true, .. } => format_is_wide,
            _ => (width == Width::Wide) != other,
        }
    }

    /// A text from its address, at most as long as the precision; `(null)` where there is none.
    fn string<T: Letters>(&self, wide: bool, at: u64) -> Vec<T> {
        let most = self.precision.unwrap_or(usize::MAX);
        let text = match (at, wide) {
            (0, _) => T::of_bytes(b"(null)"),
            (_, true) => {
                let text = Ptr::<u16>::from_guest(at);
                T::of_units(&text.slice(text.count(most)))
            }
            (_, false) => {
                let text = Ptr::<u8>::from_guest(at);
                T::of_bytes(&text.slice(text.count(most)))
            }
        };
        cut(text, most)
    }

    /// A text that its length comes with (`%Z`): two numbers of 16 bits, and the address.
    fn counted<T: Letters>(&self, wide: bool, at: Ptr<u64>) -> Vec<T> {
        const BUFFER: usize = 1; // words before it
        let address = if at.is_null() { 0 } else { at.at(BUFFER).get() };
        if address == 0 {
            return self.string(wide, 0);
        }
        let bytes = usize::from(at.cast::<u16>().get());
        let text = match wide {
            true => T::of_units(&Ptr::<u16>::from_guest(address).slice(bytes / 2)),
            false => T::of_bytes(&Ptr::<u8>::from_guest(address).slice(bytes)),
        };
        cut(text, self.precision.unwrap_or(usize::MAX))
    }

    fn character<T: Letters>(&self, wide: bool, slot: u64) -> Vec<T> {
        match wide {
            true => T::of_units(&[slot as u16]),
            false => T::of_bytes(&[slot as u8]),
        }
    }

    /// Stores how much has been written.
    fn count(&self, to: Ptr<u8>, n: usize) {
        let bytes = match self.size {
            Size::Byte => 1,
            Size::Short => 2,
            Size::Int => 4,
            Size::Quad => 8,
        };
        to.fill(&(n as u64).to_le_bytes()[..bytes]);
    }
}

/// The start of a text, without half a character at its end where it is narrow.
fn cut<T: Letters>(mut text: Vec<T>, most: usize) -> Vec<T> {
    const CONTINUES: std::ops::RangeInclusive<u8> = 0x80..=0xbf;
    if text.len() > most {
        let narrow = size_of::<T>() == 1;
        let inside = |at: &usize| narrow && text[*at].letter().is_some_and(|byte| CONTINUES.contains(&byte));
        let end = (most.saturating_sub(3)..=most).rev().find(|at| !inside(at)).unwrap_or(most);
        text.truncate(end);
    }
    text
}

/// The formatted text; `None` for a format that is refused (with an unfinished conversion, a letter that means nothing, or
/// `%n`, which is allowed only where a program asked for it).
pub(crate) fn format<T: Letters>(pattern: &[T], arguments: Arguments, style: Style) -> Option<Vec<T>> {
    formatted(pattern, arguments, style, None)
}

/// The same for functions whose formats may say which argument a conversion takes (`%2$s`).
pub(crate) fn format_numbered<T: Letters>(
    pattern: &[T],
    arguments: Arguments,
    style: Style,
) -> Option<Vec<T>> {
    formatted(pattern, arguments, style, Some(None))
}

fn formatted<T: Letters>(
    pattern: &[T],
    arguments: Arguments,
    style: Style,
    numbered: Option<Option<bool>>,
) -> Option<Vec<T>> {
    let dialect = style.dialect;
    let mut source = Source::new(arguments, numbered);
    let mut out = Vec::with_capacity(pattern.len() + 32);
    let mut rest = pattern;
    while let Some(at) = rest.iter().position(|c| c.letter() == Some(b'%')) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if taken(&mut rest, b"%") {
            out.push(T::ascii(b'%'));
            continue;
        }
        let mut at = source.wanted(&mut rest)?;
        let spec = Spec::read(&mut rest, &mut source, dialect)?;
        let Some((&letter, after)) = rest.split_first() else {
            return dialect.is_lenient().then_some(out);
        };
        rest = after;
        let arguments = at.as_mut().unwrap_or(&mut source.next);
        let letter_of_ascii = letter.letter().unwrap_or(0);
        let wide = spec.is_wide::<T>(letter_of_ascii, style.width);
        match letter_of_ascii {
            c @ (b'd' | b'i' | b'u' | b'x' | b'X' | b'o') => spec.number(&mut out, c, arguments.next()),
            c @ (b'e' | b'E' | b'f' | b'F' | b'g' | b'G' | b'a' | b'A') => {
                spec.float(&mut out, c, f64::from_bits(arguments.next()), style);
            }
            b's' | b'S' => spec.text(&mut out, &spec.string(wide, arguments.next())),
            b'Z' => spec.text(&mut out, &spec.counted(spec.text.wide, arguments.pointer())),
            b'c' | b'C' => spec.text(&mut out, &spec.character(wide, arguments.next())),
            b'p' => spec.address(&mut out, arguments.next()),
            b'%' => out.push(letter),
            b'n' if style.counts => spec.count(arguments.pointer(), out.len()),
            b'n' => return None,
            _ if dialect.is_lenient() => out.push(letter),
            _ => return None,
        }
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// A number as `%g` writes it, with this precision.
pub(crate) fn general(x: f64, precision: usize, style: Style) -> Vec<u8> {
    let mut out = Vec::new();
    let spec = Spec { precision: Some(precision.min(LIMIT)), ..Spec::default() };
    spec.float(&mut out, b'g', x, style);
    out
}
