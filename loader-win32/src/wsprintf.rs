//! user32's own formatting: older than the C runtime's, without floating point, and never longer than 1,023 characters.
#![allow(non_snake_case)]

use crate::{format::Arguments, guest::Ptr, text::Letters};

/// The longest text with its zero.
const LIMIT: usize = 1024;

/// What stands between a `%` and its letter.
#[derive(Clone, Copy, Debug, Default)]
struct Spec {
    left: bool,
    zero: bool,
    prefix: bool,
    width: usize,
    precision: Option<usize>,
    /// Text is wide (`l`, `w`) or narrow (`h`), whatever its letter says.
    wide: Option<bool>,
    /// A number has 64 bits.
    long: bool,
}

/// A number in front of what is left of a pattern, which no text is long enough for.
fn number<T: Letters>(rest: &mut &[T]) -> usize {
    let mut n: usize = 0;
    while let Some((digit @ b'0'..=b'9', more)) =
        rest.split_first().and_then(|(c, more)| Some((c.letter()?, more)))
    {
        n = (n * 10 + usize::from(digit - b'0')).min(LIMIT);
        *rest = more;
    }
    n
}

/// Whether what is left begins so; then that is taken away.
fn taken<T: Letters>(rest: &mut &[T], word: &[u8]) -> bool {
    let begins = rest.len() >= word.len() && rest.iter().zip(word).all(|(c, w)| c.letter() == Some(*w));
    if begins {
        *rest = &rest[word.len()..];
    }
    begins
}

impl Spec {
    fn read<T: Letters>(rest: &mut &[T]) -> Self {
        let mut spec = Self { left: taken(rest, b"-"), ..Self::default() };
        spec.prefix = taken(rest, b"#");
        spec.zero = taken(rest, b"0");
        spec.width = number(rest);
        if taken(rest, b".") {
            spec.precision = Some(number(rest));
        }
        match () {
            () if taken(rest, b"I64") => spec.long = true,
            () if taken(rest, b"I32") => {}
            () if taken(rest, b"I") => spec.long = true,
            () if taken(rest, b"l") || taken(rest, b"w") => spec.wide = Some(true),
            () if taken(rest, b"h") => spec.wide = Some(false),
            () => {}
        }
        spec
    }

    fn fill<T: Letters>(self, out: &mut Vec<T>, text: &[T]) {
        let blanks = vec![T::ascii(b' '); self.width.saturating_sub(text.len())];
        let both = if self.left { [text, &blanks] } else { [&blanks, text] };
        both.into_iter().for_each(|part| out.extend(part));
    }

    /// Digits behind a sign or a prefix: zeros come between them.
    fn digits<T: Letters>(self, out: &mut Vec<T>, sign: &str, digits: &str) {
        let least = match self.zero && !self.left {
            true => self.width.saturating_sub(sign.len()),
            false => 0,
        };
        let zeros = least.max(self.precision.unwrap_or(0)).saturating_sub(digits.len());
        let whole = format!("{sign}{}{digits}", "0".repeat(zeros));
        self.fill(out, &T::of_bytes(whole.as_bytes()));
    }

    fn signed<T: Letters>(self, out: &mut Vec<T>, value: u64) {
        let value = if self.long { value.cast_signed() } else { i64::from(value as i32) };
        self.digits(out, if value < 0 { "-" } else { "" }, &value.unsigned_abs().to_string());
    }

    fn unsigned<T: Letters>(self, out: &mut Vec<T>, letter: u8, value: u64) {
        let value = if self.long { value } else { u64::from(value as u32) };
        let prefix = |text| if self.prefix { text } else { "" };
        match letter {
            b'x' => self.digits(out, prefix("0x"), &format!("{value:x}")),
            b'X' => self.digits(out, prefix("0X"), &format!("{value:X}")),
            _ => self.digits(out, "", &value.to_string()),
        }
    }

    /// As much of a text as is wanted, and as there is room for.
    fn text<T: Letters>(self, out: &mut Vec<T>, wide: bool, at: u64) {
        let most = self.precision.unwrap_or(LIMIT).min(LIMIT);
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
        self.fill(out, &text[..text.len().min(most)]);
    }

    fn letter<T: Letters>(self, out: &mut Vec<T>, wide: bool, value: u64) {
        let text = match wide {
            true => T::of_units(&[value as u16]),
            false => T::of_bytes(&[value as u8]),
        };
        self.fill(out, &text);
    }
}

/// The formatted text. A letter that means nothing stands for itself, and takes no argument.
fn format<T: Letters>(pattern: &[T], mut arguments: Arguments) -> Vec<T> {
    let own_width_is_wide = size_of::<T>() == 2;
    let mut out = Vec::new();
    let mut rest = pattern;
    while let Some((&unit, more)) = rest.split_first().filter(|_| out.len() < LIMIT) {
        rest = more;
        if unit.letter() != Some(b'%') {
            out.push(unit);
            continue;
        }
        let spec = Spec::read(&mut rest);
        let Some((&conversion, more)) = rest.split_first() else { break };
        rest = more;
        let is_wide = |other: bool| spec.wide.unwrap_or(own_width_is_wide != other);
        match conversion.letter() {
            Some(b'd' | b'i') => spec.signed(&mut out, arguments.next()),
            Some(letter @ (b'u' | b'x' | b'X')) => spec.unsigned(&mut out, letter, arguments.next()),
            Some(b'p') => out.extend(T::of_bytes(format!("{:016X}", arguments.next()).as_bytes())),
            Some(letter @ (b's' | b'S')) => spec.text(&mut out, is_wide(letter == b'S'), arguments.next()),
            Some(letter @ (b'c' | b'C')) => spec.letter(&mut out, is_wide(letter == b'C'), arguments.next()),
            _ => out.push(conversion),
        }
    }
    out.truncate(LIMIT - 1);
    out
}

fn write<T: Letters>(to: Ptr<T>, pattern: &[T], arguments: Ptr<u64>) -> i32 {
    let text = format(pattern, Arguments::new(arguments));
    to.fill(&text);
    to.at(text.len()).set(T::default());
    text.len() as i32 // below the limit
}

pub(crate) extern "win64" fn wvsprintfA(to: Ptr<u8>, pattern: Ptr<u8>, arguments: Ptr<u64>) -> i32 {
    write(to, pattern.text(), arguments)
}

pub(crate) extern "win64" fn wvsprintfW(to: Ptr<u16>, pattern: Ptr<u16>, arguments: Ptr<u64>) -> i32 {
    write(to, &pattern.text(), arguments)
}

table! {
    /// The forms with a list of arguments, in user32.
    pub(crate) TABLE: wvsprintfA, wvsprintfW
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;

    fn of(pattern: &str, slots: &[u64]) -> String {
        let slots = [slots, &[0; 4]].concat();
        // SAFETY: the slots outlive the call; formats in these tests take no more than are there.
        let arguments = Arguments::new(unsafe { Ptr::new(slots.as_ptr().cast_mut()) });
        String::from_utf8(format(pattern.as_bytes(), arguments)).unwrap()
    }

    /// What any bytes may ask for ends, and is no longer than there is room.
    #[test]
    fn patterns_that_mean_nothing() {
        assert_eq!(of("%", &[]), "");
        assert_eq!(of("a%-#0", &[]), "a");
        assert_eq!(of("%I6", &[]), "6");
        assert_eq!(of("%99999999999999999999d", &[7]).len(), LIMIT - 1);
        assert_eq!(of("%.99999999999999999999d", &[7]).len(), LIMIT - 1);
        assert_eq!(of(&"%d".repeat(2), &[1, u64::MAX]), "1-1");
    }
}
