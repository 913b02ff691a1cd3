//! Counted texts compared, and what is in them.

use super::counted::{Bytes, Counted, Text};
use crate::{
    guest::Ptr,
    kernel32::strings::to_case,
    nt::status::{INVALID_PARAMETER, NOT_FOUND, SUCCESS},
};

/// What a text is made of: the unit in capitals, where case does not count.
trait Unit: Copy + Default + PartialEq + Into<i32> {
    fn capital(self) -> Self;
}

impl Unit for u16 {
    fn capital(self) -> Self {
        to_case(self, true)
    }
}

impl Unit for u8 {
    fn capital(self) -> Self {
        self.to_ascii_uppercase()
    }
}

/// How the first two units differ that do, or how the lengths differ.
fn compare<T: Unit>(a: &[T], b: &[T], any_case: u8) -> i32 {
    let key = |unit: T| if any_case == 0 { unit } else { unit.capital() }.into();
    let differences = a.iter().zip(b).map(|(&a, &b)| key(a) - key(b));
    differences.into_iter().find(|&d| d != 0).unwrap_or_else(|| {
        let (a, b) = (i32::try_from(a.len()), i32::try_from(b.len()));
        a.unwrap_or(i32::MAX) - b.unwrap_or(i32::MAX)
    })
}

fn of_counted<T: Unit>(a: Ptr<Counted<T>>, b: Ptr<Counted<T>>, any_case: u8) -> i32 {
    compare(&a.get().elements(), &b.get().elements(), any_case)
}

/// Whether the second begins with the first.
fn prefix<T: Unit>(head: Ptr<Counted<T>>, text: Ptr<Counted<T>>, any_case: u8) -> u8 {
    let (head, text) = (head.get(), text.get());
    let (head, text) = (head.elements(), text.elements());
    let start = text.get(..head.len());
    start.is_some_and(|start| compare(&head, start, any_case) == 0).into()
}

extern "win64" fn RtlCompareUnicodeString(a: Ptr<Text>, b: Ptr<Text>, any_case: u8) -> i32 {
    of_counted(a, b, any_case)
}

extern "win64" fn RtlCompareString(a: Ptr<Bytes>, b: Ptr<Bytes>, any_case: u8) -> i32 {
    of_counted(a, b, any_case)
}

extern "win64" fn RtlCompareUnicodeStrings(
    a: Ptr<u16>,
    a_len: usize,
    b: Ptr<u16>,
    b_len: usize,
    any_case: u8,
) -> i32 {
    compare(&a.slice(a_len), &b.slice(b_len), any_case)
}

extern "win64" fn RtlEqualUnicodeString(a: Ptr<Text>, b: Ptr<Text>, any_case: u8) -> u8 {
    (a.get().length == b.get().length && of_counted(a, b, any_case) == 0).into()
}

extern "win64" fn RtlEqualString(a: Ptr<Bytes>, b: Ptr<Bytes>, any_case: u8) -> u8 {
    (a.get().length == b.get().length && of_counted(a, b, any_case) == 0).into()
}

extern "win64" fn RtlPrefixUnicodeString(head: Ptr<Text>, text: Ptr<Text>, any_case: u8) -> u8 {
    prefix(head, text, any_case)
}

extern "win64" fn RtlPrefixString(head: Ptr<Bytes>, text: Ptr<Bytes>, any_case: u8) -> u8 {
    prefix(head, text, any_case)
}

const FROM_END: u32 = 1;
const OTHERS: u32 = 2;

/// The offset in bytes of the first unit that is one of these, or none of these: behind it from the start, before it from
/// the end.
extern "win64" fn RtlFindCharInUnicodeString(
    flags: u32,
    text: Ptr<Text>,
    set: Ptr<Text>,
    place: Ptr<u16>,
) -> u32 {
    place.put(0);
    if text.is_null() || set.is_null() || place.is_null() || flags > 7 {
        return INVALID_PARAMETER;
    }
    let (text, set) = (text.get().units(), set.get().units());
    let wanted = |unit: &u16| set.contains(unit) == (flags & OTHERS == 0);
    let found = match flags & FROM_END {
        0 => text.iter().position(wanted).map(|nth| nth + 1),
        _ => text.iter().rposition(wanted),
    };
    // A text is not longer than 16 bits can say.
    found.map_or(NOT_FOUND, |nth| {
        place.set((nth * 2) as u16);
        SUCCESS
    })
}

/// The one kind of hash that is documented: each unit is added to 65,599 times what came before.
extern "win64" fn RtlHashUnicodeString(text: Ptr<Text>, any_case: u8, kind: u32, out: Ptr<u32>) -> u32 {
    if text.is_null() || out.is_null() || kind > 1 {
        return INVALID_PARAMETER;
    }
    let units = text.get().units();
    let key = |unit: u16| u32::from(if any_case == 0 { unit } else { unit.capital() });
    out.set(units.iter().fold(0, |hash: u32, &unit| hash.wrapping_mul(65_599).wrapping_add(key(unit))));
    SUCCESS
}

table! {
    /// Comparing.
    pub(crate) TABLE:
        RtlCompareUnicodeString, RtlCompareString, RtlCompareUnicodeStrings, RtlEqualUnicodeString, RtlEqualString,
        RtlPrefixUnicodeString, RtlPrefixString, RtlFindCharInUnicodeString, RtlHashUnicodeString
}
