//! A fault: what the helper's signal handler notes, and what the user's side makes of it.

mod handler;

pub(crate) use handler::install;

use crate::{Happened, Module, signal_name};
use loader_core::{Addr, Exception, Rva, exception::Registers};
use rustix::process::Pid;
use std::fmt;

/// A fault of the guest.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What happened.
    pub cause: Cause,
    /// Where the thread was.
    pub registers: Registers,
    /// The module that this is in, and where in it.
    pub place: Option<(Box<str>, Rva)>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A signal.
    Signal {
        /// Its number.
        signal: i32,
        /// What the system says of it (`si_code`).
        code: i32,
        /// Of a bad access: the address.
        address: Addr,
    },
    /// A Windows exception that nobody handled.
    Exception(Exception),
}

/// What the signal handler notes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Record {
    pub(crate) signal: i32,
    pub(crate) code: i32,
    pub(crate) address: u64,
    /// Of a forbidden system call: its number.
    pub(crate) call: u64,
    pub(crate) registers: [u64; 18],
}

/// What is known when a fault is looked at. The guest's process stands still, or is gone.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    /// The guest's process.
    #[expect(dead_code, reason = "for the report")]
    pub(crate) process: Option<Pid>,
    /// What was loaded.
    pub(crate) modules: &'a [Module],
    /// What happened last.
    #[expect(dead_code, reason = "for the report")]
    pub(crate) events: &'a [Happened],
}

impl Record {
    /// As the handler writes it.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let word = |n: usize| {
            let word = bytes.get(n * 8..).and_then(<[u8]>::first_chunk);
            u64::from_ne_bytes(word.copied().unwrap_or_default())
        };
        let registers = std::array::from_fn(|n| word(3 + n));
        let first = word(0);
        Self {
            signal: first as u32 as i32,
            code: (first >> 32) as i32,
            address: word(1),
            call: word(2),
            registers,
        }
    }

    fn registers(&self) -> Registers {
        let mut integers = [0; 16];
        integers.copy_from_slice(&self.registers[2..]);
        Registers { rip: self.registers[0], flags: self.registers[1] as u32, integers }
    }
}

/// The fault that a record tells of.
pub(crate) fn of_signal(record: &Record, scene: &Scene<'_>) -> Fault {
    let registers = record.registers();
    let address = Addr(record.address);
    let cause = Cause::Signal { signal: record.signal, code: record.code, address };
    let place = scene.modules.iter().find_map(|m| Some((m.name.clone(), m.at.rva_of(Addr(registers.rip))?)));
    Fault { cause, registers, place }
}

/// The fault that is a Windows exception.
pub(crate) fn of_exception(exception: Exception, _: &Scene<'_>) -> Fault {
    Fault {
        registers: exception.registers,
        place: exception.place.clone(),
        cause: Cause::Exception(exception),
    }
}

impl Fault {
    /// Whether the sandbox goes on after it.
    #[must_use]
    pub const fn is_survived(&self) -> bool {
        matches!(self.cause, Cause::Exception(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Exception(exception) => exception.fmt(f),
            Cause::Signal { signal, address, .. } => {
                write!(f, "{} (address {address})", signal_name(*signal))?;
                match &self.place {
                    Some((module, offset)) => write!(f, " at {module}+{:#x}", offset.0),
                    None => write!(f, " at {:#x}", self.registers.rip),
                }
            }
        }
    }
}
