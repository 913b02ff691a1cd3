//! Libraries by NT's calls: KERNEL32's, with counted names and statuses.

use super::{
    objects::done,
    status::{self, ACCESS_VIOLATION, BUFFER_TOO_SMALL, DLL_NOT_FOUND, INVALID_PARAMETER, SUCCESS, last},
};
use crate::{
    guest::Ptr,
    kernel32::{
        FALSE, TRUE,
        error::code,
        module::{self, FreeLibrary, ask, file_name},
        search,
    },
    rtl::counted::{Bytes, Text},
    teb,
    text::wide,
};
use loader_core::{Addr, Symbol};

/// The folders to look in are those that KERNEL32 looks in.
extern "win64" fn LdrLoadDll(_folders: usize, _kind: Ptr<u32>, name: Ptr<Text>, out: Ptr<usize>) -> u32 {
    if name.is_null() || out.is_null() {
        return INVALID_PARAMETER;
    }
    match module::load("LdrLoadDll", &name.get().string(), 0) {
        0 => last(),
        base => {
            out.set(base);
            SUCCESS
        }
    }
}

extern "win64" fn LdrUnloadDll(base: usize) -> u32 {
    if FreeLibrary(base) == TRUE { SUCCESS } else { last() }
}

/// By name, or, without one, by number.
extern "win64" fn LdrGetProcedureAddress(
    base: usize,
    name: Ptr<Bytes>,
    ordinal: u32,
    out: Ptr<usize>,
) -> u32 {
    if out.is_null() {
        return INVALID_PARAMETER;
    }
    let found = if name.is_null() {
        module::sought(base, Symbol::Ordinal(ordinal as u16))
    } else {
        module::sought(base, Symbol::Name(&name.get().elements()))
    };
    found.map_or_else(status::of, |at| {
        out.set(at.0 as usize);
        SUCCESS
    })
}

const PIN: u32 = 2;
const UNCHANGED_REFCOUNT: u32 = 1;

/// The library of that name, if it is loaded. It counts as loaded once more, unless the caller wants otherwise.
extern "win64" fn LdrGetDllHandleEx(
    flags: u32,
    _folders: usize,
    _kind: Ptr<u32>,
    name: Ptr<Text>,
    out: Ptr<usize>,
) -> u32 {
    const KNOWN: u32 = PIN | UNCHANGED_REFCOUNT | 4;
    let both = PIN | UNCHANGED_REFCOUNT;
    if name.is_null() || flags & !KNOWN != 0 || flags & both == both || out.is_null() && flags & PIN == 0 {
        return INVALID_PARAMETER;
    }
    let found = module::find(Some(name.get().string()));
    let kept = found.and_then(|base| {
        match flags & both {
            PIN => ask(|s| s.pin(base))?,
            UNCHANGED_REFCOUNT => {}
            _ => ask(|s| s.add_ref(base))?,
        }
        out.put(base.0 as usize);
        Ok(())
    });
    match kept {
        Err(code::MOD_NOT_FOUND) => DLL_NOT_FOUND,
        kept => done(kept.map_err(status::of)),
    }
}

/// The same, and nothing is counted.
extern "win64" fn LdrGetDllHandle(_folders: usize, _flags: usize, name: Ptr<Text>, out: Ptr<usize>) -> u32 {
    LdrGetDllHandleEx(UNCHANGED_REFCOUNT, 0, Ptr::NULL, name, out)
}

/// Counts a library once more, or keeps it for good.
extern "win64" fn LdrAddRefDll(flags: u32, base: usize) -> u32 {
    const KEEP: u32 = 1;
    let base = Addr(base as u64);
    let kept = match flags {
        0 => ask(|s| s.add_ref(base)),
        KEEP => ask(|s| s.pin(base)),
        _ => return INVALID_PARAMETER,
    };
    done(kept.map_err(status::of))
}

/// Writes a text into a counted one: as much of it as there is room for, with a zero where there is.
fn give(name: &str, to: Ptr<Text>) -> u32 {
    let bytes: Vec<u8> = wide(name).iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let (room, place) = (usize::from(to.get().room), to.get().at.cast::<u8>());
    let fits = bytes.len().min(room);
    place.fill(&bytes[..fits]);
    if fits + 2 <= room {
        place.at(fits).fill(&[0; 2]);
    }
    to.set(Text { length: fits as u16, ..to.get() });
    if fits < bytes.len() { BUFFER_TOO_SMALL } else { SUCCESS }
}

extern "win64" fn LdrGetDllFullName(base: usize, to: Ptr<Text>) -> u32 {
    if to.is_null() {
        return ACCESS_VIOLATION;
    }
    file_name(base).map_or(DLL_NOT_FOUND, |name| give(&name, to))
}

/// The folder that a program had `SetDllDirectory` name; the length that it has is told where there is no room for it.
extern "win64" fn LdrGetDllDirectory(to: Ptr<Text>) -> u32 {
    if to.is_null() {
        return ACCESS_VIOLATION;
    }
    let folder = search::own();
    let needed = (wide(&folder).len() + 1) * 2;
    if needed > to.get().room.into() {
        to.set(Text { length: u16::try_from(needed).unwrap_or(u16::MAX), ..to.get() });
        return BUFFER_TOO_SMALL;
    }
    give(&folder, to)
}

extern "win64" fn LdrSetDllDirectory(name: Ptr<Text>) -> u32 {
    if name.is_null() {
        return ACCESS_VIOLATION;
    }
    match search::set_own(&name.get().string()) {
        FALSE => last(),
        _ => SUCCESS,
    }
}

/// The record of the library that holds an address, as the lists have it.
extern "win64" fn LdrFindEntryForAddress(at: u64, out: Ptr<usize>) -> u32 {
    const NO_MORE_ENTRIES: u32 = 0x8000_001a;
    if out.is_null() {
        return ACCESS_VIOLATION;
    }
    teb::process().lists.entry(at).map_or(NO_MORE_ENTRIES, |entry| {
        out.set(entry);
        SUCCESS
    })
}

table! {
    /// Libraries.
    pub(crate) TABLE:
        LdrLoadDll, LdrUnloadDll, LdrGetProcedureAddress, LdrGetDllHandle, LdrGetDllHandleEx, LdrAddRefDll,
        LdrGetDllFullName, LdrGetDllDirectory, LdrSetDllDirectory, LdrFindEntryForAddress
}
