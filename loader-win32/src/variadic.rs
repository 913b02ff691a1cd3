//! Functions with `...`, which Rust cannot define for this calling convention: six instructions that put the register
//! arguments next to those on the stack, where the caller left room for them, and call the form with a `va_list`.
#![allow(unsafe_code)] // machine code
#![allow(non_snake_case)]

use crate::{
    crt::{print::*, scanf::*},
    rtl::system::{vDbgPrint, vDbgPrintEx},
    wsprintf::{wvsprintfA, wvsprintfW},
};
use std::arch::naked_asm;

/// `thunks!`: name, where the arguments after the fixed ones begin, the register of the argument after the fixed ones,
/// and the function with a `va_list`.
macro_rules! thunks {
    ($($name:ident: $after:literal => $target:ident;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: [`", stringify!($target), "`] with its arguments in line.")]
        #[unsafe(naked)]
        unsafe extern "win64" fn $name() -> i32 {
            naked_asm!(
                ".cfi_startproc",
                "mov [rsp + 8], rcx", "mov [rsp + 16], rdx", "mov [rsp + 24], r8", "mov [rsp + 32], r9",
                concat!("lea ", $after), "sub rsp, 40", ".cfi_def_cfa_offset 48", "call {target}",
                "add rsp, 40", ".cfi_def_cfa_offset 8", "ret",
                ".cfi_endproc",
                target = sym $target,
            )
        }
    )*};
}

thunks! {
    printf: "rdx, [rsp + 16]" => vprintf;
    wprintf: "rdx, [rsp + 16]" => vwprintf;
    _cprintf: "rdx, [rsp + 16]" => _vcprintf;
    _scprintf: "rdx, [rsp + 16]" => _vscprintf;
    _scwprintf: "rdx, [rsp + 16]" => _vscwprintf;
    scanf: "rdx, [rsp + 16]" => vscanf;
    scanf_s: "rdx, [rsp + 16]" => vscanf_s;
    wscanf: "rdx, [rsp + 16]" => vwscanf;
    wscanf_s: "rdx, [rsp + 16]" => vwscanf_s;
    fprintf: "r8, [rsp + 24]" => vfprintf;
    fwprintf: "r8, [rsp + 24]" => vfwprintf;
    sprintf: "r8, [rsp + 24]" => vsprintf;
    swprintf: "r8, [rsp + 24]" => vswprintf;
    sscanf: "r8, [rsp + 24]" => vsscanf;
    sscanf_s: "r8, [rsp + 24]" => vsscanf_s;
    swscanf: "r8, [rsp + 24]" => vswscanf;
    swscanf_s: "r8, [rsp + 24]" => vswscanf_s;
    fscanf: "r8, [rsp + 24]" => vfscanf;
    fscanf_s: "r8, [rsp + 24]" => vfscanf_s;
    fwscanf: "r8, [rsp + 24]" => vfwscanf;
    fwscanf_s: "r8, [rsp + 24]" => vfwscanf_s;
    _snprintf: "r9, [rsp + 32]" => _vsnprintf;
    _snwprintf: "r9, [rsp + 32]" => _vsnwprintf;
    sprintf_s: "r9, [rsp + 32]" => vsprintf_s;
    swprintf_s: "r9, [rsp + 32]" => vswprintf_s;
    DbgPrint: "rdx, [rsp + 16]" => vDbgPrint;
    DbgPrintEx: "r9, [rsp + 32]" => vDbgPrintEx;
    wsprintfA: "r8, [rsp + 24]" => wvsprintfA;
    wsprintfW: "r8, [rsp + 24]" => wvsprintfW;
    _snscanf: "r9, [rsp + 32]" => vsnscanf;
    _snscanf_s: "r9, [rsp + 32]" => vsnscanf_s;
    _snwscanf: "r9, [rsp + 32]" => vsnwscanf;
    _snwscanf_s: "r9, [rsp + 32]" => vsnwscanf_s;
}

/// Where five arguments are passed, the last goes on the stack.
macro_rules! thunks_of_four {
    ($($name:ident => $target:ident;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: [`", stringify!($target), "`] with its arguments in line.")]
        #[unsafe(naked)]
        unsafe extern "win64" fn $name() -> i32 {
            naked_asm!(
                ".cfi_startproc",
                "lea rax, [rsp + 40]", "sub rsp, 56", ".cfi_def_cfa_offset 64", "mov [rsp + 32], rax", "call {target}",
                "add rsp, 56", ".cfi_def_cfa_offset 8", "ret",
                ".cfi_endproc",
                target = sym $target,
            )
        }
    )*};
}

thunks_of_four! {
    _snprintf_s => _vsnprintf_s;
    _snwprintf_s => _vsnwprintf_s;
}

table! {
    /// Functions with `...` of msvcrt.
    pub(crate) MSVCRT: printf, wprintf, _cprintf, _scprintf, _scwprintf, scanf, scanf_s, wscanf, wscanf_s, fprintf, fwprintf, sprintf, swprintf, sscanf, sscanf_s, swscanf, swscanf_s, fscanf, fscanf_s, fwscanf, fwscanf_s, _snprintf, _snwprintf, sprintf_s, swprintf_s, _snscanf, _snscanf_s, _snwscanf, _snwscanf_s, _snprintf_s, _snwprintf_s, printf_s = printf, wprintf_s = wprintf, fprintf_s = fprintf, fwprintf_s = fwprintf, _swprintf = swprintf
}

table! {
    /// Those of ntdll.
    pub(crate) NTDLL: DbgPrint, DbgPrintEx
}

table! {
    /// Those of user32.
    pub(crate) USER32: wsprintfA, wsprintfW
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::transmute;

    #[test]
    fn arguments_arrive() {
        let at = sprintf as *const ();
        // SAFETY: the thunk takes whatever its format says; floating point arguments of a function with `...` come in both
        // registers, which a caller without a prototype for `...` does not do, so the double goes to the stack here.
        let f: unsafe extern "win64" fn(*mut u8, *const i8, i32, i64, f64, *const i8) -> i32 =
            unsafe { transmute(at) };
        let mut buffer = [0u8; 64];
        // SAFETY: the buffer is longer than the result.
        let n =
            unsafe { f(buffer.as_mut_ptr(), c"%d %lld %.2f %s".as_ptr(), 7, -1 << 40, 2.5, c"end".as_ptr()) };
        assert_eq!(&buffer[..n as usize], b"7 -1099511627776 2.50 end");
    }
}
