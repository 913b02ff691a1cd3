//! Stepping out of the host's code, by the unwind tables of its kind: from a fault in a function of ours that the guest
//! called, or from a callback, to the guest's code that called the host.
//!
//! A walk comes through what this crate and the C library have between two frames of the guest. It ends at the innermost
//! [guarded call](loader_core::call::guarded), whose caller is told by an error, and where there are no tables. What it
//! finds in registers that the Windows convention keeps is what the guest had in them: the compiler says of its `extern
//! "win64"` functions where those are, XMM6 to XMM15 among them.
//!
//! Nothing is allocated and no lock of ours is taken: the fault may have been in the middle of anything. The system's
//! loader is asked for the tables of its modules, which it answers under a lock of its own that a thread may take twice.

use super::{ContextRecord, functions, registers, walk::on_stack};
use crate::kernel32::thread::calls_for_guest;
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, NativeEndian, Pointer, Register, RegisterRule,
    UnwindContext, UnwindContextStorage, UnwindSection, UnwindTableRow,
};
use loader_core::{Addr, index};
use loader_pe::unwind::RSP;
use std::{
    ffi::{c_int, c_void},
    ptr::with_exposed_provenance,
    slice,
};

/// Where the address of a frame's code comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// It is the next instruction to be executed.
    Next,
    /// It is what a call returns to, which may lie behind the end of the function that made the call.
    Returned,
}

/// Whether there are unwind tables for an address: it is in code of the host.
pub(super) fn has(at: u64) -> bool {
    Tables::of(at).is_some()
}

/// The registers of the guest's code, or of a bridge to it, from which the host's code came to be called.
pub(super) fn caller(context: &ContextRecord, mut code: Code) -> Option<ContextRecord> {
    let end = loader_core::call::innermost().map_or(u64::MAX, |guard| guard.0);
    let mut current = *context;
    if code == Code::Next && !has(current.rip) {
        current = returned(&current)?; // somebody called an address where nothing is
        code = Code::Returned;
        if functions::find(current.rip).is_some() {
            return Some(current);
        }
    }
    while current.integers[RSP] < end {
        current = step(&current, code)?;
        code = Code::Returned;
        if registers::bridge(&current).is_some() || functions::find(current.rip).is_some() {
            return Some(current);
        }
    }
    None
}

/// Whether the host's code called what is to be executed, and not because the guest said that a thread or a fiber begins there. What was returned to, as a library that freed itself is, lies below
/// the stack pointer, and what lies above it says nothing.
pub(super) fn called(context: &ContextRecord) -> bool {
    let below = context.integers[RSP].wrapping_sub(8);
    let came_back = on_stack(below) && functions::word(below) == context.rip;
    let by_host = |rip| has(rip) && !calls_for_guest(rip);
    !came_back && returned(context).is_some_and(|caller| by_host(caller.rip))
}

/// Steps out of a function that has no frame.
fn returned(context: &ContextRecord) -> Option<ContextRecord> {
    let mut caller = *context;
    let rsp = &mut caller.integers[RSP];
    if !on_stack(*rsp) {
        return None;
    }
    caller.rip = functions::word(*rsp);
    *rsp += 8;
    Some(caller)
}

/// Steps out of one frame.
fn step(context: &ContextRecord, code: Code) -> Option<ContextRecord> {
    let at = context.rip.checked_sub((code == Code::Returned).into())?;
    let tables = Tables::of(at)?;
    let mut room = UnwindContext::<usize, Room>::new_in();
    let bases = BaseAddresses::default().set_eh_frame_hdr(tables.header);
    let header = EhFrameHdr::new(tables.bytes(tables.header)?, NativeEndian).parse(&bases, 8).ok()?;
    let Pointer::Direct(frames) = header.eh_frame_ptr() else { return None };
    let bases = bases.set_eh_frame(frames);
    let section = EhFrame::new(tables.bytes(frames)?, NativeEndian);
    let row =
        header.table()?.unwind_info_for_address(&section, &bases, &mut room, at, |section, bases, offset| {
            section.cie_from_offset(bases, offset)
        });
    follow(row.ok()?, context)
}

/// The caller's registers.
fn follow(row: &UnwindTableRow<usize, Room>, context: &ContextRecord) -> Option<ContextRecord> {
    const RETURN_ADDRESS: Register = Register(16);
    let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else { return None };
    let frame = integer(context, *register)?.wrapping_add_signed(*offset);
    if frame <= context.integers[RSP] || !on_stack(frame - 8) {
        return None;
    }
    let mut caller = *context;
    for (dwarf, &ours) in INTEGERS.iter().enumerate() {
        let register = Register(dwarf as u16);
        caller.integers[ours] = match row.register(register) {
            None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => context.integers[ours],
            Some(RegisterRule::Offset(n)) => functions::word(frame.wrapping_add_signed(n)),
            Some(RegisterRule::ValOffset(n)) => frame.wrapping_add_signed(n),
            Some(RegisterRule::Register(other)) => integer(context, other)?,
            _ => return None,
        };
    }
    for (n, xmm) in caller.xmm.iter_mut().enumerate() {
        if let Some(RegisterRule::Offset(offset)) = row.register(Register(FIRST_XMM + n as u16)) {
            let at = frame.wrapping_add_signed(offset);
            *xmm = u128::from(functions::word(at)) | u128::from(functions::word(at + 8)) << 64;
        }
    }
    let Some(RegisterRule::Offset(at)) = row.register(RETURN_ADDRESS) else { return None };
    caller.rip = functions::word(frame.wrapping_add_signed(at));
    caller.integers[RSP] = frame;
    Some(caller)
}

/// The numbers that the processor gives to registers 0 to 15 of DWARF (System V ABI, x86-64, figure 3.36).
const INTEGERS: [usize; 16] = [0, 2, 1, 3, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15];
/// DWARF's number of XMM0.
const FIRST_XMM: u16 = 17;

fn integer(context: &ContextRecord, register: Register) -> Option<u64> {
    Some(context.integers[*INTEGERS.get(usize::from(register.0))?])
}

/// Room on the stack for what a table says of one place: the rules of 32 registers, and two rows to go back to.
struct Room;

impl UnwindContextStorage<usize> for Room {
    type Rules = [(Register, RegisterRule<usize>); 33];
    type Stack = [UnwindTableRow<usize, Self>; 3];
}

/// The unwind tables of a module.
struct Tables {
    /// The address of the header (`PT_GNU_EH_FRAME`).
    header: u64,
    /// The end of what is mapped from there.
    end: u64,
}

impl Tables {
    /// Those for an address in the host's code, or in that of an ELF image of ours.
    fn of(at: u64) -> Option<Self> {
        if let Some(found) = index::find(Addr(at)) {
            return (found.unwind.0 != 0).then_some(Self { header: found.unwind.0, end: found.end.0 });
        }
        let mut asked = Asked { at, found: None };
        // SAFETY: the callback takes what is passed, which lives during the call.
        unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut asked).cast()) };
        asked.found
    }

    /// What is mapped from an address to the end.
    fn bytes(&self, from: u64) -> Option<&[u8]> {
        let len = self.end.checked_sub(from)?;
        // SAFETY: the module is mapped while its code is on the stack, and says that its tables are there.
        Some(unsafe { slice::from_raw_parts(with_exposed_provenance(from as usize), len as usize) })
    }
}

struct Asked {
    at: u64,
    found: Option<Tables>,
}

/// Looks whether a module has the address; 1 ends the search.
unsafe extern "C" fn look(module: *mut libc::dl_phdr_info, _: usize, asked: *mut c_void) -> c_int {
    // SAFETY: `dl_iterate_phdr` passes a module's description for the time of the call.
    let module = unsafe { &*module };
    // SAFETY: `of` passes this.
    let asked = unsafe { &mut *asked.cast::<Asked>() };
    // SAFETY: the description has that many program headers.
    let segments = unsafe { slice::from_raw_parts(module.dlpi_phdr, module.dlpi_phnum.into()) };
    let range = |s: &libc::Elf64_Phdr| {
        let start = module.dlpi_addr.wrapping_add(s.p_vaddr);
        start..start.wrapping_add(s.p_memsz)
    };
    let loaded =
        |at: u64| segments.iter().filter(|s| s.p_type == libc::PT_LOAD).map(range).find(|r| r.contains(&at));
    if loaded(asked.at).is_none() {
        return 0;
    }
    let header = segments.iter().find(|s| s.p_type == libc::PT_GNU_EH_FRAME).map(|s| range(s).start);
    asked.found = header.and_then(|header| Some(Tables { header, end: loaded(header)?.end }));
    1
}
