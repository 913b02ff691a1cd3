//! What code of ELF images calls to find a thread-local variable. Assembly, because these calls may change nothing but
//! the register that holds the answer, and the flags: compilers count on it for descriptors (TLSDESC), and newer ones
//! for `__tls_get_addr` too.
//!
//! The fast paths read the thread's table. Whatever they do not find there is found by [`touch`], around which all
//! registers are [kept](registers::keeping).
//!
//! `unsafe` because foreign code calls this with addresses of its own data.
#![allow(unsafe_code)]

use super::thread::CELL;
use crate::{ErrorKind, TlsHome, registers};
use std::arch::naked_asm;

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
        "lea rax, [rip + {touch}]",
        "call {keeping}",
        "pop rsi",
        "pop rdi",
        "ret",
        "3:",
        "jmp [rip + {host}@GOTPCREL]",
        cell = sym CELL,
        touch = sym touch,
        keeping = sym registers::keeping,
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
        "lea rax, [rip + {touch}]",
        "call {keeping}",
        "sub rax, fs:0",
        "pop rsi",
        "pop rdi",
        "ret",
        cell = sym CELL,
        touch = sym touch,
        keeping = sym registers::keeping,
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
        "lea rax, [rip + {touch}]",
        "call {keeping}",
        "sub rax, fs:0",
        "pop rsi",
        "pop rdi",
        "ret",
        touch = sym touch,
        keeping = sym registers::keeping,
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
