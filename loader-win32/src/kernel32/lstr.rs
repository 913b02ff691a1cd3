//! The small `lstr` functions, which never fail loudly: a null pointer is answered, not followed.

use super::{
    FALSE,
    memory::{IsBadStringPtrA, IsBadStringPtrW},
    strings::{EQUAL, NORM_IGNORECASE, collate},
};
use crate::{guest::Ptr, text};

/// Copies a text with its zero to where the caller says there is room.
fn copy<T: Copy + Default + PartialEq>(to: Ptr<T>, from: Ptr<T>, most: usize) -> Ptr<T> {
    if to.is_null() || from.is_null() {
        return Ptr::NULL;
    }
    let len = from.count(most);
    to.fill(&from.slice(len));
    to.at(len).set(T::default());
    to
}

/// Copies at most `room` elements, the zero included; negative room is none.
fn copy_n<T: Copy + Default + PartialEq>(to: Ptr<T>, from: Ptr<T>, room: i32) -> Ptr<T> {
    match usize::try_from(room) {
        Ok(0) | Err(_) => to,
        Ok(room) => copy(to, from, room - 1),
    }
}

extern "win64" fn lstrcpyA(to: Ptr<u8>, from: Ptr<u8>) -> Ptr<u8> {
    copy(to, from, usize::MAX)
}

extern "win64" fn lstrcpyW(to: Ptr<u16>, from: Ptr<u16>) -> Ptr<u16> {
    copy(to, from, usize::MAX)
}

extern "win64" fn lstrcpynA(to: Ptr<u8>, from: Ptr<u8>, room: i32) -> Ptr<u8> {
    copy_n(to, from, room)
}

extern "win64" fn lstrcpynW(to: Ptr<u16>, from: Ptr<u16>, room: i32) -> Ptr<u16> {
    copy_n(to, from, room)
}

fn append<T: Copy + Default + PartialEq>(to: Ptr<T>, from: Ptr<T>) -> Ptr<T> {
    if to.is_null() || from.is_null() {
        return Ptr::NULL;
    }
    copy(to.at(to.count(usize::MAX)), from, usize::MAX);
    to
}

extern "win64" fn lstrcatA(to: Ptr<u8>, from: Ptr<u8>) -> Ptr<u8> {
    append(to, from)
}

extern "win64" fn lstrcatW(to: Ptr<u16>, from: Ptr<u16>) -> Ptr<u16> {
    append(to, from)
}

/// What cannot be read is no text.
extern "win64" fn lstrlenA(text: Ptr<u8>) -> i32 {
    if IsBadStringPtrA(text, u64::MAX) == FALSE { text.text().len() as i32 } else { 0 }
}

extern "win64" fn lstrlenW(text: Ptr<u16>) -> i32 {
    if IsBadStringPtrW(text, u64::MAX) == FALSE { text.text().len() as i32 } else { 0 }
}

/// Null comes before every text.
fn compare<T>(one: Ptr<T>, other: Ptr<T>, flags: u32, units: impl Fn(Ptr<T>) -> Vec<u16>) -> i32 {
    match (one.is_null(), other.is_null()) {
        (true, true) => 0,
        (true, false) => -1,
        (false, true) => 1,
        _ => collate(&units(one), &units(other), flags) - EQUAL,
    }
}

fn narrow(text: Ptr<u8>) -> Vec<u16> {
    text::wide(&text.string())
}

fn wide(text: Ptr<u16>) -> Vec<u16> {
    text.text().to_vec()
}

extern "win64" fn lstrcmpA(one: Ptr<u8>, other: Ptr<u8>) -> i32 {
    compare(one, other, 0, narrow)
}

extern "win64" fn lstrcmpW(one: Ptr<u16>, other: Ptr<u16>) -> i32 {
    compare(one, other, 0, wide)
}

extern "win64" fn lstrcmpiA(one: Ptr<u8>, other: Ptr<u8>) -> i32 {
    compare(one, other, NORM_IGNORECASE, narrow)
}

extern "win64" fn lstrcmpiW(one: Ptr<u16>, other: Ptr<u16>) -> i32 {
    compare(one, other, NORM_IGNORECASE, wide)
}

table! {
    /// `lstr` functions.
    pub(crate) TABLE:
        lstrcpyA, lstrcpy = lstrcpyA, lstrcpyW, lstrcpynA, lstrcpyn = lstrcpynA, lstrcpynW, lstrcatA, lstrcat = lstrcatA, lstrcatW,
        lstrlenA, lstrlen = lstrlenA, lstrlenW, lstrcmpA, lstrcmp = lstrcmpA, lstrcmpW, lstrcmpiA, lstrcmpi = lstrcmpiA, lstrcmpiW
}
