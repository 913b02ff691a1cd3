//! Facts about code: encoded pointers, the functions of an image, tables of functions made at run time.

use crate::{guest::Ptr, lock, teb};
use loader_core::Addr;
use std::sync::{Mutex, OnceLock};

/// A number that belongs to this run of the program.
fn cookie() -> u64 {
    static COOKIE: OnceLock<u64> = OnceLock::new();
    *COOKIE.get_or_init(|| u64::from_le_bytes(crate::bcrypt::random()))
}

pub(crate) extern "win64" fn EncodePointer(pointer: u64) -> u64 {
    (pointer ^ cookie()).rotate_right(17)
}

pub(crate) extern "win64" fn DecodePointer(pointer: u64) -> u64 {
    pointer.rotate_left(17) ^ cookie()
}

/// `RUNTIME_FUNCTION`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function {
    begin: u32,
    end: u32,
    unwind: u32,
}

/// A table that guest code registered for code that it made.
#[derive(Clone, Copy, Debug)]
struct Dynamic {
    table: usize,
    count: u32,
    base: u64,
}

static DYNAMIC: Mutex<Vec<Dynamic>> = Mutex::new(Vec::new());

pub(crate) extern "win64" fn RtlAddFunctionTable(table: Ptr<Function>, count: u32, base: u64) -> u8 {
    lock(&DYNAMIC).push(Dynamic { table: table.addr(), count, base });
    1
}

pub(crate) extern "win64" fn RtlDeleteFunctionTable(table: Ptr<Function>) -> u8 {
    let mut all = lock(&DYNAMIC);
    let before = all.len();
    all.retain(|d| d.table != table.addr());
    (all.len() < before).into()
}

#[allow(unsafe_code)]
fn place<T>(at: u64) -> Ptr<T> {
    // SAFETY: an address inside a loaded image, which the engine keeps mapped, or one that guest code registered.
    unsafe { Ptr::new(std::ptr::with_exposed_provenance_mut(at as usize)) }
}

/// The table of functions that an image's headers lead to.
fn image_table(base: u64) -> (Ptr<Function>, u32) {
    const EXCEPTION_DIRECTORY: u64 = 0x88 + 3 * 8;
    let nt = base + u64::from(place::<u32>(base + 0x3c).get());
    let directory = nt + EXCEPTION_DIRECTORY;
    let (rva, len) = (place::<u32>(directory).get(), place::<u32>(directory + 4).get());
    (place(base + u64::from(rva)), len / size_of::<Function>() as u32)
}

/// The entry of a sorted table that covers a position.
fn search(table: Ptr<Function>, count: u32, rva: u32) -> Option<Ptr<Function>> {
    let functions = table.slice(count as usize);
    let next = functions.partition_point(|f| f.begin <= rva);
    let found = next.checked_sub(1)?;
    (rva < functions[found].end).then(|| table.at(found))
}

/// The function that holds an address, and the base that its numbers count from; null for leaf functions.
pub(crate) extern "win64" fn RtlLookupFunctionEntry(
    at: u64,
    base: Ptr<u64>,
    _history: usize,
) -> Ptr<Function> {
    let module = teb::process().services().and_then(|s| s.module_at(Addr(at)));
    if let Some(Addr(module)) = module {
        base.put(module);
        let (table, count) = image_table(module);
        let rva = u32::try_from(at - module).ok();
        return rva.and_then(|rva| search(table, count, rva)).unwrap_or(Ptr::NULL);
    }
    let made = lock(&DYNAMIC).clone();
    for d in made {
        let rva = at.checked_sub(d.base).and_then(|r| u32::try_from(r).ok());
        if let Some(f) = rva.and_then(|rva| search(place(d.table as u64), d.count, rva)) {
            base.put(d.base);
            return f;
        }
    }
    Ptr::NULL
}

table! {
    /// Code.
    pub(crate) TABLE:
        EncodePointer, DecodePointer, RtlAddFunctionTable, RtlDeleteFunctionTable, RtlLookupFunctionEntry
}
