//! Keeping every register around a call that compiled code does not know of: one that makes a thread-local variable, or
//! binds a function when it is first called. Such code counts on nothing being changed but what it asked for.
//!
//! `unsafe` because it is assembly that foreign code ends up in.
#![allow(unsafe_code)]

use std::{
    arch::{
        naked_asm,
        x86_64::{__cpuid, __cpuid_count, _xgetbv},
    },
    sync::{
        Once,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Calls the function at `rax`, with what is in `rdi` and `rsi`, for callers that expect every register but `rax` to
/// stay as it is. `rdi` and `rsi` are theirs to keep; the stack need not be aligned, since some compilers do not.
///
/// # Safety
/// Only assembly can call it: `rax` is an `extern "C"` function of two arguments that may be called so.
#[unsafe(naked)]
pub unsafe extern "C" fn keeping() {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        ".cfi_offset rbx, -24",
        "push rcx",
        "push rdx",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "sub rsp, [rip + {size}]",
        "and rsp, -64",
        "mov rbx, rax",
        "cmp qword ptr [rip + {mask}], 0",
        "je 2f",
        "xor eax, eax", // the header of the area must be zero where XSAVE does not write it
        "mov [rsp + 512], rax",
        "mov [rsp + 520], rax",
        "mov [rsp + 528], rax",
        "mov [rsp + 536], rax",
        "mov [rsp + 544], rax",
        "mov [rsp + 552], rax",
        "mov [rsp + 560], rax",
        "mov [rsp + 568], rax",
        "mov eax, [rip + {mask}]",
        "xor edx, edx",
        "xsave64 [rsp]",
        "call rbx",
        "mov rbx, rax",
        "mov eax, [rip + {mask}]",
        "xor edx, edx",
        "xrstor64 [rsp]",
        "jmp 3f",
        "2:",
        "fxsave64 [rsp]",
        "call rbx",
        "mov rbx, rax",
        "fxrstor64 [rsp]",
        "3:",
        "mov rax, rbx",
        "lea rsp, [rbp - 56]",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdx",
        "pop rcx",
        "pop rbx",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
        size = sym SAVED_SIZE,
        mask = sym SAVED,
    )
}

/// The length of the area for vector registers, as `FXSAVE` wants it until [`prepare`] knows better.
static SAVED_SIZE: AtomicU64 = AtomicU64::new(512);
/// Which registers `XSAVE` keeps; 0 where there is no `XSAVE`.
static SAVED: AtomicU64 = AtomicU64::new(0);

/// Finds out which registers this processor has, before [`keeping`] is first called.
pub fn prepare() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        const OSXSAVE: u32 = 1 << 27;
        /// x87, SSE, AVX, MPX, AVX-512, APX. Not the tiles of AMX: nothing that runs meanwhile has them.
        const KEPT: u64 = 0b1111_1111 | 1 << 19;
        if __cpuid(1).ecx & OSXSAVE == 0 {
            return;
        }
        // SAFETY: the processor says that the system has switched the instruction on.
        let kept = unsafe { _xgetbv(0) } & KEPT;
        // The area of FXSAVE, a header, then each kind of register where the processor says.
        let end = |n: u32| {
            let kind = __cpuid_count(0xd, n);
            u64::from(kind.eax) + u64::from(kind.ebx)
        };
        let size = (2..u64::BITS).filter(|n| kept & 1 << n != 0).map(end).max();
        SAVED_SIZE.store(size.unwrap_or(0).max(512 + 64), Relaxed);
        SAVED.store(kept, Relaxed);
    });
}
