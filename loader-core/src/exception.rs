//! A Windows exception that nobody handled, as whoever called into the Windows code is told of it.

use crate::{Addr, Rva};
use std::{fmt, sync::OnceLock};

/// The exception, and the thread's state where it was raised.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Exception {
    /// Its status number.
    pub code: u32,
    /// The address where it was raised.
    pub at: Addr,
    /// The module that this lies in, and where in it; none for code that is in no module of this engine.
    pub place: Option<(Box<str>, Rva)>,
    /// What was said with it. Of an access violation: what was done (0 read, 1 write, 8 execute), and the address.
    pub information: Vec<u64>,
    /// The registers.
    pub registers: Registers,
}

/// The registers of a thread, as far as they say where it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Registers {
    /// The instruction pointer.
    pub rip: u64,
    /// The flags.
    pub flags: u32,
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15: in the order of their numbers.
    pub integers: [u64; 16],
}

/// An exception of which nothing but numbers is known, so that it can be handed out of frames that are abandoned.
#[derive(Clone, Copy, Debug)]
pub struct Raised {
    /// Its status number.
    pub code: u32,
    /// The address where it was raised.
    pub at: Addr,
    /// How many numbers are said with it.
    pub count: u32,
    /// The numbers.
    pub information: [u64; 15],
    /// The registers.
    pub registers: Registers,
}

/// Who is told of exceptions that nobody handled. It may be called in a signal handler.
pub type Watch = fn(&Raised);

static WATCH: OnceLock<Watch> = OnceLock::new();

/// From now on `told` is called before the frames of such an exception are abandoned: its stack is still as it was. The
/// first who asks for it is the only one: a process has one place where it writes such things down.
pub fn watch(told: Watch) {
    WATCH.get_or_init(|| told);
}

impl Raised {
    /// Tells whoever watches.
    pub(crate) fn tell(&self) {
        WATCH.get().into_iter().for_each(|told| told(self));
    }

    /// The exception, with the module's name.
    pub(crate) fn named(self) -> Exception {
        let reading = crate::index::Reading::begin();
        let place = reading.at(self.at).and_then(|listed| {
            let name = listed.name.to_string_lossy();
            let name = name.rsplit_once('/').map_or(&*name, |(_, base)| base);
            Some((name.into(), listed.at.rva_of(self.at)?))
        });
        let information = self.information[..self.information.len().min(self.count as usize)].to_vec();
        Exception { code: self.code, at: self.at, place, information, registers: self.registers }
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ACCESS_VIOLATION: u32 = 0xc000_0005;
        write!(f, "exception {:#010x}", self.code)?;
        if let (ACCESS_VIOLATION, [kind, address, ..]) = (self.code, &*self.information) {
            let done = match kind {
                0 => "reading",
                1 => "writing",
                _ => "executing",
            };
            write!(f, " ({done} {address:#x})")?;
        }
        match &self.place {
            Some((module, offset)) => write!(f, " at {module}+{:#x}", offset.0)?,
            None => write!(f, " at {}", self.at)?,
        }
        f.write_str(", which nobody handled")
    }
}
