//! Mathematics: the host's, under the Windows calling convention.
#![allow(unsafe_code)] // declarations of the host's functions, all of which are safe to call

use crate::guest::Ptr;
use std::num::FpCategory;

macro_rules! host {
    ($($name:ident($($arg:ident: $type:ty),*) -> $ret:ty;)*) => {
        mod host {
            #[link(name = "m")]
            unsafe extern "C" {
                $(pub(super) safe fn $name($($arg: $type),*) -> $ret;)*
            }
        }
        $(extern "win64" fn $name($($arg: $type),*) -> $ret {
            host::$name($($arg),*)
        })*
        table! {
            HOST: $($name),*
        }
    };
}

host! {
        asinh(x: f64) -> f64; asinhf(x: f32) -> f32;
    atan(x: f64) -> f64; atanf(x: f32) -> f32;     atan2(y: f64, x: f64) -> f64; atan2f(y: f32, x: f32) -> f32;
    cbrt(x: f64) -> f64; cbrtf(x: f32) -> f32; ceil(x: f64) -> f64; ceilf(x: f32) -> f32;
    copysign(x: f64, y: f64) -> f64; copysignf(x: f32, y: f32) -> f32;
        erf(x: f64) -> f64; erff(x: f32) -> f32; erfc(x: f64) -> f64; erfcf(x: f32) -> f32;
        fabs(x: f64) -> f64; fabsf(x: f32) -> f32;
    fdim(x: f64, y: f64) -> f64; fdimf(x: f32, y: f32) -> f32;
    floor(x: f64) -> f64; floorf(x: f32) -> f32;
        fmax(x: f64, y: f64) -> f64; fmaxf(x: f32, y: f32) -> f32; fmin(x: f64, y: f64) -> f64; fminf(x: f32, y: f32) -> f32;
        ilogb(x: f64) -> i32; ilogbf(x: f32) -> i32;
        llrint(x: f64) -> i64; llrintf(x: f32) -> i64; llround(x: f64) -> i64; llroundf(x: f32) -> i64;
            nearbyint(x: f64) -> f64; nearbyintf(x: f32) -> f32;
    nextafter(x: f64, y: f64) -> f64; nextafterf(x: f32, y: f32) -> f32;
    nexttoward(x: f64, y: f64) -> f64; j0(x: f64) -> f64; j1(x: f64) -> f64; jn(n: i32, x: f64) -> f64;
                rint(x: f64) -> f64; rintf(x: f32) -> f32; round(x: f64) -> f64; roundf(x: f32) -> f32;
            tanh(x: f64) -> f64; tanhf(x: f32) -> f32;     trunc(x: f64) -> f64; truncf(x: f32) -> f32;
}

/// The fraction, between a half and one, and the power of two.
extern "win64" fn frexp(x: f64, power: Ptr<i32>) -> f64 {
    if x == 0.0 || !x.is_finite() {
        power.put(0);
        return x;
    }
    let n = host::ilogb(x) + 1;
    power.put(n);
    host_scalbn(x, -n)
}

extern "win64" fn frexpf(x: f32, power: Ptr<i32>) -> f32 {
    frexp(x.into(), power) as f32
}

extern "win64" fn modf(x: f64, whole: Ptr<f64>) -> f64 {
    whole.put(x.trunc());
    if x.is_infinite() { 0.0f64.copysign(x) } else { (x - x.trunc()).copysign(x) }
}

extern "win64" fn modff(x: f32, whole: Ptr<f32>) -> f32 {
    whole.put(x.trunc());
    if x.is_infinite() { 0.0f32.copysign(x) } else { (x - x.trunc()).copysign(x) }
}

/// The remainder, and the low three bits of the quotient with its sign.
extern "win64" fn remquo(x: f64, y: f64, quotient: Ptr<i32>) -> f64 {
    let mut q = 0;
    // SAFETY: the place is ours.
    let rest = unsafe { host_remquo(x, y, &raw mut q) };
    quotient.put(q);
    rest
}

unsafe extern "C" {
    #[link_name = "remquo"]
    fn host_remquo(x: f64, y: f64, quotient: *mut i32) -> f64;
    #[link_name = "scalbn"]
    safe fn host_scalbn(x: f64, n: i32) -> f64;
}

extern "win64" fn remquof(x: f32, y: f32, quotient: Ptr<i32>) -> f32 {
    remquo(x.into(), y.into(), quotient) as f32
}

/// Windows' `long` has 32 bits; what does not fit is the lowest number.
extern "win64" fn lround(x: f64) -> i32 {
    i32::try_from(host::llround(x)).unwrap_or(i32::MIN)
}

extern "win64" fn lroundf(x: f32) -> i32 {
    lround(x.into())
}

extern "win64" fn lrint(x: f64) -> i32 {
    i32::try_from(host::llrint(x)).unwrap_or(i32::MIN)
}

extern "win64" fn lrintf(x: f32) -> i32 {
    lrint(x.into())
}

fn category(c: FpCategory) -> i16 {
    match c {
        FpCategory::Nan => 2,
        FpCategory::Infinite => 1,
        FpCategory::Zero => 0,
        FpCategory::Subnormal => -2,
        FpCategory::Normal => -1,
    }
}

extern "win64" fn _dclass(x: f64) -> i16 {
    category(x.classify())
}

extern "win64" fn _fdclass(x: f32) -> i16 {
    category(x.classify())
}

extern "win64" fn _dsign(x: f64) -> i32 {
    if x.is_sign_negative() { 0x8000 } else { 0 }
}

extern "win64" fn _fdsign(x: f32) -> i32 {
    _dsign(x.into())
}

extern "win64" fn _dtest(x: Ptr<f64>) -> i16 {
    _dclass(x.get())
}

extern "win64" fn _fdtest(x: Ptr<f32>) -> i16 {
    _fdclass(x.get())
}

extern "win64" fn _isnan(x: f64) -> i32 {
    x.is_nan().into()
}

extern "win64" fn _finite(x: f64) -> i32 {
    x.is_finite().into()
}

/// One bit for each class: 1 and 2 NaNs, 4 -infinity … 0x200 +infinity.
extern "win64" fn _fpclass(x: f64) -> i32 {
    let minus = x.is_sign_negative();
    match (x.classify(), minus) {
        (FpCategory::Nan, _) => 2,
        (FpCategory::Infinite, true) => 4,
        (FpCategory::Normal, true) => 8,
        (FpCategory::Subnormal, true) => 0x10,
        (FpCategory::Zero, true) => 0x20,
        (FpCategory::Zero, false) => 0x40,
        (FpCategory::Subnormal, false) => 0x80,
        (FpCategory::Normal, false) => 0x100,
        (FpCategory::Infinite, false) => 0x200,
    }
}

extern "win64" fn abs(n: i32) -> i32 {
    n.wrapping_abs()
}

extern "win64" fn llabs(n: i64) -> i64 {
    n.wrapping_abs()
}

/// Both results in one register, the quotient in the low half.
extern "win64" fn div(a: i32, b: i32) -> u64 {
    let (q, r) = (a.checked_div(b).unwrap_or(0), a.checked_rem(b).unwrap_or(0));
    u64::from(q.cast_unsigned()) | u64::from(r.cast_unsigned()) << 32
}

/// A structure of two numbers of 64 bits is returned where the caller says.
extern "win64" fn lldiv(out: Ptr<[i64; 2]>, a: i64, b: i64) -> Ptr<[i64; 2]> {
    out.set([a.checked_div(b).unwrap_or(0), a.checked_rem(b).unwrap_or(0)]);
    out
}

/// `_complex`: a structure of two doubles is passed by address.
extern "win64" fn cabs(z: Ptr<[f64; 2]>) -> f64 {
    let [re, im] = z.get();
    re.hypot(im)
}

/// Two floats are passed as one number, the real part in its low half.
fn parts(z: u64) -> [f32; 2] {
    [z as u32, (z >> 32) as u32].map(f32::from_bits)
}

extern "win64" fn cabsf(z: u64) -> f32 {
    let [re, im] = parts(z);
    re.hypot(im)
}

extern "win64" fn crealf(z: u64) -> f32 {
    parts(z)[0]
}

extern "win64" fn cimagf(z: u64) -> f32 {
    parts(z)[1]
}

extern "win64" fn creal(z: Ptr<[f64; 2]>) -> f64 {
    z.get()[0]
}

extern "win64" fn cimag(z: Ptr<[f64; 2]>) -> f64 {
    z.get()[1]
}

extern "win64" fn nanf(_text: usize) -> f32 {
    f32::NAN
}

extern "win64" fn nan(_text: usize) -> f64 {
    f64::NAN
}

table! {
    OWN:
        frexp, frexpf, modf, modff, lround, lroundf, lrint, lrintf, _dclass, _fdclass, _dsign, _fdsign, _dtest, _fdtest, _isnan,
        _finite, _fpclass, abs, labs = abs, llabs, _abs64 = llabs, div, ldiv = div, cabs, _cabs = cabs, cabsl = cabs, cabsf,
        creal, creall = creal, crealf, cimag, cimagl = cimag, cimagf, nan, nanf, nanl = nan, _ldclass = _dclass, _ldsign = _dsign, _copysign = copysign,
        _chgsign = negate, _nextafter = nextafter,
        remquo, remquof, lldiv, imaxdiv = lldiv, imaxabs = llabs, nexttowardf = nextafterf,
        _copysignf = copysignf, _nextafterf = nextafterf, _isnanf, _finitef, _chgsignf = negatef, _j0 = j0, _j1 = j1,
        _jn = jn
}

extern "win64" fn _isnanf(x: f32) -> i32 {
    x.is_nan().into()
}

extern "win64" fn _finitef(x: f32) -> i32 {
    x.is_finite().into()
}

extern "win64" fn negatef(x: f32) -> f32 {
    -x
}

extern "win64" fn negate(x: f64) -> f64 {
    -x
}

/// Mathematics.
pub(crate) const TABLE: loader_core::HostTable = &{
    let mut all = [HOST[0]; HOST.len() + OWN.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = if i < HOST.len() { HOST[i] } else { OWN[i - HOST.len()] };
        i += 1;
    }
    all
};
