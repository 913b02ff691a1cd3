//! Functions with `...`, which Rust cannot define for this calling convention: six instructions that put the register
//! arguments next to those on the stack, where the caller left room for them, and call the form with a `va_list`.
#![allow(unsafe_code)] // machine code

use crate::crt::print::*;
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
    fprintf: "r8, [rsp + 24]" => vfprintf;
    sprintf: "r8, [rsp + 24]" => vsprintf;
    sscanf: "r8, [rsp + 24]" => vsscanf;
    fwprintf: "r8, [rsp + 24]" => vfwprintf;
    _snprintf: "r9, [rsp + 32]" => _vsnprintf;
    _snwprintf: "r9, [rsp + 32]" => _vsnwprintf;
}

table! {
    /// Functions with `...` of msvcrt.
    pub(crate) MSVCRT: printf, fprintf, sprintf, sscanf, fwprintf, _snprintf, _snwprintf
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
