//! Dates in 24 letters, as `asctime` and `ctime` give them, and the day and the time as `_strdate` and `_strtime` do.

use super::{
    invalid::invalid,
    strftime::{Names, format, within},
    string::copy_s,
    time::{_time64, Tm, local, moment_at},
};
use crate::{format::Dialect, guest::Ptr, teb, text};

/// How `asctime` writes a date; a year with five digits has its thousands in one, as there. `None` where it is no date.
fn in_letters(tm: &Tm, dialect: Dialect) -> Option<[u8; 25]> {
    const DAYS_OF_MONTH: [i32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let year = within(tm[5], 0..=i32::MAX - 1900)? + 1900;
    let month = usize::try_from(within(tm[4], 0..=11)?).ok()?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    within(tm[3], 1..=DAYS_OF_MONTH[month] + i32::from(leap && month == 1))?;
    let pattern = if dialect == Dialect::Msvcrt { "%a %b %d %H:%M:%S " } else { "%a %b %e %H:%M:%S " };
    let mut date = *tm;
    date[5] = 0; // it is written here
    let date = format(pattern, Some(&date), Names::C, dialect)?;
    let digit = |n: i32| b'0'.wrapping_add(n as u8);
    let year = [digit(year / 1000), digit(year / 100 % 10), digit(year / 10 % 10), digit(year % 10), b'\n'];
    [date.as_bytes(), &year].concat().try_into().ok()
}

/// A date in the thread's own place: 24 letters, a line end, a zero.
fn dated(tm: Option<Tm>, dialect: Dialect) -> *const [u8; 32] {
    let Some(letters) = tm.and_then(|tm| in_letters(&tm, dialect)) else {
        invalid();
        return std::ptr::null();
    };
    let mut bytes = [0; 32];
    bytes[..letters.len()].copy_from_slice(&letters);
    teb::own(|o| o.date.set(bytes));
    teb::own_place(|o| &o.date)
}

/// The same in wide letters.
fn wide_dated(tm: Option<Tm>, dialect: Dialect) -> *const [u16; 32] {
    if dated(tm, dialect).is_null() {
        return std::ptr::null();
    }
    teb::own(|o| o.wide_date.set(o.date.get().map(u16::from)));
    teb::own_place(|o| &o.wide_date)
}

fn dated_s<T: Copy + Default + From<u8>>(to: Ptr<T>, room: usize, tm: Option<Tm>, dialect: Dialect) -> i32 {
    let letters = tm.and_then(|tm| in_letters(&tm, dialect));
    let Some(letters) = letters.filter(|_| !to.is_null() && room >= 26) else {
        (!to.is_null() && room > 0).then(|| to.set(T::default()));
        return invalid();
    };
    copy_s(to, room, &letters.map(T::from), 0, false)
}

fn given(tm: Ptr<Tm>) -> Option<Tm> {
    (!tm.is_null()).then(|| tm.get())
}

/// Of one runtime: dates and moments in letters.
macro_rules! in_letters {
    ($($dialect:ident: $asctime:ident $wasctime:ident $asctime_s:ident $wasctime_s:ident
        $ctime64:ident $wctime64:ident $ctime64_s:ident $wctime64_s:ident
        $ctime32:ident $wctime32:ident $ctime32_s:ident $wctime32_s:ident $table:ident;)*) => {$(
        extern "win64" fn $asctime(tm: Ptr<Tm>) -> *const [u8; 32] {
            dated(given(tm), Dialect::$dialect)
        }
        extern "win64" fn $wasctime(tm: Ptr<Tm>) -> *const [u16; 32] {
            wide_dated(given(tm), Dialect::$dialect)
        }
        extern "win64" fn $asctime_s(to: Ptr<u8>, room: usize, tm: Ptr<Tm>) -> i32 {
            dated_s(to, room, given(tm), Dialect::$dialect)
        }
        extern "win64" fn $wasctime_s(to: Ptr<u16>, room: usize, tm: Ptr<Tm>) -> i32 {
            dated_s(to, room, given(tm), Dialect::$dialect)
        }
        in_letters!(@of i64, $dialect: $ctime64 $wctime64 $ctime64_s $wctime64_s);
        in_letters!(@of i32, $dialect: $ctime32 $wctime32 $ctime32_s $wctime32_s);
        table! {
            /// Of one runtime.
            pub(crate) $table:
                asctime = $asctime, _wasctime = $wasctime, asctime_s = $asctime_s, _wasctime_s = $wasctime_s,
                _ctime64 = $ctime64, ctime = $ctime64, _wctime64 = $wctime64, _wctime = $wctime64, _ctime64_s = $ctime64_s,
                _wctime64_s = $wctime64_s, _ctime32 = $ctime32, _wctime32 = $wctime32, _ctime32_s = $ctime32_s,
                _wctime32_s = $wctime32_s
        }
    )*};
    (@of $moment:ty, $dialect:ident: $ctime:ident $wctime:ident $ctime_s:ident $wctime_s:ident) => {
        extern "win64" fn $ctime(at: Ptr<$moment>) -> *const [u8; 32] {
            dated(moment_at(at).and_then(local), Dialect::$dialect)
        }
        extern "win64" fn $wctime(at: Ptr<$moment>) -> *const [u16; 32] {
            wide_dated(moment_at(at).and_then(local), Dialect::$dialect)
        }
        extern "win64" fn $ctime_s(to: Ptr<u8>, room: usize, at: Ptr<$moment>) -> i32 {
            dated_s(to, room, moment_at(at).and_then(local), Dialect::$dialect)
        }
        extern "win64" fn $wctime_s(to: Ptr<u16>, room: usize, at: Ptr<$moment>) -> i32 {
            dated_s(to, room, moment_at(at).and_then(local), Dialect::$dialect)
        }
    };
}

in_letters! {
    Universal: asctime _wasctime asctime_s _wasctime_s _ctime64 _wctime64 _ctime64_s _wctime64_s _ctime32 _wctime32 _ctime32_s
        _wctime32_s UCRT;
    Msvcrt: legacy_asctime legacy_wasctime legacy_asctime_s legacy_wasctime_s legacy_ctime64 legacy_wctime64 legacy_ctime64_s
        legacy_wctime64_s legacy_ctime32 legacy_wctime32 legacy_ctime32_s legacy_wctime32_s MSVCRT;
}

/// Now, as a format says, where the caller has nine places.
fn now<T: text::Text>(to: Ptr<T>, room: usize, pattern: &str) -> i32 {
    let tm = local(_time64(Ptr::NULL));
    let text = format(pattern, tm.as_ref(), Names::C, Dialect::Universal).unwrap_or_default();
    copy_s(to, room, &T::of(&text), 0, false)
}

macro_rules! nows {
    ($($pattern:literal, $letter:ty: $plain:ident $safe:ident;)*) => {$(
        extern "win64" fn $plain(to: Ptr<$letter>) -> Ptr<$letter> {
            now(to, 9, $pattern);
            to
        }
        extern "win64" fn $safe(to: Ptr<$letter>, room: usize) -> i32 {
            now(to, room, $pattern)
        }
    )*};
}

nows! {
    "%m/%d/%y", u8: _strdate _strdate_s;
    "%m/%d/%y", u16: _wstrdate _wstrdate_s;
    "%H:%M:%S", u8: _strtime _strtime_s;
    "%H:%M:%S", u16: _wstrtime _wstrtime_s;
}

table! {
    /// What both have.
    pub(crate) TABLE: _strdate, _strdate_s, _wstrdate, _wstrdate_s, _strtime, _strtime_s, _wstrtime, _wstrtime_s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_date() {
        const SUNDAY: Tm = [40, 46, 1, 9, 8, 101, 0, 251, 0]; // 2001-09-09 01:46:40
        assert_eq!(in_letters(&[i32::MAX; 9], Dialect::Universal), None);
        let letters = |tm| in_letters(tm, Dialect::Msvcrt).map(|l| String::from_utf8_lossy(&l).into_owned());
        assert_eq!(letters(&SUNDAY).unwrap(), "Sun Sep 09 01:46:40 2001\n");
        assert_eq!(letters(&[0, 0, 0, 30, 1, 101, 0, 0, 0]), None, "the 30th of February");
        assert_eq!(letters(&[0, 0, 0, 1, 0, 8100, 0, 0, 0]).unwrap(), "Sun Jan 01 00:00:00 :000\n");
    }
}
