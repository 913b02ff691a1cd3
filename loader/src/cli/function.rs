//! Calling a function of the demonstration, and reading the text that it points to.
//!
//! The one room for `unsafe` of this command: that the functions are what `demo` says is known, for it brought the
//! libraries itself. What others bring is called in a sandbox.
#![allow(unsafe_code)]

use super::value::{Type, Value};
use loader::{Arg, Error, Library, SymbolName};
use std::ffi::CStr;

/// Finds a function in a library, or in what that needs, and calls it.
pub(super) fn call(
    library: &Library,
    symbol: &SymbolName,
    arguments: &[Arg],
    returns: Type,
) -> Result<Value, Error> {
    // SAFETY: the demonstration's functions are what it says.
    let (integer, float) = unsafe { library.invoke(symbol, arguments) }?;
    let bits = if matches!(returns, Type::F32 | Type::F64) { float } else { integer };
    Ok(Value::read(returns, bits, text_at))
}

fn text_at(address: u64) -> String {
    let text = std::ptr::with_exposed_provenance(address as usize);
    // SAFETY: not null (`Value::read`), and the demonstration's own text.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}
