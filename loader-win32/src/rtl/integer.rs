//! Numbers in texts, as ntdll reads and writes them, and bits in numbers.

use super::counted::Text;
use crate::{
    guest::Ptr,
    nt::status::{ACCESS_VIOLATION, BUFFER_OVERFLOW, INVALID_PARAMETER, SUCCESS},
};

/// The number at the start of a text, as far as it goes; what does not fit 32 bits is cut off.
pub(crate) fn parse(units: &[u16], base: u32) -> Result<u32, u32> {
    let ascii = |unit: &u16| u8::try_from(*unit).map_or(0, |b| b);
    let start = units.iter().take_while(|&&unit| unit <= 0x20 && unit != 0).count();
    let mut rest = &units[start..];
    let sign = rest.first().map(ascii).filter(|c| matches!(c, b'+' | b'-'));
    rest = &rest[usize::from(sign.is_some())..];
    let base = match base {
        0 => {
            let prefix = if rest.first().map(ascii) == Some(b'0') { rest.get(1).map(ascii) } else { None };
            let named = match prefix {
                Some(b'b') => Some(2),
                Some(b'o') => Some(8),
                Some(b'x') => Some(16),
                _ => None,
            };
            rest = if named.is_some() { &rest[2..] } else { rest };
            named.unwrap_or(10)
        }
        2 | 8 | 10 | 16 => base,
        _ => return Err(INVALID_PARAMETER),
    };
    let digits = rest.iter().map_while(|unit| char::from(ascii(unit)).to_digit(base));
    let amount = digits.fold(0u32, |n, digit| n.wrapping_mul(base).wrapping_add(digit));
    Ok(if sign == Some(b'-') { amount.wrapping_neg() } else { amount })
}

fn give(parsed: Result<u32, u32>, out: Ptr<u32>) -> u32 {
    match parsed {
        Err(status) => status,
        Ok(_) if out.is_null() => ACCESS_VIOLATION,
        Ok(value) => {
            out.set(value);
            SUCCESS
        }
    }
}

extern "win64" fn RtlCharToInteger(text: Ptr<u8>, base: u32, out: Ptr<u32>) -> u32 {
    let units: Vec<u16> = text.text().iter().map(|&b| b.into()).collect();
    give(parse(&units, base), out)
}

extern "win64" fn RtlUnicodeStringToInteger(text: Ptr<Text>, base: u32, out: Ptr<u32>) -> u32 {
    give(parse(&text.get().units(), base), out)
}

/// The digits of a number, capitals among them; base 0 is ten.
fn digits(mut n: u64, base: u32) -> Result<Vec<u8>, u32> {
    let base = match base {
        0 => 10,
        2 | 8 | 10 | 16 => u64::from(base),
        _ => return Err(INVALID_PARAMETER),
    };
    let mut out = Vec::new();
    loop {
        out.push(b"0123456789ABCDEF"[(n % base) as usize]);
        n /= base;
        if n == 0 {
            out.reverse();
            return Ok(out);
        }
    }
}

/// The zero behind it needs no room.
fn write(digits: Result<Vec<u8>, u32>, room: u32, to: Ptr<u8>) -> u32 {
    match digits {
        Err(status) => status,
        Ok(digits) if digits.len() > room as usize => BUFFER_OVERFLOW,
        Ok(_) if to.is_null() => ACCESS_VIOLATION,
        Ok(digits) => {
            to.fill(&digits);
            if digits.len() < room as usize {
                to.at(digits.len()).set(0);
            }
            SUCCESS
        }
    }
}

extern "win64" fn RtlIntegerToChar(n: u32, base: u32, room: u32, to: Ptr<u8>) -> u32 {
    write(digits(n.into(), base), room, to)
}

extern "win64" fn RtlLargeIntegerToChar(n: Ptr<u64>, base: u32, room: u32, to: Ptr<u8>) -> u32 {
    write(digits(n.get(), base), room, to)
}

/// The length is that which the text has, or would have.
extern "win64" fn RtlInt64ToUnicodeString(n: u64, base: u32, out: Ptr<Text>) -> u32 {
    let digits = match digits(n, base) {
        Ok(digits) => digits,
        Err(status) => return status,
    };
    let mut text = out.get();
    text.length = (digits.len() * 2) as u16; // 64 digits at most
    out.set(text);
    if text.length >= text.room {
        return BUFFER_OVERFLOW;
    }
    text.at.fill(&digits.iter().map(|&digit| digit.into()).chain([0]).collect::<Vec<u16>>());
    SUCCESS
}

extern "win64" fn RtlIntegerToUnicodeString(n: u32, base: u32, out: Ptr<Text>) -> u32 {
    RtlInt64ToUnicodeString(n.into(), base, out)
}

extern "win64" fn RtlUshortByteSwap(n: u16) -> u16 {
    n.swap_bytes()
}

extern "win64" fn RtlUlongByteSwap(n: u32) -> u32 {
    n.swap_bytes()
}

extern "win64" fn RtlUlonglongByteSwap(n: u64) -> u64 {
    n.swap_bytes()
}

/// The number of the highest bit that is set, -1 for none.
extern "win64" fn RtlFindMostSignificantBit(n: u64) -> i8 {
    n.checked_ilog2().map_or(-1, |bit| bit as i8)
}

extern "win64" fn RtlFindLeastSignificantBit(n: u64) -> i8 {
    if n == 0 { -1 } else { n.trailing_zeros() as i8 }
}

extern "win64" fn RtlNumberOfSetBitsUlongPtr(n: u64) -> u32 {
    n.count_ones()
}

table! {
    /// Numbers.
    pub(crate) TABLE:
        RtlCharToInteger, RtlUnicodeStringToInteger, RtlIntegerToChar, RtlLargeIntegerToChar, RtlInt64ToUnicodeString,
        RtlIntegerToUnicodeString, RtlUshortByteSwap, RtlUlongByteSwap, RtlUlonglongByteSwap, RtlFindMostSignificantBit,
        RtlFindLeastSignificantBit, RtlNumberOfSetBitsUlongPtr
}
