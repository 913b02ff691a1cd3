//! Security identifiers: a revision, an authority, and up to fifteen numbers below it.

use crate::{
    guest::Ptr,
    heap::{self, Block},
    kernel32::{Bool, FALSE, TRUE, answer, error::code, fail},
    text::{self, Text},
};

pub(super) const INVALID_SID: u32 = 1337;
const MOST: usize = 15;

/// A security identifier, apart from guest memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sid {
    authority: u64,
    numbers: Vec<u32>,
}

impl Sid {
    pub(super) fn new(authority: u64, numbers: &[u32]) -> Self {
        Self { authority, numbers: numbers.into() }
    }

    /// The one that guest memory holds, if it is of a form that there is.
    pub(super) fn read(at: Ptr<u8>) -> Result<Self, u32> {
        if at.is_null() || at.get() != 1 || usize::from(at.at(1).get()) > MOST {
            return Err(INVALID_SID);
        }
        let authority = authority_at(at.at(2).cast());
        let number = |n: usize| u32::from_le_bytes(at.at(8 + 4 * n).cast::<[u8; 4]>().get());
        Ok(Self { authority, numbers: (0..usize::from(at.at(1).get())).map(number).collect() })
    }

    /// As it is in memory.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = vec![1, self.numbers.len() as u8];
        out.extend(&self.authority.to_be_bytes()[2..]);
        out.extend(self.numbers.iter().flat_map(|n| n.to_le_bytes()));
        out
    }

    /// `S-1-5-32-544`: an authority of more than 32 bits is hexadecimal.
    fn text(&self) -> String {
        let authority = match u32::try_from(self.authority) {
            Ok(n) => n.to_string(),
            Err(_) => format!("{:#014x}", self.authority),
        };
        self.numbers.iter().fold(format!("S-1-{authority}"), |text, n| format!("{text}-{n}"))
    }

    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse::<u64>().ok(),
        };
        let rest = text.strip_prefix("S-1-").or_else(|| text.strip_prefix("s-1-"))?;
        let mut parts = rest.split('-');
        let authority = number(parts.next()?).filter(|&a| a < 1 << 48)?;
        let numbers: Option<Vec<u32>> = parts.map(|part| number(part)?.try_into().ok()).collect();
        let numbers = numbers.filter(|all| (1..=MOST).contains(&all.len()))?;
        Some(Self { authority, numbers })
    }
}

/// The names by which security descriptors in text form know some of them.
const SHORT: [(&str, u64, &[u32]); 7] = [
    ("WD", 1, &[0]),
    ("SY", 5, &[18]),
    ("BA", 5, &[32, 544]),
    ("BU", 5, &[32, 545]),
    ("BG", 5, &[32, 546]),
    ("AU", 5, &[11]),
    ("AN", 5, &[7]),
];

/// A block of its own that holds these, for the caller to free.
fn block<T: Copy>(all: &[T]) -> Result<Block, u32> {
    let block = heap::alloc(size_of_val(all), false);
    if block.is_null() {
        return Err(code::NOT_ENOUGH_MEMORY);
    }
    block.cast().fill(all);
    Ok(block)
}

/// Puts it where there is room for so many bytes.
pub(super) fn give(sid: &Sid, to: Ptr<u8>, room: u32) -> Result<(), u32> {
    let bytes = sid.bytes();
    if to.is_null() || bytes.len() > room as usize {
        return Err(code::INSUFFICIENT_BUFFER);
    }
    to.fill(&bytes);
    Ok(())
}

fn authority_at(at: Ptr<[u8; 6]>) -> u64 {
    at.get().iter().fold(0, |all, &byte| all << 8 | u64::from(byte))
}

extern "win64" fn AllocateAndInitializeSid(
    authority: Ptr<[u8; 6]>,
    count: u8,
    n0: u32,
    n1: u32,
    n2: u32,
    n3: u32,
    n4: u32,
    n5: u32,
    n6: u32,
    n7: u32,
    out: Ptr<Block>,
) -> Bool {
    let all = [n0, n1, n2, n3, n4, n5, n6, n7];
    let Some(numbers) = all.get(..count.into()).filter(|_| !authority.is_null() && !out.is_null()) else {
        return fail(INVALID_SID);
    };
    let sid = Sid::new(authority_at(authority), numbers);
    answer(block(&sid.bytes()).map(|block| out.set(block)))
}

extern "win64" fn FreeSid(sid: Block) -> usize {
    heap::free(sid);
    0
}

extern "win64" fn InitializeSid(to: Ptr<u8>, authority: Ptr<[u8; 6]>, count: u8) -> Bool {
    if usize::from(count) > MOST || to.is_null() || authority.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    to.fill(&Sid::new(authority_at(authority), &vec![0; count.into()]).bytes());
    TRUE
}

extern "win64" fn IsValidSid(sid: Ptr<u8>) -> Bool {
    Sid::read(sid).is_ok().into()
}

extern "win64" fn EqualSid(one: Ptr<u8>, other: Ptr<u8>) -> Bool {
    match (Sid::read(one), Sid::read(other)) {
        (Ok(one), Ok(other)) => (one == other).into(),
        _ => FALSE,
    }
}

extern "win64" fn GetLengthSid(sid: Ptr<u8>) -> u32 {
    GetSidLengthRequired(sid.at(1).get())
}

extern "win64" fn GetSidLengthRequired(count: u8) -> u32 {
    8 + 4 * u32::from(count)
}

extern "win64" fn CopySid(room: u32, to: Ptr<u8>, from: Ptr<u8>) -> Bool {
    answer(Sid::read(from).and_then(|sid| give(&sid, to, room)))
}

extern "win64" fn GetSidIdentifierAuthority(sid: Ptr<u8>) -> Ptr<u8> {
    sid.at(2)
}

extern "win64" fn GetSidSubAuthorityCount(sid: Ptr<u8>) -> Ptr<u8> {
    sid.at(1)
}

extern "win64" fn GetSidSubAuthority(sid: Ptr<u8>, n: u32) -> Ptr<u8> {
    sid.at(8 + 4 * n as usize)
}

extern "win64" fn ConvertSidToStringSid<T: Text>(sid: Ptr<u8>, out: Ptr<Block>) -> Bool {
    if out.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    let text = Sid::read(sid).and_then(|sid| block(&T::of_units(&text::wide_z(&sid.text()))));
    answer(text.map(|text| out.set(text)))
}

fn from_text(text: &str) -> Result<Block, u32> {
    let short = SHORT.iter().find(|(name, ..)| text.eq_ignore_ascii_case(name));
    let sid = short.map(|&(_, authority, numbers)| Sid::new(authority, numbers)).or_else(|| Sid::parse(text));
    block(&sid.ok_or(INVALID_SID)?.bytes())
}

extern "win64" fn ConvertStringSidToSid<T: Text>(text: Ptr<T>, out: Ptr<Block>) -> Bool {
    if text.is_null() || out.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    answer(from_text(&T::string(text)).map(|sid| out.set(sid)))
}

table! {
    /// Security identifiers, in advapi32.
    pub(crate) TABLE:
        AllocateAndInitializeSid, FreeSid, InitializeSid, IsValidSid, EqualSid, GetLengthSid, GetSidLengthRequired, CopySid,
        GetSidIdentifierAuthority, GetSidSubAuthorityCount, GetSidSubAuthority,
        ConvertSidToStringSidW = ConvertSidToStringSid::<u16>, ConvertSidToStringSidA = ConvertSidToStringSid::<u8>,
        ConvertStringSidToSidW = ConvertStringSidToSid::<u16>, ConvertStringSidToSidA = ConvertStringSidToSid::<u8>
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_identifiers() {
        let administrators = Sid::new(5, &[32, 544]);
        assert_eq!(administrators.text(), "S-1-5-32-544");
        assert_eq!(administrators.bytes(), [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0]);
        assert_eq!(Sid::parse("s-1-5-32-544"), Some(administrators));
        let wide = Sid::new(0x1234_5678_9abc, &[7]);
        assert_eq!(wide.text(), "S-1-0x123456789abc-7");
        assert_eq!(Sid::parse(&wide.text()), Some(wide));
        for text in ["", "S-1-", "S-1-5", "S-2-5-1", "S-1-5--1", "S-1-5-4294967296", "S-1-0x1000000000000-1"]
        {
            assert_eq!(Sid::parse(text), None, "{text}");
        }
        assert_eq!(Sid::parse(&format!("S-1-5{}", "-1".repeat(16))), None);
    }
}
