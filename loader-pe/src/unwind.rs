//! Where the image's functions and their unwind data are listed (`.pdata`, `.xdata`), and how the two are read.
//!
//! ```text
//! address ──Functions::find──► Function ──read──► Info ──codes──► what the prologue did   (chained: to another Info)
//!               registers of a frame ──Functions::unwind──► Frame: registers of its caller, handler
//! ```
//! Everything is read through [`Memory`], so an image may be mapped, a buffer, or in another process; a table that
//! contradicts itself is an error, and every chain has an end. Read `unwind/step.rs` next, then `unwind/epilogue.rs`.

mod epilogue;
mod step;

pub use step::{Context, Frame, Handler, RSP, Saved};

use crate::{image::Directory, malformed, view::View};
use loader_core::{Addr, ErrorKind, Rva};

/// Length of a `RUNTIME_FUNCTION`: start, end, unwind data.
const ENTRY: u32 = 12;

/// As many unwind data may be chained to one function; Windows gives up there too.
const LONGEST_CHAIN: usize = 32;

/// `UNW_FLAG_EHANDLER`, `UNW_FLAG_UHANDLER`, `UNW_FLAG_CHAININFO`.
const EXCEPTION_HANDLER: u8 = 1;
const TERMINATION_HANDLER: u8 = 2;
const CHAINED: u8 = 4;

/// The whole entries of the exception directory; empty where there is none.
pub(crate) fn functions(view: View<'_>, at: Option<Directory>) -> Result<std::ops::Range<Rva>, ErrorKind> {
    let Some(Directory { at, len }) = at else {
        return Ok(Rva(0)..Rva(0));
    };
    let (start, end) = (u64::from(at), u64::from(at) + u64::from(len - len % ENTRY));
    if end > view.len() {
        return malformed("exception directory", at);
    }
    Ok(Rva(start)..Rva(end))
}

/// What the unwinder reads: tables, code and stack of the thread that is unwound. A closure will do.
pub trait Memory {
    /// Fills `to` from an address; `None` where not all of it can be read.
    fn read(&self, at: Addr, to: &mut [u8]) -> Option<()>;
}

impl<F: Fn(Addr, &mut [u8]) -> Option<()>> Memory for F {
    fn read(&self, at: Addr, to: &mut [u8]) -> Option<()> {
        self(at, to)
    }
}

/// `N` bytes of something that has to be there.
fn bytes<const N: usize>(memory: &impl Memory, at: Addr, what: &'static str) -> Result<[u8; N], ErrorKind> {
    let mut out = [0; N];
    memory.read(at, &mut out).map_or_else(|| malformed(what, at.0), |()| Ok(out))
}

/// A `RUNTIME_FUNCTION`: a run of code that one prologue speaks for, as positions from the table's base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it begins.
    pub begin: u32,
    /// The position after its last byte.
    pub end: u32,
    /// Where its unwind data is; with the lowest bit set, where the entry is that speaks for it.
    pub unwind: u32,
}

impl Function {
    /// The entry at an address.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where it cannot be read.
    pub fn read(memory: &impl Memory, at: Addr) -> Result<Self, ErrorKind> {
        let words = bytes::<12>(memory, at, "function table")?;
        let [begin, end, unwind] = [0, 4, 8].map(|n| word(&words, n));
        Ok(Self { begin, end, unwind })
    }

    fn covers(&self, rva: u32) -> bool {
        (self.begin..self.end).contains(&rva)
    }
}

fn word(bytes: &[u8; 12], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Functions sorted by where they begin: those of an image, or of code that was made at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Functions {
    /// What all positions count from: the image's first byte.
    pub base: Addr,
    /// The first entry.
    pub table: Addr,
    /// How many there are.
    pub count: u32,
}

impl Functions {
    /// The entry that speaks for an address, and where it lies; `None` for a leaf function, which needs none.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for a table that cannot be read, or entries that lead to each other.
    pub fn find(&self, memory: &impl Memory, at: Addr) -> Result<Option<(Addr, Function)>, ErrorKind> {
        let Some(rva) = self.rva(at) else { return Ok(None) };
        let (mut first, mut after) = (0, self.count);
        while first < after {
            let middle = first + (after - first) / 2;
            match self.entry(memory, middle)?.begin <= rva {
                true => first = middle + 1,
                false => after = middle,
            }
        }
        let Some(index) = first.checked_sub(1) else { return Ok(None) };
        let found = self.entry(memory, index)?;
        if !found.covers(rva) {
            return Ok(None);
        }
        self.direct(memory, self.place(index), found).map(Some)
    }

    fn rva(&self, at: Addr) -> Option<u32> {
        at.0.checked_sub(self.base.0)?.try_into().ok()
    }

    fn at(&self, rva: u32) -> Addr {
        Addr(self.base.0.wrapping_add(rva.into()))
    }

    fn place(&self, index: u32) -> Addr {
        Addr(self.table.0.wrapping_add(u64::from(index) * u64::from(ENTRY)))
    }

    fn entry(&self, memory: &impl Memory, index: u32) -> Result<Function, ErrorKind> {
        Function::read(memory, self.place(index))
    }

    /// Follows entries that stand for others.
    fn direct(
        &self,
        memory: &impl Memory,
        mut at: Addr,
        mut function: Function,
    ) -> Result<(Addr, Function), ErrorKind> {
        for _ in 0..LONGEST_CHAIN {
            if function.unwind & 1 == 0 {
                return Ok((at, function));
            }
            at = self.at(function.unwind - 1);
            function = Function::read(memory, at)?;
        }
        malformed("function entries without an end", at.0)
    }

    fn info(&self, memory: &impl Memory, function: Function) -> Result<Info, ErrorKind> {
        Info::read(memory, self.at(function.unwind))
    }

    /// The function at the end of a chain, which all of the chain's pieces belong to, with each piece's unwind data
    /// shown to `each` on the way.
    fn chain(
        &self,
        memory: &impl Memory,
        mut function: Function,
        mut info: Info,
        mut each: impl FnMut(&Info) -> Result<(), ErrorKind>,
    ) -> Result<(Function, Info), ErrorKind> {
        for _ in 0..LONGEST_CHAIN {
            each(&info)?;
            if info.flags & CHAINED == 0 {
                return Ok((function, info));
            }
            let next = Function::read(memory, info.tail())?;
            function = self.direct(memory, info.tail(), next)?.1;
            info = self.info(memory, function)?;
        }
        malformed("chain of unwind data without an end", info.at.0)
    }
}

/// `UNWIND_INFO`.
struct Info {
    at: Addr,
    flags: u8,
    version: u8,
    /// Length of the prologue in bytes.
    prologue: u8,
    /// The number of the frame register; 0 for none.
    frame: u8,
    /// How far the frame register is above the lowest address of the fixed part of the frame.
    frame_offset: u64,
    slots: [[u8; 2]; 255],
    count: u8,
}

impl Info {
    fn read(memory: &impl Memory, at: Addr) -> Result<Self, ErrorKind> {
        let [first, prologue, count, frame] = bytes(memory, at, "unwind data")?;
        let version = first & 7;
        if !(1..=2).contains(&version) {
            return Err(ErrorKind::Unsupported { what: "version of unwind data", value: version.into() });
        }
        let mut slots = [[0; 2]; 255];
        let used = slots[..usize::from(count)].as_flattened_mut();
        if memory.read(Addr(at.0.wrapping_add(4)), used).is_none() {
            return malformed("unwind codes", at.0);
        }
        let (frame, frame_offset) = (frame & 0xf, u64::from(frame >> 4) * 16);
        Ok(Self { at, flags: first >> 3, version, prologue, frame, frame_offset, slots, count })
    }

    /// What the prologue did, last first.
    fn codes(&self) -> Codes<'_> {
        Codes { info: self, rest: &self.slots[..usize::from(self.count)] }
    }

    /// What follows the codes: a chained function, or a handler and its data.
    fn tail(&self) -> Addr {
        let slots = u64::from(self.count).next_multiple_of(2);
        Addr(self.at.0.wrapping_add(4 + 2 * slots))
    }
}

/// What one instruction of the prologue did. Offsets are from the lowest address of the fixed part of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    /// Pushed a register.
    Push(usize),
    /// Lowered the stack pointer.
    Allocate(u64),
    /// Set the frame register.
    SetFrame,
    /// Stored a register.
    Save(usize, u64),
    /// Stored an XMM register.
    SaveXmm(usize, u64),
    /// No instruction but where epilogues are (version 2): the first has their length and whether there is one at the
    /// function's end, the others how far before the end one begins.
    Epilogue(u8, u8),
    /// Nothing.
    Spare,
    /// The processor pushed where it was interrupted, perhaps with an error code.
    MachineFrame { error_code: bool },
}

struct Codes<'a> {
    info: &'a Info,
    rest: &'a [[u8; 2]],
}

impl Codes<'_> {
    fn half(&mut self) -> Option<u64> {
        let (&low, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(u16::from_le_bytes(low).into())
    }

    fn whole(&mut self) -> Option<u64> {
        Some(self.half()? | self.half()? << 16)
    }

    /// `None` for a code that does not exist, or one whose operand is missing.
    fn decode(&mut self, offset: u8, code: u8, more: u8) -> Option<Code> {
        let register = usize::from(more);
        Some(match (code, more) {
            (0, _) => Code::Push(register),
            (1, 0) => Code::Allocate(self.half()? * 8),
            (1, 1) => Code::Allocate(self.whole()?),
            (2, _) => Code::Allocate(u64::from(more) * 8 + 8),
            (3, _) => Code::SetFrame,
            (4, _) => Code::Save(register, self.half()? * 8),
            (5, _) => Code::Save(register, self.whole()?),
            (6, _) if self.info.version == 2 => Code::Epilogue(offset, more),
            (7, _) if self.info.version == 2 => self.whole().map(|_| Code::Spare)?,
            (8, _) => Code::SaveXmm(register, self.half()? * 16),
            (9, _) => Code::SaveXmm(register, self.whole()?),
            (10, 0 | 1) => Code::MachineFrame { error_code: more == 1 },
            _ => return None,
        })
    }
}

impl Iterator for Codes<'_> {
    /// The offset of the instruction after the one that did it, and what it did.
    type Item = Result<(u8, Code), ErrorKind>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&[offset, code], rest) = self.rest.split_first()?;
        self.rest = rest;
        match self.decode(offset, code & 0xf, code >> 4) {
            Some(code) => Some(Ok((offset, code))),
            None => {
                self.rest = &[];
                Some(malformed("unwind code", self.info.at.0))
            }
        }
    }
}
