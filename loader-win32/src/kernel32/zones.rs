//! Time zones: the host's, and those that a caller describes, with their rules for daylight saving.

use super::{
    Bool, TRUE,
    error::code,
    fail,
    time::{SystemTime, date_of, days_of, file_time, from_system_time, offset, to_system_time, to_unix},
};
use crate::{guest::Ptr, kernel32::time::PER_SECOND};

/// `TIME_ZONE_INFORMATION`: biases are minutes that universal time is ahead; a daylight bias comes on top.
#[repr(C)]
#[derive(Clone, Copy)]
struct Zone {
    bias: i32,
    name: [u16; 32],
    standard: SystemTime,
    standard_bias: i32,
    daylight_name: [u16; 32],
    daylight: SystemTime,
    daylight_bias: i32,
}

const _: () = assert!(size_of::<Zone>() == 172);

const PER_MINUTE: i64 = 60 * PER_SECOND;

/// When a rule comes into force in a year, by the clock that it ends: on a date of one year, or, where it names none, on
/// the first to fourth or the last such weekday of its month.
fn change(rule: &SystemTime, year: u16) -> Option<i64> {
    if rule.year != 0 {
        return from_system_time(rule).filter(|_| rule.year == year);
    }
    let (y, month) = (i64::from(year), i64::from(rule.month));
    if !(1..=12).contains(&month) || !(1..=5).contains(&rule.day) || rule.weekday > 6 {
        return None;
    }
    let first = days_of(y, month, 1);
    // 1970 began on a Thursday.
    let before = (i64::from(rule.weekday) - (first + 4)).rem_euclid(7);
    let day = first + before + 7 * (i64::from(rule.day) - 1);
    let day = if date_of(day).1 == month { day } else { day - 7 };
    let (_, _, day) = date_of(day);
    from_system_time(&SystemTime { year, day: u16::try_from(day).ok()?, weekday: 0, ..*rule })
}

impl Zone {
    /// By how much universal time is ahead of local time, at a moment of either.
    fn bias_at(&self, time: i64, local: bool) -> Option<i64> {
        let minutes = |own: i32| (i64::from(self.bias) + i64::from(own)) * PER_MINUTE;
        if self.standard.month == 0 || self.daylight.month == 0 {
            return Some(minutes(0));
        }
        let (standard, daylight) = (minutes(self.standard_bias), minutes(self.daylight_bias));
        // The year is that by the clock on the wall, which in winter is the standard one.
        let wall = to_system_time(if local { time } else { time.checked_sub(standard)? })?;
        let (begin, end) = (change(&self.daylight, wall.year)?, change(&self.standard, wall.year)?);
        let (begin, end) = if local { (begin, end) } else { (begin + standard, end + daylight) };
        let summer = match begin < end {
            true => (begin..end).contains(&time),
            false => !(end..begin).contains(&time),
        };
        Some(if summer { daylight } else { standard })
    }
}

/// By how much universal time is ahead: in the caller's zone, or in the host's.
fn bias(zone: Ptr<Zone>, time: i64, local: bool) -> Option<i64> {
    match (zone.is_null(), local) {
        (false, _) => zone.get().bias_at(time, local),
        (true, false) => Some(-offset(time) * PER_SECOND),
        // What the clock shows is near enough to ask for the offset that it is ahead by.
        (true, true) => Some(-offset(time.checked_sub(offset(time) * PER_SECOND)?) * PER_SECOND),
    }
}

fn convert(zone: Ptr<Zone>, from: Ptr<SystemTime>, out: Ptr<SystemTime>, local: bool) -> Bool {
    if from.is_null() || out.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    let converted = from_system_time(&from.get()).and_then(|time| {
        let bias = bias(zone, time, local)?;
        to_system_time(if local { time.checked_add(bias)? } else { time.checked_sub(bias)? })
    });
    match converted {
        Some(time) => {
            out.set(time);
            TRUE
        }
        None => fail(code::INVALID_PARAMETER),
    }
}

/// Without a zone, in the host's, with the offset that its zone file gives for that moment.
extern "win64" fn SystemTimeToTzSpecificLocalTime(
    zone: Ptr<Zone>,
    from: Ptr<SystemTime>,
    out: Ptr<SystemTime>,
) -> Bool {
    convert(zone, from, out, false)
}

extern "win64" fn TzSpecificLocalTimeToSystemTime(
    zone: Ptr<Zone>,
    from: Ptr<SystemTime>,
    out: Ptr<SystemTime>,
) -> Bool {
    convert(zone, from, out, true)
}

/// A name of so many units at most, with zeros behind it.
fn name_of<const N: usize>(text: &str) -> [u16; N] {
    let mut name = [0; N];
    name.iter_mut().take(N - 1).zip(text.encode_utf16()).for_each(|(to, unit)| *to = unit);
    name
}

/// The offset of now, without rules for daylight saving ("unknown", 0).
extern "win64" fn GetTimeZoneInformation(out: Ptr<Zone>) -> u32 {
    let now = file_time();
    let none = SystemTime::default();
    let [winter, summer] = crate::crt::time::names(to_unix(now).0);
    out.put(Zone {
        bias: i32::try_from(-offset(now) / 60).unwrap_or(0),
        name: name_of(&winter),
        standard: none,
        standard_bias: 0,
        daylight_name: name_of(&summer),
        daylight: none,
        daylight_bias: 0,
    });
    0
}

/// `DYNAMIC_TIME_ZONE_INFORMATION`: the same, and after it the key under which a registry would have the zone's rules, which
/// is known of universal time only.
extern "win64" fn GetDynamicTimeZoneInformation(out: Ptr<Zone>) -> u32 {
    const KEY: usize = 128;
    let [winter, summer] = crate::crt::time::names(to_unix(file_time()).0);
    let key = if winter == "UTC" && summer == "UTC" { "UTC" } else { "" };
    out.at(1).cast::<[u16; KEY]>().put(name_of(key));
    out.at(1).cast::<u16>().at(KEY).cast::<u32>().put(1); // no rules that change from year to year
    GetTimeZoneInformation(out)
}

/// The same under NT's names, which answer with a status.
extern "win64" fn RtlQueryTimeZoneInformation(out: Ptr<Zone>) -> u32 {
    GetTimeZoneInformation(out);
    crate::nt::status::SUCCESS
}

extern "win64" fn RtlQueryDynamicTimeZoneInformation(out: Ptr<Zone>) -> u32 {
    GetDynamicTimeZoneInformation(out);
    crate::nt::status::SUCCESS
}

table! {
    /// Time zones.
    pub(crate) TABLE:
        SystemTimeToTzSpecificLocalTime, TzSpecificLocalTimeToSystemTime, GetTimeZoneInformation,
        GetDynamicTimeZoneInformation
}

table! {
    /// ntdll's names.
    pub(crate) NTDLL: RtlQueryTimeZoneInformation, RtlQueryDynamicTimeZoneInformation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_by_weekday() {
        let rule = |month, weekday, day| SystemTime { month, weekday, day, hour: 2, ..SystemTime::default() };
        let day_of = |rule: &SystemTime, year| to_system_time(change(rule, year).unwrap()).unwrap().day;
        assert_eq!(day_of(&rule(3, 0, 5), 2024), 31, "the last Sunday");
        assert_eq!(day_of(&rule(10, 0, 5), 2023), 29);
        assert_eq!(day_of(&rule(3, 0, 2), 2024), 10, "the second one");
        assert_eq!(change(&rule(13, 0, 1), 2024), None);
        assert_eq!(change(&rule(1, 0, 0), 2024), None);
    }
}
