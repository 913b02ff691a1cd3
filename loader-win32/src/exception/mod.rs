//! Exceptions of Windows code: who is asked when one is raised, how stacks are unwound, how execution goes on.
//!
//! ```text
//! RaiseException ──registers─┐
//! a fault ──signal──fault────┴─► dispatch: vectored handlers ► frame handlers, innermost first ► unhandled filter
//!                                              │ one that handles it asks for
//!                                              ▼
//!                                 unwind: termination handlers, up to the frame of the one that handles it ► restore
//! ```
//! The host's code has no unwind data of Windows' kind. Three things carry a walk over it: it begins with the registers
//! that the guest's code had when it called ([`registers`]); whatever of the guest is called during a walk is called over a
//! [`Bridge`], which says where a walk goes on that comes there from below; and between two frames of the guest, in
//! `qsort` or where a fault was in `memcpy`, the host's own unwind tables are followed ([`host`]).
//!
//! A walk ends at a guarded call ([`loader_core::call::guarded`]): at every call that the engine makes (entry points, TLS
//! callbacks, [`invoke`](loader_core::call::invoke), what a thread starts with). If nobody below has handled the
//! exception, that call returns an error, and all frames in between are abandoned. So are the host's frames that an
//! exception passes through: a function of the host that calls the guest, and owns something or holds a lock meanwhile,
//! must do so by a guarded call.
//!
//! Nothing of Rust that needs a destructor may be alive when the guest is called here: it may never return.
//!
//! Read `functions` (unwind data by address) → `walk` (the two passes) → `scope` (`__try`, `__finally`) → `registers`
//! (the machine code) → `fault` and `trap` (what the processor says) → `host`.
#![allow(unsafe_code)] // records and stacks of the guest are followed by address
#![allow(non_snake_case)]

mod context;
pub(crate) mod debug;
pub(crate) mod fault;
pub(crate) mod functions;
mod host;
pub(crate) mod registers;
pub(crate) mod saved;
pub(crate) mod scope;
mod shared_data;
mod trap;
pub(crate) mod vectored;
pub(crate) mod walk;

use crate::{guest::Ptr, memory};
use loader_core::{
    Addr,
    exception::{Raised, Registers},
};
use loader_pe::unwind::Context;

/// `EXCEPTION_RECORD`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Record {
    pub(crate) code: u32,
    pub(crate) flags: u32,
    pub(crate) cause: usize,
    pub(crate) address: u64,
    pub(crate) count: u32,
    pub(crate) information: [u64; 15],
}

/// `EXCEPTION_POINTERS`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pointers {
    pub(crate) record: Ptr<Record>,
    pub(crate) context: Ptr<ContextRecord>,
}

/// The exception may not be answered by going on where it was raised.
pub(crate) const NONCONTINUABLE: u32 = 1;
/// Frames are being unwound: handlers clean up and decide nothing.
pub(crate) const UNWINDING: u32 = 2;
/// ... all of them, because the thread ends.
pub(crate) const EXIT_UNWIND: u32 = 4;
/// The walk left the stack.
pub(crate) const STACK_INVALID: u32 = 8;
/// The handler that is asked has itself called what raised the exception.
pub(crate) const NESTED_CALL: u32 = 0x10;
/// This frame is the last to be unwound.
pub(crate) const TARGET_UNWIND: u32 = 0x20;
/// The frame was being unwound already when this unwinding began.
pub(crate) const COLLIDED_UNWIND: u32 = 0x40;

/// Status numbers of `ntstatus.h`.
pub(crate) mod status {
    pub(crate) const LONGJUMP: u32 = 0x8000_0026;
    pub(crate) const UNWIND_CONSOLIDATE: u32 = 0x8000_0029;
    pub(crate) const NONCONTINUABLE_EXCEPTION: u32 = 0xc000_0025;
    pub(crate) const INVALID_DISPOSITION: u32 = 0xc000_0026;
    pub(crate) const UNWIND: u32 = 0xc000_0027;
    pub(crate) const BAD_STACK: u32 = 0xc000_0028;
    pub(crate) const BAD_FUNCTION_TABLE: u32 = 0xc000_00ff;
}

/// `CONTEXT` of x86-64.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContextRecord {
    homes: [u64; 6],
    pub(crate) flags: u32,
    pub(crate) mxcsr: u32,
    segments: [u16; 6],
    pub(crate) eflags: u32,
    debug: [u64; 6],
    pub(crate) integers: [u64; 16],
    pub(crate) rip: u64,
    /// What `fxsave` stores before the XMM registers: the x87 state.
    float: [u128; 10],
    pub(crate) xmm: [u128; 16],
    float_rest: [u128; 6],
    vectors: [u128; 26],
    control: [u64; 6],
}

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Record>() == 0x98 && offset_of!(Record, information) == 0x20);
    assert!(size_of::<ContextRecord>() == 0x4d0);
    assert!(offset_of!(ContextRecord, integers) == 0x78 && offset_of!(ContextRecord, rip) == 0xf8);
    assert!(offset_of!(ContextRecord, float) == 0x100 && offset_of!(ContextRecord, xmm) == 0x1a0);
};

/// What FXSAVE stores.
type Float = [u128; 32];

// Which parts of a context are meant; each comes with the bit for x86-64.
const CONTROL: u32 = 1;
const INTEGER: u32 = 2;
const SEGMENTS: u32 = 4;
const FLOATING_POINT: u32 = 8;
/// Everything but debug registers.
const WHOLE: u32 = 0x10_0000 | CONTROL | INTEGER | SEGMENTS | FLOATING_POINT;

/// The number of RAX, which carries what a function returns.
pub(crate) const RAX: usize = 0;

impl Record {
    /// What is told to whoever called into the Windows code, if nobody handles it.
    fn raised(&self, context: &ContextRecord) -> Raised {
        let ContextRecord { rip, eflags: flags, integers, .. } = *context;
        Raised {
            code: self.code,
            at: Addr(self.address),
            count: self.count,
            information: self.information,
            registers: Registers { rip, flags, integers },
        }
    }
}

impl ContextRecord {
    /// Nothing in any register.
    const EMPTY: Self = Self {
        homes: [0; 6],
        flags: 0,
        mxcsr: 0,
        segments: [0; 6],
        eflags: 0,
        debug: [0; 6],
        integers: [0; 16],
        rip: 0,
        float: [0; 10],
        xmm: [0; 16],
        float_rest: [0; 6],
        vectors: [0; 26],
        control: [0; 6],
    };

    /// What unwinding is about.
    pub(crate) fn registers(&self) -> Context {
        Context { rip: self.rip, integers: self.integers, xmm: self.xmm }
    }

    /// Replaces it.
    pub(crate) fn set(&mut self, registers: &Context) {
        (self.rip, self.integers, self.xmm) = (registers.rip, registers.integers, registers.xmm);
    }
}

/// `DISPATCHER_CONTEXT`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dispatcher {
    pub(crate) pc: u64,
    pub(crate) base: u64,
    pub(crate) function: u64,
    pub(crate) establisher: u64,
    pub(crate) target: u64,
    pub(crate) context: Ptr<ContextRecord>,
    pub(crate) routine: u64,
    pub(crate) data: u64,
    pub(crate) history: u64,
    pub(crate) scope: u32,
}

/// What a walk does that comes, from code of the guest that the host called, to the host.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bridge {
    pub(crate) kind: Kind,
    /// The guest's registers before the host came in between, or those of the frame that is unwound: a copy, because
    /// what handlers are shown they may write to.
    pub(crate) context: ContextRecord,
}

/// What the host called the guest for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// To ask a frame whether it handles an exception.
    Asking(Ptr<Dispatcher>),
    /// To tell a frame that it is unwound.
    Unwinding(Ptr<Dispatcher>),
    /// Anything else.
    Calling,
}

impl Bridge {
    /// Calls a function of the guest, up to four arguments. It may never return: nothing on the caller's stack may need
    /// a destructor.
    pub(crate) fn call(&self, function: u64, arguments: [u64; 4]) -> u64 {
        // SAFETY: the function is one that the guest registered, or its unwind data names, for these arguments.
        unsafe { registers::call_guest(&raw const arguments, function, self) }
    }
}

/// Copies what can be read at an address, without ever faulting, and says how much that was.
pub(crate) fn peek(from: u64, to: &mut [u8]) -> usize {
    // SAFETY: a slice of ours, which nobody else uses meanwhile.
    memory::host::peek(std::process::id(), from, unsafe { Ptr::new(to.as_mut_ptr()) }, to.len())
}

/// Raises an exception in the guest's code that called the host, for which it cannot go on there. It may never return: nothing on
/// the caller's stack may need a destructor.
pub(crate) fn raise(code: u32, information: &[u64]) {
    let at = registers::RaiseException as *const ();
    // SAFETY: the function takes these arguments; what it is declared without is what it finds in registers.
    let raise = unsafe {
        std::mem::transmute::<*const (), unsafe extern "win64" fn(u32, u32, usize, *const u64)>(at)
    };
    // SAFETY: the numbers are there as long as the call lasts.
    unsafe { raise(code, NONCONTINUABLE, information.len(), information.as_ptr()) }
}

/// Something of ours that the guest is shown while it is called.
pub(crate) fn local<T>(it: &mut T) -> Ptr<T> {
    // SAFETY: it lies on the stack below every frame that is shown it, and is used through this pointer only.
    unsafe { Ptr::new(it) }
}
