//! What a helper leaves of a fault in shared memory: numbers of a fixed layout, which its handler can write whatever state
//! the process is in, and which the user's side reads without believing any of them.

use loader_core::{Exception, exception::Registers};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// As much of the code round the instruction is copied, half of it before the instruction.
pub(super) const CODE: usize = 128;
/// As much of the stack is copied, from the red zone on.
pub(super) const STACK: usize = 60 << 10;
/// Below its stack pointer a function may have data of its own (System V ABI, x86-64, section 3.2.2).
pub(super) const RED_ZONE: u64 = 128;

/// How far a record is.
pub(super) mod state {
    /// Nothing happened yet.
    pub(in super::super) const EMPTY: u32 = 0;
    /// A thread is writing what comes first.
    pub(in super::super) const CLAIMED: u32 = 1;
    /// What happened and the registers are there.
    pub(in super::super) const TOLD: u32 = 2;
    /// The copies are there as well.
    pub(in super::super) const COPIED: u32 = 3;
}

/// What a record tells of.
pub(super) mod kind {
    /// A signal.
    pub(in super::super) const SIGNAL: u32 = 1;
    /// A Windows exception that nobody handled.
    pub(in super::super) const EXCEPTION: u32 = 2;
}

/// A fault, as the helper's handler writes it down.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Record {
    /// See [`state`]; it is written after what it says is there.
    pub(super) state: u32,
    /// See [`kind`].
    pub(super) kind: u32,
    /// The number of the signal, or the exception's code.
    pub(super) number: u32,
    /// `si_code` of a signal.
    pub(super) code: i32,
    /// The thread, as the kernel numbers it.
    pub(super) thread: u32,
    /// So that there are no gaps.
    pub(super) unused: u32,
    /// Of a signal: the address that the kernel tells (`si_addr`).
    pub(super) address: u64,
    /// The processor's number of a fault.
    pub(super) trap: u64,
    /// The processor's error code.
    pub(super) error: u64,
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub(super) integers: [u64; 16],
    /// The instruction pointer.
    pub(super) rip: u64,
    /// The flags.
    pub(super) flags: u64,
    /// The base of the FS segment.
    pub(super) fs: u64,
    /// The base of the GS segment.
    pub(super) gs: u64,
    /// Where the copy of the code begins.
    pub(super) code_at: u64,
    /// How much of it there is.
    pub(super) code_len: u64,
    /// Where the copy of the stack begins.
    pub(super) stack_at: u64,
    /// How much of it there is.
    pub(super) stack_len: u64,
    /// The code.
    pub(super) code_bytes: [u8; CODE],
    /// The stack.
    pub(super) stack_bytes: [u8; STACK],
}

/// RSP's place among the integer registers.
pub(super) const RSP: usize = 4;

impl Record {
    /// As much shared memory a record takes, in bytes.
    pub(crate) const SIZE: usize = size_of::<Self>();

    /// The record in a copy of shared memory; `None` where nothing happened, or the copy is too short.
    pub(crate) fn read(bytes: &[u8]) -> Option<Box<Self>> {
        let mut record = Self::new_box_zeroed().ok()?;
        record.as_mut_bytes().copy_from_slice(bytes.get(..Self::SIZE)?);
        (record.state >= state::TOLD).then_some(record)
    }

    /// The record of an exception of which nothing else is known.
    pub(super) fn of(exception: &Exception) -> Option<Box<Self>> {
        let mut record = Self::new_box_zeroed().ok()?;
        (record.kind, record.number) = (kind::EXCEPTION, exception.code);
        (record.rip, record.flags) = (exception.registers.rip, exception.registers.flags.into());
        record.integers = exception.registers.integers;
        Some(record)
    }

    /// Whether it tells of this exception.
    pub(super) fn tells_of(&self, exception: &Exception) -> bool {
        (self.kind, self.number) == (kind::EXCEPTION, exception.code)
            && self.registers() == exception.registers
    }

    /// Whether it tells of a signal.
    pub(crate) fn is_signal(&self) -> bool {
        self.kind == kind::SIGNAL
    }

    /// The number of the system call that was forbidden, if that is what it tells of.
    pub(crate) fn forbidden(&self) -> Option<i64> {
        let is = self.is_signal() && self.number == libc::SIGSYS.cast_unsigned();
        is.then(|| self.integers[0].cast_signed())
    }

    pub(super) fn registers(&self) -> Registers {
        Registers { rip: self.rip, flags: self.flags as u32, integers: self.integers }
    }

    /// The stack pointer.
    pub(super) fn rsp(&self) -> u64 {
        self.integers[RSP]
    }

    /// What was copied of the code, and where that was.
    pub(super) fn code(&self) -> (u64, &[u8]) {
        (self.code_at, prefix(&self.code_bytes, self.code_len))
    }

    /// What was copied of the stack, and where that was.
    pub(super) fn stack(&self) -> (u64, &[u8]) {
        (self.stack_at, prefix(&self.stack_bytes, self.stack_len))
    }
}

fn prefix(bytes: &[u8], len: u64) -> &[u8] {
    &bytes[..bytes.len().min(usize::try_from(len).unwrap_or(usize::MAX))]
}
