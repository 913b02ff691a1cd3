//! Time of the C library: seconds since 1970 and broken-down dates.

use super::invalid::{invalid, refused};
use crate::{
    guest::Ptr,
    kernel32::time::{date, date_of, days_of, uptime},
    teb,
};
use std::{
    sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

/// `struct tm`: second, minute, hour, day, month, year, weekday, day of the year, daylight saving.
pub(crate) type Tm = [i32; 9];

/// The host's local time at a moment.
#[allow(unsafe_code)]
fn of_host(at: i64) -> libc::tm {
    let mut tm = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both places are locals.
    unsafe { libc::localtime_r(&raw const at, tm.as_mut_ptr()) };
    // SAFETY: zeroed at least, which is valid.
    unsafe { tm.assume_init() }
}

/// How many seconds local time is ahead of universal time, at a moment.
pub(crate) fn offset(at: i64) -> i64 {
    of_host(at).tm_gmtoff
}

/// What the host calls its zone in winter and in summer, about a moment.
#[allow(unsafe_code)]
pub(crate) fn names(at: i64) -> [String; 2] {
    let january = at - at.rem_euclid(31_556_952);
    let mut both = [january, january + 15_778_476].map(of_host);
    both.sort_by_key(|tm| tm.tm_gmtoff);
    both.map(|tm| match tm.tm_zone.is_null() {
        true => String::new(),
        // SAFETY: a text of the host's library, which stays as long as nobody sets another zone, and nobody does.
        false => unsafe { std::ffi::CStr::from_ptr(tm.tm_zone) }.to_string_lossy().into_owned(),
    })
}

fn is_daylight(at: i64) -> bool {
    let (january, july) =
        (offset(at - at.rem_euclid(31_556_952)), offset(at - at.rem_euclid(31_556_952) + 15_778_476));
    january != july && offset(at) == january.max(july)
}

/// The date of a moment; `None` outside of the years that Windows knows (1970 to 3000).
fn broken(at: i64) -> Option<Tm> {
    if !(-43_200..32_536_850_400).contains(&at) {
        return None;
    }
    let (days, second) = (at.div_euclid(86_400), at.rem_euclid(86_400));
    let (year, month, day) = date_of(days);
    let of_year = days - days_of(year, 1, 1);
    let weekday = (days + 4).rem_euclid(7);
    Some(
        [second % 60, second / 60 % 60, second / 3600, day, month - 1, year - 1900, weekday, of_year, 0]
            .map(|n| n as i32),
    )
}

/// The moments that have a date: from 1970 to the end of 3000, anywhere on earth.
const MOMENTS: std::ops::RangeInclusive<i64> = 0..=32_535_244_799;

fn universal(at: i64) -> Option<Tm> {
    MOMENTS.contains(&at).then(|| broken(at)).flatten()
}

pub(crate) fn local(at: i64) -> Option<Tm> {
    if !MOMENTS.contains(&at) {
        return None;
    }
    let mut tm = broken(at.checked_add(offset(at))?)?;
    tm[8] = is_daylight(at).into();
    Some(tm)
}

/// The moment that a caller passes, if it does.
pub(crate) fn moment_at<T: Copy + Into<i64>>(at: Ptr<T>) -> Option<i64> {
    (!at.is_null()).then(|| at.get().into())
}

/// The thread's own place for a date, filled; null where there is none.
fn give(tm: Option<Tm>) -> *const Tm {
    match tm {
        Some(tm) => {
            teb::own(|o| o.tm.set(tm));
            teb::own_place(|o| &o.tm)
        }
        None => {
            invalid();
            std::ptr::null()
        }
    }
}

fn give_s(out: Ptr<Tm>, tm: Option<Tm>) -> i32 {
    match tm {
        Some(tm) if !out.is_null() => {
            out.set(tm);
            0
        }
        _ => {
            out.put([-1; 9]);
            invalid()
        }
    }
}

pub(crate) extern "win64" fn _time64(out: Ptr<i64>) -> i64 {
    let now = date().as_secs().cast_signed();
    out.put(now);
    now
}

extern "win64" fn _time32(out: Ptr<i32>) -> i32 {
    let now = i32::try_from(_time64(Ptr::NULL)).unwrap_or(-1);
    out.put(now);
    now
}

extern "win64" fn _gmtime64(at: Ptr<i64>) -> *const Tm {
    give(moment_at(at).and_then(universal))
}

extern "win64" fn _gmtime64_s(out: Ptr<Tm>, at: Ptr<i64>) -> i32 {
    give_s(out, moment_at(at).and_then(universal))
}

extern "win64" fn _localtime64(at: Ptr<i64>) -> *const Tm {
    give(moment_at(at).and_then(local))
}

extern "win64" fn _localtime64_s(out: Ptr<Tm>, at: Ptr<i64>) -> i32 {
    give_s(out, moment_at(at).and_then(local))
}

/// The moment of a date that need not be in its ranges, and the date in its ranges.
fn made(tm: Ptr<Tm>, ahead: impl Fn(i64) -> i64, back: impl Fn(i64) -> Option<Tm>) -> i64 {
    let [second, minute, hour, day, month, year, ..] = tm.get().map(i64::from);
    let (years, month) = (month.div_euclid(12), month.rem_euclid(12));
    let days = days_of(year + 1900 + years, month + 1, 1) + day - 1;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let at = seconds - ahead(seconds);
    match back(at) {
        Some(date) if at >= 0 => {
            tm.set(date);
            at
        }
        _ => refused().into(),
    }
}

extern "win64" fn _mktime64(tm: Ptr<Tm>) -> i64 {
    made(tm, |s| offset(s - offset(s)), local)
}

extern "win64" fn _mkgmtime64(tm: Ptr<Tm>) -> i64 {
    made(tm, |_| 0, broken)
}

extern "win64" fn _difftime64(a: i64, b: i64) -> f64 {
    a as f64 - b as f64
}

/// When the program began: as its runtime was started, or else as it first asks.
fn start() -> Duration {
    *teb::process().runtime.started.get_or_init(uptime)
}

/// Notes that the program begins.
pub(crate) fn note_start() {
    start();
}

/// Milliseconds that the program has run: elapsed time, as on Windows.
extern "win64" fn clock() -> i32 {
    let start = start();
    i32::try_from(uptime().saturating_sub(start).as_millis()).unwrap_or(-1)
}

/// The zone is the host's, read when it is needed.
extern "win64" fn _tzset() {}

static ZONE: std::sync::OnceLock<(i32, i32)> = std::sync::OnceLock::new();

/// Seconds behind universal time in winter, and whether there is a summer time.
pub(crate) fn zone() -> &'static (i32, i32) {
    ZONE.get_or_init(|| {
        let now = _time64(Ptr::NULL);
        let year = now - now.rem_euclid(31_556_952);
        let (winter, summer) = (offset(year), offset(year + 15_778_476));
        (-winter.min(summer) as i32, (winter != summer).into())
    })
}

extern "win64" fn __timezone() -> *const i32 {
    &raw const zone().0
}

extern "win64" fn __daylight() -> *const i32 {
    &raw const zone().1
}

/// The names of the zone in winter and in summer: not kept by name here, so the offset's sign and hours.
extern "win64" fn __tzname() -> *const [usize; 2] {
    zone_names()
}

fn zone_names() -> &'static [usize; 2] {
    static NAMES: std::sync::OnceLock<[usize; 2]> = std::sync::OnceLock::new();
    NAMES.get_or_init(|| {
        let (behind, summer) = *zone();
        let name = |seconds: i32| {
            let text = format!("UTC{:+03}\0", -seconds / 3600);
            text.leak().as_ptr().expose_provenance()
        };
        [name(behind), name(behind - 3600 * summer)]
    })
}

/// How much the clock is ahead in summer, as a number to be added: an hour.
static SUMMER: AtomicI32 = AtomicI32::new(-3600);

extern "win64" fn __dstbias() -> *const AtomicI32 {
    &raw const SUMMER
}

extern "win64" fn _get_dstbias(out: Ptr<i32>) -> i32 {
    if out.is_null() {
        return invalid();
    }
    out.set(SUMMER.load(Relaxed));
    0
}

extern "win64" fn _get_timezone(out: Ptr<i32>) -> i32 {
    out.put(zone().0);
    0
}

/// The week of the year, where weeks begin on `first`.
pub(crate) fn week(tm: &Tm, first: i32) -> i32 {
    (tm[7].saturating_add(7) - tm[6].wrapping_sub(first).rem_euclid(7)) / 7
}

/// The year and the week of ISO 8601.
pub(crate) fn iso_week(tm: &Tm) -> (i32, i32) {
    let monday = tm[6].saturating_add(6).rem_euclid(7);
    let leap = |y: i32| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let (year, of_year) = (tm[5].saturating_add(1900), tm[7].clamp(-366, 366)); // whatever the program says
    let week = (of_year - monday + 10) / 7;
    let length = |y: i32| if leap(y) { 366 } else { 365 };
    if week < 1 {
        let before = year.saturating_sub(1);
        return (before, (of_year + length(before) - monday + 10) / 7);
    }
    match week == 53 && of_year - monday + 3 >= length(year) {
        true => (year.saturating_add(1), 1),
        false => (year, week),
    }
}

/// `struct _timeb`, with a moment of 64 or 32 bits.
#[repr(C)]
#[derive(Clone, Copy)]
struct Now<T> {
    seconds: T,
    milliseconds: u16,
    zone_minutes: i16,
    daylight: i16,
}

/// The moment, its milliseconds, the zone, and whether there is daylight saving.
fn moment() -> (i64, u16, i16, i16) {
    let now = date();
    let seconds = now.as_secs().cast_signed();
    (seconds, now.subsec_millis() as u16, (zone().0 / 60) as i16, is_daylight(seconds).into())
}

extern "win64" fn _ftime64(out: Ptr<Now<i64>>) {
    let (seconds, milliseconds, zone_minutes, daylight) = moment();
    out.put(Now { seconds, milliseconds, zone_minutes, daylight });
}

extern "win64" fn _ftime32(out: Ptr<Now<i32>>) {
    let (seconds, milliseconds, zone_minutes, daylight) = moment();
    out.put(Now { seconds: seconds as i32, milliseconds, zone_minutes, daylight });
}

extern "win64" fn _ftime64_s(out: Ptr<Now<i64>>) -> i32 {
    if out.is_null() {
        return invalid();
    }
    _ftime64(out);
    0
}

/// `struct timespec`; 1 is the only clock.
extern "win64" fn _timespec64_get(out: Ptr<[i64; 2]>, base: i32) -> i32 {
    if base != 1 {
        return 0;
    }
    let now = date();
    out.put([now.as_secs().cast_signed(), now.subsec_nanos().into()]);
    base
}

extern "win64" fn _get_daylight(out: Ptr<i32>) -> i32 {
    out.put(zone().1);
    0
}

// Moments of 32 bits.

extern "win64" fn _gmtime32(at: Ptr<i32>) -> *const Tm {
    give(moment_at(at).and_then(universal))
}

extern "win64" fn _localtime32(at: Ptr<i32>) -> *const Tm {
    give(moment_at(at).and_then(local))
}

extern "win64" fn _gmtime32_s(out: Ptr<Tm>, at: Ptr<i32>) -> i32 {
    give_s(out, moment_at(at).and_then(universal))
}

extern "win64" fn _localtime32_s(out: Ptr<Tm>, at: Ptr<i32>) -> i32 {
    give_s(out, moment_at(at).and_then(local))
}

extern "win64" fn _mktime32(tm: Ptr<Tm>) -> i32 {
    i32::try_from(_mktime64(tm)).unwrap_or(-1)
}

extern "win64" fn _mkgmtime32(tm: Ptr<Tm>) -> i32 {
    i32::try_from(_mkgmtime64(tm)).unwrap_or(-1)
}

extern "win64" fn _difftime32(a: i32, b: i32) -> f64 {
    _difftime64(a.into(), b.into())
}

table! {
    /// Time.
    pub(crate) TABLE:
        _time64, time = _time64, _time32, _gmtime64, gmtime = _gmtime64, _gmtime64_s, _gmtime32, _gmtime32_s, _localtime64,
        localtime = _localtime64, _localtime64_s, _localtime32, _localtime32_s, _mktime64, mktime = _mktime64, _mktime32,
        _mkgmtime64, _mkgmtime = _mkgmtime64, _mkgmtime32, _difftime64, difftime = _difftime64, _difftime32, clock, _tzset,
        tzset = _tzset, __timezone, __daylight, __dstbias, _get_dstbias, __tzname, _get_timezone, _get_daylight, _ftime64, _ftime64_s, _ftime32, _timespec64_get
}

/// Variables of msvcrt.
static TIME_ZONE: AtomicI32 = AtomicI32::new(0);
static DAYLIGHT: AtomicI32 = AtomicI32::new(0);
static ZONE_NAMES: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Gives msvcrt's variables their values, before the program looks.
pub(crate) fn set_variables() {
    TIME_ZONE.store(zone().0, Relaxed);
    DAYLIGHT.store(zone().1, Relaxed);
    zone_names().iter().zip(&ZONE_NAMES).for_each(|(&name, place)| place.store(name, Relaxed));
}

table! {
    /// What msvcrt has.
    pub(crate) MSVCRT: _ftime = _ftime64, __p__timezone = __timezone, __p__daylight = __daylight, __p__dstbias = __dstbias, _dstbias = &raw const SUMMER,
        __p__tzname = __tzname, _timezone = &raw const TIME_ZONE,
        _daylight = &raw const DAYLIGHT, _tzname = &raw const ZONE_NAMES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let tm = broken(1_000_000_000).unwrap(); // 2001-09-09 01:46:40 UTC, a Sunday
        assert_eq!(tm, [40, 46, 1, 9, 8, 101, 0, 251, 0]);
        assert_eq!(iso_week(&broken(days_of(2005, 1, 1) * 86_400).unwrap()), (2004, 53));
    }
}
