//! dbghelp: sessions for symbols, and what unwinding needs. No file with symbols is ever found, so no address has a name
//! or a line: the functions that look for one say that they found none.
#![allow(non_snake_case)]

use crate::{
    exception::functions::RtlLookupFunctionEntry,
    guest::Ptr,
    kernel32::{Bool, answer, error::code, fail, module::RtlPcToFileHeader},
    lock, teb, text,
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

/// The sessions of a process, by the handles that it made up for them, with the folders to look in; and the options,
/// which are those of all.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: Mutex<BTreeMap<usize, String>>,
    options: AtomicU32,
}

/// Does something with the folders of a session.
fn session<R>(handle: usize, f: impl FnOnce(&mut String) -> R) -> Result<R, u32> {
    lock(&teb::process().symbols.open).get_mut(&handle).map(f).ok_or(code::INVALID_HANDLE)
}

fn begin(handle: usize, folders: String) -> Bool {
    let process = teb::process();
    let mut open = lock(&process.symbols.open);
    if handle == 0 || open.contains_key(&handle) {
        return fail(code::INVALID_PARAMETER);
    }
    open.insert(handle, folders);
    drop(open);
    answer(Ok(()))
}

/// Without folders, the current one and what two variables name.
fn usual_folders() -> String {
    let named = ["_NT_SYMBOL_PATH", "_NT_ALTERNATE_SYMBOL_PATH"];
    let named = named.iter().filter_map(|name| teb::process().environment.get(name));
    [".".into()].into_iter().chain(named).collect::<Vec<String>>().join(";")
}

extern "win64" fn SymInitialize(handle: usize, folders: Ptr<u8>, _all_modules: Bool) -> Bool {
    begin(handle, if folders.is_null() { usual_folders() } else { folders.string() })
}

extern "win64" fn SymInitializeW(handle: usize, folders: Ptr<u16>, _all_modules: Bool) -> Bool {
    begin(handle, if folders.is_null() { usual_folders() } else { folders.string() })
}

extern "win64" fn SymCleanup(handle: usize) -> Bool {
    let closed = lock(&teb::process().symbols.open).remove(&handle);
    answer(closed.map(drop).ok_or(code::INVALID_HANDLE))
}

extern "win64" fn SymSetOptions(options: u32) -> u32 {
    teb::process().symbols.options.store(options, SeqCst);
    options
}

extern "win64" fn SymGetOptions() -> u32 {
    teb::process().symbols.options.load(SeqCst)
}

extern "win64" fn SymSetSearchPathW(handle: usize, folders: Ptr<u16>) -> Bool {
    let new = if folders.is_null() { usual_folders() } else { folders.string() };
    answer(session(handle, |place| *place = new))
}

extern "win64" fn SymGetSearchPathW(handle: usize, to: Ptr<u16>, room: u32) -> Bool {
    answer(session(handle, |folders| text::wide_z(folders)).and_then(|folders| {
        if to.is_null() || folders.len() > room as usize {
            return Err(code::INSUFFICIENT_BUFFER);
        }
        to.fill(&folders);
        Ok(())
    }))
}

/// No module has symbols.
fn not_found(handle: usize) -> Bool {
    answer(session(handle, |_| ()).and(Err(code::MOD_NOT_FOUND)))
}

extern "win64" fn SymFromAddr(handle: usize, _at: u64, _distance: Ptr<u64>, _out: Ptr<u8>) -> Bool {
    not_found(handle)
}

extern "win64" fn SymGetLineFromAddr64(handle: usize, _at: u64, _distance: Ptr<u32>, _out: Ptr<u8>) -> Bool {
    not_found(handle)
}

/// The unwind data of the function at an address, or null.
extern "win64" fn SymFunctionTableAccess64(handle: usize, at: u64) -> u64 {
    match session(handle, |_| ()) {
        Ok(()) => RtlLookupFunctionEntry(at, Ptr::NULL, 0),
        Err(error) => fail(error) as u64,
    }
}

/// The base of the module that an address is in, or 0.
extern "win64" fn SymGetModuleBase64(handle: usize, at: u64) -> u64 {
    let found = session(handle, |_| ()).and_then(|()| match RtlPcToFileHeader(at as usize, Ptr::NULL) {
        0 => Err(code::MOD_NOT_FOUND),
        base => Ok(base as u64),
    });
    found.unwrap_or_else(|error| fail(error) as u64)
}

/// Nobody can write a dump of the process.
extern "win64" fn MiniDumpWriteDump(
    _process: usize,
    _id: u32,
    _file: usize,
    _kind: u32,
    _exception: usize,
    _streams: usize,
    _callback: usize,
) -> Bool {
    fail(code::NOT_SUPPORTED)
}

table! {
    /// dbghelp.
    pub(crate) TABLE:
        SymInitialize, SymInitializeW, SymCleanup, SymSetOptions, SymGetOptions, SymSetSearchPathW, SymGetSearchPathW,
        SymFromAddr, SymFromAddrW = SymFromAddr, SymGetLineFromAddr64, SymGetLineFromAddrW64 = SymGetLineFromAddr64,
        SymFunctionTableAccess64, SymGetModuleBase64, MiniDumpWriteDump
}
