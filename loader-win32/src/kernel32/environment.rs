//! Environment, command line, and what the process was started with.

use super::{Bool, TRUE, error::code, fail};
use crate::{
    guest::Ptr,
    heap, lock, object, process, teb,
    text::{self, length},
};
use std::{
    collections::BTreeMap,
    ffi::CString,
    sync::{Mutex, OnceLock, atomic::AtomicUsize},
};

/// The process's own variables. Names are compared without regard to case, as Windows does.
pub(crate) struct Environment {
    /// By upper-case name: name and value.
    variables: Mutex<BTreeMap<String, (String, String)>>,
    /// The block that the program made them of last, which it may want back.
    pub made_of: AtomicUsize,
}

impl Environment {
    /// A copy of the host's.
    pub(crate) fn of_host() -> Self {
        let pair = |(n, v): (std::ffi::OsString, std::ffi::OsString)| {
            let (n, v) = (n.to_string_lossy().into_owned(), v.to_string_lossy().into_owned());
            (n.to_uppercase(), (n, v))
        };
        Self { variables: Mutex::new(std::env::vars_os().map(pair).collect()), made_of: AtomicUsize::new(0) }
    }

    /// A variable's value.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        lock(&self.variables).get(&name.to_uppercase()).map(|v| v.1.clone())
    }

    /// Sets a variable, or removes it.
    pub(crate) fn set(&self, name: &str, value: Option<String>) {
        let mut vars = lock(&self.variables);
        match value {
            Some(v) => vars.insert(name.to_uppercase(), (name.into(), v)),
            None => vars.remove(&name.to_uppercase()),
        };
    }

    /// Other variables instead of all that there are.
    pub(crate) fn replace(&self, pairs: impl Iterator<Item = (String, String)>) {
        *lock(&self.variables) = pairs.map(|(name, value)| (name.to_uppercase(), (name, value))).collect();
    }

    /// `NAME=value` of each, in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        lock(&self.variables).values().map(|(n, v)| format!("{n}={v}")).collect()
    }

    /// All of them as one wide block: each with a zero, and another one at the end.
    pub(crate) fn block(&self) -> Vec<u16> {
        self.lines().iter().flat_map(|l| text::wide_z(l)).chain([0]).collect()
    }
}

fn variable<T: Copy + Default>(
    name: &str,
    to: Ptr<T>,
    room: u32,
    encode: impl FnOnce(&str) -> Vec<T>,
) -> u32 {
    match teb::process().environment.get(name) {
        Some(value) => text::answer(&encode(&value), to, room),
        None => fail(code::ENVVAR_NOT_FOUND) as u32,
    }
}

extern "win64" fn GetEnvironmentVariableA(name: Ptr<u8>, to: Ptr<u8>, room: u32) -> u32 {
    variable(&name.string(), to, room, |v| v.as_bytes().to_vec())
}

extern "win64" fn GetEnvironmentVariableW(name: Ptr<u16>, to: Ptr<u16>, room: u32) -> u32 {
    variable(&name.string(), to, room, text::wide)
}

fn set(name: &str, value: Option<String>) -> Bool {
    if name.is_empty() || name.contains('=') {
        return fail(code::INVALID_PARAMETER);
    }
    teb::process().environment.set(name, value);
    TRUE
}

extern "win64" fn SetEnvironmentVariableA(name: Ptr<u8>, value: Ptr<u8>) -> Bool {
    set(&name.string(), (!value.is_null()).then(|| value.string()))
}

extern "win64" fn SetEnvironmentVariableW(name: Ptr<u16>, value: Ptr<u16>) -> Bool {
    set(&name.string(), (!value.is_null()).then(|| value.string()))
}

/// A block of the heap with a copy of `units`, which the caller gives back with the matching `Free` function.
fn copy<T: Copy>(units: &[T]) -> Ptr<T> {
    let block = heap::alloc(size_of_val(units), false).cast::<T>();
    block.fill(units);
    block
}

extern "win64" fn GetEnvironmentStringsW() -> Ptr<u16> {
    copy(&teb::process().environment.block())
}

extern "win64" fn GetEnvironmentStringsA() -> Ptr<u8> {
    let lines = teb::process().environment.lines();
    let bytes: Vec<u8> = lines.iter().flat_map(|l| l.bytes().chain([0])).chain([0]).collect();
    copy(&bytes)
}

extern "win64" fn FreeEnvironmentStringsW(block: heap::Block) -> Bool {
    heap::free(block);
    TRUE
}

/// A text with `%NAME%` replaced by values; what is not set stays.
pub(crate) fn expand(text: &str) -> String {
    let process = teb::process();
    expand_with(text, |name| process.environment.get(name))
}

/// The same, with the values of names from somewhere.
pub(crate) fn expand_with(text: &str, get: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let value = after.split_once('%').and_then(|(n, r)| Some((get(n)?, r)));
        match value {
            Some((v, r)) => {
                out.push_str(&v);
                rest = r;
            }
            None => {
                out.push('%');
                rest = after;
            }
        }
    }
    out + rest
}

extern "win64" fn ExpandEnvironmentStringsW(from: Ptr<u16>, to: Ptr<u16>, room: u32) -> u32 {
    let expanded = text::wide(&expand(&from.string()));
    text::answer(&expanded, to, room).max(length(expanded.len() + 1)) // counts the zero either way
}

extern "win64" fn ExpandEnvironmentStringsA(from: Ptr<u8>, to: Ptr<u8>, room: u32) -> u32 {
    let expanded = expand(&from.string());
    text::answer(expanded.as_bytes(), to, room).max(length(expanded.len() + 1))
}

/// The command line, made once: callers keep its address.
pub(crate) extern "win64" fn GetCommandLineA() -> *const u8 {
    static LINE: OnceLock<CString> = OnceLock::new();
    LINE.get_or_init(|| CString::new(process::command_line()).unwrap_or_default()).as_ptr().cast()
}

pub(crate) extern "win64" fn GetCommandLineW() -> *const u16 {
    static LINE: OnceLock<Vec<u16>> = OnceLock::new();
    LINE.get_or_init(|| text::wide_z(&process::command_line())).as_ptr()
}

/// `STARTUPINFO`, of both widths: only pointers differ, and they are all null.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct StartupInfo {
    size: u32,
    texts: [usize; 3],
    place: [u32; 8],
    show_window: u16,
    reserved_len: u16,
    reserved: usize,
    std_handles: [usize; 3],
}

const _: () = assert!(size_of::<StartupInfo>() == 104);

extern "win64" fn GetStartupInfoW(out: Ptr<StartupInfo>) {
    out.put(StartupInfo { size: 104, std_handles: object::STD_HANDLES, ..StartupInfo::default() });
}

table! {
    /// What the process was started with.
    pub(crate) TABLE:
        GetEnvironmentVariableA, GetEnvironmentVariableW, SetEnvironmentVariableA, SetEnvironmentVariableW,
        GetEnvironmentStringsW, GetEnvironmentStringsA, GetEnvironmentStrings = GetEnvironmentStringsA,
        FreeEnvironmentStringsW, FreeEnvironmentStringsA = FreeEnvironmentStringsW, ExpandEnvironmentStringsW,
        ExpandEnvironmentStringsA, GetCommandLineA, GetCommandLineW, GetStartupInfoW, GetStartupInfoA = GetStartupInfoW
}
