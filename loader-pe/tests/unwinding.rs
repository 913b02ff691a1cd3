//! The unwinder on tables and code written by hand: what compilers rarely write, and what none would.
//!
//! Expected registers follow from the instructions that the unwind codes stand for ("x64 exception handling").

use loader_core::{Addr, ErrorKind};
use loader_pe::unwind::{Context, Frame, Function, Functions, Handler, RSP};

const BASE: u64 = 0x10_0000;
const TABLE: u32 = 0x100;
const INFO: u32 = 0x200;
const CODE: u32 = 0x1000;
const STACK: u64 = 0x7000_0000;

const RBX: usize = 3;
const RBP: usize = 5;
const RSI: usize = 6;
const RDI: usize = 7;

/// An image in a buffer. The word of the stack at an address is the address plus one.
struct Made {
    image: Vec<u8>,
    count: u32,
}

impl Made {
    /// One function of `len` bytes that does nothing, with unwind data.
    fn new(len: u32, info: &[u8]) -> Self {
        let mut made = Self { image: vec![0x90; 0x2000], count: 0 };
        made.list(CODE, CODE + len, INFO);
        made.at(INFO, info)
    }

    /// One more entry of the table.
    fn list(&mut self, begin: u32, end: u32, unwind: u32) {
        let at = (TABLE + 12 * self.count) as usize;
        self.image[at..at + 12].copy_from_slice(&entry(begin, end, unwind));
        self.count += 1;
    }

    fn at(mut self, at: u32, bytes: &[u8]) -> Self {
        self.image[at as usize..][..bytes.len()].copy_from_slice(bytes);
        self
    }

    fn functions(&self) -> Functions {
        Functions { base: Addr(BASE), table: Addr(BASE + u64::from(TABLE)), count: self.count }
    }

    fn read(&self, at: Addr, to: &mut [u8]) -> Option<()> {
        if (STACK..STACK + 0x1000).contains(&at.0) {
            let words = to.chunks_mut(8).zip((at.0..).step_by(8));
            words.for_each(|(to, at)| to.copy_from_slice(&(at + 1).to_le_bytes()[..to.len()]));
            return Some(());
        }
        let from = usize::try_from(at.0.checked_sub(BASE)?).ok()?;
        to.copy_from_slice(self.image.get(from..from.checked_add(to.len())?)?);
        Some(())
    }

    fn find(&self, at: u32) -> Result<Option<(Addr, Function)>, ErrorKind> {
        self.functions().find(&|at: Addr, to: &mut [u8]| self.read(at, to), Addr(BASE + u64::from(at)))
    }

    /// Steps out of a frame at an offset in the function.
    fn step(&self, offset: u32) -> Result<Frame, ErrorKind> {
        let at = CODE + offset;
        let found = self.find(at)?.map(|f| f.1);
        self.functions().unwind(&|at: Addr, to: &mut [u8]| self.read(at, to), found, &registers(at))
    }
}

fn entry(begin: u32, end: u32, unwind: u32) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (to, word) in bytes.chunks_mut(4).zip([begin, end, unwind]) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn registers(at: u32) -> Context {
    let mut integers: [u64; 16] = std::array::from_fn(|n| 1000 + n as u64);
    (integers[RSP], integers[RBP]) = (STACK, STACK + 0x100);
    Context { rip: BASE + u64::from(at), integers, xmm: std::array::from_fn(|n| n as u128) }
}

/// What a word of the stack is.
fn word(offset: u64) -> u64 {
    STACK + offset + 1
}

/// The caller: return address, stack pointer, and other registers.
#[track_caller]
fn caller(frame: &Frame, rip: u64, rsp: u64, others: &[(usize, u64)]) {
    let mut integers = registers(0).integers;
    integers[RSP] = rsp;
    others.iter().for_each(|&(register, value)| integers[register] = value);
    assert_eq!((frame.caller.rip, frame.caller.integers), (rip, integers));
}

fn malformed<T: std::fmt::Debug>(result: Result<T, ErrorKind>) -> (&'static str, u64) {
    match result {
        Err(ErrorKind::Malformed { what, at }) => (what, at - BASE),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_leaf_function_has_moved_nothing() {
    let made = Made::new(16, &[1, 0, 0, 0]);
    assert_eq!((made.find(CODE - 1), made.find(CODE + 16)), (Ok(None), Ok(None)));
    assert_eq!(made.find(CODE + 15), made.find(CODE));
    caller(&made.step(16).unwrap(), word(0), STACK + 8, &[]);
}

#[test]
fn each_code_takes_back_one_instruction() {
    // push rbx; push rbp; sub rsp, 0x40; lea rbp, [rsp + 0x20]; mov [..+0x10], rsi; mov [..+0x18], rdi; movaps twice
    let info = [
        1, 40, 14, 0x25, // version 1, prologue of 40 bytes, frame register RBP at 0x20
        40, 0x99, 0x30, 0, 0, 0, // xmm9 at 0x30
        34, 0x68, 2, 0, // xmm6 at 2 * 16
        28, 0x75, 0x18, 0, 0, 0, // rdi at 0x18
        20, 0x64, 2, 0, // rsi at 2 * 8
        12, 0x03, // lea rbp
        7, 0x72, // sub rsp, 7 * 8 + 8
        3, 0x50, 2, 0x30, // push rbp, push rbx
    ];
    let made = Made::new(0x80, &info);
    // In the body the frame register says where the frame is; the stack pointer may be anywhere.
    let frame = made.step(0x60).unwrap();
    let base = STACK + 0x100 - 0x20;
    assert_eq!(frame.establisher, base);
    let at = |offset: u64| base + offset + 1;
    caller(
        &frame,
        at(0x50),
        base + 0x58,
        &[(RBX, at(0x48)), (RBP, at(0x40)), (RSI, at(0x10)), (RDI, at(0x18))],
    );
    let xmm = |offset: u64| u128::from(at(offset)) | u128::from(at(offset + 8)) << 64;
    assert_eq!((frame.caller.xmm[6], frame.caller.xmm[9], frame.caller.xmm[7]), (xmm(0x20), xmm(0x30), 7));
    assert_eq!((frame.saved.integers[RSI], frame.saved.xmm[9]), (Addr(base + 0x10), Addr(base + 0x30)));
    assert_eq!(frame.saved.integers[12], Addr(0));
    // After the second push, and after the allocation, when the frame register is not set yet.
    caller(&made.step(3).unwrap(), word(0x10), STACK + 0x18, &[(RBX, word(8)), (RBP, word(0))]);
    let frame = made.step(8).unwrap();
    assert_eq!(frame.establisher, STACK);
    caller(&frame, word(0x50), STACK + 0x58, &[(RBX, word(0x48)), (RBP, word(0x40))]);
    caller(&made.step(0).unwrap(), word(0), STACK + 8, &[]);
}

#[test]
fn large_frames_come_in_two_sizes() {
    let small = Made::new(64, &[1, 7, 2, 0, 7, 0x01, 0x20, 0]);
    caller(&small.step(16).unwrap(), word(0x100), STACK + 0x108, &[]);
    let large = Made::new(64, &[1, 7, 3, 0, 7, 0x11, 0x08, 1, 0, 0]);
    caller(&large.step(16).unwrap(), word(0x108), STACK + 0x110, &[]);
}

#[test]
fn a_machine_frame_says_where_the_processor_was() {
    let plain = Made::new(64, &[1, 0, 2, 0, 0, 0x02, 0, 0x0a]);
    caller(&plain.step(8).unwrap(), word(8), word(0x20), &[]);
    let with_code = Made::new(64, &[1, 0, 1, 0, 0, 0x1a]);
    caller(&with_code.step(8).unwrap(), word(8), word(0x20), &[]);
}

#[test]
fn a_chained_piece_is_unwound_with_what_it_belongs_to() {
    // The piece saved RSI in the frame of a function that pushed RBX and has 0x20 bytes and a handler.
    let mut made = Made::new(64, &[1 | 3 << 3, 5, 2, 0, 5, 0x32, 1, 0x30, 0x44, 0x33, 0x22, 0x11, 0xee]);
    made.list(CODE + 64, CODE + 96, INFO + 32);
    let piece = [1 | 4 << 3, 4, 2, 0, 4, 0x64, 6, 0];
    let made = made.at(INFO + 32, &piece).at(INFO + 40, &entry(CODE, CODE + 64, INFO));
    let frame = made.step(80).unwrap();
    caller(&frame, word(0x28), STACK + 0x30, &[(RBX, word(0x20)), (RSI, word(0x30))]);
    let handler = Handler {
        routine: Addr(BASE + 0x1122_3344),
        data: Addr(BASE + u64::from(INFO) + 12),
        exceptions: true,
        terminations: true,
    };
    assert_eq!(frame.handler, Some(handler));
    // In the piece's own prologue RSI still is where it was, and the handler applies; in the function's it does not.
    let frame = made.step(64).unwrap();
    caller(&frame, word(0x28), STACK + 0x30, &[(RBX, word(0x20))]);
    assert_eq!((frame.handler, made.step(4).unwrap().handler), (Some(handler), None));
}

#[test]
fn an_entry_may_stand_for_another() {
    let mut made = Made::new(64, &[1, 1, 1, 0, 1, 0x30]);
    made.list(CODE + 64, CODE + 96, TABLE + 1);
    assert_eq!(made.find(CODE + 70), made.find(CODE));
    caller(&made.step(70).unwrap(), word(8), STACK + 16, &[(RBX, word(0))]);
}

/// `push rbx; push rdi; sub rsp, 0x20`, and in the body whatever is to be tried.
fn with_body(info: [u8; 2], code: &[u8]) -> Made {
    let [first, frame] = info;
    Made::new(64, &[first, 6, 3, frame, 6, 0x32, 2, 0x70, 1, 0x30]).at(CODE + 16, code)
}

#[test]
fn what_is_left_of_an_epilogue_is_carried_out() {
    /// Code, how far the stack pointer is from the return address, and where registers are popped from.
    type Out<'a> = (&'a [u8], u64, &'a [(usize, u64)]);
    let out: [Out<'_>; 8] = [
        (b"\x48\x83\xc4\x20\x5f\x5b\xc3", 0x30, &[(RDI, 0x20), (RBX, 0x28)]), // add rsp, 0x20; pop rdi; pop rbx; ret
        (b"\x48\x81\xc4\x20\0\0\0\x5f\x5b\xf3\xc3", 0x30, &[(RDI, 0x20), (RBX, 0x28)]), // ...; rep ret
        (b"\x5f\x5b\xc2\x08\0", 0x10, &[(RDI, 0), (RBX, 8)]),
        (b"\x5b\x48\xff\xe0", 8, &[(RBX, 0)]), // pop rbx; rex.w jmp rax
        (b"\x41\x5c\xff\x25\0\0\0\0", 8, &[(12, 0)]), // pop r12; jmp [rip]
        (b"\xc3", 0, &[]),
        (b"\xe9\0\x01\0\0", 0, &[]), // to another function
        (b"\xeb\xee", 0, &[]),       // to the function's own start: it calls itself
    ];
    for (code, rsp, popped) in out {
        let frame = with_body([1, 0], code).step(16).unwrap();
        let popped: Vec<_> = popped.iter().map(|&(register, at)| (register, word(at))).collect();
        caller(&frame, word(rsp), STACK + rsp + 8, &popped);
        assert_eq!(frame.handler, None);
    }
    // lea rsp, [rbp - 8]; pop rdi; pop rbx; ret
    let frame = with_body([1, 0x05], b"\x48\x8d\x65\xf8\x5f\x5b\xc3").step(16).unwrap();
    caller(&frame, word(0x108), STACK + 0x110, &[(RDI, word(0xf8)), (RBX, word(0x100))]);
}

#[test]
fn what_only_looks_like_an_epilogue_is_body() {
    let body: [&[u8]; 9] = [
        b"\xeb\x10",             // jmp within the function
        b"\xff\x24\xc1",         // jmp [rcx + rax * 8]: a switch
        b"\xff\xe0",             // jmp rax: the same
        b"\x49\x83\xc4\x20\xc3", // add r12, 0x20; ret
        b"\x48\x8d\x65\xf8\xc3", // lea rsp, [rbp - 8], where RBP is no frame register
        b"\x5f\x90\xc3",         // pop rdi; nop; ret
        b"\x5c\xc3",             // pop rsp; ret
        b"\x48\x83\xc4\x20\x48\x83\xc4\x20\xc3",
        &[0x5b; 17],
    ];
    for code in body {
        let frame = with_body([1, 0], code).step(16).unwrap();
        caller(&frame, word(0x30), STACK + 0x38, &[(RBX, word(0x28)), (RDI, word(0x20))]);
    }
}

#[test]
fn an_epilogue_may_come_before_the_prologue_is_over() {
    // An early way out: push rbx; test …; jz …; pop rbx; ret, and only then the rest of a prologue of 16 bytes.
    let made = Made::new(64, &[1, 16, 2, 0, 16, 0x32, 1, 0x30]).at(CODE + 8, b"\x5b\xc3");
    caller(&made.step(8).unwrap(), word(8), STACK + 16, &[(RBX, word(0))]);
    caller(&made.step(9).unwrap(), word(0), STACK + 8, &[]);
}

#[test]
fn version_two_says_where_epilogues_are() {
    // push rbx, and two epilogues of 2 bytes: one at the end, one that begins 0x20 bytes before the end.
    let made = Made::new(64, &[2, 1, 3, 0, 2, 0x16, 0x20, 0x06, 1, 0x30]);
    let made = made.at(CODE + 32, b"\x5b\xc3").at(CODE + 62, b"\x5b\xc3").at(CODE + 41, b"\xc3");
    for ret in [33, 63] {
        caller(&made.step(ret).unwrap(), word(0), STACK + 8, &[]);
    }
    // The same instruction where no epilogue is said to be: data, or somebody else's code.
    caller(&made.step(41).unwrap(), word(8), STACK + 16, &[(RBX, word(0))]);
    // A spare code has two slots more; what they say is nothing.
    let spare = Made::new(64, &[2, 1, 4, 0, 0, 0x07, 0xff, 0xff, 0xff, 0xff, 1, 0x30]);
    caller(&spare.step(8).unwrap(), word(8), STACK + 16, &[(RBX, word(0))]);
}

#[test]
fn hostile_tables_are_refused() {
    // A chain that leads to itself, from the function and from the entry.
    let chained = Made::new(64, &[1 | 4 << 3, 0, 0, 0]).at(INFO + 4, &entry(CODE, CODE + 64, INFO));
    assert_eq!(malformed(chained.step(8)).0, "chain of unwind data without an end");
    let mut turning = Made::new(64, &[1, 0, 0, 0]);
    turning.list(CODE + 64, CODE + 96, TABLE + 12 + 1);
    assert_eq!(
        malformed(turning.find(CODE + 64)),
        ("function entries without an end", u64::from(TABLE) + 12)
    );
    // Codes that do not exist, and codes whose operand is missing.
    for code in
        [[0, 0x0b], [0, 0x06], [0, 0x07], [0, 0x21], [0, 0x2a], [0, 0x01], [0, 0x11], [0, 0x34], [0, 0x39]]
    {
        let made = Made::new(64, &[1, 0, 1, 0, code[0], code[1]]);
        assert_eq!(malformed(made.step(8)), ("unwind code", INFO.into()), "{code:x?}");
    }
    let made = Made::new(64, &[1, 0, 1, 0, 0, 0x03]);
    assert_eq!(malformed(made.step(8)), ("frame register", INFO.into()));
    for version in [0, 3, 7] {
        let unsupported = ErrorKind::Unsupported { what: "version of unwind data", value: version.into() };
        assert_eq!(Made::new(64, &[version, 0, 0, 0]).step(8), Err(unsupported));
    }
    // Unwind data, its codes, its tail, the table and the stack outside what can be read.
    let mut outside = Made::new(64, &[1, 0, 0, 0]);
    outside.list(CODE + 64, CODE + 96, 0xffff_fff0);
    assert_eq!(malformed(outside.step(70)), ("unwind data", 0xffff_fff0));
    let mut short = Made::new(64, &[1, 0, 0, 0]).at(0x1ff8, &[1, 0, 3, 0]);
    short.list(CODE + 64, CODE + 96, 0x1ff8);
    assert_eq!(malformed(short.step(70)).0, "unwind codes");
    let mut tail = Made::new(64, &[1, 0, 0, 0]).at(0x1ffc, &[1 | 1 << 3, 0, 0, 0]);
    tail.list(CODE + 64, CODE + 96, 0x1ffc);
    assert_eq!(malformed(tail.step(70)).0, "exception handler");
    let made = Made { count: u32::MAX, ..Made::new(64, &[1, 0, 0, 0]) };
    assert_eq!(malformed(made.find(CODE)).0, "function table");
    let deep = Made::new(64, &[1, 7, 3, 0, 7, 0x11, 0, 0, 0, 0x7f]);
    assert!(matches!(deep.step(16), Err(ErrorKind::Malformed { what: "stack", .. })));
}

#[test]
fn any_unwind_data_comes_to_an_end() {
    // Every first byte with every count, over data that is a pattern: an answer or an error, never a panic.
    for first in 0..=255 {
        for count in [0, 1, 2, 7, 255] {
            let data: Vec<u8> = (0..600u32).map(|n| (n * 37 + u32::from(first) * 11) as u8).collect();
            let made = Made::new(64, &data).at(INFO, &[first, 3, count, data[0]]);
            (0..8).for_each(|offset| drop(made.step(offset)));
        }
    }
}
