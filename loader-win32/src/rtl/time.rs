//! Time as ntdll takes it apart, and the clocks by NT's names.

use crate::{
    guest::Ptr,
    kernel32::time::{
        GetTickCount, PER_SECOND, QueryPerformanceCounter, QueryPerformanceFrequency,
        QueryUnbiasedInterruptTime, SystemTime, file_time, from_system_time, offset, to_system_time,
    },
    memory::host::is_writable,
    nt::status::{ACCESS_VIOLATION, SUCCESS, TIMER_RESOLUTION_NOT_SET},
};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// `TIME_FIELDS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fields {
    year: i16,
    month: i16,
    day: i16,
    hour: i16,
    minute: i16,
    second: i16,
    millisecond: i16,
    weekday: i16,
}

/// Seconds from 1601 to 1970, and to 1980.
const TO_1970: i64 = 11_644_473_600;
const TO_1980: i64 = 11_960_006_400;

extern "win64" fn RtlTimeToTimeFields(time: Ptr<i64>, out: Ptr<Fields>) {
    if let Some(t) = to_system_time(time.get()) {
        let signed = u16::cast_signed;
        out.put(Fields {
            year: signed(t.year),
            month: signed(t.month),
            day: signed(t.day),
            hour: signed(t.hour),
            minute: signed(t.minute),
            second: signed(t.second),
            millisecond: signed(t.millisecond),
            weekday: signed(t.weekday),
        });
    }
}

/// What day of the week it is does not count.
extern "win64" fn RtlTimeFieldsToTime(fields: Ptr<Fields>, out: Ptr<i64>) -> u8 {
    let f = fields.get();
    let unsigned = i16::cast_unsigned; // a negative one is too large
    let time = from_system_time(&SystemTime {
        year: unsigned(f.year),
        month: unsigned(f.month),
        weekday: 0,
        day: unsigned(f.day),
        hour: unsigned(f.hour),
        minute: unsigned(f.minute),
        second: unsigned(f.second),
        millisecond: unsigned(f.millisecond),
    });
    time.iter().for_each(|&time| out.put(time));
    time.is_some().into()
}

/// A span of time: days, and what is left of one.
extern "win64" fn RtlTimeToElapsedTimeFields(time: Ptr<i64>, out: Ptr<Fields>) {
    let time = time.get();
    let seconds = time / PER_SECOND;
    let part = |n: i64| n as i16; // days beyond 16 bits are cut off
    out.put(Fields {
        day: part(seconds / 86_400),
        hour: part(seconds / 3600 % 24),
        minute: part(seconds / 60 % 60),
        second: part(seconds % 60),
        millisecond: part(time % PER_SECOND / 10_000),
        ..Fields::default()
    });
}

fn seconds_since(start: i64, time: Ptr<i64>, out: Ptr<u32>) -> u8 {
    let seconds = u32::try_from(time.get().div_euclid(PER_SECOND) - start);
    seconds.iter().for_each(|&seconds| out.put(seconds));
    seconds.is_ok().into()
}

extern "win64" fn RtlTimeToSecondsSince1970(time: Ptr<i64>, out: Ptr<u32>) -> u8 {
    seconds_since(TO_1970, time, out)
}

extern "win64" fn RtlTimeToSecondsSince1980(time: Ptr<i64>, out: Ptr<u32>) -> u8 {
    seconds_since(TO_1980, time, out)
}

extern "win64" fn RtlSecondsSince1970ToTime(seconds: u32, out: Ptr<i64>) {
    out.put((TO_1970 + i64::from(seconds)) * PER_SECOND);
}

extern "win64" fn RtlSecondsSince1980ToTime(seconds: u32, out: Ptr<i64>) {
    out.put((TO_1980 + i64::from(seconds)) * PER_SECOND);
}

/// By what the clock on the wall is ahead now.
extern "win64" fn RtlLocalTimeToSystemTime(local: Ptr<i64>, out: Ptr<i64>) -> u32 {
    out.put(local.get().wrapping_sub(offset(file_time()) * PER_SECOND));
    SUCCESS
}

extern "win64" fn RtlSystemTimeToLocalTime(time: Ptr<i64>, out: Ptr<i64>) -> u32 {
    out.put(time.get().wrapping_add(offset(file_time()) * PER_SECOND));
    SUCCESS
}

extern "win64" fn NtQuerySystemTime(out: Ptr<i64>) -> u32 {
    if out.is_null() {
        return ACCESS_VIOLATION;
    }
    out.set(file_time());
    SUCCESS
}

extern "win64" fn NtQueryPerformanceCounter(out: Ptr<u64>, frequency: Ptr<i64>) -> u32 {
    if !is_writable(out.addr() as u64) || !frequency.is_null() && !is_writable(frequency.addr() as u64) {
        return ACCESS_VIOLATION;
    }
    QueryPerformanceCounter(out);
    if !frequency.is_null() {
        QueryPerformanceFrequency(frequency);
    }
    SUCCESS
}

/// The coarsest and the finest step that may be asked for, in hundreds of nanoseconds. Waits are finer in any case.
const COARSEST: u32 = 156_250;
const FINEST: u32 = 5_000;

/// The step that was asked for, 0 where none was.
static STEP: AtomicU32 = AtomicU32::new(0);

fn step() -> u32 {
    match STEP.load(Relaxed) {
        0 => COARSEST,
        step => step,
    }
}

extern "win64" fn NtQueryTimerResolution(most: Ptr<u32>, least: Ptr<u32>, current: Ptr<u32>) -> u32 {
    if most.is_null() || least.is_null() || current.is_null() {
        return ACCESS_VIOLATION;
    }
    most.set(COARSEST);
    least.set(FINEST);
    current.set(step());
    SUCCESS
}

extern "win64" fn NtSetTimerResolution(wanted: u32, set: u8, current: Ptr<u32>) -> u32 {
    if current.is_null() {
        return ACCESS_VIOLATION;
    }
    let had =
        if set == 0 { STEP.swap(0, Relaxed) } else { STEP.swap(wanted.clamp(FINEST, COARSEST), Relaxed) };
    current.set(step());
    if set == 0 && had == 0 { TIMER_RESOLUTION_NOT_SET } else { SUCCESS }
}

table! {
    /// Time.
    pub(crate) TABLE:
        RtlTimeToTimeFields, RtlTimeFieldsToTime, RtlTimeToElapsedTimeFields, RtlTimeToSecondsSince1970,
        RtlTimeToSecondsSince1980, RtlSecondsSince1970ToTime, RtlSecondsSince1980ToTime, RtlLocalTimeToSystemTime,
        RtlSystemTimeToLocalTime, NtQuerySystemTime, ZwQuerySystemTime = NtQuerySystemTime, NtQueryPerformanceCounter,
        ZwQueryPerformanceCounter = NtQueryPerformanceCounter, NtGetTickCount = GetTickCount, RtlGetTickCount = GetTickCount,
        RtlQueryUnbiasedInterruptTime = QueryUnbiasedInterruptTime, NtQueryTimerResolution, NtSetTimerResolution,
        ZwQueryTimerResolution = NtQueryTimerResolution, ZwSetTimerResolution = NtSetTimerResolution
}
