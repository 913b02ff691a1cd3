//! Modules: everything here asks the engine.

use super::{Bool, TRUE, answer, datafile, error::code, fail, search};
use crate::{Advice, Services, guest::Ptr, path, teb, text};
use loader_core::{Addr, Export, Format, Query, Symbol, index::Reading};
use std::sync::Arc;

const PIN: u32 = 1;
const UNCHANGED_REFCOUNT: u32 = 2;
const FROM_ADDRESS: u32 = 4;

/// Asks the engine; where it is gone, so are its modules.
pub(crate) fn ask<R>(f: impl FnOnce(&Arc<dyn Services>) -> Result<R, u32>) -> Result<R, u32> {
    let services = teb::services().ok_or(code::MOD_NOT_FOUND)?;
    f(&services)
}

/// A handle, or zero and the last error.
fn handle(result: Result<Addr, u32>) -> usize {
    result.map_or_else(|e| fail(e) as usize, |a| a.0 as usize)
}

fn base(module: usize) -> Addr {
    Addr(module as u64)
}

extern "win64" fn DisableThreadLibraryCalls(module: usize) -> Bool {
    answer(ask(|s| s.disable_thread_library_calls(base(module))))
}

/// Spaces behind a name are not of it.
pub(crate) fn load(function: &'static str, name: &str, flags: u32) -> usize {
    let name = name.trim_end_matches(' ');
    if let Some(base) = (flags == 0).then(|| teb::counts(|c| c.load_again(name))).flatten() {
        return base.0 as usize;
    }
    handle(ask(|s| {
        s.note(function, Advice::Never)?;
        if name.is_empty() {
            return Err(code::INVALID_PARAMETER);
        }
        match search::as_data(name, flags)? {
            true => datafile::load(&**s, name, flags).map(|handle| Addr(handle as u64)),
            false => s.load_library(name, flags).map_err(|e| e.win32()),
        }
    }))
}

/// The second argument is reserved.
fn load_ex(function: &'static str, name: &str, file: usize, flags: u32) -> usize {
    if file == 0 { load(function, name, flags) } else { fail(code::INVALID_PARAMETER) as usize }
}

extern "win64" fn LoadLibraryA(name: Ptr<u8>) -> usize {
    load("LoadLibraryA", &name.lossy(), 0)
}

extern "win64" fn LoadLibraryW(name: Ptr<u16>) -> usize {
    load("LoadLibraryW", &name.string(), 0)
}

extern "win64" fn LoadLibraryExA(name: Ptr<u8>, file: usize, flags: u32) -> usize {
    load_ex("LoadLibraryExA", &name.string(), file, flags)
}

extern "win64" fn LoadLibraryExW(name: Ptr<u16>, file: usize, flags: u32) -> usize {
    load_ex("LoadLibraryExW", &name.string(), file, flags)
}

fn free(function: &'static str, module: usize) -> Bool {
    if teb::counts(|c| c.free_spare(base(module))) {
        return TRUE;
    }
    answer(ask(|s| {
        s.note(function, Advice::NotInDetach)?;
        match module {
            0 => Err(code::INVALID_HANDLE),
            data if data & datafile::TAG != 0 => datafile::free(data),
            _ => s.free_library(base(module)),
        }
    }))
}

pub(crate) extern "win64" fn FreeLibrary(module: usize) -> Bool {
    free("FreeLibrary", module)
}

extern "win64" fn FreeLibraryAndExitThread(module: usize, exit_code: u32) {
    free("FreeLibraryAndExitThread", module);
    super::thread::exit(exit_code);
}

/// Numbers below 0x10000 are ordinals; everything else points to a name.
extern "win64" fn GetProcAddress(module: usize, name: Ptr<u8>) -> usize {
    let query = match u16::try_from(name.addr()) {
        Ok(0) => return fail(code::PROC_NOT_FOUND) as usize,
        Ok(ordinal) => Query::ordinal(ordinal),
        Err(_) => Query::name(name.text()),
    };
    let found = exported(base(module), &query).map_or_else(|| sought(module, query.symbol), Ok);
    handle(found)
}

/// An export of an image, where a look at the image settles it: no lock is taken.
fn exported(module: Addr, query: &Query<'_>) -> Option<Addr> {
    let caller = teb::caller();
    let reading = Reading::begin();
    let found = reading.at(module).filter(|found| {
        found.at.base == module && found.of == caller && found.image.format() == Format::Pe
    })?;
    match found.image.export(query) {
        Ok(Some(Export::At(rva))) => Some(found.at.addr(rva)),
        _ => None,
    }
}

pub(crate) fn sought(module: usize, symbol: Symbol<'_>) -> Result<Addr, u32> {
    ask(|s| {
        let module = match module {
            0 => s.module_handle(None).ok_or(code::MOD_NOT_FOUND)?,
            m => base(m),
        };
        s.get_proc_address(module, symbol).map_err(|e| e.win32())
    })
}

pub(crate) fn find(name: Option<String>) -> Result<Addr, u32> {
    ask(|s| s.module_handle(name.as_deref()).ok_or(code::MOD_NOT_FOUND))
}

extern "win64" fn GetModuleHandleA(name: Ptr<u8>) -> usize {
    handle(find((!name.is_null()).then(|| name.string())))
}

extern "win64" fn GetModuleHandleW(name: Ptr<u16>) -> usize {
    handle(find((!name.is_null()).then(|| name.string())))
}

fn find_ex(flags: u32, at: usize, name: impl FnOnce() -> Option<String>, out: Ptr<usize>) -> Bool {
    out.put(0);
    let odd = flags & !(PIN | UNCHANGED_REFCOUNT | FROM_ADDRESS) != 0;
    if odd || out.is_null() || flags & (PIN | UNCHANGED_REFCOUNT) == PIN | UNCHANGED_REFCOUNT {
        return fail(code::INVALID_PARAMETER);
    }
    let found = if flags & FROM_ADDRESS == 0 || at == 0 {
        find(name())
    } else {
        ask(|s| s.module_at(Addr(at as u64)).ok_or(code::MOD_NOT_FOUND))
    };
    answer(found.and_then(|module| {
        match flags & (PIN | UNCHANGED_REFCOUNT) {
            PIN => ask(|s| s.pin(module))?,
            UNCHANGED_REFCOUNT => {}
            _ => ask(|s| s.add_ref(module))?,
        }
        out.set(module.0 as usize);
        Ok(())
    }))
}

extern "win64" fn GetModuleHandleExA(flags: u32, name: Ptr<u8>, out: Ptr<usize>) -> Bool {
    find_ex(flags, name.addr(), || (!name.is_null()).then(|| name.string()), out)
}

extern "win64" fn GetModuleHandleExW(flags: u32, name: Ptr<u16>, out: Ptr<usize>) -> Bool {
    find_ex(flags, name.addr(), || (!name.is_null()).then(|| name.string()), out)
}

/// A module's file in Windows form.
pub(crate) fn file_name(module: usize) -> Result<String, u32> {
    let module = (module != 0).then(|| base(module));
    let host = ask(|s| s.module_file_name(module).ok_or(code::MOD_NOT_FOUND))?;
    Ok(path::to_guest(&host))
}

/// What does not fit is cut off, and the last error says so.
pub(super) fn give_name<T: Copy + Default>(name: &[T], to: Ptr<T>, room: u32) -> u32 {
    if name.len() < room as usize {
        return text::answer(name, to, room);
    }
    if let Some(fits) = (room as usize).checked_sub(1) {
        text::answer(&name[..fits], to, room);
    }
    teb::set_last_error(code::INSUFFICIENT_BUFFER);
    room
}

extern "win64" fn GetModuleFileNameA(module: usize, to: Ptr<u8>, room: u32) -> u32 {
    match file_name(module) {
        Ok(name) => give_name(name.as_bytes(), to, room),
        Err(code) => fail(code) as u32,
    }
}

extern "win64" fn GetModuleFileNameW(module: usize, to: Ptr<u16>, room: u32) -> u32 {
    match file_name(module) {
        Ok(name) => give_name(&text::wide(&name), to, room),
        Err(code) => fail(code) as u32,
    }
}

/// The base of the image that holds an address.
pub(crate) extern "win64" fn RtlPcToFileHeader(at: usize, out: Ptr<usize>) -> usize {
    let module = ask(|s| s.module_at(Addr(at as u64)).ok_or(0)).map_or(0, |a| a.0 as usize);
    out.put(module);
    module
}

table! {
    /// Modules.
    pub(crate) TABLE:
        DisableThreadLibraryCalls, LoadLibraryA, LoadLibraryW, LoadLibraryExA, LoadLibraryExW, FreeLibrary,
        FreeLibraryAndExitThread, GetProcAddress, GetModuleHandleA, GetModuleHandleW, GetModuleHandleExA,
        GetModuleHandleExW, GetModuleFileNameA, GetModuleFileNameW, RtlPcToFileHeader
}
