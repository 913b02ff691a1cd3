//! One step of the virtual unwinder: from the registers of a frame to those of its caller, as the x64 convention
//! ("x64 exception handling", unwind procedure) has it.

use super::{
    CHAINED, Code, EXCEPTION_HANDLER, Function, Functions, Info, Memory, TERMINATION_HANDLER, bytes,
};
use crate::malformed;
use loader_core::{Addr, ErrorKind};

/// The number of the stack pointer among the integer registers.
pub const RSP: usize = 4;

/// What a frame's code sees, as far as unwinding concerns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Context {
    /// The instruction.
    pub rip: u64,
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub integers: [u64; 16],
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
}

/// Where the caller's registers were found; 0 for those that still have their value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Saved {
    /// In the order of [`Context::integers`].
    pub integers: [Addr; 16],
    /// In the order of [`Context::xmm`].
    pub xmm: [Addr; 16],
}

/// A language's routine that wants to know of exceptions in a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handler {
    /// The routine.
    pub routine: Addr,
    /// What the compiler left for it.
    pub data: Addr,
    /// It is asked whether it handles an exception.
    pub exceptions: bool,
    /// It is told when the frame is unwound.
    pub terminations: bool,
}

/// A frame that was stepped out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What its caller will see when it returns.
    pub caller: Context,
    /// Where `caller` was read from.
    pub saved: Saved,
    /// The address that stands for this activation of the function: the lowest one of the frame's fixed part.
    pub establisher: u64,
    /// Who is to be told; nobody while the prologue is not over, or the epilogue has begun.
    pub handler: Option<Handler>,
}

impl Functions {
    /// Steps out of a frame whose code is in `function`; `None` for a leaf function, which has moved no register.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] or [`ErrorKind::Unsupported`] for unwind data that cannot be followed, and for a stack
    /// that cannot be read.
    pub fn unwind(
        &self,
        memory: &impl Memory,
        function: Option<Function>,
        context: &Context,
    ) -> Result<Frame, ErrorKind> {
        let mut step = Step { memory, caller: *context, saved: Saved::default(), interrupted: false };
        let Some(function) = function else {
            step.ret()?;
            return Ok(step.frame(context.integers[RSP], None));
        };
        let info = self.info(memory, function)?;
        let offset = self.prologue_offset(function, &info, context.rip);
        let establisher = info.establisher(offset, context)?;
        // Within a prologue too: functions that have an early way out before they save all registers count it in.
        if let Some(epilogue) = self.epilogue(memory, function, &info, context)? {
            step.caller.integers[RSP] = epilogue.rsp;
            epilogue.pops().try_for_each(|register| step.pop(register))?;
            step.ret()?;
            return Ok(step.frame(establisher, None));
        }
        let mut inside = offset; // only the first piece's prologue can be unfinished
        let (primary, last) =
            self.chain(memory, function, info, |info| step.undo(info, inside.take(), establisher))?;
        if !step.interrupted {
            step.ret()?;
        }
        let over = self.prologue_offset(primary, &last, context.rip).is_none();
        let handler = if over { self.handler(memory, &last)? } else { None };
        Ok(step.frame(establisher, handler))
    }

    /// How far into its prologue a function is; `None` when that is over.
    fn prologue_offset(&self, function: Function, info: &Info, rip: u64) -> Option<u8> {
        let offset = self.rva(Addr(rip))?.checked_sub(function.begin)?;
        u8::try_from(offset).ok().filter(|&offset| offset < info.prologue)
    }

    fn handler(&self, memory: &impl Memory, info: &Info) -> Result<Option<Handler>, ErrorKind> {
        if info.flags & (EXCEPTION_HANDLER | TERMINATION_HANDLER) == 0 {
            return Ok(None);
        }
        let routine = u32::from_le_bytes(bytes(memory, info.tail(), "exception handler")?);
        Ok(Some(Handler {
            routine: self.at(routine),
            data: Addr(info.tail().0.wrapping_add(4)),
            exceptions: info.flags & EXCEPTION_HANDLER != 0,
            terminations: info.flags & TERMINATION_HANDLER != 0,
        }))
    }
}

impl Info {
    /// The lowest address of the fixed part of the frame, as far as the prologue has made it.
    fn establisher(&self, offset: Option<u8>, context: &Context) -> Result<u64, ErrorKind> {
        let is_set = match offset {
            Some(offset) if self.flags & CHAINED == 0 => self.sets_frame_until(offset)?,
            _ => true,
        };
        Ok(match self.frame {
            0 => context.integers[RSP],
            frame if is_set => self.below(frame, context),
            _ => context.integers[RSP],
        })
    }

    fn sets_frame_until(&self, offset: u8) -> Result<bool, ErrorKind> {
        for code in self.codes() {
            if matches!(code?, (at, Code::SetFrame) if at <= offset) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn below(&self, frame: u8, context: &Context) -> u64 {
        context.integers[usize::from(frame)].wrapping_sub(self.frame_offset)
    }
}

/// The caller's registers, as far as they are known.
struct Step<'a, M> {
    memory: &'a M,
    caller: Context,
    saved: Saved,
    /// The frame is the processor's: its caller is where it was interrupted, no return address is on the stack.
    interrupted: bool,
}

impl<M: Memory> Step<'_, M> {
    fn frame(self, establisher: u64, handler: Option<Handler>) -> Frame {
        Frame { caller: self.caller, saved: self.saved, establisher, handler }
    }

    fn word(&self, at: u64) -> Result<u64, ErrorKind> {
        bytes(self.memory, Addr(at), "stack").map(u64::from_le_bytes)
    }

    fn rsp(&self) -> u64 {
        self.caller.integers[RSP]
    }

    fn release(&mut self, bytes: u64) {
        self.caller.integers[RSP] = self.rsp().wrapping_add(bytes);
    }

    fn load(&mut self, register: usize, at: u64) -> Result<(), ErrorKind> {
        self.caller.integers[register] = self.word(at)?;
        self.saved.integers[register] = Addr(at);
        Ok(())
    }

    fn load_xmm(&mut self, register: usize, at: u64) -> Result<(), ErrorKind> {
        self.caller.xmm[register] = bytes(self.memory, Addr(at), "stack").map(u128::from_le_bytes)?;
        self.saved.xmm[register] = Addr(at);
        Ok(())
    }

    fn pop(&mut self, register: usize) -> Result<(), ErrorKind> {
        let at = self.rsp();
        self.release(8);
        self.load(register, at)
    }

    fn ret(&mut self) -> Result<(), ErrorKind> {
        self.caller.rip = self.word(self.rsp())?;
        self.release(8);
        Ok(())
    }

    /// Takes back what a prologue did: all of it, or its instructions up to an offset.
    fn undo(&mut self, info: &Info, offset: Option<u8>, establisher: u64) -> Result<(), ErrorKind> {
        for code in info.codes() {
            let (at, code) = code?;
            if offset.is_some_and(|offset| offset < at) {
                continue;
            }
            match code {
                Code::Push(register) => self.pop(register)?,
                Code::Allocate(bytes) => self.release(bytes),
                Code::SetFrame if info.frame == 0 => return malformed("frame register", info.at.0),
                Code::SetFrame => self.caller.integers[RSP] = info.below(info.frame, &self.caller),
                Code::Save(register, offset) => self.load(register, establisher.wrapping_add(offset))?,
                Code::SaveXmm(register, offset) => {
                    self.load_xmm(register, establisher.wrapping_add(offset))?
                }
                Code::Epilogue(..) | Code::Spare => {}
                Code::MachineFrame { error_code } => self.interruption(error_code)?,
            }
        }
        Ok(())
    }

    /// On the stack, from below: error code if any, RIP, CS, RFLAGS, RSP, SS.
    fn interruption(&mut self, error_code: bool) -> Result<(), ErrorKind> {
        let at = self.rsp().wrapping_add(if error_code { 8 } else { 0 });
        self.caller.rip = self.word(at)?;
        self.caller.integers[RSP] = self.word(at.wrapping_add(24))?;
        self.interrupted = true;
        Ok(())
    }
}
