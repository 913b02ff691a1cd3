//! What was copied of the guest's memory when it faulted: it is all that a report looks at, for the guest is gone by then.

use super::record::{RED_ZONE, Record};
use crate::os;
use loader_core::maps::Maps;
use rustix::process::Pid;

/// Where the stack begins that is in use: at the stack pointer, or above it where that is below a stack that is full.
fn stack_in_use(record: &Record, maps: &Maps) -> u64 {
    let rsp = record.rsp();
    match maps.find(rsp).filter(|m| m.rights.starts_with('r')) {
        Some(_) => rsp.saturating_sub(RED_ZONE),
        None => maps.above(rsp).map_or(rsp, |m| m.at.start),
    }
}

/// Pieces of memory. Where they overlap, the first one counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies(Vec<(u64, Vec<u8>)>);

/// As much is copied of the code before the instruction, and from it on.
const CODE: (u64, usize) = (4096, 256);
/// As much is copied of the stack.
const STACK: usize = 1 << 20;

impl Copies {
    /// What the record has, and what can be read of a process beside it. The record comes first: where the helper goes on
    /// after an exception, that is the stack as it was.
    pub(super) fn of(record: &Record, maps: &Maps, process: Option<Pid>) -> Self {
        let told = [record.stack(), record.code()].map(|(at, bytes)| (at, bytes.to_vec()));
        let (stack, code) = (stack_in_use(record, maps), record.rip.saturating_sub(CODE.0));
        let mut copies = Self(told.into());
        for (at, len) in [(stack, STACK), (code, CODE.0 as usize + CODE.1), (record.rip, CODE.1)] {
            let mut bytes = vec![0; len];
            let read = process.map_or(0, |process| os::read_memory(process, at, &mut bytes));
            bytes.truncate(read);
            copies.0.push((at, bytes));
        }
        copies
    }

    /// What is at an address, as far as it was copied.
    pub(super) fn from(&self, at: u64) -> &[u8] {
        let rest = |(start, bytes): &'_ (u64, Vec<u8>)| {
            let skipped = usize::try_from(at.checked_sub(*start)?).ok()?;
            (skipped < bytes.len()).then_some(skipped)
        };
        let found = self.0.iter().find_map(|copy| Some(&copy.1[rest(copy)?..]));
        found.unwrap_or_default()
    }

    /// A number of eight bytes.
    pub(super) fn word(&self, at: u64) -> Option<u64> {
        let bytes = self.from(at).first_chunk().copied();
        // Between two copies: a byte at a time.
        let apart = || {
            let mut word = [0; 8];
            for (n, byte) in (0..).zip(&mut word) {
                *byte = *self.from(at.checked_add(n)?).first()?;
            }
            Some(word)
        };
        bytes.or_else(apart).map(u64::from_le_bytes)
    }
}
