//! What KERNEL32 does, by NT's names and with statuses: memory, waits, the end, time, folders, libraries.

use super::status::{self, ACCESS_VIOLATION, INVALID_PARAMETER, SUCCESS};
use crate::{
    guest::Ptr,
    kernel32::{
        FALSE, TRUE,
        file::set_current,
        memory::{VirtualAllocEx, VirtualFreeEx, extent},
        module::{self, FreeLibrary},
        system::ExitProcess,
        time::{QueryPerformanceCounter, QueryPerformanceFrequency, file_time},
        wait::{SleepEx, WaitForSingleObjectEx},
    },
    rtl::counted::{Bytes, Text},
    teb,
    text::{length, wide_z},
};
use loader_core::Symbol;

/// The status of what a function of KERNEL32 said last.
fn last() -> u32 {
    status::of(teb::with(|t| t.last_error.get()))
}

const PAGE: u64 = 4096;

/// The place and the length come back as they were rounded.
extern "win64" fn NtAllocateVirtualMemory(
    process: usize,
    at: Ptr<u64>,
    zero_bits: u64,
    len: Ptr<u64>,
    kind: u32,
    protect: u32,
) -> u32 {
    if at.is_null() || len.is_null() {
        return ACCESS_VIOLATION;
    }
    if zero_bits != 0 {
        return INVALID_PARAMETER; // nobody may say how high the address is at most
    }
    let (wanted, n) = (at.get(), len.get());
    let place = VirtualAllocEx(process, wanted, n, kind, protect);
    if place == 0 {
        return last();
    }
    let start = if wanted == 0 { place } else { wanted };
    let end = start.saturating_add(n).checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
    at.set(place);
    len.set(end.saturating_sub(place));
    SUCCESS
}

/// Without a length, all of what was reserved together.
extern "win64" fn NtFreeVirtualMemory(process: usize, at: Ptr<u64>, len: Ptr<u64>, kind: u32) -> u32 {
    const RELEASE: u32 = 0x8000;
    if at.is_null() || len.is_null() {
        return ACCESS_VIOLATION;
    }
    let (place, n) = (at.get() & !(PAGE - 1), len.get());
    let whole = extent(process, place).unwrap_or_default();
    let all = n == 0 || kind & RELEASE != 0 && n.next_multiple_of(PAGE) == whole;
    if VirtualFreeEx(process, place, if all { 0 } else { n }, kind) == FALSE {
        return last();
    }
    let end = at.get().saturating_add(n).checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
    at.set(place);
    len.set(if all { whole } else { end - place });
    SUCCESS
}

/// A time as NT has it, in milliseconds from now: a negative one counts from now, none is without end.
fn milliseconds(time: Ptr<i64>) -> u32 {
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

extern "win64" fn NtWaitForSingleObject(handle: usize, alertable: u8, time: Ptr<i64>) -> u32 {
    match WaitForSingleObjectEx(handle, milliseconds(time), alertable.into()) {
        u32::MAX => last(),
        waited => waited, // the numbers are the same
    }
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

/// The folders to look in are those that KERNEL32 looks in.
extern "win64" fn LdrLoadDll(_folders: usize, _kind: Ptr<u32>, name: Ptr<Text>, out: Ptr<usize>) -> u32 {
    if name.is_null() || out.is_null() {
        return INVALID_PARAMETER;
    }
    match module::load("LdrLoadDll", &name.get().string(), 0) {
        0 => last(),
        base => {
            out.set(base);
            SUCCESS
        }
    }
}

extern "win64" fn LdrUnloadDll(base: usize) -> u32 {
    if FreeLibrary(base) == TRUE { SUCCESS } else { last() }
}

/// By name, or, without one, by number.
extern "win64" fn LdrGetProcedureAddress(
    base: usize,
    name: Ptr<Bytes>,
    ordinal: u32,
    out: Ptr<usize>,
) -> u32 {
    if out.is_null() {
        return INVALID_PARAMETER;
    }
    let found = if name.is_null() {
        module::sought(base, Symbol::Ordinal(ordinal as u16))
    } else {
        module::sought(base, Symbol::Name(&name.get().elements()))
    };
    found.map_or_else(status::of, |at| {
        out.set(at.0 as usize);
        SUCCESS
    })
}

table! {
    /// What KERNEL32 has too.
    pub(crate) TABLE:
        NtAllocateVirtualMemory, ZwAllocateVirtualMemory = NtAllocateVirtualMemory, NtFreeVirtualMemory,
        ZwFreeVirtualMemory = NtFreeVirtualMemory, NtDelayExecution, ZwDelayExecution = NtDelayExecution,
        NtWaitForSingleObject, ZwWaitForSingleObject = NtWaitForSingleObject, RtlGetSystemTimePrecise,
        RtlQueryPerformanceCounter = QueryPerformanceCounter, RtlQueryPerformanceFrequency = QueryPerformanceFrequency,
        RtlExitUserProcess = ExitProcess,
        RtlGetCurrentDirectory_U, RtlSetCurrentDirectory_U, LdrLoadDll, LdrUnloadDll,
        LdrGetProcedureAddress
}
