//! Jobs: groups of processes that can be ended together. What a job may be told to limit is kept; limits that the host
//! would have to watch for are refused.

use super::{
    Bool, answer,
    child::Child,
    error::code,
    system::process_of,
    wait::{create, object, open},
};
use crate::{
    guest::Ptr,
    lock,
    object::{Kind, Object},
    teb,
    text::length,
};
use std::sync::{Arc, Mutex, Weak};

/// A job's state.
#[derive(Default)]
pub(crate) struct Job {
    /// Processes that were put into it.
    children: Vec<Weak<Child>>,
    /// This process is in it.
    ours: bool,
    flags: u32,
    interface: u32,
    end_of_time: u32,
    processes: u32,
}

const DIE_ON_UNHANDLED_EXCEPTION: u32 = 0x400;
const BREAKAWAY_OK: u32 = 0x800;
const SILENT_BREAKAWAY_OK: u32 = 0x1000;
const KILL_ON_JOB_CLOSE: u32 = 0x2000;
const KEPT: u32 = DIE_ON_UNHANDLED_EXCEPTION | BREAKAWAY_OK | SILENT_BREAKAWAY_OK | KILL_ON_JOB_CLOSE;
const KNOWN: u32 = 0x7fff;
const PROCESS_TERMINATE: u32 = 1;
const SET_QUOTA: u32 = 0x100;

/// `JobObject…Information`, as far as it is answered.
mod class {
    pub(super) const BASIC_ACCOUNTING: u32 = 1;
    pub(super) const BASIC_LIMIT: u32 = 2;
    pub(super) const PROCESS_IDS: u32 = 3;
    pub(super) const INTERFACE: u32 = 4;
    pub(super) const END_OF_TIME: u32 = 6;
    pub(super) const BASIC_AND_IO_ACCOUNTING: u32 = 8;
    pub(super) const EXTENDED_LIMIT: u32 = 9;
    pub(super) const CPU_RATE: u32 = 15;
}

impl Job {
    fn alive(&self) -> Vec<Arc<Child>> {
        self.children.iter().filter_map(Weak::upgrade).filter(|child| !child.has_ended()).collect()
    }

    /// Nobody has a handle of it any more; one that is to take its processes along does.
    pub(crate) fn closed(job: &Mutex<Self>) {
        let kills = lock(job).flags & KILL_ON_JOB_CLOSE != 0;
        if kills {
            Self::end(job, 0);
        }
    }

    /// Ends its processes, this one last.
    fn end(job: &Mutex<Self>, code: u32) {
        let (children, ours) = {
            let job = lock(job);
            (job.alive(), job.ours)
        };
        children.iter().for_each(|child| child.end(code));
        if ours {
            crate::Process::terminate(code);
        }
    }

    /// The numbers of its processes.
    fn ids(&self) -> Vec<u32> {
        let children = self.alive().into_iter().map(|child| child.id());
        self.ours.then(std::process::id).into_iter().chain(children).collect()
    }
}

fn kind() -> Kind {
    Kind::Job(Mutex::default())
}

extern "win64" fn CreateJobObjectA(_security: usize, name: Ptr<u8>) -> usize {
    create(&name.string(), kind())
}

extern "win64" fn CreateJobObjectW(_security: usize, name: Ptr<u16>) -> usize {
    create(&name.string(), kind())
}

extern "win64" fn OpenJobObjectA(_access: u32, _inherit: Bool, name: Ptr<u8>) -> usize {
    open(&name.string(), |kind| matches!(kind, Kind::Job(_)))
}

extern "win64" fn OpenJobObjectW(_access: u32, _inherit: Bool, name: Ptr<u16>) -> usize {
    open(&name.string(), |kind| matches!(kind, Kind::Job(_)))
}

/// Does something to the job behind a handle.
fn on_job<R>(handle: usize, f: impl FnOnce(&Mutex<Job>) -> Result<R, u32>) -> Result<R, u32> {
    let object: Arc<Object> = object(handle)?;
    match &object.kind {
        Kind::Job(job) => f(job),
        _ => Err(code::INVALID_HANDLE),
    }
}

extern "win64" fn AssignProcessToJobObject(job: usize, process: usize) -> Bool {
    answer(on_job(job, |job| {
        let child = process_of(process, PROCESS_TERMINATE | SET_QUOTA)?;
        let mut job = lock(job);
        match child {
            None if job.ours => return Ok(()),
            None => job.ours = true,
            Some(child) => {
                child.alive()?;
                if job.children.iter().any(|old| old.as_ptr() == Arc::as_ptr(&child)) {
                    return Ok(());
                }
                job.children.push(Arc::downgrade(&child));
            }
        }
        job.processes += 1;
        Ok(())
    }))
}

/// Null asks for any job. Of jobs that have no handle any more nobody knows.
extern "win64" fn IsProcessInJob(process: usize, job: usize, out: Ptr<Bool>) -> Bool {
    let inside = |job: &Job, child: &Option<Arc<Child>>| match child {
        None => job.ours,
        Some(child) => job.children.iter().any(|one| one.as_ptr() == Arc::as_ptr(child)),
    };
    answer(process_of(process, 0).and_then(|child| {
        let found = match job {
            0 => all()
                .iter()
                .any(|object| matches!(&object.kind, Kind::Job(job) if inside(&lock(job), &child))),
            job => on_job(job, |job| Ok(inside(&lock(job), &child)))?,
        };
        out.put(found.into());
        Ok(())
    }))
}

/// Every job that somebody has a handle of.
fn all() -> Vec<Arc<Object>> {
    teb::process().objects.of_kind(|kind| matches!(kind, Kind::Job(_)))
}

extern "win64" fn TerminateJobObject(job: usize, exit_code: u32) -> Bool {
    answer(on_job(job, |job| {
        Job::end(job, exit_code);
        Ok(())
    }))
}

/// The job that is asked about; null is that of this process.
fn asked(handle: usize) -> Result<Arc<Object>, u32> {
    match handle {
        0 => {
            let ours = |object: &Arc<Object>| matches!(&object.kind, Kind::Job(job) if lock(job).ours);
            all().into_iter().find(ours).ok_or(code::ACCESS_DENIED)
        }
        handle => object(handle),
    }
}

/// What a job says of itself, as bytes. How much time its processes used, it does not know: none.
fn information(job: &Job, class: u32, room: usize) -> Result<Vec<u8>, u32> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let ids = job.ids();
    let mut out = match class {
        class::BASIC_ACCOUNTING | class::BASIC_AND_IO_ACCOUNTING => {
            let mut out = vec![0; 32];
            out.extend(words(&[0, job.processes, length(ids.len()), 0]));
            out
        }
        class::BASIC_LIMIT | class::EXTENDED_LIMIT => {
            let mut out = vec![0; 16];
            out.extend(words(&[job.flags]));
            out
        }
        class::PROCESS_IDS => {
            let most = room.saturating_sub(8) / 8;
            let mut out = words(&[length(ids.len()), length(ids.len().min(most))]);
            ids.iter().take(most).for_each(|&id| out.extend(u64::from(id).to_le_bytes()));
            out
        }
        class::INTERFACE => words(&[job.interface]),
        class::END_OF_TIME => words(&[job.end_of_time]),
        class::CPU_RATE => words(&[0, 0]),
        _ => return Err(code::INVALID_PARAMETER),
    };
    out.resize(out.len().max(size(class)), 0);
    Ok(out)
}

/// How long a class's structure is.
fn size(class: u32) -> usize {
    match class {
        class::BASIC_ACCOUNTING => 48,
        class::BASIC_LIMIT => 64,
        class::PROCESS_IDS => 8,
        class::BASIC_AND_IO_ACCOUNTING => 96,
        class::EXTENDED_LIMIT => 144,
        class::CPU_RATE => 8,
        _ => 4,
    }
}

extern "win64" fn QueryInformationJobObject(
    job: usize,
    class: u32,
    out: Ptr<u8>,
    room: u32,
    used: Ptr<u32>,
) -> Bool {
    const MORE_DATA: u32 = 234;
    answer(asked(job).and_then(|object| {
        let Kind::Job(job) = &object.kind else { return Err(code::INVALID_HANDLE) };
        let job = lock(job);
        let bytes = information(&job, class, room as usize)?;
        if class != class::PROCESS_IDS && room as usize != bytes.len() || bytes.len() > room as usize {
            return Err(code::BAD_LENGTH);
        }
        out.fill(&bytes);
        used.put(length(bytes.len()));
        let untold = class == class::PROCESS_IDS && (bytes.len() - 8) / 8 < job.ids().len();
        if untold { Err(MORE_DATA) } else { Ok(()) }
    }))
}

/// Changes what a job limits.
fn set(job: &mut Job, class: u32, from: Ptr<u8>) -> Result<(), u32> {
    let word = |at: usize| from.at(at).cast::<u32>().get();
    match class {
        class::BASIC_LIMIT | class::EXTENDED_LIMIT => match word(16) {
            flags if flags & !KNOWN != 0 => return Err(code::INVALID_PARAMETER),
            flags if class == class::BASIC_LIMIT && flags & KEPT != 0 => return Err(code::INVALID_PARAMETER),
            flags if flags & !KEPT != 0 => return Err(code::NOT_SUPPORTED),
            flags => job.flags = flags,
        },
        class::INTERFACE if word(0) & !0xff == 0 => job.interface = word(0), // nothing here has windows
        class::END_OF_TIME if word(0) <= 1 => job.end_of_time = word(0),     // there is no limit to come to
        class::INTERFACE | class::END_OF_TIME => return Err(code::INVALID_PARAMETER),
        class::CPU_RATE if word(0) == 0 => {}
        class::CPU_RATE => return Err(code::NOT_SUPPORTED),
        _ => return Err(code::INVALID_PARAMETER),
    }
    Ok(())
}

extern "win64" fn SetInformationJobObject(job: usize, class: u32, from: Ptr<u8>, len: u32) -> Bool {
    answer(on_job(job, |job| match () {
        () if !(1..=class::CPU_RATE).contains(&class) => Err(code::INVALID_PARAMETER),
        () if from.is_null() => Err(code::NOACCESS),
        () if len as usize != size(class) => Err(code::BAD_LENGTH),
        () => set(&mut lock(job), class, from),
    }))
}

table! {
    /// Jobs.
    pub(crate) TABLE:
        CreateJobObjectA, CreateJobObjectW, OpenJobObjectA, OpenJobObjectW, AssignProcessToJobObject, IsProcessInJob,
        TerminateJobObject, QueryInformationJobObject, SetInformationJobObject
}
