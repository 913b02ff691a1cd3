//! What a fault of the processor is to Windows code: the exception's number, and what is said with it.

use super::{ContextRecord, NONCONTINUABLE, RAX, Record};
use loader_pe::unwind::RSP;

/// A fault, as the kernel tells it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trap {
    /// The signal that it made.
    pub(super) signal: i32,
    /// The processor's number of it.
    pub(super) number: u32,
    /// The processor's error code.
    pub(super) error: u64,
    /// Of a page fault: the address.
    pub(super) address: u64,
}

/// The processor's numbers (Intel SDM, volume 3, table 6-1).
pub(super) mod number {
    pub(in super::super) const DIVIDE: u32 = 0;
    pub(in super::super) const DEBUG: u32 = 1;
    pub(in super::super) const BREAKPOINT: u32 = 3;
    pub(in super::super) const BOUND: u32 = 5;
    pub(in super::super) const INVALID_OPCODE: u32 = 6;
    pub(in super::super) const PROTECTION: u32 = 13;
    pub(in super::super) const PAGE: u32 = 14;
    pub(in super::super) const X87: u32 = 16;
    pub(in super::super) const ALIGNMENT: u32 = 17;
    pub(in super::super) const SIMD: u32 = 19;
}

/// What the processor says of the software interrupts that Windows has a meaning for.
mod interrupt {
    /// `int 0x29`, the reason in RCX.
    pub(super) const FAST_FAIL: u64 = 0x29 << 3 | 2;
    /// `int 0x2c`, of an assertion.
    pub(super) const ASSERTION: u64 = 0x2c << 3 | 2;
    /// `int 0x2d`, the service in RAX.
    pub(super) const DEBUG_SERVICE: u64 = 0x2d << 3 | 2;
    /// How long each of these instructions is.
    pub(super) const LEN: u64 = 2;
}

/// Status numbers of `ntstatus.h`.
pub(super) mod code {
    pub(in super::super) const GUARD_PAGE: u32 = 0x8000_0001;
    pub(super) const MISALIGNMENT: u32 = 0x8000_0002;
    pub(super) const BREAKPOINT: u32 = 0x8000_0003;
    pub(super) const SINGLE_STEP: u32 = 0x8000_0004;
    pub(super) const ACCESS_VIOLATION: u32 = 0xc000_0005;
    pub(super) const IN_PAGE_ERROR: u32 = 0xc000_0006;
    pub(super) const END_OF_FILE: u32 = 0xc000_0011;
    pub(super) const ILLEGAL_INSTRUCTION: u32 = 0xc000_001d;
    pub(super) const ARRAY_BOUNDS: u32 = 0xc000_008c;
    pub(super) const FLOAT_DENORMAL: u32 = 0xc000_008d;
    pub(super) const FLOAT_DIVIDE: u32 = 0xc000_008e;
    pub(super) const FLOAT_INEXACT: u32 = 0xc000_008f;
    pub(super) const FLOAT_INVALID: u32 = 0xc000_0090;
    pub(super) const FLOAT_OVERFLOW: u32 = 0xc000_0091;
    pub(super) const FLOAT_STACK: u32 = 0xc000_0092;
    pub(super) const FLOAT_UNDERFLOW: u32 = 0xc000_0093;
    pub(super) const DIVIDE: u32 = 0xc000_0094;
    pub(super) const INTEGER_OVERFLOW: u32 = 0xc000_0095;
    pub(super) const ASSERTION_FAILURE: u32 = 0xc000_0420;
    pub(super) const PRIVILEGED: u32 = 0xc000_0096;
    pub(in super::super) const STACK_OVERFLOW: u32 = 0xc000_00fd;
    pub(in super::super) const FAST_FAIL: u32 = 0xc000_0409;
}

/// EFLAGS: a trap after each instruction.
pub(super) const TRAP_FLAG: u32 = 1 << 8;

/// The exception of a fault. `code` is what can be read of the instruction. The context becomes what Windows shows.
pub(super) fn record(trap: &Trap, code: &[u8], context: &mut ContextRecord) -> Record {
    match trap.number {
        number::DIVIDE => plain(division(code, context), context),
        number::DEBUG => {
            context.eflags &= !TRAP_FLAG; // whoever wants the next one sets it again
            plain(code::SINGLE_STEP, context)
        }
        number::BREAKPOINT => {
            context.rip -= 1; // the instruction, not the one after it
            saying(code::BREAKPOINT, &[0], context)
        }
        number::BOUND => plain(code::ARRAY_BOUNDS, context),
        number::INVALID_OPCODE => plain(code::ILLEGAL_INSTRUCTION, context),
        number::PROTECTION => protection(trap, code, context),
        number::PAGE if trap.signal == libc::SIGBUS => {
            // A page that the file behind it does not have (any more).
            let said = [access(trap), trap.address, code::END_OF_FILE.into()];
            saying(code::IN_PAGE_ERROR, &said, context)
        }
        number::PAGE => saying(code::ACCESS_VIOLATION, &[access(trap), trap.address], context),
        number::X87 => {
            let words = context.float[0] as u32;
            let (control, status) = (words & 0xffff, words >> 16);
            let stack = status & 0x41 == 0x41;
            plain(if stack { code::FLOAT_STACK } else { float(status & !control) }, context)
        }
        number::ALIGNMENT => plain(code::MISALIGNMENT, context),
        number::SIMD => {
            saying(float(context.mxcsr & !(context.mxcsr >> 7)), &[0, context.mxcsr.into()], context)
        }
        _ => saying(code::ACCESS_VIOLATION, &NOWHERE, context),
    }
}

/// How Windows tells of an access whose address the processor does not.
const NOWHERE: [u64; 2] = [0, u64::MAX];

fn plain(code: u32, context: &ContextRecord) -> Record {
    Record { code, address: context.rip, ..Record::default() }
}

fn saying(code: u32, said: &[u64], context: &ContextRecord) -> Record {
    let mut record = Record { count: said.len() as u32, ..plain(code, context) };
    record.information[..said.len()].copy_from_slice(said);
    record
}

/// 0 it read, 1 it wrote, 8 it executed, by the processor's error code of a page fault.
fn access(trap: &Trap) -> u64 {
    match trap.error {
        e if e & 0x10 != 0 => 8,
        e if e & 2 != 0 => 1,
        _ => 0,
    }
}

/// A fault without a kind of its own: software interrupts, what only a kernel may do, addresses that cannot be.
fn protection(trap: &Trap, code: &[u8], context: &mut ContextRecord) -> Record {
    match trap.error {
        interrupt::FAST_FAIL => {
            let record = saying(code::FAST_FAIL, &[context.integers[1]], context);
            Record { flags: NONCONTINUABLE, ..record }
        }
        interrupt::DEBUG_SERVICE => {
            context.rip += interrupt::LEN;
            saying(code::BREAKPOINT, &[context.integers[RAX]], context)
        }
        interrupt::ASSERTION => plain(code::ASSERTION_FAILURE, context),
        _ if privileged(code) => plain(code::PRIVILEGED, context),
        _ => saying(code::ACCESS_VIOLATION, &NOWHERE, context),
    }
}

/// Lets the thread go on behind an `int 0x2d` that only tells a debugger something: that there is a text, that symbols came
/// or went. There is no debugger; the byte behind the instruction is passed over, as Windows does. False for all other traps.
pub(super) fn passes_over(trap: &Trap, context: &mut ContextRecord) -> bool {
    const PRINT: u64 = 1;
    const LOAD_SYMBOLS: u64 = 3;
    const COMMAND: u64 = 5;
    let tells = matches!(context.integers[RAX], PRINT | LOAD_SYMBOLS..=COMMAND);
    let passes = trap.number == number::PROTECTION && trap.error == interrupt::DEBUG_SERVICE && tells;
    if passes {
        context.rip += interrupt::LEN + 1;
    }
    passes
}

/// The exception of what a floating-point unit noticed and may tell: the first in the order in which it looks.
fn float(flags: u32) -> u32 {
    const KINDS: [u32; 6] = [
        code::FLOAT_INVALID,
        code::FLOAT_DENORMAL,
        code::FLOAT_DIVIDE,
        code::FLOAT_OVERFLOW,
        code::FLOAT_UNDERFLOW,
        code::FLOAT_INEXACT,
    ];
    let first = (flags & 0x3f).trailing_zeros() as usize;
    KINDS.get(first).copied().unwrap_or(code::FLOAT_INVALID)
}

/// What comes before an instruction's opcode.
#[derive(Clone, Copy, Default)]
struct Prefixes {
    rex: u8,
    half: bool,
    segment: bool,
}

/// Takes an instruction's prefixes off.
fn prefixes(mut code: &[u8]) -> (Prefixes, &[u8]) {
    let mut found = Prefixes::default();
    while let [first, rest @ ..] = code {
        match first {
            0x66 => found.half = true,
            0x64 | 0x65 => found.segment = true,
            0x26 | 0x2e | 0x36 | 0x3e | 0x67 | 0xf0 | 0xf2 | 0xf3 => {}
            0x40..=0x4f => {
                found.rex = *first; // the last prefix, if it is to count
                return (found, rest);
            }
            _ => break,
        }
        code = rest;
    }
    (found, code)
}

/// Whether an instruction is one that only a kernel may execute.
fn privileged(code: &[u8]) -> bool {
    match prefixes(code).1 {
        // ins, outs, in, out, hlt, cli, sti
        [0x6c..=0x6f | 0xe4..=0xe7 | 0xec..=0xef | 0xf4 | 0xfa | 0xfb, ..] => true,
        // lldt .., lgdt .., clts, sysret, invd, wbinvd, control and debug registers, wrmsr, rdmsr, rdpmc, sysexit
        [0x0f, second, ..] => {
            matches!(second, 0x00 | 0x01 | 0x06..=0x09 | 0x20..=0x23 | 0x30 | 0x32 | 0x33 | 0x35)
        }
        _ => false,
    }
}

/// Why a division failed: the processor does not say whether the divisor was zero or the quotient too long.
fn division(code: &[u8], context: &ContextRecord) -> u32 {
    match divisor(code, context) {
        Some(0) | None => code::DIVIDE,
        Some(_) => code::INTEGER_OVERFLOW,
    }
}

/// The divisor of `div` and `idiv`; none where it cannot be told.
fn divisor(code: &[u8], context: &ContextRecord) -> Option<u64> {
    let (Prefixes { rex, half, segment }, rest) = prefixes(code);
    let &[opcode @ (0xf6 | 0xf7), modrm, ref rest @ ..] = rest else { return None };
    let size = match (opcode, rex & 8 != 0, half) {
        (0xf6, ..) => 1,
        (_, true, _) => 8,
        (_, _, true) => 2,
        _ => 4,
    };
    let mask = u64::MAX >> (64 - 8 * size);
    let (mode, rm) = (modrm >> 6, usize::from(modrm & 7));
    if mode == 3 {
        let high_byte = size == 1 && rex == 0 && rm >= RSP; // AH, CH, DH, BH
        return Some(match high_byte {
            true => context.integers[rm - 4] >> 8 & mask,
            false => context.integers[rm | usize::from(rex & 1) << 3] & mask,
        });
    }
    let len = code.len() - rest.len();
    let address = address(mode, rm, rex, rest, context, len).filter(|_| !segment)?;
    let mut bytes = [0; 8];
    let read = super::peek(address, &mut bytes[..size as usize]);
    (read == size as usize).then(|| u64::from_le_bytes(bytes))
}

/// The address of an operand in memory; `before` is how much of the instruction comes before `rest`.
fn address(mode: u8, rm: usize, rex: u8, rest: &[u8], context: &ContextRecord, before: usize) -> Option<u64> {
    let register = |low: usize, high: u8| context.integers[low | usize::from(high != 0) << 3];
    let near = |rest: &[u8]| Some(i64::from(rest.first()?.cast_signed()));
    let far = |rest: &[u8]| Some(i64::from(i32::from_le_bytes(*rest.first_chunk()?)));
    let (base, rest) = match (rm, mode) {
        (4, _) => {
            let (&sib, rest) = rest.split_first()?;
            let (scale, index, base) = (sib >> 6, usize::from(sib >> 3 & 7), usize::from(sib & 7));
            let index = match (index, rex & 2) {
                (4, 0) => 0, // no index
                (index, high) => register(index, high) << scale,
            };
            let base = match (base, mode) {
                (5, 0) => return Some(index.wrapping_add_signed(far(rest)?)),
                (base, _) => register(base, rex & 1),
            };
            (base.wrapping_add(index), rest)
        }
        (5, 0) => {
            let next = context.rip.wrapping_add(before as u64 + 4);
            return Some(next.wrapping_add_signed(far(rest)?));
        }
        (rm, _) => (register(rm, rex & 1), rest),
    };
    let offset = match mode {
        0 => 0,
        1 => near(rest)?,
        _ => far(rest)?,
    };
    Some(base.wrapping_add_signed(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> ContextRecord {
        ContextRecord { rip: 0x1000, mxcsr: 0x1f80, ..ContextRecord::EMPTY }
    }

    fn of(trap: Trap, code: &[u8], context: &mut ContextRecord) -> (u32, Vec<u64>) {
        let record = record(&trap, code, context);
        (record.code, record.information[..record.count as usize].to_vec())
    }

    fn trap(number: u32, error: u64) -> Trap {
        Trap { number, error, address: 0x10, signal: libc::SIGSEGV }
    }

    /// The error codes are those of the SDM, volume 3, section 4.7; the exceptions those of `EXCEPTION_RECORD`.
    #[test]
    fn page_faults_say_what_was_done_and_where() {
        for (error, kind) in [(4, 0), (5, 0), (6, 1), (7, 1), (0x14, 8), (0x15, 8)] {
            assert_eq!(of(trap(number::PAGE, error), &[], &mut context()), (0xc000_0005, vec![kind, 0x10]));
        }
        let cut = Trap { signal: libc::SIGBUS, ..trap(number::PAGE, 4) };
        assert_eq!(of(cut, &[], &mut context()), (0xc000_0006, vec![0, 0x10, 0xc000_0011]));
    }

    /// The encodings are the assembler's.
    #[test]
    fn protection_faults_are_told_apart_by_the_instruction() {
        let hlt: &[u8] = &[0xf4];
        let (cli, wrmsr, mov_cr3, lgdt) =
            (&[0xfa][..], &[0x0f, 0x30][..], &[0x0f, 0x22, 0xd8][..], &[0x0f, 0x01, 0x10]);
        for code in [hlt, cli, wrmsr, mov_cr3, lgdt, &[0x66, 0x6f]] {
            assert_eq!(
                of(trap(number::PROTECTION, 0), code, &mut context()),
                (0xc000_0096, vec![]),
                "{code:x?}"
            );
        }
        let load: &[u8] = &[0x8b, 0x01]; // mov eax, [rcx]
        let nowhere = (0xc000_0005, vec![0, u64::MAX]);
        assert_eq!(of(trap(number::PROTECTION, 0), load, &mut context()), nowhere);
        assert_eq!(of(trap(number::PROTECTION, 0), &[], &mut context()), nowhere);
        let mut context = context();
        context.integers[1] = 5; // FAST_FAIL_INVALID_ARG
        assert_eq!(of(trap(number::PROTECTION, 0x14a), &[0xcd, 0x29], &mut context), (0xc000_0409, vec![5]));
    }

    #[test]
    fn a_division_fails_by_zero_or_by_a_quotient_that_is_too_long() {
        let operand = [7u64, 0, 0x100];
        let mut context = context();
        context.integers[0] = 0x00_05_00; // AH is 5, AL is 0
        context.integers[1] = operand.as_ptr().addr() as u64;
        context.integers[2] = 1;
        context.integers[9] = 1 << 32; // a zero, as far as 32 bits are concerned
        let by_zero: [&[u8]; 7] = [
            &[0xf6, 0xf0],             // div al
            &[0x41, 0xf7, 0xf1],       // div r9d
            &[0x48, 0xf7, 0x79, 0x08], // idiv qword ptr [rcx + 8]
            &[0xf7, 0xb1, 8, 0, 0, 0], // div dword ptr [rcx + 8]
            &[0xf7, 0x34, 0xd1],       // div dword ptr [rcx + rdx * 8]
            &[0xf6, 0x71, 16],         // div byte ptr [rcx + 16]
            &[0x65, 0xf7, 0x31],       // div dword ptr gs:[rcx], of which nothing is known
        ];
        let too_long: [&[u8]; 5] = [
            &[0xf6, 0xf4],                // div ah
            &[0x49, 0xf7, 0xf1],          // div r9
            &[0x66, 0xf7, 0x31],          // div word ptr [rcx]
            &[0x48, 0xf7, 0x39],          // idiv qword ptr [rcx]
            &[0x66, 0xf7, 0x74, 0xd1, 8], // div word ptr [rcx + rdx * 8 + 8]
        ];
        for code in by_zero {
            assert_eq!(of(trap(number::DIVIDE, 0), code, &mut context).0, 0xc000_0094, "{code:x?}");
        }
        for code in too_long {
            assert_eq!(of(trap(number::DIVIDE, 0), code, &mut context).0, 0xc000_0095, "{code:x?}");
        }
    }

    #[test]
    fn an_operand_is_found_from_the_instruction_that_follows() {
        let mut context = context();
        let divisor = 3u32;
        context.rip = (&raw const divisor).addr() as u64 - 6;
        assert_eq!(of(trap(number::DIVIDE, 0), &[0xf7, 0x35, 0, 0, 0, 0], &mut context).0, 0xc000_0095);
    }

    #[test]
    fn breakpoints_and_steps() {
        let mut context = context();
        context.eflags = 0x346;
        assert_eq!(of(trap(number::BREAKPOINT, 0), &[], &mut context), (0x8000_0003, vec![0]));
        assert_eq!(context.rip, 0xfff);
        assert_eq!(of(trap(number::DEBUG, 0), &[], &mut context), (0x8000_0004, vec![]));
        assert_eq!((context.rip, context.eflags), (0xfff, 0x246));
    }

    #[test]
    fn floating_point_exceptions_are_those_that_are_not_masked() {
        let mut context = context();
        context.mxcsr = 0x1f80 & !(1 << 9) | 0x21 | 4; // invalid and inexact are masked, division is not
        assert_eq!(of(trap(number::SIMD, 0), &[], &mut context).0, 0xc000_008e);
        context.float[0] = 0x037f & !8 | 0x28 << 16; // an overflow, which is inexact too
        assert_eq!(of(trap(number::X87, 0), &[], &mut context).0, 0xc000_0091);
        context.float[0] = 0x037e | 0x41 << 16;
        assert_eq!(of(trap(number::X87, 0), &[], &mut context).0, 0xc000_0092);
    }
}
