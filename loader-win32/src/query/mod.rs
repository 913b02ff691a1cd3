//! ntdll's questions about files, folders, volumes, processes and the machine, which programs look up by name when they
//! start. All of them answer with a status, and say how much they gave.
#![allow(non_snake_case)]

mod file;
mod folder;
mod system;
mod thread;
mod volume;

pub(crate) use folder::Listing;

use crate::{
    guest::Ptr,
    nt::{
        file::Outcome,
        status::{ACCESS_VIOLATION, INVALID_HANDLE, SUCCESS, of as status},
    },
};
use loader_core::HostTable;

/// All of it.
pub(crate) const TABLES: &[HostTable] = &[
    file::TABLE,
    folder::TABLE,
    system::TABLE,
    thread::TABLE,
    volume::TABLE,
    crate::exception::functions::GROWABLE,
];

/// A status: the highest bit says that it is an error, the next that it is a warning or an error.
type Status = u32;

const BUFFER_OVERFLOW: Status = 0x8000_0005;
const NO_MORE_FILES: Status = 0x8000_0006;
const INVALID_INFO_CLASS: Status = 0xc000_0003;
const LENGTH_MISMATCH: Status = 0xc000_0004;
const NO_SUCH_FILE: Status = 0xc000_000f;
const INVALID_DEVICE_REQUEST: Status = 0xc000_0010;

/// Says in the caller's block how it went, and how many bytes it was given, which a refusal leaves out.
fn finish(out: Ptr<Outcome>, result: Result<(Status, usize), Status>) -> Status {
    match result {
        Ok((status, given)) => {
            out.put(Outcome::new(status, given as u64));
            status
        }
        Err(status) => status,
    }
}

/// Numbers that are put together to one of Windows' structures.
#[derive(Default)]
struct Record(Vec<u8>);

impl Record {
    fn word(mut self, n: u32) -> Self {
        self.0.extend(n.to_le_bytes());
        self
    }

    fn long(mut self, n: u64) -> Self {
        self.0.extend(n.to_le_bytes());
        self
    }

    fn times(self, times: [i64; 4]) -> Self {
        times.iter().fold(self, |record, &time| record.long(time.cast_unsigned()))
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn text(self, text: &[u16]) -> Self {
        text.iter().fold(self, |record, unit| record.bytes(&unit.to_le_bytes()))
    }

    /// Gives it to a caller who has room for it all.
    fn give(self, to: Ptr<u8>, room: u32) -> Result<(Status, usize), Status> {
        let least = self.0.len();
        self.give_some(to, room, least)
    }

    /// Gives as much as there is room for, if that is as much as the caller must have room for.
    fn give_some(self, to: Ptr<u8>, room: u32, least: usize) -> Result<(Status, usize), Status> {
        let given = self.0.len().min(room as usize);
        match () {
            () if (room as usize) < least => Err(LENGTH_MISMATCH),
            () if to.is_null() => Err(ACCESS_VIOLATION),
            () => {
                to.fill(&self.0[..given]);
                Ok((if given < self.0.len() { BUFFER_OVERFLOW } else { SUCCESS }, given))
            }
        }
    }
}
