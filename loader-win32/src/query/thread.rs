//! What is known of a thread.

use super::{INVALID_INFO_CLASS, LENGTH_MISMATCH, Record, Status};
use crate::{
    guest::Ptr,
    kernel32::processors,
    lock,
    nt::{
        status::{ACCESS_VIOLATION, BUFFER_TOO_SMALL, SUCCESS},
        thread::{right, thread_for},
    },
    object::Thread,
    teb,
    text::length,
};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

const NORMAL_PRIORITY: i32 = 8;

/// `THREAD_BASIC_INFORMATION`: how it ended, its block, its numbers, its processors, its priority.
fn basic(thread: &Thread) -> Record {
    let id = thread.id.load(SeqCst);
    let priority = thread.priority.load(SeqCst);
    let record = Record::default().word(thread.exit_code.load(SeqCst)).word(0);
    let record = record.long(thread.facts.block.load(Relaxed) as u64);
    let record = record.long(std::process::id().into()).long(id.into()).long(processors::of(id));
    record
        .word(NORMAL_PRIORITY.saturating_add(priority).clamp(1, 15).cast_unsigned())
        .word(priority.cast_unsigned())
}

/// The name stands behind the structure that says where.
fn name(thread: &Thread, to: Ptr<u8>, room: u32, len: Ptr<u32>) -> Status {
    const HEAD: usize = 16;
    let name = lock(&thread.facts.description).clone();
    let bytes = u32::from(u16::try_from(name.len() * 2).unwrap_or(u16::MAX - 1));
    len.put(bytes + HEAD as u32);
    if room < bytes + HEAD as u32 {
        return BUFFER_TOO_SMALL;
    }
    if to.is_null() {
        return ACCESS_VIOLATION;
    }
    let head = Record::default().word(bytes << 16 | bytes).word(0).long((to.addr() + HEAD) as u64);
    to.fill(&head.text(&name[..bytes as usize / 2]).0);
    SUCCESS
}

extern "win64" fn NtQueryInformationThread(
    handle: usize,
    class: u32,
    to: Ptr<u8>,
    room: u32,
    len: Ptr<u32>,
) -> Status {
    const BASIC: u32 = 0;
    const TIMES: u32 = 1;
    const AFFINITY: u32 = 4;
    const START: u32 = 9;
    const IS_LAST: u32 = 12;
    const PRIORITY_BOOST: u32 = 14;
    const IO_PENDING: u32 = 16;
    const HIDDEN: u32 = 17;
    const GROUP: u32 = 30;
    const SUSPENDED: u32 = 35;
    const NAME: u32 = 38;
    let needed = match class {
        BASIC | TIMES | IS_LAST | PRIORITY_BOOST | SUSPENDED | NAME | GROUP => right::QUERY_LIMITED,
        START | IO_PENDING | HIDDEN | AFFINITY => right::QUERY,
        _ => return INVALID_INFO_CLASS,
    };
    let object = match thread_for(handle, needed) {
        Ok(object) => object,
        Err(status) => return status,
    };
    let Some(thread) = object.thread() else { return INVALID_INFO_CLASS };
    let record = match class {
        BASIC => basic(thread),
        TIMES => Record::default().times(thread.times()),
        AFFINITY => Record::default().long(processors::of(thread.id.load(SeqCst))),
        START => Record::default().long(thread.facts.start.load(Relaxed) as u64),
        IS_LAST => Record::default().word((teb::process().objects.living() == 1).into()),
        PRIORITY_BOOST => Record::default().word(thread.facts.unboosted.load(Relaxed).into()),
        // What is begun is done when the call returns.
        IO_PENDING => Record::default().word(0),
        HIDDEN => Record::default().bytes(&[thread.facts.hidden.load(Relaxed).into()]),
        GROUP => Record::default().long(processors::of(thread.id.load(SeqCst))).long(0),
        SUSPENDED => Record::default().word(thread.suspended.load(SeqCst)),
        _ => return name(thread, to, room, len),
    };
    let size = length(record.0.len());
    if room != size {
        return LENGTH_MISMATCH;
    }
    len.put(size);
    record.give(to, room).map_or_else(|status| status, |(status, _)| status)
}

table! {
    /// Threads.
    pub(super) TABLE: NtQueryInformationThread, ZwQueryInformationThread = NtQueryInformationThread
}
