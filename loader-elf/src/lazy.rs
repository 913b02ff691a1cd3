//! Calls that are bound when they are first made (x86-64 psABI, 5.2.5). The slot of such a call leads back into the
//! linkage table, which pushes the number of the call and then the second word of the global offset table, and jumps to
//! where its third word says: to [`entry`].
//!
//! `unsafe` because [`entry`] is reached by code of images, in the middle of a call: with all its arguments in registers,
//! whichever these are.
#![allow(unsafe_code)]

use crate::{
    bind::Parts,
    dynamic::{DF_1_NOW, DF_BIND_NOW, DT_BIND_NOW, DT_PLTGOT, Dynamic},
    relocate::{Fixups, Rela},
    symbol::code,
};
use goblin::elf::reloc::R_X86_64_JUMP_SLOT;
use loader_core::{Addr, ErrorKind, ImageMut, MapPlan, Query, Rva, registers, set::LazyCalls};
use std::arch::naked_asm;

/// The global offset table of an image that does not mind when its calls are bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LazyTable(Rva);

impl LazyTable {
    /// Finds it; `None` where all calls are to be bound before anything runs.
    pub(crate) fn find(dynamic: &Dynamic, fixups: &Fixups, plan: &MapPlan) -> Option<Self> {
        let now = dynamic.get(DT_BIND_NOW).is_some() || dynamic.flag(DF_BIND_NOW) || dynamic.flag_1(DF_1_NOW);
        let may = !now && fixups.have_calls();
        let got = dynamic.get(DT_PLTGOT).filter(|_| may)?.checked_sub(plan.link_base().0)?;
        let window = plan.window();
        let fits = got >= window.start.0 && got.checked_add(24).is_some_and(|end| end <= window.end.0);
        fits.then_some(Self(Rva(got)))
    }

    /// Says who binds the calls.
    pub(crate) fn prepare(self, mem: &mut ImageMut<'_>, calls: Addr) -> Result<(), ErrorKind> {
        mem.write_u64(Rva(self.0.0 + 8), calls.0)?;
        mem.write_u64(Rva(self.0.0 + 16), entry as *const () as u64)
    }
}

impl<'a> Parts<'a> {
    /// Whether a relocation is one of a call that can wait until it is made: any library may define the function, and
    /// the slot can still be written to.
    fn can_wait(&self, r: &Rela, slot: Rva) -> Result<bool, ErrorKind> {
        let may = r.kind == R_X86_64_JUMP_SLOT && r.addend == 0 && self.plan.stays_writable(slot);
        Ok(may && !self.tables.symbol(self.bytes, r.symbol)?.binds_to_itself())
    }

    /// Leaves a call to be bound when it is first made; false where it has to be bound now.
    pub(crate) fn postpone(&self, r: &Rela, mem: &mut ImageMut<'_>) -> Result<bool, ErrorKind> {
        let slot = Rva(r.at.wrapping_sub(self.plan.link_base().0));
        if !self.can_wait(r, slot)? || code(self.plan, mem.read_u64(slot)?).is_err() {
            return Ok(false);
        }
        let slide = mem.at.slide();
        mem.add_u64(slot, slide).map(|()| true)
    }

    /// What the `nth` call of the linkage table asks for, and its slot; `None` where it never waited.
    pub(crate) fn lazy_call(&self, nth: u64) -> Result<Option<(Query<'a>, Rva)>, ErrorKind> {
        let Some(r) = self.fixups.call(self.bytes, nth) else {
            return Ok(None);
        };
        let slot = Rva(r.at.wrapping_sub(self.plan.link_base().0));
        if !self.can_wait(&r, slot)? {
            return Ok(None);
        }
        let symbol = self.tables.symbol(self.bytes, r.symbol)?;
        Ok(Some((self.query(r.symbol, &symbol)?, slot)))
    }
}

/// Where calls arrive that are not bound yet. On the stack are the image's [`LazyCalls`], the number of the call, and
/// where it returns to. The call goes on to its function with everything as its caller left it, but for `r11`, which the
/// linkage table may use.
#[unsafe(naked)]
unsafe extern "C" fn entry() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_adjust_cfa_offset 16",
        "push rax", // the number of vector registers with arguments, for functions that take any
        "push rdi",
        "push rsi",
        ".cfi_adjust_cfa_offset 24",
        "mov rdi, [rsp + 24]",
        "mov rsi, [rsp + 32]",
        "lea rax, [rip + {bind}]",
        "call {keeping}",
        "mov r11, rax",
        "pop rsi",
        "pop rdi",
        "pop rax",
        "lea rsp, [rsp + 16]",
        ".cfi_adjust_cfa_offset -40",
        "jmp r11",
        ".cfi_endproc",
        bind = sym bind,
        keeping = sym registers::keeping,
    )
}

extern "C" fn bind(calls: *const LazyCalls, nth: u64) -> u64 {
    // SAFETY: this thread's own number, which is always there.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    // SAFETY: the second word of the table, which `prepare` wrote: it lives as long as the image that calls.
    let calls = unsafe { &*calls };
    let to = calls.bind(nth);
    // SAFETY: as above. The function's caller may look at it, whatever came between.
    unsafe { *errno = before };
    to.0
}
