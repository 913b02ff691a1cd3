//! The unwinder of Windows code against another one (crate `pe-unwind-info`), function by function: at every
//! instruction of the prologue, around every way out, and here and there in the body.
//!
//! The stack is made up: the word at an address is a hash of the address, so a register that was read from the wrong
//! place has the wrong value. Where the other unwinder takes something for an epilogue that is none, or does not know
//! one, it is asked again with that decided, as a third crate (`iced-x86`) reads the instructions; those
//! places are counted by reason ([`Reason`]). Everything else has to agree at once.
//!
//! The DLLs are those of the corpus, and those below the folder that `LOADER_DLLS` names, if it names one.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, Register as Iced};
use loader_core::{Addr, Image as _, Source};
use loader_pe::{
    PeImage,
    unwind::{Context, Frame, Functions, RSP},
};
use pe_unwind_info::x86_64::{
    FunctionTableEntries, Register, RuntimeFunction, UnwindInfo, UnwindInfoTrailer, UnwindState, XmmRegister,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    ops::{AddAssign, Range},
    path::{Path, PathBuf},
    sync::Arc,
};
use tests::cores::on_all_cores;

const BASE: u64 = 0x1_8000_0000;

/// Why the other unwinder had to be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// It takes every direct jump for one that leaves the function.
    JumpWithin,
    /// It takes `jmp [register + register * 8]`, the jump of a `switch`, for one that leaves the function.
    JumpThroughTable,
    /// It reads `lea rsp, [rbp - n]` and `add rsp, -n` without the sign.
    Negative,
    /// It does not know `rep ret` and `ret n`.
    Return,
    /// It does not know `rex.w jmp register` and `rex.w jmp [register + n]`.
    JumpThroughRegister,
    /// It takes direct jumps and `ret` with a `rex` prefix, which no compiler writes, for ways out. They are data.
    Prefixed,
    /// It takes `pop rsp`, which no function does that has saved it, for part of an epilogue. It is data.
    PopStackPointer,
    /// It takes `add r12, n` for `add rsp, n`, and `lea r12, [rbp + n]` for `lea rsp, [rbp + n]`.
    OtherRegister,
    /// It reads the place of epilogues in data of version 2 from the wrong bits.
    VersionTwo,
    /// It looks no further than the end of a piece of a function, where an epilogue may go on in the next piece.
    AcrossPieces,
}

#[derive(Debug, Default)]
struct Counts {
    images: usize,
    functions: usize,
    places: usize,
    epilogues: usize,
    handlers: usize,
    reasons: BTreeMap<Reason, usize>,
    wrong: Vec<String>,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.images += other.images;
        self.functions += other.functions;
        self.places += other.places;
        self.epilogues += other.epilogues;
        self.handlers += other.handlers;
        other.reasons.into_iter().for_each(|(reason, n)| *self.reasons.entry(reason).or_default() += n);
        self.wrong.extend(other.wrong);
    }
}

/// The word that the made-up stack has at an address: 47 bits, as addresses have.
fn word(at: u64) -> u64 {
    let mixed = (at ^ at >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29) >> 17
}

/// The registers of the frame that is unwound.
fn context(rip: u64) -> Context {
    let mut integers: [u64; 16] = std::array::from_fn(|n| 0x5000_0000_0000 + n as u64 * 0x1_0000_0000);
    integers[RSP] = 0x7000_0000_0000;
    Context { rip, integers, xmm: std::array::from_fn(|n| n as u128 + 1) }
}

/// The other unwinder's frame.
impl UnwindState for Other {
    fn read_register(&mut self, register: Register) -> u64 {
        self.0.integers[register as usize]
    }

    fn read_stack(&mut self, at: u64) -> Option<u64> {
        Some(word(at))
    }

    fn write_register(&mut self, register: Register, value: u64) {
        self.0.integers[register as usize] = value;
    }

    fn write_xmm_register(&mut self, register: XmmRegister, value: u128) {
        self.0.xmm[register as usize] = value;
    }
}

struct Other(Context);

/// An image as it lies in memory.
struct Laid {
    bytes: Vec<u8>,
    /// The same, as the other unwinder needs it (see [`close_gaps`]).
    others: Vec<u8>,
    functions: Functions,
    table: Range<usize>,
}

impl Laid {
    /// `None` for what is no DLL for this machine.
    fn read(file: &Path) -> Option<Self> {
        let source = Arc::new(Source::owned(fs::read(file).ok()?));
        let image = PeImage::parse(&source).ok()?;
        let mut bytes = vec![0; usize::try_from(image.plan().len().get()).ok()?];
        for fill in image.plan().regions().iter().filter_map(|r| r.fill.as_ref()) {
            let from = &source.bytes()[fill.file.start.0 as usize..fill.file.end.0 as usize];
            bytes[fill.at.0 as usize..][..from.len()].copy_from_slice(from);
        }
        let table = image.functions().start.0 as usize..image.functions().end.0 as usize;
        let functions = Functions {
            base: Addr(BASE),
            table: Addr(BASE + table.start as u64),
            count: u32::try_from(table.len() / 12).ok()?,
        };
        let mut others = bytes.clone();
        close_gaps(&mut others, table.clone());
        Some(Self { bytes, others, functions, table })
    }

    fn entries(&self) -> FunctionTableEntries<'_> {
        FunctionTableEntries::parse(&self.others[self.table.clone()])
    }

    fn info(&self, function: &RuntimeFunction) -> Option<UnwindInfo<'_>> {
        UnwindInfo::parse(self.others.get(function.unwind_info_address.get() as usize..)?)
    }

    fn read_memory(&self, at: Addr, to: &mut [u8]) -> Option<()> {
        match at.0.checked_sub(BASE).filter(|&rva| rva < self.bytes.len() as u64) {
            Some(rva) => to.copy_from_slice(self.bytes.get(rva as usize..)?.get(..to.len())?),
            None => to.chunks_mut(8).enumerate().for_each(|(n, part)| {
                part.copy_from_slice(&word(at.0 + 8 * n as u64).to_le_bytes()[..part.len()]);
            }),
        }
        Some(())
    }

    fn ours(&self, rva: u32) -> Result<Frame, String> {
        let memory = |at: Addr, to: &mut [u8]| self.read_memory(at, to);
        let at = Addr(BASE + u64::from(rva));
        let found = self.functions.find(&memory, at).map_err(|e| e.to_string())?;
        let function = found.map(|(_, function)| function);
        self.functions.unwind(&memory, function, &context(at.0)).map_err(|e| e.to_string())
    }

    /// The other unwinder's answer, which sees `code` at the place, if that is given.
    fn theirs(&self, rva: u32, registers: Context, code: Option<&[u8]>) -> Option<Context> {
        let mut other = Other(registers);
        let memory = |at: u32| match code {
            Some(code) if at == rva => Some(code),
            _ => self.others.get(at as usize..),
        };
        let rip = self.entries().unwind_frame(&mut other, memory, rva)?;
        Some(Context { rip, ..other.0 })
    }

    /// Instructions of a function, one after the other.
    fn instructions(&self, from: u32, to: u32) -> impl Iterator<Item = Instruction> {
        let bytes = self.bytes.get(from as usize..to as usize).unwrap_or_default();
        Decoder::with_ip(64, bytes, BASE + u64::from(from), DecoderOptions::NONE).into_iter()
    }

    /// The entry that a piece of a function leads to in the end.
    fn primary<'a>(&'a self, mut piece: &'a RuntimeFunction) -> &'a RuntimeFunction {
        while let Some(UnwindInfoTrailer::ChainedUnwindInfo { chained }) =
            self.info(piece).and_then(|i| i.trailer())
        {
            piece = chained;
        }
        piece
    }

    fn leaves(&self, function: &RuntimeFunction, to: u64) -> bool {
        let Some(Ok(to)) = to.checked_sub(BASE).map(u32::try_from) else { return true };
        let primary = self.primary(function);
        let other = self.entries().lookup(to).map(|f| self.primary(f).begin_address.get());
        other != Some(primary.begin_address.get()) || to == primary.begin_address.get()
    }

    /// The registers before the last instruction of an epilogue, if the rest of one begins at a place; and what about
    /// it the other unwinder does not know.
    fn epilogue(&self, function: &RuntimeFunction, rva: u32) -> (Option<Context>, Option<Reason>) {
        let (mut registers, mut reason) = (context(0), None);
        let frame = self.info(function).and_then(|i| i.frame_register()).map(|r| Iced::RAX + r as u32);
        let end = BASE + u64::from(function.end_address.get());
        for (n, i) in self.instructions(rva, self.bytes.len() as u32).enumerate() {
            let bytes = &self.bytes[(i.ip() - BASE) as usize..][..i.len()];
            reason = reason.or((i.ip() >= end).then_some(Reason::AcrossPieces));
            let known = match i.mnemonic() {
                Mnemonic::Add if n == 0 && i.try_immediate(1).is_ok() => {
                    let by = i.immediate(1) as i64;
                    match i.op0_register() {
                        Iced::RSP => {
                            registers.integers[RSP] = registers.integers[RSP].wrapping_add_signed(by)
                        }
                        Iced::R12 => return (None, Some(Reason::OtherRegister)),
                        _ => return (None, None),
                    }
                    reason = (by < 0).then_some(Reason::Negative);
                    continue;
                }
                Mnemonic::Lea if n == 0 && i.op0_register() == Iced::R12 => {
                    return (None, Some(Reason::OtherRegister));
                }
                Mnemonic::Lea
                    if n == 0
                        && i.op0_register() == Iced::RSP
                        && Some(i.memory_base()) == frame
                        && i.memory_index() == Iced::None =>
                {
                    let by = i.memory_displacement64() as i64;
                    let base = registers.integers[i.memory_base().number()];
                    registers.integers[RSP] = base.wrapping_add_signed(by);
                    reason = (by < 0).then_some(Reason::Negative);
                    continue;
                }
                Mnemonic::Pop if i.op0_register() == Iced::RSP => {
                    return (None, Some(Reason::PopStackPointer));
                }
                Mnemonic::Pop if i.code() == Code::Pop_r64 => {
                    let rsp = registers.integers[RSP];
                    registers.integers[RSP] = rsp + 8;
                    registers.integers[i.op0_register().number()] = word(rsp);
                    continue;
                }
                Mnemonic::Ret if bytes == [0xc3] => None,
                Mnemonic::Ret if bytes == [0xf3, 0xc3] || bytes[0] == 0xc2 => Some(Reason::Return),
                Mnemonic::Ret => return (None, Some(Reason::Prefixed)),
                Mnemonic::Jmp if i.is_jmp_short_or_near() && i.len() > 5 => {
                    return (None, Some(Reason::Prefixed));
                }
                Mnemonic::Jmp
                    if i.is_jmp_short_or_near() && self.leaves(function, i.near_branch_target()) =>
                {
                    None
                }
                Mnemonic::Jmp if i.is_jmp_short_or_near() => return (None, Some(Reason::JumpWithin)),
                Mnemonic::Jmp if bytes[..2] == [0xff, 0x25] => None,
                Mnemonic::Jmp if bytes[0] & 0xf8 != 0x48 => return (None, Some(Reason::JumpThroughTable)),
                Mnemonic::Jmp if bytes[2] >> 6 != 0 => Some(Reason::JumpThroughRegister),
                Mnemonic::Jmp => None,
                _ => return (None, None),
            };
            return (Some(registers), reason.or(known));
        }
        (None, None)
    }

    /// Offsets to try in a function.
    fn places(&self, function: &RuntimeFunction) -> Vec<u32> {
        let (begin, end) = (function.begin_address.get(), function.end_address.get());
        let prologue = self.info(function).map_or(0, |i| i.prolog_size);
        let all: Vec<_> = self.instructions(begin, end).collect();
        let leaves = |i: &Instruction| {
            matches!(
                i.flow_control(),
                FlowControl::Return | FlowControl::UnconditionalBranch | FlowControl::IndirectBranch
            )
        };
        let mut since = usize::MAX; // instructions until the next way out
        let mut places = Vec::new();
        for (n, i) in all.iter().enumerate().rev() {
            since = if leaves(i) { 0 } else { since.saturating_add(1) };
            let rva = (i.ip() - BASE) as u32;
            if rva - begin <= prologue.into() || since < 12 || n % 16 == 0 {
                places.push(rva);
            }
        }
        places
    }

    fn check(&self, function: &RuntimeFunction, rva: u32, counts: &mut Counts) -> Result<(), String> {
        let ours = self.ours(rva)?;
        let (epilogue, reason) = self.epilogue(function, rva);
        let second = self.info(function).is_some_and(|i| i.version() == 2) && epilogue.is_some();
        let reason = reason.or(second.then_some(Reason::VersionTwo));
        counts.places += 1;
        counts.epilogues += usize::from(epilogue.is_some());
        let theirs = self.theirs(rva, context(0), None).ok_or("the other one gives no answer")?;
        if ours.caller != theirs {
            let again = match epilogue {
                Some(registers) => Some(returned(registers)),
                None => self.theirs(
                    rva,
                    context(0),
                    Some(&vec![0xcc; (function.end_address.get() - rva) as usize]),
                ),
            };
            let Some(reason) = reason.filter(|_| again == Some(ours.caller)) else {
                return Err(differs(&ours.caller, &theirs));
            };
            *counts.reasons.entry(reason).or_default() += 1;
        }
        self.check_handler(function, rva, &ours, epilogue.is_some(), counts)
    }

    /// The handler of a function applies between its prologue and its epilogues.
    fn check_handler(
        &self,
        function: &RuntimeFunction,
        rva: u32,
        ours: &Frame,
        epilogue: bool,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let primary = self.primary(function);
        let info = self.info(primary).ok_or("no unwind data")?;
        let over = rva.wrapping_sub(primary.begin_address.get()) >= info.prolog_size.into();
        let frameless =
            self.info(function).is_some_and(|i| i.unwind_codes_len == 0) && std::ptr::eq(primary, function);
        let expected = match info.trailer() {
            Some(
                UnwindInfoTrailer::ExceptionHandler { handler_address, .. }
                | UnwindInfoTrailer::TerminationHandler { handler_address, .. },
            ) if over && (!epilogue || frameless) => Some(Addr(BASE + u64::from(handler_address.get()))),
            _ => None,
        };
        let found = ours.handler.map(|h| h.routine);
        counts.handlers += usize::from(found.is_some());
        (found == expected).then_some(()).ok_or_else(|| format!("handler {found:?}, not {expected:?}"))
    }
}

/// An odd number of unwind codes is followed by one that says nothing; then comes the chained function or the handler.
/// The other unwinder expects them right after the last code: here they are moved there.
fn close_gaps(bytes: &mut [u8], table: Range<usize>) {
    let data = |bytes: &[u8], at: usize| bytes.get(at + 8..at + 12).map(word_at);
    let mut places: BTreeSet<usize> = table.step_by(12).filter_map(|at| data(bytes, at)).collect();
    let mut done = BTreeSet::new();
    while let Some(at) = places.pop_first() {
        let Some(&[first, _, count, _]) = bytes.get(at..at + 4) else { continue };
        let end = at + 4 + 2 * usize::from(count);
        if !done.insert(at) || first >> 3 == 0 || count % 2 == 0 || end + 14 > bytes.len() {
            continue;
        }
        let chained = first >> 3 & 4 != 0;
        bytes.copy_within(end + 2..end + if chained { 14 } else { 6 }, end);
        places.extend(data(bytes, end).filter(|_| chained));
    }
}

fn word_at(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b))
}

/// What `ret` leaves in the registers.
fn returned(mut registers: Context) -> Context {
    registers.rip = word(registers.integers[RSP]);
    registers.integers[RSP] += 8;
    registers
}

fn differs(ours: &Context, theirs: &Context) -> String {
    let mut what = Vec::new();
    let mut compare = |name: String, a: u128, b: u128| {
        if a != b {
            what.push(format!("{name} {a:#x}, not {b:#x}"));
        }
    };
    compare("rip".into(), ours.rip.into(), theirs.rip.into());
    for n in 0..16 {
        compare(format!("r{n}"), ours.integers[n].into(), theirs.integers[n].into());
        compare(format!("xmm{n}"), ours.xmm[n], theirs.xmm[n]);
    }
    what.join(", ")
}

/// Every function of an image.
fn compare(file: &Path) -> Counts {
    let mut counts = Counts::default();
    let Some(image) = Laid::read(file) else { return counts };
    counts.images = 1;
    for function in image.entries() {
        counts.functions += 1;
        for rva in image.places(function) {
            if let Err(what) = image.check(function, rva, &mut counts) {
                counts.wrong.push(format!("{}: {rva:#x}: {what}", file.display()));
            }
        }
    }
    counts
}

/// The files below a folder that have names as Windows images do; none where it cannot be read.
fn images_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = corpus::files_below(folder).unwrap_or_default();
    files.retain(|path| path.extension().is_some_and(|e| ["dll", "pyd", "DLL"].iter().any(|x| e == *x)));
    files
}

#[test]
fn agrees_with_another_unwinder_on_every_function() {
    let mut files = images_below(&corpus::root().join("pe"));
    files.extend(env::var_os("LOADER_DLLS").iter().flat_map(|folder| images_below(Path::new(folder))));
    let mut all = Counts::default();
    on_all_cores(&files, |file| compare(file)).into_iter().for_each(|counts| all += counts);
    println!(
        "{} images of {} files, {} functions: {} places, of them {} in epilogues, {} with a handler; asked again: {:?}",
        all.images,
        files.len(),
        all.functions,
        all.places,
        all.epilogues,
        all.handlers,
        all.reasons
    );
    let shown = &all.wrong[..all.wrong.len().min(40)];
    assert!(all.wrong.is_empty(), "{} places differ:\n{}", all.wrong.len(), shown.join("\n"));
    assert!(all.functions > 100, "the corpus has more functions than {}", all.functions);
}
