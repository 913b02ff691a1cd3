//! The processor's settings for floating point: rounding, which exceptions trap, which have happened. All of it is the
//! calling thread's register MXCSR, in the numbers of `float.h`.
#![allow(unsafe_code)] // a register of the processor

use crate::guest::Ptr;
use std::arch::asm;

/// Everything masked, rounding to nearest, nothing has happened.
const DEFAULT: u32 = 0x1f80;
/// Windows' numbers for inexact, underflow, overflow, division by zero, invalid, denormal, and their bits in MXCSR.
const EXCEPTIONS: [(u32, u32); 6] = [(1, 5), (2, 4), (4, 3), (8, 2), (0x10, 0), (0x8_0000, 1)];
/// From a happened exception's bit to the one that masks it.
const MASKS: u32 = 7;
const ALL: u32 = 0x8_001f;
const STANDARD: u32 = 0x1f;
/// Rounding: Windows' two bits, and MXCSR's, which mean the same.
const ROUNDING: u32 = 0x300;
const ROUNDING_SHIFT: u32 = 13 - 8;
/// The precision of 53 bits, which x86-64 always has.
const PRECISION: u32 = 0x1_0000;
/// Denormal numbers as they are, or as zero.
const DENORMALS: u32 = 0x300_0000;
const FLUSHED: u32 = 0x100_0000;
/// Flush to zero, and denormals are zeros.
const FLUSH: u32 = 1 << 15 | 1 << 6;

fn mxcsr() -> u32 {
    let mut value = 0u32;
    // SAFETY: stores the register into the local.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags)) };
    value
}

fn set_mxcsr(value: u32) {
    // SAFETY: the value has no reserved bits. Guest code asks for other rounding or traps in its own thread; the host's
    // functions that it calls meanwhile have them too, as Windows' have.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags)) };
}

fn to_windows(bits: u32) -> u32 {
    EXCEPTIONS.iter().filter(|(_, bit)| bits >> bit & 1 != 0).fold(0, |all, (number, _)| all | number)
}

fn from_windows(numbers: u32) -> u32 {
    EXCEPTIONS.iter().filter(|(number, _)| numbers & number != 0).fold(0, |all, (_, bit)| all | 1 << bit)
}

/// The settings in Windows' numbers.
fn control(mxcsr: u32) -> u32 {
    let denormals = if mxcsr & FLUSH == FLUSH { FLUSHED } else { 0 };
    to_windows(mxcsr >> MASKS) | mxcsr >> ROUNDING_SHIFT & ROUNDING | denormals | PRECISION
}

/// The register with other settings.
fn with_control(mxcsr: u32, control: u32) -> u32 {
    let kept = mxcsr & !(0x3f << MASKS | ROUNDING << ROUNDING_SHIFT | FLUSH);
    let flush = if control & DENORMALS == FLUSHED { FLUSH } else { 0 };
    kept | from_windows(control) << MASKS | (control & ROUNDING) << ROUNDING_SHIFT | flush
}

/// Changes what the mask names; returns all settings. What x86-64 has not is not changed.
extern "win64" fn _control87(new: u32, mask: u32) -> u32 {
    let before = control(mxcsr());
    let mask = mask & (ALL | ROUNDING | DENORMALS);
    let after = before & !mask | new & mask;
    if mask != 0 {
        set_mxcsr(with_control(mxcsr(), after));
    }
    after
}

/// The same, but traps for denormal numbers stay as they are.
extern "win64" fn _controlfp(new: u32, mask: u32) -> u32 {
    _control87(new, mask & !0x8_0000)
}

extern "win64" fn _controlfp_s(out: Ptr<u32>, new: u32, mask: u32) -> i32 {
    out.put(_controlfp(new, mask));
    0
}

extern "win64" fn _statusfp() -> u32 {
    to_windows(mxcsr())
}

/// What has happened, which is forgotten.
extern "win64" fn _clearfp() -> u32 {
    let before = _statusfp();
    set_mxcsr(mxcsr() & !0x3f);
    before
}

/// As a thread begins. The older unit, which `long double` of some compilers uses, too.
extern "win64" fn _fpreset() {
    set_mxcsr(DEFAULT);
    // SAFETY: no number of the host is in the older unit while a function is called.
    unsafe { asm!("fninit", options(nomem, nostack)) };
}

extern "win64" fn fegetround() -> u32 {
    control(mxcsr()) & ROUNDING
}

extern "win64" fn fesetround(rounding: u32) -> i32 {
    if rounding & !ROUNDING != 0 {
        return 1;
    }
    _controlfp(rounding, ROUNDING);
    0
}

extern "win64" fn fetestexcept(which: u32) -> u32 {
    _statusfp() & which & STANDARD
}

extern "win64" fn feclearexcept(which: u32) -> i32 {
    set_mxcsr(mxcsr() & !from_windows(which & STANDARD));
    0
}

extern "win64" fn feraiseexcept(which: u32) -> i32 {
    set_mxcsr(mxcsr() | from_windows(which & STANDARD));
    0
}

// `fenv_t` and `fexcept_t` keep bits for the older unit in the lowest byte and for this one in the highest: the five
// exceptions of the C standard, the one for denormal numbers, and the rounding. A program's constant for the default
// environment has all exceptions masked in both.
const UNIT: u32 = 24;
const OF_DENORMALS: u32 = 0x20;
const ROUNDING_BITS: u32 = 8 - 6;

fn packed(exceptions: u32, rounding: u32) -> u32 {
    let denormal = if exceptions & !STANDARD != 0 { OF_DENORMALS } else { 0 };
    let byte = exceptions & STANDARD | denormal | rounding >> ROUNDING_BITS & 0xc0;
    byte << UNIT | byte
}

fn unpacked(packed: u32) -> (u32, u32) {
    let byte = packed >> UNIT;
    let denormal = if byte & OF_DENORMALS != 0 { ALL & !STANDARD } else { 0 };
    (byte & STANDARD | denormal, (byte & 0xc0) << ROUNDING_BITS)
}

/// Settings and what has happened.
extern "win64" fn fegetenv(out: Ptr<[u32; 2]>) -> i32 {
    let settings = control(mxcsr());
    out.put([packed(settings & ALL, settings & ROUNDING), packed(_statusfp(), 0)]);
    0
}

extern "win64" fn fesetenv(from: Ptr<[u32; 2]>) -> i32 {
    let [settings, happened] = from.get().map(unpacked);
    set_mxcsr(with_control(0, settings.0 | settings.1) | from_windows(happened.0));
    0
}

/// What has happened of some exceptions, to be set again.
extern "win64" fn fegetexceptflag(out: Ptr<u32>, which: u32) -> i32 {
    out.put(packed(fetestexcept(which), 0));
    0
}

extern "win64" fn fesetexceptflag(from: Ptr<u32>, which: u32) -> i32 {
    let which = which & STANDARD;
    if which != 0 && !from.is_null() {
        let happened = unpacked(from.get()).0;
        set_mxcsr(mxcsr() & !from_windows(which) | from_windows(happened & which));
    }
    0
}

/// What has happened comes back together with other settings.
extern "win64" fn feupdateenv(from: Ptr<[u32; 2]>) -> i32 {
    let happened = fetestexcept(STANDARD);
    fesetenv(from);
    feraiseexcept(happened)
}

/// The rounding in the C standard's numbers: towards zero, to nearest, up, down.
extern "win64" fn __fpe_flt_rounds() -> i32 {
    match fegetround() {
        0 => 1,
        0x100 => 3,
        0x200 => 2,
        _ => 0,
    }
}

extern "win64" fn feholdexcept(out: Ptr<[u32; 2]>) -> i32 {
    fegetenv(out);
    set_mxcsr(mxcsr() & !0x3f | 0x3f << MASKS);
    0
}

table! {
    /// Settings for floating point.
    pub(crate) TABLE:
        _control87, _controlfp, _controlfp_s, _statusfp, _status87 = _statusfp, _clearfp, _clear87 = _clearfp, _fpreset,
        fpreset = _fpreset, fegetround, fesetround, fetestexcept, feclearexcept, feraiseexcept, fegetenv, fesetenv,
        feholdexcept, fegetexceptflag, fesetexceptflag, feupdateenv, __fpe_flt_rounds
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn settings() {
        _fpreset();
        assert_eq!((_controlfp(0, 0), _statusfp()), (0x9_001f, 0)); // the default of `float.h`: _CW_DEFAULT
        let third = || black_box(1.0f64) / black_box(3.0);
        let near = third();
        assert_eq!(fetestexcept(0x1f), 1); // FE_INEXACT
        assert_eq!((_clearfp(), _statusfp()), (1, 0));
        assert_eq!((fesetround(0x200), fegetround()), (0, 0x200)); // FE_UPWARD
        let up = third();
        assert_eq!(fesetround(0x300), 0); // FE_TOWARDZERO
        let down = third();
        fesetround(0);
        assert!(down < up && [down, up].contains(&near));
        black_box(black_box(1.0f64) / black_box(0.0));
        assert_eq!(fetestexcept(8), 8); // FE_DIVBYZERO
        assert_eq!(fesetround(1), 1);
        _fpreset();
    }
}
