//! What code of ELF images calls to find a thread-local variable. Assembly, because these calls may change nothing but
//! the register that holds the answer, and the flags: compilers count on it for descriptors (TLSDESC), and newer ones
//! for `__tls_get_addr` too.
//!
//! The fast paths read the thread's table. Whatever they do not find there is found by [`touch`], around which all
//! registers are kept, and the stack aligned, since some compilers did not.
//!
//! `unsafe` because foreign code calls this with addresses of its own data.
#![allow(unsafe_code)]

use super::thread::CELL;
use crate::{ErrorKind, TlsHome};
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

/// The pair that compiled code hands to `__tls_get_addr`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TlsIndex {
    /// [`TlsHome::module_word`].
    pub module: u64,
    /// Bytes from the start of the block.
    pub offset: u64,
}

unsafe extern "C" {
    fn __tls_get_addr(index: *const TlsIndex) -> *mut u8;
}

/// `__tls_get_addr` for loaded images: own slots are answered here, modules of the host by the system.
///
/// # Safety
/// `index` is a pair that `DTPMOD64` and `DTPOFF64` relocations of a loaded image filled in.
#[unsafe(naked)]
pub unsafe extern "C" fn tls_get_addr(index: *const TlsIndex) -> *mut u8 {
    naked_asm!(
        "cmp qword ptr [rdi], 0",
        "jge 3f",
        "mov rax, [rip + {cell}]",
        "test rax, rax",
        "jz 2f",
        "mov rax, fs:[rax]", // the table and BIAS
        "test rax, rax",
        "jz 2f",
        "add rax, [rdi]", // BIAS goes; the entry
        "mov rax, [rax]",
        "test rax, rax",
        "jz 2f",
        "add rax, [rdi + 8]",
        "ret",
        "2:",
        "push rdi",
        "push rsi",
        "mov rsi, [rdi + 8]",
        "mov rdi, [rdi]",
        "call {keeping}",
        "pop rsi",
        "pop rdi",
        "ret",
        "3:",
        "jmp [rip + {host}@GOTPCREL]",
        cell = sym CELL,
        keeping = sym keeping_registers,
        host = sym __tls_get_addr,
    )
}

/// A descriptor's function where the variable is at one distance from the thread pointer.
#[unsafe(naked)]
unsafe extern "C" fn at_fixed_offset() {
    naked_asm!("mov rax, [rax + 8]", "ret")
}

/// ... where nobody defines the variable, and there is only an addend: the address is to be that.
#[unsafe(naked)]
unsafe extern "C" fn absent() {
    naked_asm!("mov rax, [rax + 8]", "sub rax, fs:0", "ret")
}

/// ... in a slot: the argument is [`packed`].
#[unsafe(naked)]
unsafe extern "C" fn in_slot() {
    naked_asm!(
        "push rdi",
        "push rsi",
        "mov rdi, [rax + 8]",
        "mov rsi, [rip + {cell}]",
        "test rsi, rsi",
        "jz 2f",
        "mov rsi, fs:[rsi]",
        "test rsi, rsi",
        "jz 2f",
        "btc rsi, 63", // BIAS
        "movzx eax, di",
        "mov rax, [rsi + rax]",
        "test rax, rax",
        "jz 2f",
        "sar rdi, 16",
        "add rax, rdi",
        "sub rax, fs:0",
        "pop rsi",
        "pop rdi",
        "ret",
        "2:",
        "mov rsi, rdi",
        "sar rsi, 16",
        "movzx edi, di",
        "bts rdi, 63", // TlsHome::OURS
        "call {keeping}",
        "sub rax, fs:0",
        "pop rsi",
        "pop rdi",
        "ret",
        cell = sym CELL,
        keeping = sym keeping_registers,
    )
}

/// ... in a block of the host that is somewhere else in every thread: the argument is [`packed`].
#[unsafe(naked)]
unsafe extern "C" fn in_host_block() {
    naked_asm!(
        "push rdi",
        "push rsi",
        "mov rdi, [rax + 8]",
        "mov rsi, rdi",
        "sar rsi, 16",
        "movzx edi, di",
        "call {keeping}",
        "sub rax, fs:0",
        "pop rsi",
        "pop rdi",
        "ret",
        keeping = sym keeping_registers,
    )
}

/// The function and the argument of a descriptor.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for an offset or a module number that no descriptor has room for.
pub fn descriptor(home: Option<TlsHome>, offset: u64) -> Result<[u64; 2], ErrorKind> {
    let Some(home) = home else {
        return Ok([absent as *const () as u64, offset]);
    };
    if let Some(start) = home.known_offset() {
        return Ok([at_fixed_offset as *const () as u64, offset.wrapping_add_signed(start)]);
    }
    let (function, number) = match home {
        TlsHome::Slot(_) => (in_slot as *const (), home.module_word() ^ TlsHome::OURS),
        TlsHome::Host { module, .. } => (in_host_block as *const (), module),
    };
    Ok([function as u64, packed(number, offset)?])
}

/// A number of 16 bits and an offset of 48 in one word.
fn packed(number: u64, offset: u64) -> Result<u64, ErrorKind> {
    let whole = offset << 16 | number;
    match number <= 0xffff && whole.cast_signed() >> 16 == offset.cast_signed() {
        true => Ok(whole),
        false => Err(ErrorKind::Unsupported { what: "offset of a TLS descriptor", value: offset }),
    }
}

/// [`touch`] for callers that expect every register but `rax` to stay as it is. `rdi` and `rsi` are theirs to keep.
#[unsafe(naked)]
unsafe extern "C" fn keeping_registers() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "push rcx",
        "push rdx",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "sub rsp, [rip + {size}]",
        "and rsp, -64",
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
        "call {touch}",
        "mov rbx, rax",
        "mov eax, [rip + {mask}]",
        "xor edx, edx",
        "xrstor64 [rsp]",
        "jmp 3f",
        "2:",
        "fxsave64 [rsp]",
        "call {touch}",
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
        "ret",
        size = sym SAVED_SIZE,
        mask = sym SAVED,
        touch = sym touch,
    )
}

/// The slow path: makes the calling thread's block where it is missing.
extern "C" fn touch(module: u64, offset: u64) -> *mut u8 {
    if module & TlsHome::OURS == 0 {
        let index = TlsIndex { module, offset };
        // SAFETY: a module word without our mark is one that the system gave.
        return unsafe { __tls_get_addr(&raw const index) };
    }
    super::block(((module ^ TlsHome::OURS) / size_of::<*mut u8>() as u64) as usize)
        .wrapping_add(offset as usize)
}

/// The length of the area for vector registers, as `FXSAVE` wants it until [`prepare`] knows better.
static SAVED_SIZE: AtomicU64 = AtomicU64::new(512);
/// Which registers `XSAVE` keeps; 0 where there is no `XSAVE`.
static SAVED: AtomicU64 = AtomicU64::new(0);

/// Finds out which registers this processor has, before any code asks for a variable.
pub(super) fn prepare() {
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
