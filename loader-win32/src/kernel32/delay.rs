//! Imports that are bound when they are first used, by the system (`ResolveDelayLoadedAPI`) and not by a helper that the
//! image brings along. Unsafe because guest code is gone on with.
//!
//! Whatever is called when an import cannot be had, a hook of the guest's or what raises an exception, is jumped to: its
//! caller is then the guest's own code, over which exceptions find their way.
#![allow(unsafe_code)]

use super::{Bool, TRUE, module::ask};
use crate::{
    exception::{NONCONTINUABLE, registers::RaiseException},
    guest::Ptr,
    memory::protect::READWRITE,
    teb,
};
use loader_core::{Addr, Rights, Symbol};
use std::{arch::naked_asm, cell::Cell, ptr};

/// `IMAGE_DELAYLOAD_DESCRIPTOR`: positions in the image.
#[repr(C)]
#[derive(Clone, Copy)]
struct Descriptor {
    attributes: u32,
    name: u32,
    /// Of the word that the module's handle is kept in.
    module: u32,
    slots: u32,
    names: u32,
    bound: u32,
    unload: u32,
    time: u32,
}

/// `DELAYLOAD_INFO`: what a hook is told.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    size: u32,
    descriptor: usize,
    slot: usize,
    library: usize,
    by_name: u32,
    /// A name's address, or a number.
    symbol: usize,
    module: usize,
    unused: usize,
    error: u32,
}

/// A function to go on with, and its first two arguments; none where the import was found.
#[repr(C)]
#[derive(Clone, Copy)]
struct Next {
    function: usize,
    arguments: [usize; 2],
}

/// The only reason for which a hook is asked.
const GPA_FAILURE: usize = 4;
const STATUS_DELAY_LOAD_FAILED: usize = 0xc000_0412;
/// What the helper of Microsoft's compiler raises for a function that is not there.
const PROC_NOT_FOUND: u32 = 0xc06d_007f;

thread_local! {
    /// The library and the symbol that this thread missed last.
    static MISSING: Cell<[usize; 2]> = const { Cell::new([0; 2]) };
    /// What a hook is told in this thread: the hook may never return here.
    static TOLD: Cell<Info> = const {
        Cell::new(Info {
            size: size_of::<Info>() as u32,
            descriptor: 0,
            slot: 0,
            library: 0,
            by_name: 0,
            symbol: 0,
            module: 0,
            unused: 0,
            error: 0,
        })
    };
}

/// `ResolveDelayLoadedAPI(base, descriptor, hook, system's hook, slot, flags)`: the import's address. One that cannot be
/// had is what the hook answers, or else the system's hook; without either it is an exception.
#[unsafe(naked)]
pub(crate) unsafe extern "win64" fn ResolveDelayLoadedAPI() {
    naked_asm!(
        "sub rsp, 0x58",
        "mov rax, [rsp + 0x58 + 0x28]",
        "mov [rsp + 0x20], rax",
        "lea rax, [rsp + 0x30]",
        "mov [rsp + 0x28], rax",
        "call {resolve}",
        "mov r10, [rsp + 0x30]",
        "mov rcx, [rsp + 0x38]",
        "mov rdx, [rsp + 0x40]",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "add rsp, 0x58",
        "test r10, r10",
        "jz 2f",
        "jmp r10",
        "2:",
        "ret",
        resolve = sym resolve,
    )
}

/// `DelayLoadFailureHook(library, symbol)`: raises an exception that has both.
#[unsafe(naked)]
unsafe extern "win64" fn DelayLoadFailureHook() {
    naked_asm!(
        "sub rsp, 0x28",
        "call {keep}",
        "add rsp, 0x28",
        "mov ecx, {code}",
        "mov edx, {flags}",
        "mov r8d, 2",
        "mov r9, rax",
        "jmp {raise}",
        keep = sym keep,
        code = const PROC_NOT_FOUND,
        flags = const NONCONTINUABLE,
        raise = sym RaiseException,
    )
}

/// Keeps what an exception is about where it can be read from.
extern "win64" fn keep(library: usize, symbol: usize) -> *const Cell<[usize; 2]> {
    MISSING.with(|missing| {
        missing.set([library, symbol]);
        ptr::from_ref(missing)
    })
}

extern "win64" fn resolve(
    base: u64,
    descriptor: Ptr<Descriptor>,
    hook: usize,
    system_hook: usize,
    slot: Ptr<u64>,
    next: Ptr<Next>,
) -> u64 {
    let parts = descriptor.get();
    let place = |rva: u32| Ptr::<u8>::from_guest(base.wrapping_add(rva.into()));
    let (library, module) = (place(parts.name), place(parts.module).cast::<usize>());
    let nth = slot.addr().wrapping_sub(place(parts.slots).addr()) / size_of::<u64>();
    let import = place(parts.names).cast::<u64>().at(nth).get();
    let name = place((import as u32).wrapping_add(2));
    let ordinal = import >> 63 != 0;
    let symbol = if ordinal { Symbol::Ordinal(import as u16) } else { Symbol::Name(name.text()) };

    let found = find(Addr(base), library, module, symbol);
    next.set(Next { function: 0, arguments: [0; 2] });
    let error = match found {
        Ok(at) => {
            write(slot, at.0);
            return at.0;
        }
        Err(error) => error,
    };
    let symbol = if ordinal { usize::from(import as u16) } else { name.addr() };
    let told = TOLD.with(|told| {
        let (descriptor, slot, library) = (descriptor.addr(), slot.addr(), library.addr());
        let (by_name, module) = ((!ordinal).into(), module.get());
        told.set(Info { descriptor, slot, library, by_name, symbol, module, error, ..told.get() });
        ptr::from_ref(told).expose_provenance()
    });
    let (function, arguments) = match (hook, system_hook) {
        (0, 0) => (RaiseException as *const () as usize, [STATUS_DELAY_LOAD_FAILED, NONCONTINUABLE as usize]),
        (0, system_hook) => (system_hook, [library.addr(), symbol]),
        (hook, _) => (hook, [GPA_FAILURE, told]),
    };
    next.set(Next { function, arguments });
    0
}

/// An import, and its library, which stays as long as the image at `base` from now on.
fn find(base: Addr, library: Ptr<u8>, module: Ptr<usize>, symbol: Symbol<'_>) -> Result<Addr, u32> {
    ask(|s| {
        if module.get() == 0 {
            let brought = s.bring_library(base, &library.string()).map_err(|e| e.win32())?;
            module.set(brought.0 as usize);
        }
        s.get_proc_address(Addr(module.get() as u64), symbol).map_err(|e| e.win32())
    })
}

/// Writes an import's slot. Newer images have them where nobody else can write.
fn write(slot: Ptr<u64>, value: u64) {
    let process = teb::process();
    let at = slot.addr() as u64;
    let pages = process.services().and_then(|s| s.image_pages(Addr(at)));
    let writable = |rights: Rights| rights.contains(Rights::WRITE);
    let sealed =
        pages.is_some_and(|p| p.rights.iter().any(|(range, r)| range.contains(&at) && !writable(*r)));
    let before = sealed.then(|| process.memory.protect(at, 8, READWRITE)).and_then(Result::ok);
    slot.set(value);
    if let Some(before) = before {
        let _ = process.memory.protect(at, 8, before);
    }
}

/// Whether an import that the image can do without is there.
extern "win64" fn QueryOptionalDelayLoadedAPI(
    base: u64,
    library: Ptr<u8>,
    symbol: Ptr<u8>,
    _reserved: u32,
) -> Bool {
    let mut module = 0;
    let found = find(Addr(base), library, crate::exception::local(&mut module), Symbol::Name(symbol.text()));
    found.map_or_else(super::fail, |_| TRUE)
}

table! {
    /// Delayed imports.
    pub(crate) TABLE: ResolveDelayLoadedAPI, DelayLoadFailureHook, QueryOptionalDelayLoadedAPI
}
