//! A thread's registers on request, its own among them: what it has when the function that it asks returns.

use super::{CONTROL, ContextRecord, FLOATING_POINT, INTEGER, RAX, SEGMENTS, local, registers::resume};
use crate::{
    guest::Ptr,
    kernel32::{Bool, answer, error::code, suspend, thread::is_current},
    nt::{objects::done, status, thread::right},
};
use loader_pe::unwind::RSP;

const DEBUG_REGISTERS: u32 = 0x10;

/// The parts that `parts` names, of one context into another. Of the debug registers there are none here: they are zero.
fn copy(parts: u32, from: &ContextRecord, to: &mut ContextRecord) {
    let has = |part| parts & part != 0;
    for (n, (from, to)) in from.integers.iter().zip(&mut to.integers).enumerate() {
        if has(if n == RSP { CONTROL } else { INTEGER }) {
            *to = *from;
        }
    }
    if has(CONTROL) {
        (to.rip, to.eflags) = (from.rip, from.eflags);
        (to.segments[0], to.segments[5]) = (from.segments[0], from.segments[5]);
    }
    if has(SEGMENTS) {
        to.segments[1..5].copy_from_slice(&from.segments[1..5]);
    }
    if has(FLOATING_POINT) {
        (to.mxcsr, to.float, to.xmm, to.float_rest) = (from.mxcsr, from.float, from.xmm, from.float_rest);
    }
    if has(DEBUG_REGISTERS) {
        to.debug.fill(0);
    }
}

/// Whether breakpoints in debug registers are asked for, which only a debugger of the host could set.
fn wants_breakpoints(context: &ContextRecord) -> bool {
    const DR7: usize = 5;
    context.flags & DEBUG_REGISTERS != 0 && context.debug[DR7] & 0xff != 0
}

/// Reads a thread's registers: those of the own one, or of one that is suspended.
fn read(own: Ptr<ContextRecord>, handle: usize, to: Ptr<ContextRecord>) -> Result<(), u32> {
    if to.is_null() {
        return Err(code::NOACCESS);
    }
    if !is_current(handle, right::GET_CONTEXT)? {
        return suspend::read(handle, to);
    }
    let mut given = to.get();
    copy(given.flags, &own.get(), &mut given);
    to.set(given);
    Ok(())
}

/// Has a thread go on with other registers. The own one goes on at once, with `success` as what this function returns.
fn write(own: Ptr<ContextRecord>, handle: usize, from: Ptr<ContextRecord>, success: u64) -> Result<(), u32> {
    if from.is_null() {
        return Err(code::NOACCESS);
    }
    let wanted = from.get();
    if wants_breakpoints(&wanted) {
        return Err(code::NOT_SUPPORTED);
    }
    if !is_current(handle, right::SET_CONTEXT)? {
        return suspend::write(handle, from);
    }
    let mut now = own.get();
    copy(wanted.flags, &wanted, &mut now);
    now.integers[RAX] = success;
    resume(local(&mut now))
}

/// What both functions are given: a thread, and a context of the caller's.
type Arguments = (usize, Ptr<ContextRecord>);

/// `GetThreadContext(thread, context)`
pub(super) extern "win64" fn get(own: Ptr<ContextRecord>, arguments: Ptr<Arguments>) -> Bool {
    let (handle, to) = arguments.get();
    answer(read(own, handle, to))
}

/// `NtGetContextThread(thread, context)`
pub(super) extern "win64" fn nt_get(own: Ptr<ContextRecord>, arguments: Ptr<Arguments>) -> u32 {
    let (handle, to) = arguments.get();
    done(read(own, handle, to).map_err(status::of))
}

/// `SetThreadContext(thread, context)`
pub(super) extern "win64" fn set(own: Ptr<ContextRecord>, arguments: Ptr<Arguments>) -> Bool {
    let (handle, from) = arguments.get();
    answer(write(own, handle, from, 1))
}

/// `NtSetContextThread(thread, context)`
pub(super) extern "win64" fn nt_set(own: Ptr<ContextRecord>, arguments: Ptr<Arguments>) -> u32 {
    let (handle, from) = arguments.get();
    done(write(own, handle, from, 0).map_err(status::of))
}
