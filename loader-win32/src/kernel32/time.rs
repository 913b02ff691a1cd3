//! Clocks and calendars.

use super::{Bool, TRUE, error::code, fail};
use crate::{futex, guest::Ptr};
use loader_core::deterministic::{self, Clock};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Seconds from 1601, where Windows' time begins, to 1970.
const FROM_1601: i64 = 11_644_473_600;
/// Windows counts in hundreds of nanoseconds.
pub(crate) const PER_SECOND: i64 = 10_000_000;
const PER_DAY: i64 = 86_400 * PER_SECOND;

/// Now, as Windows counts it.
pub(crate) fn file_time() -> i64 {
    let t = date();
    from_unix(t.as_secs().cast_signed(), t.subsec_nanos().into())
}

/// The time since 1970.
pub(crate) fn date() -> Duration {
    deterministic::now(Clock::Calendar).unwrap_or_else(|| {
        let t = clock_gettime(ClockId::Realtime);
        Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
    })
}

/// The time since boot that guests are told. Waits look at the system's own.
pub(crate) fn uptime() -> Duration {
    deterministic::now(Clock::Uptime).unwrap_or_else(futex::now)
}

/// A moment of the host, as Windows counts it.
pub(crate) fn from_unix(seconds: i64, nanoseconds: i64) -> i64 {
    (seconds.saturating_add(FROM_1601)).saturating_mul(PER_SECOND) + nanoseconds / 100
}

/// A moment as Windows counts it, in seconds since 1970 and nanoseconds.
pub(crate) fn to_unix(time: i64) -> (i64, i64) {
    (time.div_euclid(PER_SECOND) - FROM_1601, time.rem_euclid(PER_SECOND) * 100)
}

pub(crate) extern "win64" fn GetSystemTimeAsFileTime(out: Ptr<i64>) {
    out.put(file_time());
}

fn ticks() -> u64 {
    hundreds(uptime())
}

pub(crate) fn hundreds(t: Duration) -> u64 {
    u64::try_from(t.as_nanos() / 100).unwrap_or(u64::MAX)
}

/// Counts at 10 MHz since boot.
pub(crate) extern "win64" fn QueryPerformanceCounter(out: Ptr<u64>) -> Bool {
    out.put(ticks());
    TRUE
}

pub(crate) extern "win64" fn QueryPerformanceFrequency(out: Ptr<i64>) -> Bool {
    out.put(PER_SECOND);
    TRUE
}

extern "win64" fn GetTickCount64() -> u64 {
    ticks() / 10_000
}

pub(crate) extern "win64" fn GetTickCount() -> u32 {
    GetTickCount64() as u32 // wraps after 49.7 days, as documented
}

pub(crate) extern "win64" fn QueryUnbiasedInterruptTime(out: Ptr<u64>) -> Bool {
    if out.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    out.put(ticks());
    TRUE
}

/// `SYSTEMTIME`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SystemTime {
    pub year: u16,
    pub month: u16,
    pub weekday: u16,
    pub day: u16,
    pub hour: u16,
    pub minute: u16,
    pub second: u16,
    pub millisecond: u16,
}

/// Days since 1970 of a date of the Gregorian calendar.
pub(crate) fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (y.div_euclid(400), y.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date (year, month, day) that many days after 1970.
pub(crate) fn date_of(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let m = (5 * of_year + 2) / 153;
    let (month, day) = (if m < 10 { m + 3 } else { m - 9 }, of_year - (153 * m + 2) / 5 + 1);
    (year + era * 400 + i64::from(month <= 2), month, day)
}

pub(crate) fn to_system_time(time: i64) -> Option<SystemTime> {
    if time < 0 {
        return None;
    }
    let (days, rest) = (time / PER_DAY, time % PER_DAY);
    let (year, month, day) = date_of(days - FROM_1601 / 86_400);
    let seconds = rest / PER_SECOND;
    let narrow = |n: i64| u16::try_from(n).ok();
    Some(SystemTime {
        year: narrow(year)?,
        month: narrow(month)?,
        weekday: narrow((days + 1) % 7)?, // 1601 began on a Monday
        day: narrow(day)?,
        hour: narrow(seconds / 3600)?,
        minute: narrow(seconds / 60 % 60)?,
        second: narrow(seconds % 60)?,
        millisecond: narrow(rest % PER_SECOND / 10_000)?,
    })
}

pub(crate) fn from_system_time(t: &SystemTime) -> Option<i64> {
    let valid = (1601..=30827).contains(&t.year)
        && (1..=12).contains(&t.month)
        && (1..=31).contains(&t.day)
        && t.hour < 24
        && t.minute < 60
        && t.second < 60
        && t.millisecond < 1000;
    let days = days_of(t.year.into(), t.month.into(), t.day.into());
    if !valid || date_of(days) != (t.year.into(), t.month.into(), t.day.into()) {
        return None;
    }
    let seconds = i64::from(t.hour) * 3600 + i64::from(t.minute) * 60 + i64::from(t.second);
    Some(days * PER_DAY + from_unix(seconds, 0) + i64::from(t.millisecond) * 10_000)
}

extern "win64" fn GetSystemTime(out: Ptr<SystemTime>) {
    to_system_time(file_time()).into_iter().for_each(|t| out.put(t));
}

/// How many seconds local time is ahead of universal time, at a moment.
pub(crate) fn offset(time: i64) -> i64 {
    crate::crt::time::offset(to_unix(time).0)
}

/// Now, by the clock on the wall.
pub(crate) fn local_time() -> SystemTime {
    let now = file_time();
    to_system_time(now + offset(now) * PER_SECOND).unwrap_or_default()
}

extern "win64" fn GetLocalTime(out: Ptr<SystemTime>) {
    out.put(local_time());
}

extern "win64" fn FileTimeToSystemTime(time: Ptr<i64>, out: Ptr<SystemTime>) -> Bool {
    match to_system_time(time.get()) {
        Some(t) => {
            out.put(t);
            TRUE
        }
        None => fail(code::INVALID_PARAMETER),
    }
}

extern "win64" fn SystemTimeToFileTime(time: Ptr<SystemTime>, out: Ptr<i64>) -> Bool {
    match from_system_time(&time.get()) {
        Some(t) => {
            out.put(t);
            TRUE
        }
        None => fail(code::INVALID_PARAMETER),
    }
}

/// The clock is the host's, and not a program's to set: nobody here has that privilege.
extern "win64" fn SetSystemTime(time: Ptr<SystemTime>) -> Bool {
    let known = !time.is_null() && from_system_time(&time.get()).is_some();
    fail(if known { code::PRIVILEGE_NOT_HELD } else { code::INVALID_PARAMETER })
}

extern "win64" fn FileTimeToLocalFileTime(time: Ptr<i64>, out: Ptr<i64>) -> Bool {
    let now = file_time();
    out.put(time.get() + offset(now) * PER_SECOND);
    TRUE
}

extern "win64" fn LocalFileTimeToFileTime(time: Ptr<i64>, out: Ptr<i64>) -> Bool {
    let now = file_time();
    out.put(time.get() - offset(now) * PER_SECOND);
    TRUE
}

extern "win64" fn CompareFileTime(one: Ptr<i64>, other: Ptr<i64>) -> i32 {
    one.get().cmp(&other.get()) as i32
}

table! {
    /// Time.
    pub(crate) TABLE:
        GetSystemTimeAsFileTime, GetSystemTimePreciseAsFileTime = GetSystemTimeAsFileTime, QueryPerformanceCounter,
        QueryPerformanceFrequency, GetTickCount64, GetTickCount, QueryUnbiasedInterruptTime, GetSystemTime, GetLocalTime, SetSystemTime,
        SetLocalTime = SetSystemTime,
        FileTimeToSystemTime, SystemTimeToFileTime, FileTimeToLocalFileTime, LocalFileTimeToFileTime, CompareFileTime
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar() {
        assert_eq!(days_of(1970, 1, 1), 0);
        assert_eq!(date_of(days_of(2000, 2, 29)), (2000, 2, 29));
        for day in (-134_774..3_000_000).step_by(97) {
            let (y, m, d) = date_of(day);
            assert_eq!(days_of(y, m, d), day);
        }
        let t = to_system_time(from_unix(1_000_000_000, 0)).unwrap(); // 2001-09-09 01:46:40, a Sunday
        assert_eq!(
            (t.year, t.month, t.day, t.hour, t.minute, t.second, t.weekday),
            (2001, 9, 9, 1, 46, 40, 0)
        );
        assert_eq!(from_system_time(&t), Some(from_unix(1_000_000_000, 0)));
    }
}
