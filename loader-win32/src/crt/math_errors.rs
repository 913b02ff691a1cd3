//! Functions of mathematics that can fail: `errno` says it, and a program's own handler is asked first, for the functions
//! for which Microsoft's runtime asks it.
#![allow(unsafe_code)] // the host's functions, and a call into the guest

use super::set_errno;
use crate::teb;
use std::{ffi::CStr, sync::atomic::Ordering::SeqCst};

/// What went wrong, in the numbers of `math.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Error {
    /// An argument that the function has no value for.
    Domain = 1,
    /// A value that is infinite.
    Pole = 2,
    Overflow = 3,
    Underflow = 4,
}

/// `_exception`: what a program's handler is shown.
#[repr(C)]
#[derive(Clone, Copy)]
struct Shown {
    error: i32,
    name: *const u8,
    arguments: [f64; 2],
    result: f64,
}

/// The error that a result shows; a NaN among the arguments is none.
fn error(name: &CStr, arguments: &[f64], result: f64) -> Option<Error> {
    let finite = arguments.iter().all(|x| x.is_finite());
    let has_pole =
        matches!(name.to_bytes(), b"log" | b"log10" | b"log2" | b"log1p" | b"logb" | b"_logb" | b"atanh");
    match result {
        _ if arguments.iter().any(|x| x.is_nan()) => None,
        _ if result.is_nan() => Some(Error::Domain),
        _ if !finite || name == c"fma" => None,
        _ if result.is_infinite() && (has_pole || name == c"pow" && arguments[0] == 0.0) => Some(Error::Pole),
        _ if result.is_infinite() => Some(Error::Overflow),
        0.0 if name == c"exp" => Some(Error::Underflow),
        0.0 if matches!(name.to_bytes(), b"pow" | b"ldexp" | b"_scalb") && arguments[0] != 0.0 => {
            Some(Error::Underflow)
        }
        _ => None,
    }
}

/// Says what went wrong, if anything did; the handler may know a better result.
fn checked(name: &'static CStr, told: bool, arguments: &[f64], mut result: f64) -> f64 {
    let Some(error) = error(name, arguments, result) else { return result };
    let handler = teb::process().runtime.math_handler.load(SeqCst);
    if told && handler != 0 {
        let second = arguments.get(1).copied().unwrap_or(0.0);
        let mut shown = Shown {
            error: error as i32,
            name: name.as_ptr().cast(),
            arguments: [arguments[0], second],
            result,
        };
        // SAFETY: guest code set the handler with the function below, which takes functions of this type.
        let handler: unsafe extern "win64" fn(*mut Shown) -> i32 = unsafe { std::mem::transmute(handler) };
        // SAFETY: as above; the record is a local, and no lock is held.
        if unsafe { handler(&raw mut shown) } != 0 {
            return shown.result;
        }
        result = shown.result;
    }
    match error {
        Error::Domain => set_errno(libc::EDOM),
        Error::Pole | Error::Overflow => set_errno(libc::ERANGE),
        Error::Underflow => {}
    }
    result
}

/// Sets the program's handler for errors.
extern "win64" fn __setusermatherr(handler: usize) {
    teb::process().runtime.math_handler.store(handler, SeqCst);
}

macro_rules! failing {
    ($($told:literal { $($name:ident($first:ident: $type:ty $(, $arg:ident: $other:ty)*) -> $ret:ty;)* })*) => {
        mod host {
            #[link(name = "m")]
            unsafe extern "C" {
                $($(pub(super) safe fn $name($first: $type $(, $arg: $other)*) -> $ret;)*)*
            }
        }
        $($(
            extern "win64" fn $name($first: $type $(, $arg: $other)*) -> $ret {
                let arguments = [f64::from($first) $(, f64::from($arg))*];
                let name = name(concat!(stringify!($name), "\0"));
                checked(name, $told, &arguments, f64::from(host::$name($first $(, $arg)*))) as $ret
            }
        )*)*
        table! {
            /// Functions that can fail.
            pub(crate) TABLE: $($($name,)*)* __setusermatherr, _hypot = hypot, _hypotf = hypotf, _scalb, ldexpf = scalbnf,
                scalbln = scalbn, scalblnf = scalbnf, _logb, _logbf = logbf, _y0 = y0, _y1 = y1, _yn = yn
        }
    };
}

fn name(text: &'static str) -> &'static CStr {
    CStr::from_bytes_with_nul(text.as_bytes()).unwrap_or(c"")
}

failing! {
    true {
    acos(x: f64) -> f64;
    asin(x: f64) -> f64;
    cos(x: f64) -> f64;
    cosh(x: f64) -> f64;
    exp(x: f64) -> f64;
    fmod(x: f64, y: f64) -> f64;
    log(x: f64) -> f64;
    log10(x: f64) -> f64;
    pow(x: f64, y: f64) -> f64;
    sin(x: f64) -> f64;
    sinh(x: f64) -> f64;
    sqrt(x: f64) -> f64;
    tan(x: f64) -> f64;
    ldexp(x: f64, n: i32) -> f64;
    }
    false {
    acosh(x: f64) -> f64;
    atanh(x: f64) -> f64;
    exp2(x: f64) -> f64;
    expm1(x: f64) -> f64;
    fma(x: f64, y: f64, z: f64) -> f64;
    log1p(x: f64) -> f64;
    log2(x: f64) -> f64;
    logb(x: f64) -> f64;
    remainder(x: f64, y: f64) -> f64;
    tgamma(x: f64) -> f64;
    lgamma(x: f64) -> f64;
    hypot(x: f64, y: f64) -> f64;
    y0(x: f64) -> f64;
    y1(x: f64) -> f64;
    yn(n: i32, x: f64) -> f64;
    scalbn(x: f64, n: i32) -> f64;
    acosf(x: f32) -> f32;
    acoshf(x: f32) -> f32;
    asinf(x: f32) -> f32;
    atanhf(x: f32) -> f32;
    cosf(x: f32) -> f32;
    coshf(x: f32) -> f32;
    expf(x: f32) -> f32;
    exp2f(x: f32) -> f32;
    expm1f(x: f32) -> f32;
    fmaf(x: f32, y: f32, z: f32) -> f32;
    fmodf(x: f32, y: f32) -> f32;
    logf(x: f32) -> f32;
    log10f(x: f32) -> f32;
    log1pf(x: f32) -> f32;
    log2f(x: f32) -> f32;
    logbf(x: f32) -> f32;
    powf(x: f32, y: f32) -> f32;
    remainderf(x: f32, y: f32) -> f32;
    sinf(x: f32) -> f32;
    sinhf(x: f32) -> f32;
    sqrtf(x: f32) -> f32;
    tanf(x: f32) -> f32;
    tgammaf(x: f32) -> f32;
    lgammaf(x: f32) -> f32;
    hypotf(x: f32, y: f32) -> f32;
    scalbnf(x: f32, n: i32) -> f32;
    }
}

/// Microsoft's own names, for which the handler is asked.
extern "win64" fn _logb(x: f64) -> f64 {
    checked(c"_logb", true, &[x], host::logb(x))
}

extern "win64" fn _scalb(x: f64, n: i32) -> f64 {
    checked(c"_scalb", true, &[x, n.into()], host::scalbn(x, n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors() {
        use Error::{Domain, Overflow, Pole, Underflow};
        let of = |name, arguments: &[f64], result| error(name, arguments, result);
        assert_eq!(of(c"acos", &[2.0], f64::NAN), Some(Domain));
        assert_eq!(of(c"acos", &[f64::NAN], f64::NAN), None);
        assert_eq!(of(c"sin", &[f64::INFINITY], f64::NAN), Some(Domain));
        assert_eq!(
            (of(c"log", &[0.0], f64::NEG_INFINITY), of(c"exp", &[1e9], f64::INFINITY)),
            (Some(Pole), Some(Overflow))
        );
        assert_eq!(of(c"exp", &[f64::INFINITY], f64::INFINITY), None);
        assert_eq!(
            (of(c"pow", &[0.0, -1.0], f64::INFINITY), of(c"pow", &[0.0, 1.0], 0.0)),
            (Some(Pole), None)
        );
        assert_eq!((of(c"pow", &[2.0, -1e9], 0.0), of(c"exp2", &[-1e9], 0.0)), (Some(Underflow), None));
        assert_eq!(of(c"fma", &[f64::MAX, f64::MAX, 0.0], f64::INFINITY), None);
    }
}
