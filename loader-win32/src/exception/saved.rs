//! Registers as the kernel has saved them for a signal handler, and as a `CONTEXT` has them.
//!
//! Unsafe because the kernel leads to the floating-point registers by address.

use super::{CONTROL, ContextRecord, FLOATING_POINT, Float, INTEGER, SEGMENTS};
use libc::{c_int, ucontext_t};
use loader_core::signals::INTEGERS;

/// What Windows has in CS, DS, ES, FS, GS and SS. What most of them select is of no consequence; the host has other numbers.
const SEGMENTS_OF_USERS: [u16; 6] = [0x33, 0x2b, 0x2b, 0x53, 0x2b, 0x2b];

/// Which integer registers a part has.
fn integers(parts: u32) -> impl Iterator<Item = (usize, usize)> {
    let wanted =
        move |register: c_int| parts & if register == libc::REG_RSP { CONTROL } else { INTEGER } != 0;
    INTEGERS.into_iter().enumerate().filter(move |(_, r)| wanted(*r)).map(|(n, r)| (n, r as usize))
}

/// The parts of a context that its flags name, as they were saved. For signal handlers, too.
pub(crate) fn get(from: &ucontext_t, to: &mut ContextRecord) {
    let (parts, registers) = (to.flags, &from.uc_mcontext.gregs);
    integers(parts).for_each(|(n, at)| to.integers[n] = registers[at].cast_unsigned());
    if parts & CONTROL != 0 {
        to.rip = registers[libc::REG_RIP as usize].cast_unsigned();
        to.eflags = registers[libc::REG_EFL as usize] as u32;
        (to.segments[0], to.segments[5]) = (SEGMENTS_OF_USERS[0], SEGMENTS_OF_USERS[5]);
    }
    if parts & SEGMENTS != 0 {
        to.segments[1..5].copy_from_slice(&SEGMENTS_OF_USERS[1..5]);
    }
    let float = from.uc_mcontext.fpregs.cast::<Float>();
    // SAFETY: the kernel leads to the state that it saved, as FXSAVE does, or nowhere.
    if let Some(float) = unsafe { float.as_ref() }.filter(|_| parts & FLOATING_POINT != 0) {
        let (x87, rest) = float.split_at(to.float.len());
        let (xmm, rest) = rest.split_at(to.xmm.len());
        to.float.copy_from_slice(x87);
        to.xmm.copy_from_slice(xmm);
        to.float_rest.copy_from_slice(rest);
        to.mxcsr = (to.float[MXCSR] >> 64) as u32;
    }
}

/// Which part of what FXSAVE stores has MXCSR in its upper half.
const MXCSR: usize = 1;

/// Has a thread go on with those parts of a context that its flags name.
pub(crate) fn set(from: &ContextRecord, to: &mut ucontext_t) {
    let (parts, registers) = (from.flags, &mut to.uc_mcontext.gregs);
    integers(parts).for_each(|(n, at)| registers[at] = from.integers[n].cast_signed());
    if parts & CONTROL != 0 {
        registers[libc::REG_RIP as usize] = from.rip.cast_signed();
        registers[libc::REG_EFL as usize] = from.eflags.into();
    }
    let float = to.uc_mcontext.fpregs.cast::<Float>();
    // SAFETY: as above; the thread waits, and goes on with what is there then.
    if let Some(float) = unsafe { float.as_mut() }.filter(|_| parts & FLOATING_POINT != 0) {
        let (x87, rest) = float.split_at_mut(from.float.len());
        x87.copy_from_slice(&from.float);
        x87[MXCSR] = x87[MXCSR] & !(0xffff_ffff << 64) | u128::from(from.mxcsr) << 64;
        rest[..from.xmm.len()].copy_from_slice(&from.xmm); // what follows is the kernel's
    }
}
