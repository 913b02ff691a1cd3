//! A fault of the guest: what the helper writes down of it, and what the user's side makes of that.
//!
//! ```text
//! helper:       fault ─ handler ─► Record, in shared memory ─ the process waits to be killed, or goes on after an exception
//! user's side:  Record + Scene ─ Fault::new ─► Fault: a sentence, and copies of what goes with the process
//!               Fault::report ─ with the files of its modules ─► Report: text, JSON
//! ```
//! Read `record`, then `handler`; of the report, `place` names addresses, `code` disassembles, `walk` goes up the stack,
//! `image` asks files. Nothing that comes from the guest is believed: numbers, memory and files may say anything, and what
//! they say ends in a report.

mod cause;
mod code;
mod copies;
mod handler;
mod image;
mod lines;
mod module;
mod place;
mod record;
mod registers;
#[cfg(test)]
mod tests;
mod text;
mod walk;

pub(crate) use handler::install;
pub(crate) use module::Given;
pub(crate) use record::Record;

pub use cause::{Access, AccessKind, Cause, Page};
pub use code::Line as Instruction;
pub use loader_core::exception::Registers;
pub use place::{Line, Offset, Place};
pub use registers::Register;
pub use walk::{End, Stack};

use crate::Module;
use copies::Copies;
use loader_core::{Addr, Error, ErrorKind, Exception, Rva, maps::Maps};
use module::{Files, Modules, short};
use rustix::process::Pid;
use serde::Serialize;
use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// A fault of the guest.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What happened.
    pub cause: Cause,
    /// Where the thread was.
    pub registers: Registers,
    /// The module that this is in, and where in it.
    pub place: Option<(Box<str>, Rva)>,
    /// The engine's error, where it went on to make one of it.
    pub error: Option<Error>,
    left: Box<Left>,
}

/// What was copied of the guest.
#[derive(Clone)]
struct Left {
    record: Box<Record>,
    copies: Copies,
    maps: Maps,
    modules: Vec<Module>,
    given: Vec<Given>,
    events: Vec<String>,
}

/// All of it would be pages of numbers; [`Fault::report`] says what they mean.
impl fmt::Debug for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Left").finish_non_exhaustive()
    }
}

/// What is known when a fault is looked at. The guest's process stands still, or is gone.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    /// The guest's process.
    pub(crate) process: Option<Pid>,
    /// What was loaded.
    pub(crate) modules: &'a [Module],
    /// The libraries that came as bytes.
    pub(crate) given: &'a [Given],
    /// What happened last, the latest first.
    pub(crate) events: &'a VecDeque<String>,
}

/// As many events are told.
pub(crate) const EVENTS: usize = 16;

/// The fault that a record tells of.
pub(crate) fn of_signal(record: Box<Record>, scene: &Scene<'_>) -> Fault {
    let signal = record.number.cast_signed();
    let cause = Cause::Signal { signal, code: record.code, address: Addr(record.address) };
    let rip = Addr(record.rip);
    let place = scene.modules.iter().find_map(|m| Some((short(&m.name).into(), m.at.rva_of(rip)?)));
    Fault::new(cause, place, record, scene)
}

/// The fault that is a Windows exception, of which shared memory may have more to tell.
pub(crate) fn of_exception(error: Error, shared: &[u8], scene: &Scene<'_>) -> Option<Fault> {
    let ErrorKind::Exception(exception) = &error.kind else { return None };
    let exception = Exception::clone(exception);
    let told = Record::read(shared).filter(|record| record.tells_of(&exception));
    let record = told.or_else(|| Record::of(&exception))?;
    let fault = Fault::new(Cause::Exception(exception.clone()), exception.place, record, scene);
    Some(Fault { error: Some(error), ..fault })
}

impl Fault {
    fn new(cause: Cause, place: Option<(Box<str>, Rva)>, record: Box<Record>, scene: &Scene<'_>) -> Self {
        let maps = scene.process.map(|process| Maps::of(process.as_raw_nonzero())).unwrap_or_default();
        let left = Left {
            copies: Copies::of(&record, &maps, scene.process),
            maps,
            modules: scene.modules.to_vec(),
            given: scene.given.to_vec(),
            events: scene.events.iter().rev().map(|event| place::printable(event)).collect(),
            record,
        };
        Self { cause, registers: left.record.registers(), place, error: None, left: Box::new(left) }
    }

    /// Whether the sandbox goes on after it.
    #[must_use]
    pub const fn is_survived(&self) -> bool {
        matches!(self.cause, Cause::Exception(_))
    }

    /// All that can be said of it. The files of the modules are read for that.
    #[must_use]
    pub fn report(&self) -> Report {
        let Left { record, copies, maps, modules, given, events } = &*self.left;
        let files = Files::new(modules, given, maps);
        let modules = Modules::new(&files);
        let access = cause::access(&self.cause, record).map(|(kind, address)| {
            let page = cause::page(record, address, &modules, maps);
            Access { kind, address, page }
        });
        Report {
            message: sentence(&self.cause, record.trap, access.as_ref()),
            cause: self.cause.clone(),
            thread: record.thread,
            place: modules.place(record.rip),
            access,
            code: code::around(record.rip, &modules, copies),
            registers: registers::all(record, &modules, maps),
            stack: walk::stack(record, &modules, maps, copies),
            events: events.clone(),
        }
    }
}

/// Asks readers of files that are made for well-meant ones: what they compute from others may overflow, which a build with
/// checks makes a panic, and that is no answer.
fn carefully<T>(ask: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(ask)).ok().flatten()
}

fn sentence(cause: &Cause, trap: u64, access: Option<&Access>) -> String {
    let meaning = cause::meaning(cause, trap).map(ToString::to_string);
    let words: Vec<String> =
        [cause.to_string()].into_iter().chain(meaning).chain(access.map(ToString::to_string)).collect();
    words.join(": ")
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.cause, &self.error) {
            (_, Some(error)) => error.fmt(f),
            (Cause::Exception(exception), _) => exception.fmt(f),
            (Cause::Signal { address, .. }, _) => {
                write!(f, "{} (address {address})", self.cause)?;
                match &self.place {
                    Some((module, offset)) => write!(f, " at {module}+{:#x}", offset.0),
                    None => write!(f, " at {:#x}", self.registers.rip),
                }
            }
        }
    }
}

/// All that can be said of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What happened, in one sentence.
    pub message: String,
    /// What happened.
    pub cause: Cause,
    /// The thread, as the kernel numbers it.
    pub thread: u32,
    /// Where it was.
    pub place: Place,
    /// The access that failed, if that is what happened.
    pub access: Option<Access>,
    /// The instructions there.
    pub code: Vec<Instruction>,
    /// The registers.
    pub registers: Vec<Register>,
    /// Who had called.
    pub stack: Stack,
    /// What the engine did last.
    pub events: Vec<String>,
}
