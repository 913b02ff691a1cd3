//! Functions with `...`, which Rust cannot define for this calling convention: six instructions that put the register
//! arguments next to those on the stack, where the caller left room for them, and call the form with a `va_list`.
#![allow(unsafe_code)] // machine code
#![allow(non_snake_case)]

use crate::{
    crt::{print_msvcrt::*, scanf::*},
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
    _printf_p: "rdx, [rsp + 16]" => _vprintf_p;
    _wprintf_p: "rdx, [rsp + 16]" => _vwprintf_p;
    _cwprintf: "rdx, [rsp + 16]" => _vcwprintf;
    _scprintf_p: "rdx, [rsp + 16]" => _vscprintf_p;
    _scwprintf_p: "rdx, [rsp + 16]" => _vscwprintf_p;
    _printf_l: "r8, [rsp + 24]" => _vprintf_l;
    _wprintf_l: "r8, [rsp + 24]" => _vwprintf_l;
    _scprintf_l: "r8, [rsp + 24]" => _vscprintf_l;
    _scwprintf_l: "r8, [rsp + 24]" => _vscwprintf_l;
    _fprintf_p: "r8, [rsp + 24]" => _vfprintf_p;
    _fwprintf_p: "r8, [rsp + 24]" => _vfwprintf_p;
    _fprintf_l: "r9, [rsp + 32]" => _vfprintf_l;
    _fwprintf_l: "r9, [rsp + 32]" => _vfwprintf_l;
    _sprintf_l: "r9, [rsp + 32]" => _vsprintf_l;
    _swprintf_l: "r9, [rsp + 32]" => _vswprintf_l;
    _sprintf_p: "r9, [rsp + 32]" => _vsprintf_p;
    _swprintf_p: "r9, [rsp + 32]" => _vswprintf_p;
    _snprintf_c: "r9, [rsp + 32]" => _vsnprintf_c;
    _swprintf_c: "r9, [rsp + 32]" => _vswprintf_c;
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
    _sprintf_s_l => _vsprintf_s_l;
    _swprintf_s_l => _vswprintf_s_l;
    _snprintf_l => _vsnprintf_l;
    _snwprintf_l => _vsnwprintf_l;
    _sprintf_p_l => _vsprintf_p_l;
    _swprintf_p_l => _vswprintf_p_l;
}

table! {
    /// Functions with `...` of msvcrt.
    pub(crate) MSVCRT: printf, wprintf, _cprintf, _scprintf, _scwprintf, scanf, scanf_s, wscanf, wscanf_s, fprintf, fwprintf, sprintf, swprintf, sscanf, sscanf_s, swscanf, swscanf_s, fscanf, fscanf_s, fwscanf, fwscanf_s, _snprintf, _snwprintf, sprintf_s, swprintf_s, _snscanf, _snscanf_s, _snwscanf, _snwscanf_s, _snprintf_s, _snwprintf_s, printf_s = printf, wprintf_s = wprintf, fprintf_s = fprintf, fwprintf_s = fwprintf, _swprintf = swprintf, _printf_p, _wprintf_p, _cwprintf, _scprintf_p, _scwprintf_p, _printf_l, _wprintf_l, _scprintf_l, _scwprintf_l, _fprintf_p, _fwprintf_p, _fprintf_l, _fwprintf_l, _sprintf_l, _swprintf_l, __swprintf_l = _swprintf_l, _sprintf_p, _swprintf_p, _snprintf_c, _swprintf_c, _sprintf_s_l, _swprintf_s_l, _snprintf_l, _snwprintf_l, _sprintf_p_l, _swprintf_p_l
}

table! {
    /// Those of ntdll.
    pub(crate) NTDLL: DbgPrint, DbgPrintEx
}

table! {
    /// Those of user32.
    pub(crate) USER32: wsprintfA, wsprintfW
}
