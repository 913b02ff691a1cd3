//! What is known of the machine and of a process.

use super::{INVALID_INFO_CLASS, LENGTH_MISMATCH, Record, Status, status};
use crate::{
    guest::Ptr,
    kernel32::{FALSE, child::TerminateProcess, processors, system::is_this_process, time},
    nt::status::{ACCESS_VIOLATION, INVALID_PARAMETER, SUCCESS, last},
    object::STILL_ACTIVE,
    process, teb,
    text::length,
};
use std::fs;

const PAGE: u32 = 4096;
/// The clock ticks every 15.625 milliseconds.
const TICK: u32 = 156_250;

/// A structure, or the status of a refusal; `len` is always told.
fn give(record: Result<Record, Status>, to: Ptr<u8>, room: u32, len: Ptr<u32>) -> Status {
    let record = match record {
        Ok(record) => record,
        Err(status) => return status,
    };
    len.put(length(record.0.len()));
    record.give(to, room).map_or_else(|status| status, |(status, _)| status)
}

fn basic() -> Record {
    let info = rustix::system::sysinfo();
    let pages = info.totalram.saturating_mul(info.mem_unit.max(1).into()) / u64::from(PAGE);
    let pages = u32::try_from(pages).unwrap_or(u32::MAX);
    let record = Record::default().word(0).word(TICK).word(PAGE).word(pages).word(1).word(pages);
    let record = record.word(0x1_0000).word(0).long(0x1_0000).long(0x7fff_fffe_ffff);
    record.long(processors::all()).bytes(&[process::processors() as u8, 0, 0, 0, 0, 0, 0, 0])
}

/// One processor's times: idle, all in the kernel with the idle ones, in programs, two kinds of interrupts.
fn times(line: &str) -> Record {
    let ticks = line.split_ascii_whitespace().skip(1).map(|n| n.parse::<u64>().unwrap_or(0) * 100_000);
    let mut t = [0; 7];
    t.iter_mut().zip(ticks).for_each(|(to, n)| *to = n);
    let [user, nice, system, idle, waiting, hard, soft] = t;
    let idle = idle + waiting;
    let record = Record::default().long(idle).long(idle + system + hard + soft).long(user + nice);
    record.long(soft).long(hard).word(0).word(0)
}

fn processor_times() -> Record {
    let list = fs::read_to_string("/proc/stat").unwrap_or_default();
    let of_one = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
    let mut lines = list.lines().filter(of_one);
    (0..process::processors())
        .fold(Record::default(), |all, _| all.bytes(&times(lines.next().unwrap_or_default()).0))
}

/// When the system started, now, the zone, and nothing more.
fn time_of_day() -> Record {
    let now = time::file_time();
    let up = i64::try_from(time::uptime().as_nanos() / 100).unwrap_or(0);
    let times = [now.saturating_sub(up), now, 0, 0];
    Record::default().times(times).long(0).long(0)
}

/// The machine, as far as programs without rights may ask, and as far as this is known.
extern "win64" fn NtQuerySystemInformation(class: u32, to: Ptr<u8>, room: u32, len: Ptr<u32>) -> Status {
    let record = match class {
        0 => basic(),
        3 => time_of_day(),
        8 => processor_times(),
        _ => return INVALID_INFO_CLASS,
    };
    give(Ok(record), to, room, len)
}

/// Whether data may be executed: in programs of 64 bits never, so it is no question, and cannot be changed.
const EXECUTE_FLAGS: u32 = 34;

/// What a program may change of itself: how it wants to hear of errors that nobody handles, which are answers here in any case.
extern "win64" fn NtSetInformationProcess(handle: usize, class: u32, from: Ptr<u32>, room: u32) -> Status {
    const HARD_ERROR_MODE: u32 = 12;
    match (is_this_process(handle), class) {
        (Err(error), _) => status(error),
        (_, HARD_ERROR_MODE) if room != 4 => LENGTH_MISMATCH,
        (_, HARD_ERROR_MODE) if from.is_null() => ACCESS_VIOLATION,
        (_, HARD_ERROR_MODE) => SUCCESS,
        (_, EXECUTE_FLAGS) => INVALID_PARAMETER,
        _ => INVALID_INFO_CLASS,
    }
}

/// Without a handle it ends the other threads, which nobody does here before the process ends: that is done then.
extern "win64" fn NtTerminateProcess(handle: usize, code: u32) -> Status {
    match handle {
        0 => SUCCESS,
        handle if TerminateProcess(handle, code) == FALSE => last(),
        _ => SUCCESS,
    }
}

const NORMAL_PRIORITY: u64 = 8;

/// This process: the exit code that it does not have yet, its block, its processors, its number and its parent's.
fn process_basic() -> Record {
    let peb = teb::process().peb().block().expose_provenance() as u64;
    let parent = rustix::process::getppid().map_or(0, |id| id.as_raw_nonzero().get().unsigned_abs());
    let record = Record::default().word(STILL_ACTIVE).word(0).long(peb).long(processors::all());
    record.long(NORMAL_PRIORITY).long(std::process::id().into()).long(parent.into())
}

/// This process: nobody debugs it, it is not one of 32 bits, and no console belongs to it.
extern "win64" fn NtQueryInformationProcess(
    handle: usize,
    class: u32,
    to: Ptr<u8>,
    room: u32,
    len: Ptr<u32>,
) -> Status {
    let record = is_this_process(handle).map_err(status).and_then(|()| {
        Ok(match class {
            0 => process_basic(),
            7 | 26 | 49 => Record::default().long(0),
            20 => Record::default().word(length(teb::process().objects.count())),
            31 => Record::default().word(1),
            EXECUTE_FLAGS => return Err(INVALID_PARAMETER),
            _ => return Err(INVALID_INFO_CLASS),
        })
    });
    give(record, to, room, len)
}

/// The status behind the thread's last error, which is not kept by itself.
extern "win64" fn RtlGetLastNtStatus() -> Status {
    status(teb::with(|t| t.last_error.get()))
}

table! {
    /// The machine and the process.
    pub(super) TABLE:
        NtQuerySystemInformation, ZwQuerySystemInformation = NtQuerySystemInformation, NtQueryInformationProcess, RtlGetLastNtStatus,
        NtSetInformationProcess, ZwSetInformationProcess = NtSetInformationProcess, NtTerminateProcess,
        ZwTerminateProcess = NtTerminateProcess,
        ZwQueryInformationProcess = NtQueryInformationProcess
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_processor() {
        let record = times("cpu0 1 2 3 4 5 6 7 0 0 0").0;
        let longs: Vec<u64> = record.as_chunks().0.iter().map(|&n| u64::from_le_bytes(n)).collect();
        // In hundreds of nanoseconds: idle 4 + 5, kernel 9 + 3 + 6 + 7, user 1 + 2.
        assert_eq!(longs, [900_000, 2_500_000, 300_000, 700_000, 600_000, 0]);
    }
}
