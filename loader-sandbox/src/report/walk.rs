//! The stack of the thread that faulted, through frames of both formats.
//!
//! `framehop` steps from a frame to its caller. It was made for files that mean well: it follows chained unwind data
//! without end, evaluates expressions without end, and reads behind a function's code. So a frame is handed to it with the
//! parts of one module, after [`Image::function`] and [`ends`] have seen that they lead somewhere. Where nothing leads on, the
//! walk ends.

use super::{
    carefully,
    copies::Copies,
    image::{Image, Part},
    lines::Bytes,
    module::{Found, Modules},
    place::Place,
    record::Record,
};
use framehop::{
    FrameAddress, ModuleSectionInfo, Unwinder,
    x86_64::{CacheX86_64, Reg, UnwindRegsX86_64, UnwinderX86_64},
};
use gimli::{
    BaseAddresses, CallFrameInstruction, CallFrameInstructionIter, EhFrame, EhFrameHdr, LittleEndian,
    Operation, OperationIter, UnwindExpression, UnwindSection,
};
use loader_core::maps::Maps;
use serde::Serialize;
use std::{fmt, ops::Range};

/// As many frames are shown.
const MOST: usize = 64;

/// The registers by their numbers, as framehop names them.
const REGISTERS: [Reg; 16] = [
    Reg::RAX,
    Reg::RCX,
    Reg::RDX,
    Reg::RBX,
    Reg::RSP,
    Reg::RBP,
    Reg::RSI,
    Reg::RDI,
    Reg::R8,
    Reg::R9,
    Reg::R10,
    Reg::R11,
    Reg::R12,
    Reg::R13,
    Reg::R14,
    Reg::R15,
];

/// The frames of a stack, the innermost first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stack {
    /// Where each frame is.
    pub frames: Vec<Place>,
    /// Why there are no more.
    pub end: End,
}

/// Why a walk went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The outermost frame says that it is.
    Outermost,
    /// There are too many.
    Limit,
    /// Nothing leads on from there.
    Lost,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outermost => "the outermost frame",
            Self::Limit => "and more",
            Self::Lost => "nothing leads on from here",
        })
    }
}

/// Walks from where a record says that the thread was.
pub(super) fn stack(record: &Record, modules: &Modules<'_>, maps: &Maps, copies: &Copies) -> Stack {
    let mut registers = UnwindRegsX86_64::new(record.rip, 0, 0);
    REGISTERS.iter().zip(record.integers).for_each(|(reg, value)| registers.set(*reg, value));
    let mut frames = vec![modules.place(record.rip)];
    let mut at = FrameAddress::from_instruction_pointer(record.rip);
    if !maps.runs(record.rip)
        && let Some(caller) = copies.word(record.rsp()).filter(|caller| maps.runs(*caller))
        && let Some(address) = FrameAddress::from_return_address(caller)
    {
        // There is no code here: somebody has just called it.
        frames.push(modules.place_of_call(caller));
        registers.set(Reg::RSP, record.rsp().wrapping_add(8));
        at = address;
    }
    let end = loop {
        if frames.len() == MOST {
            break End::Limit;
        }
        let found = modules.find(at.address_for_lookup());
        let below = registers.get(Reg::RSP);
        let step = || step(at, found, &mut registers, copies);
        match carefully(step) {
            Some(None) => break End::Outermost,
            Some(Some(caller)) if registers.get(Reg::RSP) > below => {
                let Some(address) = FrameAddress::from_return_address(caller) else { break End::Outermost };
                frames.push(modules.place_of_call(caller));
                at = address;
            }
            _ => break End::Lost,
        }
    };
    Stack { frames, end }
}

/// From a frame to its caller: the address to which it returns, if it has one. `None` where nothing leads there.
fn step(
    at: FrameAddress,
    found: Option<Found<'_, '_>>,
    registers: &mut UnwindRegsX86_64,
    copies: &Copies,
) -> Option<Option<u64>> {
    let mut unwinder = UnwinderX86_64::new();
    if let Some((found, image)) = found.and_then(|f| f.image.map(|image| (f, image))) {
        let sections = Sections::of(image, found.offset)?;
        let Range { start, end } = found.module.at;
        unwinder.add_module(framehop::Module::new(String::new(), start..end, start, sections));
    }
    let mut cache = CacheX86_64::<_>::new();
    let mut read = |at: u64| copies.word(at).ok_or(());
    unwinder.unwind_frame(at, registers, &mut cache, &mut read).ok()
}

/// The parts of a module that framehop needs for one frame.
struct Sections<'d> {
    base: u64,
    parts: Vec<(&'static str, Part<'d>)>,
}

impl<'d> Sections<'d> {
    /// `None` where they cannot be followed to an end.
    fn of(image: &Image<'d>, offset: u64) -> Option<Self> {
        let parts = match image.is_pe() {
            true => Self::of_pe(image, offset)?,
            false => Self::of_elf(image, offset)?,
        };
        Some(Self { base: image.base, parts })
    }

    fn of_pe(image: &Image<'d>, offset: u64) -> Option<Vec<(&'static str, Part<'d>)>> {
        let mut parts = vec![(".pdata", Part { at: 0..0, bytes: image.functions() })];
        if let Some(function) = image.function(offset)? {
            let code = image.code(&function).map(|code| (".text", code));
            let data = [".xdata", ".rdata"].into_iter().zip(function.data);
            parts.extend(data.chain(code));
        }
        Some(parts)
    }

    /// Without its index there is no way to look at what speaks for the place alone; then nothing of it is used.
    fn of_elf(image: &Image<'d>, offset: u64) -> Option<Vec<(&'static str, Part<'d>)>> {
        let (Some(frame), Some(header)) = (image.named(".eh_frame"), image.named(".eh_frame_hdr")) else {
            return Some(Vec::new());
        };
        let ends = ends(&frame, &header, image.base.checked_add(offset)?);
        ends.then(|| vec![(".eh_frame", frame), (".eh_frame_hdr", header)])
    }

    fn find(&self, name: &[u8]) -> Option<&Part<'d>> {
        self.parts.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, part)| part)
    }
}

impl<'d> ModuleSectionInfo<&'d [u8]> for Sections<'d> {
    fn base_svma(&self) -> u64 {
        self.base
    }

    fn section_svma_range(&mut self, name: &[u8]) -> Option<Range<u64>> {
        self.find(name).map(|part| part.at.clone())
    }

    fn section_data(&mut self, name: &[u8]) -> Option<&'d [u8]> {
        self.find(name).map(|part| part.bytes)
    }
}

/// Whether what an ELF image says of a place can be evaluated to an end: no expression jumps back.
fn ends(frame: &Part<'_>, header: &Part<'_>, at: u64) -> bool {
    let bases = BaseAddresses::default().set_eh_frame(frame.at.start).set_eh_frame_hdr(header.at.start);
    let table = EhFrame::new(frame.bytes, LittleEndian);
    let header = EhFrameHdr::new(header.bytes, LittleEndian).parse(&bases, 8);
    let entry = header.ok().and_then(|header| {
        header.table()?.fde_for_address(&table, &bases, at, EhFrame::cie_from_offset).ok()
    });
    let Some(entry) = entry else { return true };
    let encoding = entry.cie().encoding();
    let forward = |e: UnwindExpression<usize>| {
        e.get(&table).is_ok_and(|expression| goes_forward(expression.operations(encoding)))
    };
    let all_forward = |mut instructions: CallFrameInstructionIter<'_, Bytes<'_>>| {
        let next = || instructions.next().ok().flatten();
        std::iter::from_fn(next).all(|instruction| match instruction {
            CallFrameInstruction::DefCfaExpression { expression }
            | CallFrameInstruction::Expression { expression, .. }
            | CallFrameInstruction::ValExpression { expression, .. } => forward(expression),
            _ => true,
        })
    };
    all_forward(entry.cie().instructions(&table, &bases)) && all_forward(entry.instructions(&table, &bases))
}

fn goes_forward(mut operations: OperationIter<Bytes<'_>>) -> bool {
    let next = || operations.next().ok().flatten();
    std::iter::from_fn(next).all(|operation| match operation {
        Operation::Bra { target } | Operation::Skip { target } => target >= 0,
        _ => true,
    })
}
