//! What KERNEL32 does, by NT's names and with statuses: waits, the end, time, folders.

use super::status::{self, ACCESS_VIOLATION, INVALID_PARAMETER, SUCCESS, last};
use crate::{
    guest::Ptr,
    kernel32::{
        file::set_current,
        system::ExitProcess,
        time::{QueryPerformanceCounter, QueryPerformanceFrequency, file_time},
        wait::{SleepEx, WaitForSingleObjectEx},
    },
    rtl::counted::Text,
    teb,
    text::{length, wide_z},
};

/// A time as NT has it, in milliseconds from now: a negative one counts from now, none is without end.
pub(super) fn milliseconds(time: Ptr<i64>) -> u32 {
    if time.is_null() || time.get() == i64::MIN {
        return u32::MAX;
    }
    let time = time.get();
    let left = if time < 0 { time.unsigned_abs() } else { u64::try_from(time - file_time()).unwrap_or(0) };
    u32::try_from(left.div_ceil(10_000)).unwrap_or(u32::MAX - 1).min(u32::MAX - 1)
}

extern "win64" fn NtDelayExecution(alertable: u8, time: Ptr<i64>) -> u32 {
    if time.is_null() {
        return ACCESS_VIOLATION;
    }
    SleepEx(milliseconds(time), alertable.into())
}

pub(super) extern "win64" fn NtWaitForSingleObject(handle: usize, alertable: u8, time: Ptr<i64>) -> u32 {
    waited(WaitForSingleObjectEx(handle, milliseconds(time), alertable.into()))
}

/// What a wait of KERNEL32 has said: the numbers are the same, but for failures.
pub(super) fn waited(answer: u32) -> u32 {
    if answer == u32::MAX { last() } else { answer }
}

/// The time with all its digits.
extern "win64" fn RtlGetSystemTimePrecise() -> i64 {
    file_time()
}

/// In bytes: how long a text is that was written, or how much room it needs.
fn give(text: &str, room: u32, to: Ptr<u16>) -> u32 {
    let units = wide_z(text);
    if units.len() * 2 > room as usize || to.is_null() {
        return length(units.len() * 2);
    }
    to.fill(&units);
    length((units.len() - 1) * 2)
}

extern "win64" fn RtlGetCurrentDirectory_U(room: u32, to: Ptr<u16>) -> u32 {
    give(&teb::process().drives.current(), room, to)
}

extern "win64" fn RtlSetCurrentDirectory_U(name: Ptr<Text>) -> u32 {
    if name.is_null() {
        return INVALID_PARAMETER;
    }
    set_current(&name.get().string()).map_or_else(status::of, |()| SUCCESS)
}

table! {
    /// What KERNEL32 has too.
    pub(crate) TABLE:
        NtDelayExecution, ZwDelayExecution = NtDelayExecution,
        NtWaitForSingleObject, ZwWaitForSingleObject = NtWaitForSingleObject, RtlGetSystemTimePrecise,
        RtlQueryPerformanceCounter = QueryPerformanceCounter, RtlQueryPerformanceFrequency = QueryPerformanceFrequency,
        RtlExitUserProcess = ExitProcess,
        RtlGetCurrentDirectory_U, RtlSetCurrentDirectory_U
}
