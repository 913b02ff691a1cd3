//! Where a format takes its arguments from: one after the other, or each by its number.

use super::{Dialect, LIMIT};
use crate::{guest::Ptr, text::Letters};

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

    /// The arguments from the `n`th on, where the first is 1.
    fn from(self, n: usize) -> Self {
        Self(self.0.at(n - 1))
    }
}

/// Whether what is left begins so; then that is taken away.
pub(super) fn taken<T: Letters>(rest: &mut &[T], word: &[u8]) -> bool {
    let begins = rest.len() >= word.len() && rest.iter().zip(word).all(|(c, w)| c.letter() == Some(*w));
    if begins {
        *rest = &rest[word.len()..];
    }
    begins
}

/// The digits at the start of what is left, after those of `n`; `None` where there are none.
fn digits<T: Letters>(rest: &mut &[T], mut n: i64) -> Option<i64> {
    let mut any = None;
    while let Some((digit @ b'0'..=b'9', more)) =
        rest.split_first().and_then(|(c, more)| Some((c.letter()?, more)))
    {
        n = (n * 10 + i64::from(digit - b'0')).min(LIMIT as i64);
        any = Some(n);
        *rest = more;
    }
    any
}

/// The number of an argument (`2$`), where there is one.
fn number<T: Letters>(rest: &mut &[T]) -> Option<usize> {
    let mut ahead = *rest;
    let n = digits(&mut ahead, 0).and_then(|n| usize::try_from(n).ok())?;
    let numbered = (1..=MOST_ARGUMENTS).contains(&n) && taken(&mut ahead, b"$");
    numbered.then(|| {
        *rest = ahead;
        n
    })
}

/// No more arguments can be numbered than this (`_ARGMAX`).
const MOST_ARGUMENTS: usize = 100;

/// The arguments of a format: one after the other, or each by its number.
pub(super) struct Source {
    pub(super) next: Arguments,
    all: Arguments,
    /// Whether they are numbered; the first conversion says it. `None` where they cannot be.
    numbered: Option<Option<bool>>,
}

impl Source {
    pub(super) fn new(all: Arguments, numbered: Option<Option<bool>>) -> Self {
        Self { next: all, all, numbered }
    }

    /// Where the argument is that is wanted now; `None` where some are numbered and others are not.
    pub(super) fn wanted<T: Letters>(&mut self, rest: &mut &[T]) -> Option<Option<Arguments>> {
        let Some(numbered) = &mut self.numbered else { return Some(None) };
        let number = number(rest);
        if *numbered.get_or_insert(number.is_some()) != number.is_some() {
            return None;
        }
        Some(number.map(|n| self.all.from(n)))
    }

    /// A width or precision: in the format itself, or an argument (`*`).
    pub(super) fn amount<T: Letters>(&mut self, rest: &mut &[T], dialect: Dialect) -> Option<i64> {
        if !taken(rest, b"*") {
            return Some(digits(rest, 0).unwrap_or(0));
        }
        let mut at = self.wanted(rest)?;
        let value = i64::from(at.as_mut().unwrap_or(&mut self.next).next() as i32);
        // Digits behind the star go on with its number, or replace it.
        let before = if dialect.is_lenient() { value.abs().min(LIMIT as i64) } else { 0 };
        Some(digits(rest, before).map_or(value, |n| if value < 0 { -n } else { n }))
    }
}
