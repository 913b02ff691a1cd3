//! How much: the limits that the kernel keeps of each process (`setrlimit`).

use super::{Enforced, Limits, Measure, copy::try_in_a_copy, enforced::Finding};
use crate::usage::Usage;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    fs::{self, File},
    io,
};

/// Sets all limits.
pub(super) fn set(limits: &Limits, enforced: &mut Enforced) {
    enforced.note(Measure::CoreDumps, core_dumps());
    let simple = [
        (Measure::FileSize, Resource::Fsize, limits.file_size, "bytes"),
        (Measure::OpenFiles, Resource::Nofile, limits.open_files, "descriptors"),
    ];
    for (measure, resource, most, unit) in simple {
        enforced.note(measure, most.map_or(Finding::not_asked(), |most| at_most(resource, most, most, unit)));
    }
    enforced.note(Measure::Memory, limits.memory.map_or(Finding::not_asked(), memory));
    // A signal at the limit, which can be handled; the end a second later.
    let cpu = limits.cpu.map(|seconds| at_most(Resource::Cpu, seconds, seconds.saturating_add(1), "seconds"));
    enforced.note(Measure::CpuTime, cpu.unwrap_or(Finding::not_asked()));
    enforced.note(Measure::Tasks, limits.tasks.map_or(Finding::not_asked(), tasks));
}

/// Sets a limit, unless there is a stricter one already.
fn lower(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX).min(hard);
    Ok(setrlimit(resource, Rlimit { current: Some(soft.min(most)), maximum: Some(most) })?)
}

fn at_most(resource: Resource, soft: u64, hard: u64, unit: &str) -> Finding {
    match lower(resource, soft, hard) {
        Ok(()) if getrlimit(resource).current.is_some_and(|now| now <= soft) => {
            Finding::on(format!("{soft} {unit}"))
        }
        Ok(()) => Finding::absent("the system took the limit and has another"),
        Err(error) => Finding::absent(format!("the system refuses the limit: {error}")),
    }
}

/// What the process has of data now, and this much more. What it shares with others, or has in files without names, is no
/// data to the kernel.
fn memory(more: u64) -> Finding {
    let now = File::open("/proc/self/statm").ok().and_then(|statm| Usage::read(&statm));
    let Some(now) = now else {
        return Finding::absent("the system does not say how much there is already");
    };
    let most = now.data.saturating_add(more);
    at_most(Resource::Data, most, most, "bytes of data")
}

/// A limit of 1 byte, which keeps the kernel from starting a program that is meant to receive the core as well; 0 keeps
/// it from writing a file only.
pub(crate) fn no_core_dumps() -> io::Result<()> {
    lower(Resource::Core, 1, 1)
}

fn core_dumps() -> Finding {
    let piped = fs::read("/proc/sys/kernel/core_pattern").map_or(true, |pattern| pattern.starts_with(b"|"));
    match (no_core_dumps(), getrlimit(Resource::Core).current) {
        (Ok(()), Some(1)) => Finding::on("no file is written and no program is given one"),
        (Ok(()), Some(0)) if !piped => Finding::on("no file is written"),
        (Ok(()), Some(0)) => {
            Finding::partial("the limit was 0, which does not stop a program that receives cores")
        }
        (Ok(()), _) => Finding::absent("the system took the limit and has another"),
        (Err(error), _) => Finding::absent(format!("the system refuses the limit: {error}")),
    }
}

/// The kernel counts the tasks of a user, in a user namespace those in it; and root's not at all. Which of these it is
/// is tried out: with so many there is room for a copy of this process, and with less there is none.
fn tasks(most: u64) -> Finding {
    /// The process, its wardens and the copy are fewer.
    const FEW: u64 = 8;
    let hard = getrlimit(Resource::Nproc).maximum;
    let soft = |most| setrlimit(Resource::Nproc, Rlimit { current: Some(most), maximum: hard });
    let room = (1..=FEW).find(|&tasks| soft(tasks).is_ok() && try_in_a_copy(|| Ok(())).is_ok());
    match room {
        Some(1) => Finding::absent("the kernel does not limit root's processes"),
        Some(room) => {
            let others = room - 2;
            let most = most.saturating_add(others);
            at_most(Resource::Nproc, most, most, "threads and processes, the sandbox's own included")
        }
        None => {
            let _ = soft(hard.unwrap_or(u64::MAX));
            Finding::absent("without a user namespace, all processes of the user would count")
        }
    }
}
