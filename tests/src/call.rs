//! Calls with the typed values of a script. `unsafe` because the callee is whatever an image exports under the name.
#![allow(unsafe_code)]

use corpus::Value;
use loader::{Addr, Arg, Convention, invoke};
use std::ffi::{CStr, CString, c_char};

/// Calls `at` with a script's arguments; what comes back is read as the type that `like` has.
///
/// # Errors
/// A sentence, where the call met an import that nobody defines or gave what its type cannot be.
pub fn call(at: Addr, convention: Convention, arguments: &[Value], like: &Value) -> Result<Value, String> {
    let texts: Vec<Option<CString>> = arguments.iter().map(text).collect::<Result<_, _>>()?;
    let words: Vec<Arg> =
        arguments.iter().zip(&texts).map(|(value, text)| word(value, text.as_deref())).collect();
    // SAFETY: the case's script says that the export at `at` takes these arguments, its root stays open meanwhile,
    // and the runner is a child process that has nothing to lose if the script lies.
    let (rax, xmm0) = unsafe { invoke(at, convention, &words) }.map_err(|kind| kind.to_string())?;
    Ok(match like {
        Value::I32(_) => Value::I32(rax as i32),
        Value::U32(_) => Value::U32(rax as u32),
        Value::I64(_) => Value::I64(rax as i64),
        Value::U64(_) => Value::U64(rax),
        Value::F32(_) => Value::F32(f32::from_bits(xmm0 as u32)),
        Value::F64(_) => Value::F64(f64::from_bits(xmm0)),
        Value::Bool(_) => match rax as u8 {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            odd => return Err(format!("returned {odd} as a _Bool")),
        },
        Value::Str(_) if rax == 0 => return Err("returned a null pointer as text".into()),
        Value::Str(_) => {
            // SAFETY: the script says that the export returns text, which lies in the image or in an argument.
            let text = unsafe { CStr::from_ptr(rax as *const c_char) };
            Value::Str(text.to_string_lossy().into_owned())
        }
        Value::Void => Value::Void,
    })
}

fn text(value: &Value) -> Result<Option<CString>, String> {
    match value {
        Value::Str(text) => CString::new(text.as_str()).map(Some).map_err(|e| e.to_string()),
        _ => Ok(None),
    }
}

fn word(value: &Value, text: Option<&CStr>) -> Arg {
    match *value {
        Value::I32(n) => Arg::Word(i64::from(n) as u64),
        Value::U32(n) => Arg::Word(n.into()),
        Value::I64(n) => Arg::Word(n as u64),
        Value::U64(n) => Arg::Word(n),
        Value::F32(x) => Arg::Float(x),
        Value::F64(x) => Arg::Double(x),
        Value::Bool(b) => Arg::Word(b.into()),
        Value::Str(_) => Arg::Word(text.map_or(0, |text| text.as_ptr().addr() as u64)),
        Value::Void => Arg::Word(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn mixed(a: i32, b: f64, text: *const c_char, flag: bool) -> f64 {
        // SAFETY: the test passes text that ends with a zero byte.
        let length = unsafe { CStr::from_ptr(text) }.count_bytes();
        f64::from(a) + b + length as f64 + f64::from(u8::from(flag)) * 100.0
    }
    extern "win64" fn same(text: *const c_char) -> *const c_char {
        text
    }
    extern "C" fn not_a_bool() -> u32 {
        2
    }

    #[test]
    fn values_go_in_and_come_out_as_the_script_writes_them() {
        let at = |f: *const ()| Addr(f as u64);
        let arguments = [Value::I32(-3), Value::F64(0.5), Value::Str("four".into()), Value::Bool(true)];
        let got = call(at(mixed as *const ()), Convention::SystemV, &arguments, &Value::F64(0.0));
        assert_eq!(got, Ok(Value::F64(101.5)));
        let hi = Value::Str("hi".into());
        let got = call(at(same as *const ()), Convention::Windows, std::slice::from_ref(&hi), &hi);
        assert_eq!(got, Ok(hi));
        let got = call(at(not_a_bool as *const ()), Convention::SystemV, &[], &Value::Bool(true));
        assert_eq!(got, Err("returned 2 as a _Bool".into()));
    }
}
