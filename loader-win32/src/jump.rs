//! Machine code that keeps the registers and gives them back: `setjmp`, `longjmp`, `RtlCaptureContext`.
//!
//! A jump to a buffer without a frame goes straight to its place. With one, the frames in between are unwound.
#![allow(unsafe_code)] // machine code
#![allow(non_snake_case)]

use std::arch::naked_asm;

/// Fills a `_JUMP_BUFFER` and returns 0; a jump to it returns again, with another value.
#[unsafe(naked)]
unsafe extern "win64" fn __intrinsic_setjmpex() -> i32 {
    naked_asm!(
        "mov [rcx], rdx",
        "mov [rcx + 0x08], rbx",
        "lea rax, [rsp + 8]",
        "mov [rcx + 0x10], rax",
        "mov [rcx + 0x18], rbp",
        "mov [rcx + 0x20], rsi",
        "mov [rcx + 0x28], rdi",
        "mov [rcx + 0x30], r12",
        "mov [rcx + 0x38], r13",
        "mov [rcx + 0x40], r14",
        "mov [rcx + 0x48], r15",
        "mov rax, [rsp]",
        "mov [rcx + 0x50], rax",
        "stmxcsr [rcx + 0x58]",
        "fnstcw [rcx + 0x5c]",
        "movups [rcx + 0x60], xmm6",
        "movups [rcx + 0x70], xmm7",
        "movups [rcx + 0x80], xmm8",
        "movups [rcx + 0x90], xmm9",
        "movups [rcx + 0xa0], xmm10",
        "movups [rcx + 0xb0], xmm11",
        "movups [rcx + 0xc0], xmm12",
        "movups [rcx + 0xd0], xmm13",
        "movups [rcx + 0xe0], xmm14",
        "movups [rcx + 0xf0], xmm15",
        "xor eax, eax",
        "ret",
    )
}

/// Goes back to where the buffer was filled; zero becomes one.
#[unsafe(naked)]
unsafe extern "win64" fn longjmp() {
    naked_asm!(
        "cmp qword ptr [rcx], 0",
        "jne {unwinding}",
        "mov eax, edx",
        "test eax, eax",
        "jnz 2f",
        "inc eax",
        "2:",
        "mov rbx, [rcx + 0x08]",
        "mov rbp, [rcx + 0x18]",
        "mov rsi, [rcx + 0x20]",
        "mov rdi, [rcx + 0x28]",
        "mov r12, [rcx + 0x30]",
        "mov r13, [rcx + 0x38]",
        "mov r14, [rcx + 0x40]",
        "mov r15, [rcx + 0x48]",
        "ldmxcsr [rcx + 0x58]",
        "fnclex",
        "fldcw [rcx + 0x5c]",
        "movups xmm6, [rcx + 0x60]",
        "movups xmm7, [rcx + 0x70]",
        "movups xmm8, [rcx + 0x80]",
        "movups xmm9, [rcx + 0x90]",
        "movups xmm10, [rcx + 0xa0]",
        "movups xmm11, [rcx + 0xb0]",
        "movups xmm12, [rcx + 0xc0]",
        "movups xmm13, [rcx + 0xd0]",
        "movups xmm14, [rcx + 0xe0]",
        "movups xmm15, [rcx + 0xf0]",
        "mov rdx, [rcx + 0x50]",
        "mov rsp, [rcx + 0x10]",
        "jmp rdx",
        unwinding = sym crate::exception::registers::long_jump,
    )
}

/// Fills a `CONTEXT` as the caller will have it when this returns. The flags say: control, integers, segments, floats.
#[unsafe(naked)]
pub(crate) unsafe extern "win64" fn RtlCaptureContext() {
    naked_asm!(
        "pushfq",
        "mov [rcx + 0x78], rax",
        "mov [rcx + 0x80], rcx",
        "mov [rcx + 0x88], rdx",
        "mov [rcx + 0x90], rbx",
        "mov [rcx + 0xa0], rbp",
        "mov [rcx + 0xa8], rsi",
        "mov [rcx + 0xb0], rdi",
        "mov [rcx + 0xb8], r8",
        "mov [rcx + 0xc0], r9",
        "mov [rcx + 0xc8], r10",
        "mov [rcx + 0xd0], r11",
        "mov [rcx + 0xd8], r12",
        "mov [rcx + 0xe0], r13",
        "mov [rcx + 0xe8], r14",
        "mov [rcx + 0xf0], r15",
        "mov [rcx + 0x38], cs",
        "mov [rcx + 0x3a], ds",
        "mov [rcx + 0x3c], es",
        "mov [rcx + 0x3e], fs",
        "mov [rcx + 0x40], gs",
        "mov [rcx + 0x42], ss",
        "fxsave64 [rcx + 0x100]",
        "stmxcsr [rcx + 0x34]",
        "lea rax, [rsp + 16]",
        "mov [rcx + 0x98], rax",
        "mov rax, [rsp + 8]",
        "mov [rcx + 0xf8], rax",
        "mov eax, [rsp]",
        "mov [rcx + 0x44], eax",
        "mov dword ptr [rcx + 0x30], 0x10000f",
        "mov rax, [rcx + 0x78]",
        "popfq",
        "ret",
    )
}

table! {
    /// Jumps of the C runtime.
    pub(crate) CRT: __intrinsic_setjmpex, __intrinsic_setjmp = __intrinsic_setjmpex, _setjmp = __intrinsic_setjmpex,
        _setjmpex = __intrinsic_setjmpex, longjmp
}

table! {
    /// Registers.
    pub(crate) KERNEL32: RtlCaptureContext
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::transmute;

    /// Jumps back twice: a function of its own in machine code, because a Rust function must not return twice.
    #[unsafe(naked)]
    unsafe extern "win64" fn count_to_three(_buffer: *mut u8) -> i32 {
        naked_asm!(
            "push rbx",
            "push r12",
            "sub rsp, 40",
            "mov rbx, rcx",
            "mov r12d, 0x1234",
            "xor edx, edx",
            "call {set}",
            "cmp eax, 3",
            "je 2f",
            "xor r12d, r12d",
            "lea edx, [rax + 1]",
            "mov rcx, rbx",
            "xor ebx, ebx",
            "call {jump}",
            "2:",
            "shl r12d, 4",
            "add eax, r12d",
            "add rsp, 40",
            "pop r12",
            "pop rbx",
            "ret",
            set = sym __intrinsic_setjmpex,
            jump = sym longjmp,
        )
    }

    #[test]
    fn there_and_back() {
        let mut buffer = [0u128; 16];
        // SAFETY: the buffer has the 256 bytes of a `_JUMP_BUFFER`, aligned to 16.
        assert_eq!(unsafe { count_to_three(buffer.as_mut_ptr().cast()) }, 0x12343);
    }

    #[test]
    fn registers() {
        let mut context = [0u128; 0x4d0 / 16];
        let at = RtlCaptureContext as *const ();
        // SAFETY: the function takes a pointer to a `CONTEXT`.
        let capture: unsafe extern "win64" fn(*mut u8) = unsafe { transmute(at) };
        // SAFETY: the context has 0x4d0 bytes, aligned to 16.
        unsafe { capture(context.as_mut_ptr().cast()) };
        let word = |at: usize| (context[at / 16] >> (at % 16 * 8)) as u64;
        assert_eq!(word(0x80), context.as_ptr().addr() as u64); // RCX
        assert!(word(0x98).abs_diff(&raw const context as u64) < 0x1_0000); // RSP
        assert_eq!(word(0x30) as u32, 0x10_000f);
    }
}
