//! Bytes and byte strings.
#![allow(unsafe_code)] // the host's functions do to guest memory what the guest asks for

use super::invalid::{invalid, refuse};
use crate::{guest::Ptr, teb};
use libc::{c_char, c_int, c_void};
use std::ffi::CString;

forward! {
    memcpy(to: *mut c_void, from: *const c_void, n: usize) -> *mut c_void;
    memmove(to: *mut c_void, from: *const c_void, n: usize) -> *mut c_void;
    memset(to: *mut c_void, byte: c_int, n: usize) -> *mut c_void;
    memchr(a: *const c_void, byte: c_int, n: usize) -> *mut c_void;
    strlen(s: *const c_char) -> usize;
    strnlen(s: *const c_char, n: usize) -> usize;
    strncpy(to: *mut c_char, from: *const c_char, n: usize) -> *mut c_char;
    strcat(to: *mut c_char, from: *const c_char) -> *mut c_char;
    strncat(to: *mut c_char, from: *const c_char, n: usize) -> *mut c_char;
    strchr(s: *const c_char, c: c_int) -> *mut c_char;
    strrchr(s: *const c_char, c: c_int) -> *mut c_char;
    strstr(s: *const c_char, part: *const c_char) -> *mut c_char;
    strspn(s: *const c_char, set: *const c_char) -> usize;
    strcspn(s: *const c_char, set: *const c_char) -> usize;
    strpbrk(s: *const c_char, set: *const c_char) -> *mut c_char;
    strtok_r(s: *mut c_char, set: *const c_char, rest: *mut *mut c_char) -> *mut c_char;
}

/// -1, 0 or 1, where the host's says how far apart the bytes are.
pub(crate) unsafe extern "win64" fn strcmp(a: *const c_char, b: *const c_char) -> c_int {
    // SAFETY: the caller keeps the contract of `strcmp`.
    unsafe { libc::strcmp(a, b) }.signum()
}

/// -1, 0 or 1.
pub(crate) unsafe extern "win64" fn strncmp(a: *const c_char, b: *const c_char, n: usize) -> c_int {
    // SAFETY: the caller keeps the contract of `strncmp`.
    unsafe { libc::strncmp(a, b, n) }.signum()
}

/// The texts may overlap: programs move one towards its start.
pub(crate) unsafe extern "win64" fn strcpy(to: *mut c_char, from: *const c_char) -> *mut c_char {
    // SAFETY: the caller passes a text that a zero ends.
    let len = unsafe { libc::strlen(from) };
    // SAFETY: the caller passes room for it and its zero.
    unsafe { std::ptr::copy(from, to, len + 1) };
    to
}

/// -1, 0 or 1.
pub(crate) unsafe extern "win64" fn memcmp(a: *const c_void, b: *const c_void, n: usize) -> c_int {
    // SAFETY: the caller keeps the contract of `memcmp`.
    unsafe { libc::memcmp(a, b, n) }.signum()
}

/// What a comparison says that cannot be made (`_NLSCMPERROR`).
pub(crate) const NOT_COMPARED: i32 = i32::MAX;

/// Compares up to `n` bytes without regard to the case of ASCII letters.
fn compare(a: Ptr<u8>, b: Ptr<u8>, n: usize) -> i32 {
    if n > 0 && (a.is_null() || b.is_null()) {
        invalid();
        return NOT_COMPARED;
    }
    for i in 0..n {
        let (x, y) = (a.at(i).get().to_ascii_lowercase(), b.at(i).get().to_ascii_lowercase());
        if x != y || x == 0 {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

extern "win64" fn _stricmp(a: Ptr<u8>, b: Ptr<u8>) -> i32 {
    compare(a, b, usize::MAX)
}

extern "win64" fn _strnicmp(a: Ptr<u8>, b: Ptr<u8>, n: usize) -> i32 {
    compare(a, b, n)
}

/// ucrtbase's, which takes no more for a length than has a sign.
extern "win64" fn strnicmp_counted(a: Ptr<u8>, b: Ptr<u8>, n: usize) -> i32 {
    if n > i32::MAX as usize {
        invalid();
        return NOT_COMPARED;
    }
    compare(a, b, n)
}

extern "win64" fn _memicmp(a: Ptr<u8>, b: Ptr<u8>, n: usize) -> i32 {
    if n > 0 && (a.is_null() || b.is_null()) {
        invalid();
        return NOT_COMPARED;
    }
    let lower = |p: Ptr<u8>| p.slice(n).to_ascii_lowercase();
    lower(a).cmp(&lower(b)) as i32
}

/// Copies with a limit: what the `_s` functions do. Returns 0, `EINVAL` or `ERANGE`.
pub(crate) fn copy_s<T: Copy + Default>(
    to: Ptr<T>,
    room: usize,
    from: &[T],
    start: usize,
    truncate: bool,
) -> i32 {
    if to.is_null() || room == 0 {
        return invalid();
    }
    let left = room.saturating_sub(start);
    if from.len() < left {
        to.at(start).fill(from);
        to.at(start + from.len()).set(T::default());
        return 0;
    }
    if truncate && left > 0 {
        to.at(start).fill(&from[..left - 1]);
        to.at(room - 1).set(T::default());
        return STRUNCATE;
    }
    to.set(T::default());
    refuse(libc::ERANGE)
}

const TRUNCATE: usize = usize::MAX;
const STRUNCATE: i32 = 80;

/// A text behind what is there already, `start` elements on. A null pointer is no text; none of it is wanted from none.
pub(crate) fn append_s<T: Copy + Default + PartialEq>(
    to: Ptr<T>,
    room: usize,
    from: Ptr<T>,
    start: usize,
    n: usize,
) -> i32 {
    if to.is_null() && room == 0 && n == 0 {
        return 0;
    }
    if from.is_null() && n != 0 {
        (!to.is_null() && room > 0).then(|| to.set(T::default()));
        return invalid();
    }
    if to.is_null() || room == 0 {
        return invalid();
    }
    if start >= room {
        to.set(T::default());
        return invalid(); // what is there has no end
    }
    // One after the other, for the texts may overlap.
    for (i, left) in (start..room).zip((0..=n).rev()) {
        let element = if left == 0 { T::default() } else { from.at(i - start).get() };
        to.at(i).set(element);
        if element == T::default() {
            return 0;
        }
    }
    if n == TRUNCATE {
        to.at(room - 1).set(T::default());
        return STRUNCATE;
    }
    to.set(T::default());
    refuse(libc::ERANGE)
}

/// All of a text: it is not cut off.
const WHOLE: usize = usize::MAX - 1;

extern "win64" fn strcpy_s(to: Ptr<u8>, room: usize, from: Ptr<u8>) -> i32 {
    append_s(to, room, from, 0, WHOLE)
}

extern "win64" fn strncpy_s(to: Ptr<u8>, room: usize, from: Ptr<u8>, n: usize) -> i32 {
    append_s(to, room, from, 0, n)
}

extern "win64" fn strcat_s(to: Ptr<u8>, room: usize, from: Ptr<u8>) -> i32 {
    append_s(to, room, from, to.count(room), WHOLE)
}

extern "win64" fn strncat_s(to: Ptr<u8>, room: usize, from: Ptr<u8>, n: usize) -> i32 {
    append_s(to, room, from, to.count(room), n)
}

extern "win64" fn wcscpy_s(to: Ptr<u16>, room: usize, from: Ptr<u16>) -> i32 {
    append_s(to, room, from, 0, WHOLE)
}

extern "win64" fn wcsncpy_s(to: Ptr<u16>, room: usize, from: Ptr<u16>, n: usize) -> i32 {
    append_s(to, room, from, 0, n)
}

extern "win64" fn wcscat_s(to: Ptr<u16>, room: usize, from: Ptr<u16>) -> i32 {
    append_s(to, room, from, to.count(room), WHOLE)
}

extern "win64" fn wcsncat_s(to: Ptr<u16>, room: usize, from: Ptr<u16>, n: usize) -> i32 {
    append_s(to, room, from, to.count(room), n)
}

/// Unlike `memcpy_s`, it leaves what is there where the room is too small.
extern "win64" fn memmove_s(to: Ptr<u8>, room: usize, from: Ptr<u8>, n: usize) -> i32 {
    if n > 0 && (to.is_null() || from.is_null()) {
        return invalid();
    }
    if n > room {
        return refuse(libc::ERANGE);
    }
    memcpy_s(to, room, from, n)
}

extern "win64" fn memcpy_s(to: Ptr<u8>, room: usize, from: Ptr<u8>, n: usize) -> i32 {
    if n == 0 {
        return 0;
    }
    if to.is_null() || from.is_null() || n > room {
        // SAFETY: the caller passed `room` writable bytes.
        (!to.is_null()).then(|| unsafe { to.raw().write_bytes(0, room) });
        return refuse(if to.is_null() || from.is_null() { libc::EINVAL } else { libc::ERANGE });
    }
    // SAFETY: the caller passed `n` readable and `room` writable bytes; those of `memmove_s` may overlap.
    unsafe { std::ptr::copy(from.raw(), to.raw(), n) };
    0
}

unsafe extern "win64" fn strtok(s: *mut c_char, set: *const c_char) -> *mut c_char {
    let rest = teb::own_place(|o| &o.token).cast();
    // SAFETY: the caller keeps the contract of `strtok`; what is left is kept for each thread, as on Windows.
    unsafe { libc::strtok_r(s, set, rest) }
}

fn change(text: Ptr<u8>, f: impl Fn(u8) -> u8) -> Ptr<u8> {
    change_first(text, text.count(usize::MAX), f);
    text
}

extern "win64" fn _strlwr(text: Ptr<u8>) -> Ptr<u8> {
    change(text, |b| b.to_ascii_lowercase())
}

extern "win64" fn _strupr(text: Ptr<u8>) -> Ptr<u8> {
    change(text, |b| b.to_ascii_uppercase())
}

extern "win64" fn _strlwr_s(text: Ptr<u8>, room: usize) -> i32 {
    change_s(text, room, |b| b.to_ascii_lowercase())
}

extern "win64" fn _strupr_s(text: Ptr<u8>, room: usize) -> i32 {
    change_s(text, room, |b| b.to_ascii_uppercase())
}

/// Changes the first elements of a text. What stays as it is is not written: it may be constant.
pub(crate) fn change_first<T: Copy + PartialEq>(text: Ptr<T>, len: usize, f: impl Fn(T) -> T) {
    for at in (0..len).map(|i| text.at(i)) {
        let (old, new) = (at.get(), f(at.get()));
        if old != new {
            at.set(new);
        }
    }
}

/// Changes a text that must have its zero within its room.
pub(crate) fn change_s<T: Copy + Default + PartialEq>(text: Ptr<T>, room: usize, f: impl Fn(T) -> T) -> i32 {
    if text.is_null() {
        return invalid();
    }
    let len = text.count(room);
    if len == room {
        text.set(T::default());
        return invalid();
    }
    change_first(text, len, f);
    0
}

extern "win64" fn _strset(text: Ptr<u8>, c: i32) -> Ptr<u8> {
    change(text, |_| c as u8)
}

extern "win64" fn _strnset(text: Ptr<u8>, c: i32, n: usize) -> Ptr<u8> {
    (0..text.count(n)).for_each(|i| text.at(i).set(c as u8));
    text
}

/// Sets the first `n` elements of a text that must have its zero within its room.
pub(crate) fn set_s<T: Copy + Default + PartialEq>(text: Ptr<T>, room: usize, c: T, n: usize) -> i32 {
    if text.is_null() && room == 0 && n == 0 {
        return 0;
    }
    if text.is_null() || room == 0 {
        return invalid();
    }
    let len = text.count(room);
    if len < room || n < room {
        (0..len.min(n)).for_each(|i| text.at(i).set(c));
    }
    if len == room {
        text.set(T::default());
        return invalid();
    }
    0
}

extern "win64" fn _strset_s(text: Ptr<u8>, room: usize, c: i32) -> i32 {
    set_s(text, room, c as u8, usize::MAX)
}

extern "win64" fn _strnset_s(text: Ptr<u8>, room: usize, c: i32, n: usize) -> i32 {
    set_s(text, room, c as u8, n)
}

/// Copies up to and with a byte; what follows it, or null where it is not there.
extern "win64" fn _memccpy(to: Ptr<u8>, from: Ptr<u8>, c: i32, n: usize) -> Ptr<u8> {
    for i in 0..n {
        let byte = from.at(i).get();
        to.at(i).set(byte);
        if byte == c as u8 {
            return to.at(i + 1);
        }
    }
    Ptr::NULL
}

/// Swaps the bytes of each pair.
extern "win64" fn _swab(from: Ptr<u8>, to: Ptr<u8>, n: i32) {
    for i in (0..usize::try_from(n).unwrap_or(0) / 2 * 2).step_by(2) {
        let pair = [from.at(i + 1).get(), from.at(i).get()];
        to.at(i).fill(&pair);
    }
}

extern "win64" fn _strrev(text: Ptr<u8>) -> Ptr<u8> {
    let reversed: Vec<u8> = text.text().iter().rev().copied().collect();
    text.fill(&reversed);
    text
}

/// In the "C" locale the transformed text is the text.
extern "win64" fn strxfrm(to: Ptr<u8>, from: Ptr<u8>, n: usize) -> usize {
    if from.is_null() || to.is_null() && n > 0 || n > i32::MAX as usize {
        invalid();
        return NOT_COMPARED as usize;
    }
    let bytes = from.text();
    if bytes.len() < n {
        to.fill(bytes);
        to.at(bytes.len()).set(0);
    }
    bytes.len()
}

/// What an error number means.
pub(crate) fn message(number: i32) -> &'static str {
    const TEXTS: [&str; 43] = [
        "No error",
        "Operation not permitted",
        "No such file or directory",
        "No such process",
        "Interrupted function call",
        "Input/output error",
        "No such device or address",
        "Arg list too long",
        "Exec format error",
        "Bad file descriptor",
        "No child processes",
        "Resource temporarily unavailable",
        "Not enough space",
        "Permission denied",
        "Bad address",
        "Unknown error",
        "Resource device",
        "File exists",
        "Improper link",
        "No such device",
        "Not a directory",
        "Is a directory",
        "Invalid argument",
        "Too many open files in system",
        "Too many open files",
        "Inappropriate I/O control operation",
        "Unknown error",
        "File too large",
        "No space left on device",
        "Invalid seek",
        "Read-only file system",
        "Too many links",
        "Broken pipe",
        "Domain error",
        "Result too large",
        "Unknown error",
        "Resource deadlock avoided",
        "Unknown error",
        "Filename too long",
        "No locks available",
        "Function not implemented",
        "Directory not empty",
        "Illegal byte sequence",
    ];
    usize::try_from(number).ok().and_then(|n| TEXTS.get(n)).copied().unwrap_or("Unknown error")
}

extern "win64" fn strerror(number: i32) -> *const c_char {
    teb::own(|o| {
        *o.message.borrow_mut() = CString::new(message(number)).unwrap_or_default();
        o.message.borrow().as_ptr()
    })
}

/// A text of the caller's, a colon, and what `errno` means; null stands for no text.
extern "win64" fn _strerror(text: Ptr<u8>) -> *const c_char {
    let text = if text.is_null() { String::new() } else { text.string() + ": " };
    let line = text + message(super::errno()) + "\n";
    teb::own(|o| {
        *o.message.borrow_mut() = CString::new(line).unwrap_or_default();
        o.message.borrow().as_ptr()
    })
}

extern "win64" fn _wcserror(number: i32) -> *const u16 {
    teb::own(|o| {
        *o.wide_message.borrow_mut() = crate::text::wide_z(message(number));
        o.wide_message.borrow().as_ptr()
    })
}

extern "win64" fn _wcserror_s(to: Ptr<u16>, room: usize, number: i32) -> i32 {
    copy_s(to, room, &crate::text::wide(message(number)), 0, true) % STRUNCATE // cut off is fine here
}

extern "win64" fn strerror_s(to: Ptr<u8>, room: usize, number: i32) -> i32 {
    copy_s(to, room, message(number).as_bytes(), 0, true) % STRUNCATE // cut off is fine here
}

table! {
    /// Strings.
    pub(crate) TABLE:
        memcpy, memmove, memset, memcmp, memchr, strlen, strnlen, strcmp, strncmp, strcpy, strncpy, strcat, strncat, strchr,
        strrchr, strstr, strspn, strcspn, strpbrk, strtok, strtok_s = strtok_r, strcoll = strcmp, _stricoll = _stricmp,
        _strncoll = strncmp, _strnicoll = _strnicmp, _stricmp, stricmp = _stricmp, strcasecmp = _stricmp, _strcmpi = _stricmp, _memicmp, strcpy_s, strncpy_s, strcat_s, strncat_s, memcpy_s,
        memmove_s, wcscpy_s, wcsncpy_s, wcscat_s, wcsncat_s, _strlwr, strlwr = _strlwr, _strupr, strupr = _strupr, _strlwr_s, _strupr_s, _strrev,
        strrev = _strrev, _strset, strset = _strset, _strnset, strnset = _strnset, _strset_s, _strnset_s, _memccpy, memccpy = _memccpy, _swab,
        swab = _swab, strxfrm, strerror, _strerror, strerror_s, _wcserror, _wcserror_s
}

table! {
    /// What ucrtbase has.
    pub(crate) UCRT:
        __strncnt = strnlen, _strnicmp = strnicmp_counted, strnicmp = strnicmp_counted, strncasecmp = strnicmp_counted,
        _strnicmp_l = strnicmp_counted
}

table! {
    /// What msvcrt has.
    pub(crate) MSVCRT: _strnicmp, strnicmp = _strnicmp, strncasecmp = _strnicmp, _strnicmp_l = _strnicmp
}

table! {
    /// The same in a locale that is passed last, which is always "C": the argument is not looked at.
    pub(crate) IN_LOCALES:
        _strcoll_l = strcmp, _stricoll_l = _stricmp, _strncoll_l = strncmp, _strnicoll_l = _strnicmp, _stricmp_l = _stricmp,
        _memicmp_l = _memicmp, _strlwr_l = _strlwr, _strupr_l = _strupr, _strlwr_s_l = _strlwr_s,
        _strupr_s_l = _strupr_s, _strxfrm_l = strxfrm
}
