//! Counted texts in another form: between UTF-16 and the ANSI code page (which is the OEM one too), and in another case.

use super::counted::{Bytes, Counted, Text};
use crate::{
    guest::Ptr,
    heap,
    kernel32::strings::{ansi, from_ansi, to_case},
    nt::status::{BUFFER_OVERFLOW, INVALID_PARAMETER, INVALID_PARAMETER_2, NO_MEMORY, SUCCESS},
};

/// The text goes where the caller has room for it with its zero, or into a new block.
extern "win64" fn RtlAnsiStringToUnicodeString(out: Ptr<Text>, from: Ptr<Bytes>, new: u8) -> u32 {
    let units = from_ansi(&from.get().elements());
    let Some(length) = u16::try_from(units.len() * 2).ok().filter(|&length| length <= u16::MAX - 2) else {
        return INVALID_PARAMETER_2;
    };
    let mut text = out.get();
    if new != 0 {
        match Text::new_z(&units) {
            Ok(made) => text = made,
            Err(status) => return status,
        }
    } else if length + 2 > text.room {
        return BUFFER_OVERFLOW;
    } else {
        text.length = length;
        text.at.fill(&units);
        text.at.at(units.len()).put(0);
    }
    out.set(text);
    SUCCESS
}

/// The bytes go where the caller has room for them: as many as fit with a zero.
fn to_ansi(out: Ptr<Bytes>, bytes: &[u8], new: u8) -> u32 {
    let Some(length) = u16::try_from(bytes.len()).ok().filter(|&length| length < u16::MAX) else {
        return INVALID_PARAMETER_2;
    };
    if new != 0 {
        let made = Bytes::new_z(bytes);
        made.iter().for_each(|&text| out.set(text));
        return made.err().unwrap_or(SUCCESS);
    }
    let Counted { room, at, .. } = out.get();
    let fit = length.min(room.saturating_sub(1));
    out.set(Counted { length: if room == 0 { length } else { fit }, room, at });
    if room > 0 {
        at.fill(&bytes[..fit.into()]);
        at.at(fit.into()).put(0);
    }
    if length < room { SUCCESS } else { BUFFER_OVERFLOW }
}

extern "win64" fn RtlUnicodeStringToAnsiString(out: Ptr<Bytes>, from: Ptr<Text>, new: u8) -> u32 {
    to_ansi(out, &ansi(&from.get().units()), new)
}

extern "win64" fn RtlUpcaseUnicodeStringToAnsiString(out: Ptr<Bytes>, from: Ptr<Text>, new: u8) -> u32 {
    to_ansi(out, &ansi(&cased(&from.get().units(), true)), new)
}

/// Without a zero.
extern "win64" fn RtlUnicodeStringToCountedOemString(out: Ptr<Bytes>, from: Ptr<Text>, new: u8) -> u32 {
    counted_ansi(out, &ansi(&from.get().units()), new)
}

extern "win64" fn RtlUpcaseUnicodeStringToCountedOemString(out: Ptr<Bytes>, from: Ptr<Text>, new: u8) -> u32 {
    counted_ansi(out, &ansi(&cased(&from.get().units(), true)), new)
}

fn counted_ansi(out: Ptr<Bytes>, bytes: &[u8], new: u8) -> u32 {
    let Ok(length) = u16::try_from(bytes.len()) else {
        return INVALID_PARAMETER_2;
    };
    let mut text = out.get();
    if new != 0 {
        text = Bytes { length, room: length, at: heap::alloc(bytes.len().max(1), false) };
        if text.at.is_null() {
            return NO_MEMORY;
        }
    }
    let fit = length.min(text.room);
    text.length = fit;
    text.at.fill(&bytes[..fit.into()]);
    out.set(text);
    if fit == length { SUCCESS } else { BUFFER_OVERFLOW }
}

fn cased(units: &[u16], upper: bool) -> Vec<u16> {
    units.iter().map(|&unit| to_case(unit, upper)).collect()
}

/// In the other case, into a new block, or where the caller has room; that may be the text's own place.
fn turn(out: Ptr<Text>, from: Ptr<Text>, new: u8, upper: bool) -> u32 {
    if out.is_null() || from.is_null() {
        return INVALID_PARAMETER;
    }
    let units = cased(&from.get().units(), upper);
    let length = from.get().length & !1;
    let mut text = out.get();
    if new != 0 {
        text.at = heap::alloc(usize::from(length).max(1), false).cast();
        text.room = length;
        if text.at.is_null() {
            return NO_MEMORY;
        }
    } else if length > text.room {
        return BUFFER_OVERFLOW;
    }
    text.length = length;
    text.at.fill(&units);
    out.set(text);
    SUCCESS
}

extern "win64" fn RtlUpcaseUnicodeString(out: Ptr<Text>, from: Ptr<Text>, new: u8) -> u32 {
    turn(out, from, new, true)
}

extern "win64" fn RtlDowncaseUnicodeString(out: Ptr<Text>, from: Ptr<Text>, new: u8) -> u32 {
    turn(out, from, new, false)
}

extern "win64" fn RtlUpcaseUnicodeChar(unit: u16) -> u16 {
    to_case(unit, true)
}

extern "win64" fn RtlDowncaseUnicodeChar(unit: u16) -> u16 {
    to_case(unit, false)
}

/// The unit of the next character, which is passed over; of a character with two the first.
pub(super) extern "win64" fn RtlAnsiCharToUnicodeChar(at: Ptr<Ptr<u8>>) -> u16 {
    let text = at.get();
    let len = match text.get() {
        0xf0..=0xf4 => 4,
        0xe0..=0xef => 3,
        0xc2..=0xdf => 2,
        _ => 1,
    };
    let bytes: Vec<u8> =
        (0..len).map_while(|n| Some(text.at(n).get()).filter(|&b| n == 0 || b & 0xc0 == 0x80)).collect();
    at.set(text.at(bytes.len()));
    from_ansi(&bytes).first().copied().unwrap_or(0)
}

/// A byte of the ANSI code page in capitals: only those of ASCII are characters by themselves.
extern "win64" fn RtlUpperChar(byte: u8) -> u8 {
    byte.to_ascii_uppercase()
}

/// As much as there is room for.
extern "win64" fn RtlUpperString(out: Ptr<Bytes>, from: Ptr<Bytes>) {
    let bytes = from.get().elements().to_ascii_uppercase();
    let mut text = out.get();
    let fit = bytes.len().min(text.room.into());
    text.at.fill(&bytes[..fit]);
    text.length = fit as u16; // not above the room
    out.set(text);
}

/// With the zero.
extern "win64" fn RtlAnsiStringToUnicodeSize(from: Ptr<Bytes>) -> u32 {
    crate::text::length((from_ansi(&from.get().elements()).len() + 1) * 2)
}

extern "win64" fn RtlUnicodeStringToAnsiSize(from: Ptr<Text>) -> u32 {
    crate::text::length(ansi(&from.get().units()).len() + 1)
}

table! {
    /// Other forms.
    pub(crate) TABLE:
        RtlAnsiStringToUnicodeString, RtlOemStringToUnicodeString = RtlAnsiStringToUnicodeString,
        RtlUTF8StringToUnicodeString = RtlAnsiStringToUnicodeString, RtlUnicodeStringToAnsiString,
        RtlUnicodeStringToOemString = RtlUnicodeStringToAnsiString, RtlUnicodeStringToUTF8String = RtlUnicodeStringToAnsiString,
        RtlUpcaseUnicodeStringToAnsiString, RtlUpcaseUnicodeStringToOemString = RtlUpcaseUnicodeStringToAnsiString,
        RtlUnicodeStringToCountedOemString, RtlUpcaseUnicodeStringToCountedOemString, RtlUpcaseUnicodeString,
        RtlDowncaseUnicodeString, RtlAnsiCharToUnicodeChar, RtlUpcaseUnicodeChar, RtlDowncaseUnicodeChar, RtlUpperChar, RtlUpperString,
        RtlAnsiStringToUnicodeSize, RtlxAnsiStringToUnicodeSize = RtlAnsiStringToUnicodeSize,
        RtlOemStringToUnicodeSize = RtlAnsiStringToUnicodeSize, RtlxOemStringToUnicodeSize = RtlAnsiStringToUnicodeSize,
        RtlUnicodeStringToAnsiSize, RtlxUnicodeStringToAnsiSize = RtlUnicodeStringToAnsiSize,
        RtlUnicodeStringToOemSize = RtlUnicodeStringToAnsiSize, RtlxUnicodeStringToOemSize = RtlUnicodeStringToAnsiSize
}
