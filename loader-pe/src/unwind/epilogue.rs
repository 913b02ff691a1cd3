//! Epilogues are not in the unwind data (but for where they are, in version 2): they are known by their instructions.
//!
//! An epilogue is, from the instruction that runs next: `add rsp, n` or `lea rsp, [frame register + n]`, if that is
//! still to come; any number of `pop`; and `ret`, or a jump that leaves the function.

use super::{CHAINED, Code, Context, Function, Functions, Info, Memory, RSP};
use loader_core::{Addr, ErrorKind};

/// More registers than can be saved: what pops more is no epilogue.
const MOST_POPS: usize = 16;

/// What is left of an epilogue.
pub(super) struct Epilogue {
    /// The stack pointer, once the fixed part of the frame is released.
    pub(super) rsp: u64,
    popped: [u8; MOST_POPS],
    count: usize,
}

impl Epilogue {
    /// The registers that are popped, in that order.
    pub(super) fn pops(&self) -> impl Iterator<Item = usize> + '_ {
        self.popped[..self.count].iter().map(|&r| r.into())
    }
}

impl Functions {
    /// The rest of the epilogue that the next instruction belongs to, if it belongs to one.
    pub(super) fn epilogue(
        &self,
        memory: &impl Memory,
        function: Function,
        info: &Info,
        context: &Context,
    ) -> Result<Option<Epilogue>, ErrorKind> {
        // A function without a frame has nothing to take back: it may as well be in its body, where handlers apply.
        let frameless = info.count == 0 && info.flags & CHAINED == 0;
        if frameless || !info.may_be_epilogue(self.at(function.end).0.wrapping_sub(context.rip))? {
            return Ok(None);
        }
        let mut code = Decoder { memory, at: context.rip };
        let mut found = Epilogue { rsp: context.integers[RSP], popped: [0; MOST_POPS], count: 0 };
        if let Some(rsp) = code.release(info, context) {
            found.rsp = rsp;
        }
        while let Some(register) = code.pop() {
            let Some(place) = found.popped.get_mut(found.count) else { return Ok(None) };
            (*place, found.count) = (register, found.count + 1);
        }
        let ends = match code.end() {
            Some(End::Return) => true,
            Some(End::Jump(to)) => self.leaves(memory, function, info, Addr(to))?,
            None => false,
        };
        Ok(ends.then_some(found))
    }

    /// Whether a jump to an address leaves the function. A jump to the function's own start is a call in disguise.
    fn leaves(
        &self,
        memory: &impl Memory,
        function: Function,
        info: &Info,
        to: Addr,
    ) -> Result<bool, ErrorKind> {
        if self.rva(to).is_some_and(|rva| function.covers(rva)) {
            return Ok(to == self.at(function.begin) && info.flags & CHAINED == 0);
        }
        let Some((_, there)) = self.find(memory, to)? else { return Ok(true) };
        let there = self.primary(memory, there)?;
        Ok(there != self.primary(memory, function)? || to == self.at(there.begin))
    }

    fn primary(&self, memory: &impl Memory, piece: Function) -> Result<Function, ErrorKind> {
        let info = self.info(memory, piece)?;
        Ok(self.chain(memory, piece, info, |_| Ok(()))?.0)
    }
}

impl Info {
    /// Whether the unwind data allows for an epilogue this many bytes before the function's end.
    fn may_be_epilogue(&self, before_end: u64) -> Result<bool, ErrorKind> {
        let (mut len, mut found) = (None, false);
        for code in self.codes() {
            let (_, Code::Epilogue(low, high)) = code? else { break };
            let start = match len {
                Some(_) => u64::from(low) | u64::from(high) << 8,
                None if high & 1 != 0 => low.into(),
                None => 0,
            };
            let len = *len.get_or_insert(u64::from(low));
            found |= start.checked_sub(before_end).is_some_and(|into| into < len);
        }
        Ok(len.is_none() || found)
    }
}

/// How an epilogue ends.
enum End {
    /// With `ret`, or a jump through a pointer or a register in an encoding that jumps within a function do not have.
    Return,
    /// With a jump to an address.
    Jump(u64),
}

/// Reads the few instructions that epilogues are made of.
struct Decoder<'a, M> {
    memory: &'a M,
    /// The next instruction.
    at: u64,
}

impl<M: Memory> Decoder<'_, M> {
    /// The next bytes; zeros, which no epilogue has here, for what cannot be read.
    fn peek(&self) -> [u8; 3] {
        std::array::from_fn(|n| {
            let mut byte = [0];
            self.memory.read(Addr(self.at.wrapping_add(n as u64)), &mut byte).map_or(0, |()| byte[0])
        })
    }

    fn skip(&mut self, bytes: u64) {
        self.at = self.at.wrapping_add(bytes);
    }

    /// A signed operand of one byte or four, `skip` bytes further on.
    fn operand(&mut self, skip: u64, wide: bool) -> Option<u64> {
        self.skip(skip);
        let mut bytes = [0; 4];
        let len = if wide { 4 } else { 1 };
        self.memory.read(Addr(self.at), &mut bytes[..len])?;
        self.skip(len as u64);
        let value = if wide { i32::from_le_bytes(bytes) } else { i8::from_le_bytes([bytes[0]]).into() };
        Some(i64::from(value).cast_unsigned())
    }

    /// What `add rsp, n` or `lea rsp, [frame register + n]` leaves in the stack pointer.
    fn release(&mut self, info: &Info, context: &Context) -> Option<u64> {
        let (base, wide) = match self.peek() {
            [0x48, 0x83, 0xc4] => (RSP, false),
            [0x48, 0x81, 0xc4] => (RSP, true),
            [rex @ (0x48 | 0x49), 0x8d, modrm @ (0x60..=0x67 | 0xa0..=0xa7)] => {
                let base = (rex & 1) << 3 | modrm & 7;
                if base != info.frame || modrm & 7 == 4 {
                    return None;
                }
                (base.into(), modrm >= 0xa0)
            }
            _ => return None,
        };
        Some(context.integers[base].wrapping_add(self.operand(3, wide)?))
    }

    fn pop(&mut self) -> Option<u8> {
        let (register, len) = match self.peek() {
            [code @ (0x58..=0x5b | 0x5d..=0x5f), ..] => (code & 7, 1), // 5c is `pop rsp`
            [0x41, code @ 0x58..=0x5f, _] => (8 | code & 7, 2),
            _ => return None,
        };
        self.skip(len);
        Some(register)
    }

    fn end(&mut self) -> Option<End> {
        let wide = match self.peek() {
            [0xc3 | 0xc2, ..] | [0xf3, 0xc3, _] | [0xff, 0x25, _] => return Some(End::Return),
            // With the prefix for 64-bit operands, which does nothing here but say that this is an epilogue.
            [0x48..=0x4f, 0xff, modrm] if modrm & 0x38 == 0x20 => return Some(End::Return),
            [0xeb, ..] => false,
            [0xe9, ..] => true,
            _ => return None,
        };
        let by = self.operand(1, wide)?;
        Some(End::Jump(self.at.wrapping_add(by)))
    }
}
