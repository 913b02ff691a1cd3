//! The types of kernel objects: what they are called, and what may be done with an object of each.

use super::status;
use crate::object::{ANY_ACCESS, Kind};

/// A type of objects.
pub(crate) struct Type {
    pub name: &'static str,
    /// The rights that stand behind `GENERIC_READ`, `GENERIC_WRITE`, `GENERIC_EXECUTE` and `GENERIC_ALL`.
    pub generic: [u32; 4],
}

/// That it may be waited for.
pub(crate) const SYNCHRONIZE: u32 = 0x10_0000;
/// Of events, semaphores and timers: that its state may be asked for, and changed.
pub(crate) const QUERY_STATE: u32 = 1;
/// See [`QUERY_STATE`].
pub(crate) const MODIFY_STATE: u32 = 2;

const MAXIMUM_ALLOWED: u32 = 0x200_0000;
/// What is no right, but stands for several.
const STANDS_FOR_OTHERS: u32 = 0xff00_0000;

/// The type of an object.
pub(crate) fn of(kind: &Kind) -> Type {
    let (name, generic) = match kind {
        Kind::Event { .. } => ("Event", [0x2_0001, 0x2_0002, 0x12_0000, 0x1f_0003]),
        Kind::Semaphore { .. } => ("Semaphore", [0x2_0001, 0x2_0002, 0x12_0000, 0x1f_0003]),
        Kind::Mutex { .. } => ("Mutant", [0x2_0001, 0x2_0000, 0x12_0000, 0x1f_0001]),
        Kind::Timer(_) => ("Timer", [0x2_0001, 0x2_0002, 0x12_0000, 0x1f_0003]),
        Kind::Thread(_) => ("Thread", [0x2_0048, 0x2_0437, 0x12_1800, 0x1f_ffff]),
        Kind::Process { .. } => ("Process", [0x2_0410, 0x2_0bea, 0x12_1001, 0x1f_ffff]),
        Kind::File(_) | Kind::Find(_) => ("File", [0x12_0089, 0x12_0116, 0x12_00a0, 0x1f_01ff]),
        Kind::Section(_) | Kind::Snapshot(_) => ("Section", [0x2_0005, 0x2_0002, 0x2_0008, 0xf_001f]),
        Kind::Port(_) => ("IoCompletion", [0x2_0001, 0x2_0002, 0x12_0000, 0x1f_0003]),
        Kind::Job(_) => ("Job", [0x2_0004, 0x2_000b, 0x12_0000, 0x1f_001f]),
        Kind::Token => ("Token", [0x2_001a, 0x2_01e0, 0x2_0005, 0xf_01ff]),
        Kind::KeyedEvent => ("KeyedEvent", [0x2_0001, 0x2_0002, 0x2_0000, 0xf_0003]),
        Kind::Directory => ("Directory", [0x2_0003, 0x2_000c, 0x2_0003, 0xf_000f]),
        Kind::Link(_) => ("SymbolicLink", [0x2_0001, 0x2_0000, 0x2_0001, 0xf_0001]),
    };
    Type { name, generic }
}

impl Type {
    /// The rights that somebody has who asks for these.
    pub(crate) fn granted(&self, wanted: u32) -> u32 {
        if wanted == ANY_ACCESS {
            return self.all();
        }
        let [read, write, execute, all] = self.generic;
        let stands = [
            (0x8000_0000, read),
            (0x4000_0000, write),
            (0x2000_0000, execute),
            (0x1000_0000, all),
            (MAXIMUM_ALLOWED, all),
        ];
        let more =
            stands.iter().filter(|(asked, _)| wanted & asked != 0).fold(0, |sum, (_, more)| sum | more);
        wanted & !STANDS_FOR_OTHERS | more
    }

    /// Why somebody may not ask for these: for nothing, for what there is not, for what needs a privilege. A status.
    pub(crate) fn refuses(&self, wanted: u32) -> Option<u32> {
        const ACCESS_SYSTEM_SECURITY: u32 = 0x100_0000;
        const GENERIC: u32 = 0xf000_0000;
        let named = wanted & !(GENERIC | MAXIMUM_ALLOWED | ACCESS_SYSTEM_SECURITY);
        match () {
            () if wanted == ANY_ACCESS => None,
            () if wanted == 0 || named & !self.all() != 0 => Some(status::ACCESS_DENIED),
            () if wanted & ACCESS_SYSTEM_SECURITY != 0 => Some(status::PRIVILEGE_NOT_HELD),
            () => None,
        }
    }

    /// All rights.
    pub(crate) fn all(&self) -> u32 {
        self.generic[3]
    }
}
