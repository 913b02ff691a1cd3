//! user32: text that has another case, and what can be said where there is no window, no screen and no keyboard.
#![allow(non_snake_case)]

use crate::{
    guest::Ptr,
    kernel32::{Bool, answer, error::code, fail, strings::to_case},
    text::length,
};

/// There is nothing to measure.
extern "win64" fn GetSystemMetrics(_which: i32) -> i32 {
    0
}

/// No key stands for anything.
extern "win64" fn MapVirtualKeyW(_code: u32, _what: u32) -> u32 {
    0
}

/// No window station belongs to the process.
extern "win64" fn GetProcessWindowStation() -> usize {
    fail(code::INVALID_HANDLE) as usize
}

/// No desktop, and no window on it.
extern "win64" fn GetDesktopWindow() -> usize {
    0
}

extern "win64" fn GetUserObjectInformationW(
    _handle: usize,
    _what: i32,
    _to: Ptr<u8>,
    _len: u32,
    _needed: Ptr<u32>,
) -> Bool {
    answer(Err(code::INVALID_HANDLE))
}

/// A message that nobody sees, and no answer: its caller reads 0 as a failure.
extern "win64" fn MessageBoxW(_owner: usize, _text: Ptr<u16>, _title: Ptr<u16>, _kind: u32) -> i32 {
    fail(code::NOT_SUPPORTED)
}

extern "win64" fn MessageBoxA(_owner: usize, _text: Ptr<u8>, _title: Ptr<u8>, _kind: u32) -> i32 {
    fail(code::NOT_SUPPORTED)
}

/// Changes a text in place, or, where the pointer is none, the character that it is.
fn change_wide(text: Ptr<u16>, upper: bool) -> Ptr<u16> {
    if text.addr() >> 16 == 0 {
        return Ptr::from_guest(to_case(text.addr() as u16, upper).into());
    }
    let new: Vec<u16> = text.text().iter().map(|&c| to_case(c, upper)).collect();
    text.fill(&new);
    text
}

/// Letters beyond ASCII are several bytes, and stay what they are.
fn change(text: Ptr<u8>, upper: bool) -> Ptr<u8> {
    let changed = |c: u8| if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    if text.addr() >> 16 == 0 {
        return Ptr::from_guest((text.addr() as u64 & !0xff) | u64::from(changed(text.addr() as u8)));
    }
    let new: Vec<u8> = text.text().iter().map(|&c| changed(c)).collect();
    text.fill(&new);
    text
}

extern "win64" fn CharUpperA(text: Ptr<u8>) -> Ptr<u8> {
    change(text, true)
}

extern "win64" fn CharLowerA(text: Ptr<u8>) -> Ptr<u8> {
    change(text, false)
}

extern "win64" fn CharUpperW(text: Ptr<u16>) -> Ptr<u16> {
    change_wide(text, true)
}

extern "win64" fn CharLowerW(text: Ptr<u16>) -> Ptr<u16> {
    change_wide(text, false)
}

/// The character before a place, at most the first one: in UTF-8 several bytes may be one.
extern "win64" fn CharPrevExA(page: u16, start: Ptr<u8>, at: Ptr<u8>, _flags: u32) -> Ptr<u8> {
    const UTF_8: [u16; 2] = [0, 65001];
    let len = at.addr().saturating_sub(start.addr());
    let bytes = start.slice(len);
    let before = bytes.len().saturating_sub(1);
    let first = |&n: &usize| !UTF_8.contains(&page) || bytes[n] & 0xc0 != 0x80;
    start.at((bytes.len().saturating_sub(4)..=before)
        .rev()
        .filter(|&n| n < bytes.len())
        .find(first)
        .unwrap_or(before))
}

extern "win64" fn CharPrevA(start: Ptr<u8>, at: Ptr<u8>) -> Ptr<u8> {
    CharPrevExA(0, start, at, 0)
}

/// The whole text in another case; how many units.
extern "win64" fn CharUpperBuffW(text: Ptr<u16>, len: u32) -> u32 {
    let new: Vec<u16> = text.slice(len as usize).iter().map(|&c| to_case(c, true)).collect();
    text.fill(&new);
    length(new.len())
}

extern "win64" fn CharLowerBuffW(text: Ptr<u16>, len: u32) -> u32 {
    let new: Vec<u16> = text.slice(len as usize).iter().map(|&c| to_case(c, false)).collect();
    text.fill(&new);
    length(new.len())
}

table! {
    /// The part of user32 that needs no window.
    pub(crate) TABLE:
        GetSystemMetrics, MapVirtualKeyW, MapVirtualKeyA = MapVirtualKeyW, GetDesktopWindow, GetProcessWindowStation,
        GetUserObjectInformationW, MessageBoxA, MessageBoxW, CharUpperA, CharLowerA, CharUpperW, CharLowerW, CharPrevA,
        CharPrevExA, CharUpperBuffW, CharLowerBuffW
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::wide;

    #[test]
    fn letters() {
        let upper: Vec<u16> = wide("aß3äж").iter().map(|&c| to_case(c, true)).collect();
        assert_eq!(String::from_utf16_lossy(&upper), "Aß3ÄЖ");
        assert_eq!(to_case(0xd800, true), 0xd800);
    }
}
