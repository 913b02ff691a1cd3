//! Wide strings: 16-bit units, so nothing of the host's C library fits.

use super::{
    set_errno,
    string::{change_first, change_s, copy_s, set_s},
};
use crate::{guest::Ptr, teb};

const EILSEQ: i32 = 42;
const STRUNCATE: i32 = 80;

extern "win64" fn wcslen(s: Ptr<u16>) -> usize {
    s.count(usize::MAX)
}

extern "win64" fn wcsnlen(s: Ptr<u16>, n: usize) -> usize {
    s.count(n)
}

/// In the "C" locale only ASCII letters have another case.
pub(crate) fn ascii_case(unit: u16, upper: bool) -> u16 {
    match u8::try_from(unit) {
        Ok(byte) if upper => byte.to_ascii_uppercase().into(),
        Ok(byte) => byte.to_ascii_lowercase().into(),
        Err(_) => unit,
    }
}

/// How far apart the first two units are that differ.
fn compare(a: Ptr<u16>, b: Ptr<u16>, n: usize, key: impl Fn(u16) -> u16) -> i32 {
    for i in 0..n {
        let (x, y) = (key(a.at(i).get()), key(b.at(i).get()));
        if x != y || x == 0 {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

extern "win64" fn wcscmp(a: Ptr<u16>, b: Ptr<u16>) -> i32 {
    compare(a, b, usize::MAX, |u| u).signum()
}

extern "win64" fn wcsncmp(a: Ptr<u16>, b: Ptr<u16>, n: usize) -> i32 {
    compare(a, b, n, |u| u).signum()
}

extern "win64" fn _wcsicmp(a: Ptr<u16>, b: Ptr<u16>) -> i32 {
    compare(a, b, usize::MAX, |u| ascii_case(u, false))
}

extern "win64" fn _wcsnicmp(a: Ptr<u16>, b: Ptr<u16>, n: usize) -> i32 {
    compare(a, b, n, |u| ascii_case(u, false))
}

/// Copies up to `n` units and a zero to `to`.
fn put(to: Ptr<u16>, from: Ptr<u16>, n: usize) {
    let len = from.count(n);
    to.fill(&from.slice(len));
    to.at(len).set(0);
}

extern "win64" fn wcscpy(to: Ptr<u16>, from: Ptr<u16>) -> Ptr<u16> {
    put(to, from, usize::MAX);
    to
}

/// What is left of `n` is filled with zeros, and nothing ends the text where `n` was too small.
extern "win64" fn wcsncpy(to: Ptr<u16>, from: Ptr<u16>, n: usize) -> Ptr<u16> {
    let len = from.count(n);
    to.fill(&from.slice(len));
    (len..n).for_each(|i| to.at(i).set(0));
    to
}

extern "win64" fn wcscat(to: Ptr<u16>, from: Ptr<u16>) -> Ptr<u16> {
    put(to.at(to.count(usize::MAX)), from, usize::MAX);
    to
}

extern "win64" fn wcsncat(to: Ptr<u16>, from: Ptr<u16>, n: usize) -> Ptr<u16> {
    put(to.at(to.count(usize::MAX)), from, n);
    to
}

pub(crate) extern "win64" fn wcschr(s: Ptr<u16>, unit: u16) -> Ptr<u16> {
    let len = s.count(usize::MAX);
    (0..=len).find(|&i| s.at(i).get() == unit).map_or(Ptr::NULL, |i| s.at(i))
}

pub(crate) extern "win64" fn wcsrchr(s: Ptr<u16>, unit: u16) -> Ptr<u16> {
    let len = s.count(usize::MAX);
    (0..=len).rfind(|&i| s.at(i).get() == unit).map_or(Ptr::NULL, |i| s.at(i))
}

pub(crate) extern "win64" fn wcsstr(s: Ptr<u16>, part: Ptr<u16>) -> Ptr<u16> {
    let (text, part) = (s.text(), part.text());
    let last = text.len().checked_sub(part.len());
    let found = last.and_then(|last| (0..=last).find(|&i| text[i..].starts_with(&part)));
    found.map_or(Ptr::NULL, |i| s.at(i))
}

/// How many units at the start are in the set, or are not.
fn span(s: Ptr<u16>, set: Ptr<u16>, inside: bool) -> usize {
    s.text().iter().take_while(|u| set.text().contains(u) == inside).count()
}

extern "win64" fn wcsspn(s: Ptr<u16>, set: Ptr<u16>) -> usize {
    span(s, set, true)
}

extern "win64" fn wcscspn(s: Ptr<u16>, set: Ptr<u16>) -> usize {
    span(s, set, false)
}

extern "win64" fn wcspbrk(s: Ptr<u16>, set: Ptr<u16>) -> Ptr<u16> {
    let at = s.at(span(s, set, false));
    if at.get() == 0 { Ptr::NULL } else { at }
}

/// The next token; `rest` remembers where to go on.
extern "win64" fn wcstok_s(s: Ptr<u16>, set: Ptr<u16>, rest: Ptr<Ptr<u16>>) -> Ptr<u16> {
    let s = if s.is_null() { rest.get() } else { s };
    if s.is_null() {
        return s;
    }
    let token = s.at(span(s, set, true));
    if token.get() == 0 {
        rest.set(token);
        return Ptr::NULL;
    }
    let end = token.at(span(token, set, false));
    let more = end.get() != 0;
    end.set(0);
    rest.set(if more { end.at(1) } else { end });
    token
}

/// msvcrt's, which keeps the rest for each thread; ucrtbase's is told where, or null for the same.
extern "win64" fn wcstok(s: Ptr<u16>, set: Ptr<u16>) -> Ptr<u16> {
    wcstok_s(s, set, Ptr::from_guest(teb::own_place(|o| &o.wide_token).expose_provenance() as u64))
}

extern "win64" fn wcstok_in(s: Ptr<u16>, set: Ptr<u16>, rest: Ptr<Ptr<u16>>) -> Ptr<u16> {
    if rest.is_null() { wcstok(s, set) } else { wcstok_s(s, set, rest) }
}

extern "win64" fn _wcslwr_s(text: Ptr<u16>, room: usize) -> i32 {
    change_s(text, room, |u| ascii_case(u, false))
}

extern "win64" fn _wcsupr_s(text: Ptr<u16>, room: usize) -> i32 {
    change_s(text, room, |u| ascii_case(u, true))
}

extern "win64" fn _wcsrev(text: Ptr<u16>) -> Ptr<u16> {
    let reversed: Vec<u16> = text.text().iter().rev().copied().collect();
    text.fill(&reversed);
    text
}

extern "win64" fn _wcsset(text: Ptr<u16>, unit: u16) -> Ptr<u16> {
    _wcsnset(text, unit, usize::MAX)
}

extern "win64" fn _wcsnset(text: Ptr<u16>, unit: u16, n: usize) -> Ptr<u16> {
    (0..text.count(n)).for_each(|i| text.at(i).set(unit));
    text
}

extern "win64" fn _wcsset_s(text: Ptr<u16>, room: usize, unit: u16) -> i32 {
    set_s(text, room, unit, usize::MAX)
}

extern "win64" fn _wcsnset_s(text: Ptr<u16>, room: usize, unit: u16, n: usize) -> i32 {
    set_s(text, room, unit, n)
}

/// In the "C" locale the transformed text is the text.
extern "win64" fn wcsxfrm(to: Ptr<u16>, from: Ptr<u16>, n: usize) -> usize {
    if from.is_null() || to.is_null() && n > 0 || n > i32::MAX as usize {
        super::invalid::invalid();
        return super::string::NOT_COMPARED as usize;
    }
    let units = from.text();
    if units.len() < n {
        to.fill(&units);
        to.at(units.len()).set(0);
    }
    units.len()
}

fn change(s: Ptr<u16>, upper: bool) -> Ptr<u16> {
    change_first(s, s.count(usize::MAX), |unit| ascii_case(unit, upper));
    s
}

extern "win64" fn _wcslwr(s: Ptr<u16>) -> Ptr<u16> {
    change(s, false)
}

extern "win64" fn _wcsupr(s: Ptr<u16>) -> Ptr<u16> {
    change(s, true)
}

#[allow(unsafe_code)]
extern "win64" fn wmemcpy(to: Ptr<u16>, from: Ptr<u16>, n: usize) -> Ptr<u16> {
    // SAFETY: the caller passed `n` units on both sides; `wmemmove` may overlap.
    unsafe { std::ptr::copy(from.raw(), to.raw(), n) };
    to
}

extern "win64" fn wmemset(to: Ptr<u16>, unit: u16, n: usize) -> Ptr<u16> {
    (0..n).for_each(|i| to.at(i).set(unit));
    to
}

extern "win64" fn wmemchr(s: Ptr<u16>, unit: u16, n: usize) -> Ptr<u16> {
    s.slice(n).iter().position(|&u| u == unit).map_or(Ptr::NULL, |i| s.at(i))
}

extern "win64" fn wmemcmp(a: Ptr<u16>, b: Ptr<u16>, n: usize) -> i32 {
    a.slice(n).cmp(&b.slice(n)) as i32
}

// Between bytes and units: in the "C" locale a byte is a unit.

fn to_byte(unit: u16) -> Option<u8> {
    let byte = u8::try_from(unit).ok();
    if byte.is_none() {
        set_errno(EILSEQ);
    }
    byte
}

extern "win64" fn mbtowc(to: Ptr<u16>, from: Ptr<u8>, n: usize) -> i32 {
    if from.is_null() || n == 0 {
        return 0;
    }
    to.put(from.get().into());
    (from.get() != 0).into()
}

extern "win64" fn mbrtowc(to: Ptr<u16>, from: Ptr<u8>, n: usize, _state: usize) -> usize {
    match n {
        _ if from.is_null() => 0,
        0 => usize::MAX - 1, // incomplete
        _ => mbtowc(to, from, n) as usize,
    }
}

extern "win64" fn mbrlen(from: Ptr<u8>, n: usize, state: usize) -> usize {
    mbrtowc(Ptr::NULL, from, n, state)
}

extern "win64" fn wctomb(to: Ptr<u8>, unit: u16) -> i32 {
    if to.is_null() {
        return 0;
    }
    to_byte(unit).map_or(-1, |b| {
        to.set(b);
        1
    })
}

extern "win64" fn wcrtomb(to: Ptr<u8>, unit: u16, _state: usize) -> usize {
    if to.is_null() { 1 } else { wctomb(to, unit) as isize as usize }
}

extern "win64" fn btowc(byte: i32) -> u16 {
    u8::try_from(byte).map_or(u16::MAX, u16::from)
}

extern "win64" fn wctob(unit: u16) -> i32 {
    u8::try_from(unit).map_or(-1, i32::from)
}

extern "win64" fn mbstowcs(to: Ptr<u16>, from: Ptr<u8>, n: usize) -> usize {
    if from.is_null() {
        super::invalid::invalid();
        return usize::MAX;
    }
    let bytes = from.text();
    if to.is_null() {
        return bytes.len();
    }
    let len = bytes.len().min(n);
    bytes[..len].iter().enumerate().for_each(|(i, &b)| to.at(i).set(b.into()));
    (len < n).then(|| to.at(len).set(0));
    len
}

extern "win64" fn wcstombs(to: Ptr<u8>, from: Ptr<u16>, n: usize) -> usize {
    if from.is_null() {
        super::invalid::invalid();
        return usize::MAX;
    }
    let Some(bytes) = from.text().iter().map(|&u| to_byte(u)).collect::<Option<Vec<u8>>>() else {
        return usize::MAX;
    };
    if to.is_null() {
        return bytes.len();
    }
    let len = bytes.len().min(n);
    to.fill(&bytes[..len]);
    (len < n).then(|| to.at(len).set(0));
    len
}

extern "win64" fn mblen(from: Ptr<u8>, n: usize) -> i32 {
    mbtowc(Ptr::NULL, from, n)
}

extern "win64" fn wctomb_s(done: Ptr<i32>, to: Ptr<u8>, room: usize, unit: u16) -> i32 {
    if to.is_null() && room == 0 {
        done.put(0);
        return 0;
    }
    let Some(byte) = to_byte(unit) else {
        done.put(-1);
        return EILSEQ;
    };
    if to.is_null() || room == 0 {
        return super::invalid::refuse(libc::ERANGE);
    }
    to.set(byte);
    done.put(1);
    0
}

/// The same, in the form that keeps a state.
extern "win64" fn wcrtomb_s(done: Ptr<usize>, to: Ptr<u8>, room: usize, unit: u16, _state: usize) -> i32 {
    if to.is_null() != (room == 0) {
        done.put(usize::MAX);
        return super::invalid::invalid();
    }
    let byte = if to.is_null() { Some(0) } else { to_byte(unit) };
    let Some(byte) = byte else {
        to.set(0);
        done.put(usize::MAX);
        set_errno(EILSEQ);
        return EILSEQ;
    };
    to.put(byte);
    done.put(1);
    0
}

/// As `mbstowcs`, with the text's address going on and null at its end.
extern "win64" fn mbsrtowcs(to: Ptr<u16>, from: Ptr<Ptr<u8>>, n: usize, state: Ptr<i32>) -> usize {
    state.put(0);
    let text = from.get();
    let done = mbstowcs(to, text, n);
    if !to.is_null() {
        from.set(if done < n { Ptr::NULL } else { text.at(done) });
    }
    done
}

extern "win64" fn wcsrtombs(to: Ptr<u8>, from: Ptr<Ptr<u16>>, n: usize, state: Ptr<i32>) -> usize {
    state.put(0);
    let text = from.get();
    let done = wcstombs(to, text, n);
    if !to.is_null() && done != usize::MAX {
        from.set(if done < n { Ptr::NULL } else { text.at(done) });
    }
    done
}

/// Gives a converted text where there is room for it; how long it is with its zero, or nothing where it did not fit.
fn converted<T: Copy + Default>(done: Ptr<usize>, to: Ptr<T>, room: usize, text: &[T], n: usize) -> i32 {
    if to.is_null() {
        done.put(text.len() + 1);
        return 0;
    }
    let text = &text[..text.len().min(n)];
    let error = copy_s(to, room, text, 0, n == usize::MAX);
    done.put(match error {
        0 => text.len() + 1,
        STRUNCATE => room,
        _ => 0,
    });
    error
}

extern "win64" fn mbstowcs_s(done: Ptr<usize>, to: Ptr<u16>, room: usize, from: Ptr<u8>, n: usize) -> i32 {
    let units: Vec<u16> = from.text().iter().map(|&b| b.into()).collect();
    converted(done, to, room, &units, n)
}

extern "win64" fn wcstombs_s(done: Ptr<usize>, to: Ptr<u8>, room: usize, from: Ptr<u16>, n: usize) -> i32 {
    match from.text().iter().map(|&u| to_byte(u)).collect::<Option<Vec<u8>>>() {
        Some(bytes) => converted(done, to, room, &bytes, n),
        None => {
            done.put(0);
            (!to.is_null() && room > 0).then(|| to.set(0));
            EILSEQ
        }
    }
}

/// The same, for a place with a size.
extern "win64" fn mbsrtowcs_s(
    done: Ptr<usize>,
    to: Ptr<u16>,
    room: usize,
    from: Ptr<Ptr<u8>>,
    n: usize,
    state: Ptr<i32>,
) -> i32 {
    if from.is_null() || from.get().is_null() || to.is_null() != (room == 0) {
        return super::invalid::invalid();
    }
    state.put(0);
    let text = from.get();
    let error = mbstowcs_s(done, to, room, text, n);
    let whole = text.count(usize::MAX);
    if !to.is_null() {
        from.set(if error == 0 && whole <= n { Ptr::NULL } else { text.at(whole.min(n).min(room)) });
    }
    error
}

/// A conversion state that is always at the start.
extern "win64" fn mbsinit(_state: usize) -> i32 {
    1
}

table! {
    /// Wide strings.
    pub(crate) TABLE:
        wcslen, wcsnlen, wcscmp, wcsncmp, wcscoll = wcscmp, _wcsicoll = _wcsicmp, _wcsncoll = wcsncmp, _wcsnicoll = _wcsnicmp,
        _wcsicmp, wcsicmp = _wcsicmp, _wcsnicmp, wcsnicmp = _wcsnicmp, wcscpy, wcsncpy, wcscat, wcsncat, wcschr, wcsrchr, wcsstr, wcsspn, wcscspn, wcspbrk, wcstok_s, _wcslwr, wcslwr = _wcslwr, _wcsupr,
        wcsupr = _wcsupr, _wcslwr_s, _wcsupr_s, _wcsrev, _wcsset, _wcsnset, _wcsset_s, _wcsnset_s, wcsxfrm, wmemcpy, wmemmove = wmemcpy, wmemset,
        wmemchr, wmemcmp, mbtowc, mblen, mbrtowc, mbrlen, wctomb, wctomb_s, wcrtomb, wcrtomb_s, btowc, wctob, mbstowcs, wcstombs,
        mbsrtowcs, mbsrtowcs_s, wcsrtombs, mbstowcs_s, wcstombs_s, mbsinit
}

table! {
    /// The same in a locale that is passed last, which is always "C": the argument is not looked at.
    pub(crate) IN_LOCALES:
        _wcscoll_l = wcscmp, _wcsicoll_l = _wcsicmp, _wcsncoll_l = wcsncmp, _wcsnicoll_l = _wcsnicmp, _wcsicmp_l = _wcsicmp,
        _wcsnicmp_l = _wcsnicmp, _wcslwr_l = _wcslwr, _wcsupr_l = _wcsupr, _wcslwr_s_l = _wcslwr_s, _wcsupr_s_l = _wcsupr_s,
        _wcsxfrm_l = wcsxfrm, _mbtowc_l = mbtowc, _mblen_l = mblen, _wctomb_l = wctomb, _mbstowcs_l = mbstowcs,
        _wcstombs_l = wcstombs, _mbstowcs_s_l = mbstowcs_s, _wcstombs_s_l = wcstombs_s
}

table! {
    /// What ucrtbase has.
    pub(crate) UCRT: wcstok = wcstok_in, __wcsncnt = wcsnlen
}

table! {
    /// What msvcrt has.
    pub(crate) MSVCRT: wcstok
}
