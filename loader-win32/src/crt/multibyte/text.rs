//! Strings whose characters may take two bytes. A first byte with nothing behind it ends a string.

use super::{change, is_lead};
use crate::{
    crt::{
        invalid::{invalid, refuse},
        set_errno,
        string::{NOT_COMPARED, append_s},
    },
    guest::Ptr,
    teb,
};

const EILSEQ: i32 = 42;

type Bytes = Ptr<u8>;

/// A character and how many bytes it takes; none at the end.
fn character(at: Bytes) -> (u32, usize) {
    let first = at.get();
    if !is_lead(first) {
        return (first.into(), usize::from(first != 0));
    }
    match at.at(1).get() {
        0 => (0, 0),
        second => (u32::from(first) << 8 | u32::from(second), 2),
    }
}

/// The characters of a string and where they are, up to its end.
fn characters(mut at: Bytes) -> impl Iterator<Item = (Bytes, u32, usize)> {
    std::iter::from_fn(move || {
        let here = at;
        let (c, len) = character(here);
        at = at.at(len);
        (len > 0).then_some((here, c, len))
    })
}

/// How many bytes so many characters take.
fn length(text: Bytes, most: usize) -> usize {
    characters(text).take(most).map(|(_, _, len)| len).sum()
}

/// How many bytes the characters take that fit in so many bytes.
fn length_in(text: Bytes, bytes: usize) -> usize {
    let mut all = 0;
    while all < bytes {
        let len = if bytes - all == 1 && is_lead(text.at(all).get()) { 0 } else { character(text.at(all)).1 };
        if len == 0 {
            break;
        }
        all += len;
    }
    all
}

/// Compares so many characters, or as many as there are in so many bytes.
fn compare(a: Bytes, b: Bytes, mut characters: usize, mut bytes: usize, key: impl Fn(u32) -> u32) -> i32 {
    if characters == 0 || bytes == 0 {
        return 0;
    }
    if a.is_null() || b.is_null() {
        invalid();
        return NOT_COMPARED;
    }
    let (mut a, mut b) = (a, b);
    while characters > 0 && bytes > 0 {
        let half = |at: Bytes| bytes == 1 && is_lead(at.get());
        let (x, x_len) = if half(a) { (a.get().into(), 1) } else { character(a) };
        let (y, y_len) = if half(b) { (b.get().into(), 1) } else { character(b) };
        let (x, y) = (key(x), key(y));
        if x != y || x_len == 0 {
            return x.cmp(&y) as i32;
        }
        (a, b) = (a.at(x_len), b.at(y_len));
        characters -= 1;
        bytes = bytes.saturating_sub(x_len);
    }
    0
}

fn lower(c: u32) -> u32 {
    change(c, false)
}

extern "win64" fn _mbscmp(a: Bytes, b: Bytes) -> i32 {
    compare(a, b, usize::MAX, usize::MAX, |c| c)
}

extern "win64" fn _mbsicmp(a: Bytes, b: Bytes) -> i32 {
    compare(a, b, usize::MAX, usize::MAX, lower)
}

extern "win64" fn _mbsncmp(a: Bytes, b: Bytes, n: usize) -> i32 {
    compare(a, b, n, usize::MAX, |c| c)
}

extern "win64" fn _mbsnicmp(a: Bytes, b: Bytes, n: usize) -> i32 {
    compare(a, b, n, usize::MAX, lower)
}

extern "win64" fn _mbsnbcmp(a: Bytes, b: Bytes, n: usize) -> i32 {
    compare(a, b, usize::MAX, n, |c| c)
}

extern "win64" fn _mbsnbicmp(a: Bytes, b: Bytes, n: usize) -> i32 {
    compare(a, b, usize::MAX, n, lower)
}

extern "win64" fn _mbslen(text: Bytes) -> usize {
    characters(text).count()
}

/// How many characters there are, where the end is within so many bytes; else so many.
extern "win64" fn _mbsnlen(text: Bytes, room: usize) -> usize {
    let end = text.count(room);
    if end == room { room } else { _mbslen(text) }
}

/// How many characters are in so many bytes.
extern "win64" fn _mbsnccnt(text: Bytes, bytes: usize) -> usize {
    let all = length_in(text, bytes);
    characters(text).scan(0, |at, (_, _, len)| (*at < all).then(|| *at += len)).count()
}

/// How many bytes so many characters take.
extern "win64" fn _mbsnbcnt(text: Bytes, n: usize) -> usize {
    length(text, n)
}

extern "win64" fn _mbclen(at: Bytes) -> usize {
    if is_lead(at.get()) && at.at(1).get() != 0 { 2 } else { 1 }
}

extern "win64" fn _mbsinc(at: Bytes) -> Bytes {
    at.at(if is_lead(at.get()) { 2 } else { 1 })
}

/// The character before `at`; null where there is none.
extern "win64" fn _mbsdec(start: Bytes, at: Bytes) -> Bytes {
    if start.addr() >= at.addr() {
        return Ptr::NULL;
    }
    let mut before = start;
    while _mbsinc(before).addr() < at.addr() {
        before = _mbsinc(before);
    }
    before
}

extern "win64" fn _mbsninc(text: Bytes, n: usize) -> Bytes {
    if text.is_null() { text } else { text.at(length(text, n)) }
}

extern "win64" fn _mbsnextc(at: Bytes) -> u32 {
    let first = at.get();
    if is_lead(first) { u32::from(first) << 8 | u32::from(at.at(1).get()) } else { first.into() }
}

/// Whether the byte at `at` begins a character (-1).
extern "win64" fn _ismbslead(start: Bytes, at: Bytes) -> i32 {
    let here = characters(start)
        .take_while(|c| c.0.addr() <= at.addr())
        .any(|c| c.0.addr() == at.addr() && c.2 == 2);
    // One that nothing follows is a first byte too.
    let alone = start.at(length(start, usize::MAX));
    if here || alone.addr() == at.addr() && is_lead(at.get()) { -1 } else { 0 }
}

/// Whether the byte at `at` is the second one of a character (-1).
extern "win64" fn _ismbstrail(start: Bytes, at: Bytes) -> i32 {
    if at.addr() <= start.addr() {
        return 0;
    }
    let before = at.raw().wrapping_sub(1).addr();
    let here =
        characters(start).take_while(|c| c.0.addr() <= before).any(|c| c.0.addr() == before && c.2 == 2);
    let alone = start.at(length(start, usize::MAX));
    if here || alone.addr() == before && is_lead(alone.get()) { -1 } else { 0 }
}

fn find(text: Bytes, fits: impl Fn(u32) -> bool) -> Bytes {
    characters(text).find(|c| fits(c.1)).map_or(Ptr::NULL, |c| c.0)
}

fn end(text: Bytes) -> Bytes {
    text.at(length(text, usize::MAX))
}

extern "win64" fn _mbschr(text: Bytes, wanted: u32) -> Bytes {
    if wanted == 0 { end(text) } else { find(text, |c| c == wanted) }
}

extern "win64" fn _mbsrchr(text: Bytes, wanted: u32) -> Bytes {
    if wanted == 0 {
        return end(text);
    }
    characters(text).filter(|c| c.1 == wanted).last().map_or(Ptr::NULL, |c| c.0)
}

extern "win64" fn _mbsstr(text: Bytes, part: Bytes) -> Bytes {
    if part.get() == 0 {
        return text;
    }
    let wanted = part.text();
    let begins = |at: Bytes| at.text().starts_with(wanted);
    characters(text).map(|c| c.0).find(|at| begins(*at)).unwrap_or(Ptr::NULL)
}

/// Whether a set has a character. A first byte alone at the end of a set fits everything, as it does there.
fn is_in(set: Bytes, wanted: u32) -> bool {
    characters(set).any(|c| c.1 == wanted) || is_lead(end(set).get())
}

fn span(text: Bytes, set: Bytes, inside: bool) -> usize {
    characters(text).take_while(|c| is_in(set, c.1) == inside).map(|c| c.2).sum()
}

extern "win64" fn _mbsspn(text: Bytes, set: Bytes) -> usize {
    span(text, set, true)
}

extern "win64" fn _mbscspn(text: Bytes, set: Bytes) -> usize {
    span(text, set, false)
}

fn unless_end(at: Bytes) -> Bytes {
    if character(at).1 == 0 { Ptr::NULL } else { at }
}

extern "win64" fn _mbspbrk(text: Bytes, set: Bytes) -> Bytes {
    unless_end(text.at(span(text, set, false)))
}

/// The first character that is not in the set; null where all are.
extern "win64" fn _mbsspnp(text: Bytes, set: Bytes) -> Bytes {
    unless_end(text.at(span(text, set, true)))
}

extern "win64" fn _mbstok_s(text: Bytes, set: Bytes, rest: Ptr<Bytes>) -> Bytes {
    if rest.is_null() || set.is_null() || text.is_null() && rest.get().is_null() {
        invalid();
        return Ptr::NULL;
    }
    let text = if text.is_null() { rest.get() } else { text };
    let token = text.at(span(text, set, true));
    let behind = token.at(span(token, set, false));
    let (_, len) = character(behind);
    rest.set(behind.at(len));
    if behind.addr() == token.addr() {
        return Ptr::NULL;
    }
    behind.set(0);
    token
}

extern "win64" fn _mbstok(text: Bytes, set: Bytes) -> Bytes {
    let rest: Ptr<Bytes> = Ptr::from_guest(teb::own_place(|o| &o.token).expose_provenance() as u64);
    if text.is_null() && rest.get().is_null() { Ptr::NULL } else { _mbstok_s(text, set, rest) }
}

extern "win64" fn _mbccpy(to: Bytes, from: Bytes) {
    to.fill(&from.slice(_mbclen(from)));
}

/// One character, where there is room for it.
extern "win64" fn _mbccpy_s(to: Bytes, room: usize, done: Ptr<i32>, from: Bytes) -> i32 {
    done.put(0);
    if to.is_null() || room == 0 {
        return invalid();
    }
    to.set(0);
    if from.is_null() {
        return invalid();
    }
    let pair = is_lead(from.get());
    if pair && from.at(1).get() == 0 {
        done.put(1);
        set_errno(EILSEQ);
        return EILSEQ;
    }
    let len = if pair { 2 } else { 1 };
    if room < len {
        return refuse(libc::ERANGE);
    }
    to.fill(&from.slice(len));
    done.put(len as i32);
    0
}

/// So many characters; what is left is filled with zeros, of which a character that is none takes two.
extern "win64" fn _mbsncpy(to: Bytes, from: Bytes, n: usize) -> Bytes {
    let (mut at, mut left) = (0, n);
    for (place, _, len) in characters(from).take(n) {
        to.at(at).fill(&place.slice(len));
        at += len;
        left -= 1;
    }
    let half = left > 0 && is_lead(from.at(at).get());
    (0..left.saturating_add(half.into())).for_each(|i| to.at(at + i).set(0));
    to
}

/// So many bytes; half a character becomes a zero, and what is left is filled with them.
extern "win64" fn _mbsnbcpy(to: Bytes, from: Bytes, n: usize) -> Bytes {
    let len = length_in(from, n);
    to.fill(&from.slice(len));
    (len..n).for_each(|i| to.at(i).set(0));
    to
}

/// The end of a string, before a first byte that has nothing behind it.
fn append(to: Bytes, from: Bytes, len: usize) -> Bytes {
    let end = end(to);
    end.fill(&from.slice(len));
    end.at(len).set(0);
    to
}

extern "win64" fn _mbscat(to: Bytes, from: Bytes) -> Bytes {
    append(to, from, from.count(usize::MAX))
}

extern "win64" fn _mbsncat(to: Bytes, from: Bytes, n: usize) -> Bytes {
    append(to, from, length(from, n))
}

extern "win64" fn _mbsnbcat(to: Bytes, from: Bytes, n: usize) -> Bytes {
    append(to, from, length_in(from, n))
}

/// Where a text of `room` bytes ends, and whether in half a character; `None` where it does not end.
fn end_within(text: Bytes, room: usize) -> Option<(usize, bool)> {
    let len = text.count(room);
    (len < room).then(|| {
        let whole = length_in(text, len);
        (whole, whole < len)
    })
}

const ALL: usize = usize::MAX - 1;

/// Puts so many bytes of a text behind another. Half a character at the end of either is left out and told.
fn put_s(to: Bytes, room: usize, from: Bytes, n: usize, behind: bool) -> i32 {
    if to.is_null() && room == 0 && n == 0 {
        return 0;
    }
    if to.is_null() || room == 0 {
        return invalid();
    }
    let start = if behind { end_within(to, room) } else { Some((0, false)) };
    let Some((start, half)) = start else {
        to.set(0);
        return invalid();
    };
    if from.is_null() {
        return append_s(to, room, from, start, n);
    }
    let len = from.count(n);
    let whole = length_in(from, len);
    let error = append_s(to, room, from, start, if n == usize::MAX { n } else { whole });
    if error == 0 && (half || whole < len) {
        set_errno(EILSEQ);
        return EILSEQ;
    }
    error
}

extern "win64" fn _mbscpy_s(to: Bytes, room: usize, from: Bytes) -> i32 {
    put_s(to, room, from, ALL, false)
}

extern "win64" fn _mbsnbcpy_s(to: Bytes, room: usize, from: Bytes, n: usize) -> i32 {
    put_s(to, room, from, n, false)
}

/// The bytes of so many characters; all of them for `_TRUNCATE`.
fn bytes(from: Bytes, n: usize) -> usize {
    if from.is_null() || n == usize::MAX { n } else { length(from, n) }
}

extern "win64" fn _mbsncpy_s(to: Bytes, room: usize, from: Bytes, n: usize) -> i32 {
    put_s(to, room, from, bytes(from, n), false)
}

extern "win64" fn _mbscat_s(to: Bytes, room: usize, from: Bytes) -> i32 {
    put_s(to, room, from, ALL, true)
}

extern "win64" fn _mbsnbcat_s(to: Bytes, room: usize, from: Bytes, n: usize) -> i32 {
    put_s(to, room, from, n, true)
}

extern "win64" fn _mbsncat_s(to: Bytes, room: usize, from: Bytes, n: usize) -> i32 {
    put_s(to, room, from, bytes(from, n), true)
}

fn change_all(text: Bytes, upper: bool) -> Bytes {
    if !text.is_null() {
        for (at, c, len) in characters(text) {
            let changed = change(c, upper);
            if changed != c {
                at.fill(&changed.to_be_bytes()[4 - len..]);
            }
        }
    }
    text
}

extern "win64" fn _mbslwr(text: Bytes) -> Bytes {
    change_all(text, false)
}

extern "win64" fn _mbsupr(text: Bytes) -> Bytes {
    change_all(text, true)
}

fn change_all_s(text: Bytes, room: usize, upper: bool) -> i32 {
    if text.is_null() && room == 0 {
        return 0;
    }
    if text.is_null() || text.count(room) == room {
        if room > 0 {
            text.put(0);
        }
        return invalid();
    }
    change_all(text, upper);
    0
}

extern "win64" fn _mbslwr_s(text: Bytes, room: usize) -> i32 {
    change_all_s(text, room, false)
}

extern "win64" fn _mbsupr_s(text: Bytes, room: usize) -> i32 {
    change_all_s(text, room, true)
}

extern "win64" fn _mbsrev(text: Bytes) -> Bytes {
    let parts: Vec<Vec<u8>> = characters(text).map(|(at, _, len)| at.slice(len).to_vec()).collect();
    text.fill(&parts.into_iter().rev().flatten().collect::<Vec<u8>>());
    text
}

/// Fills so many bytes with a character; a byte that is left over becomes a blank.
fn set(text: Bytes, c: u32, bytes: usize) -> Bytes {
    let c = c.to_be_bytes();
    let pattern = if c[2] == 0 { &c[3..] } else { &c[2..] };
    for i in (0..bytes).step_by(pattern.len()) {
        text.at(i).fill(if bytes - i < pattern.len() { b" " } else { pattern });
    }
    text
}

extern "win64" fn _mbsset(text: Bytes, c: u32) -> Bytes {
    set(text, c, text.count(usize::MAX))
}

extern "win64" fn _mbsnbset(text: Bytes, c: u32, n: usize) -> Bytes {
    set(text, c, text.count(n))
}

extern "win64" fn _mbsnset(text: Bytes, c: u32, n: usize) -> Bytes {
    set(text, c, text.count(if c > 0xff { n.saturating_mul(2) } else { n }))
}

table! {
    /// Strings of characters that may take two bytes.
    pub(crate) TABLE:
        _mbscmp, _mbsicmp, _mbscoll = _mbscmp, _mbsicoll = _mbsicmp, _mbsncmp, _mbsnicmp, _mbsncoll = _mbsncmp,
        _mbsnicoll = _mbsnicmp, _mbsnbcmp, _mbsnbicmp, _mbsnbcoll = _mbsnbcmp, _mbsnbicoll = _mbsnbicmp, _mbslen, _mbsnlen,
        _mbsnccnt, _mbsnbcnt, _mbclen, _mbsinc, _mbsdec, _mbsninc, _mbsnextc, _ismbslead, _ismbstrail, _mbschr, _mbsrchr,
        _mbsstr, _mbsspn, _mbscspn, _mbspbrk, _mbsspnp, _mbstok_s, _mbstok, _mbccpy, _mbccpy_s, _mbsncpy, _mbsnbcpy, _mbscat,
        _mbsncat, _mbsnbcat, _mbscpy_s, _mbsnbcpy_s, _mbsncpy_s, _mbscat_s, _mbsnbcat_s, _mbsncat_s, _mbslwr, _mbsupr,
        _mbslwr_s, _mbsupr_s, _mbsrev, _mbsset, _mbsnset, _mbsnbset, _mbscpy = crate::crt::string::strcpy,
        _mbsdup = crate::crt::memory::strdup, _mbstrlen = crate::crt::string::strlen
}

table! {
    /// The same in a locale that is passed last: there is none that has a code page of its own.
    pub(crate) IN_LOCALES:
        _mbscmp_l = _mbscmp, _mbsicmp_l = _mbsicmp, _mbscoll_l = _mbscmp, _mbsicoll_l = _mbsicmp, _mbsncmp_l = _mbsncmp,
        _mbsnicmp_l = _mbsnicmp, _mbsnbcmp_l = _mbsnbcmp, _mbsnbicmp_l = _mbsnbicmp, _mbslen_l = _mbslen,
        _mbsnlen_l = _mbsnlen, _mbclen_l = _mbclen, _mbsinc_l = _mbsinc, _mbsdec_l = _mbsdec, _mbsninc_l = _mbsninc,
        _mbsnextc_l = _mbsnextc, _ismbslead_l = _ismbslead, _ismbstrail_l = _ismbstrail, _mbschr_l = _mbschr,
        _mbsrchr_l = _mbsrchr, _mbsstr_l = _mbsstr, _mbsspn_l = _mbsspn, _mbscspn_l = _mbscspn, _mbspbrk_l = _mbspbrk,
        _mbsspnp_l = _mbsspnp, _mbstok_s_l = _mbstok_s, _mbstok_l = _mbstok, _mbccpy_l = _mbccpy, _mbccpy_s_l = _mbccpy_s,
        _mbscpy_s_l = _mbscpy_s, _mbscat_s_l = _mbscat_s, _mbslwr_l = _mbslwr, _mbsupr_l = _mbsupr, _mbslwr_s_l = _mbslwr_s,
        _mbsupr_s_l = _mbsupr_s, _mbsrev_l = _mbsrev
}
