//! Writing the same bytes at one distance from the thread pointer of every thread that runs.
//!
//! Only the system's loader knows all threads and may write to their blocks: it holds the lock under which they come
//! and go. It does so when a library with static TLS is opened, so a tiny one is made for it, the donor: nothing but a
//! `PT_TLS` segment with the bytes. While the donor is relocated a resolver of ours runs and says in the donor's
//! `link_map` that its block is where the bytes are to go; the system then writes them there, in every thread. The
//! donor is closed at once, with its own place restored, so that the system takes that back too. Where `link_map`
//! keeps the place is read from the descriptor that the C library has for debuggers.
//!
//! `unsafe` because the system's loader is told things by address. Every address is one that it gave itself.
#![allow(unsafe_code)]

use super::reserve::thread_pointer;
use std::{
    cell::Cell,
    ffi::{CString, c_int, c_void},
    fs::File,
    io::Write,
    os::fd::AsRawFd,
    ptr::{self, null_mut},
    slice,
};

/// The longest piece that is written at once. What the system keeps for libraries like the donor is 1,664 bytes, less
/// what others have taken.
const LONGEST: usize = 1024;
/// The shortest: where not even this is free, nothing can be written.
const SHORTEST: usize = 16;

/// Writes `bytes` this far from the thread pointer of every thread; `false` where the system does not lend its hand.
pub(super) fn write(offset: i64, bytes: &[u8]) -> bool {
    let (mut done, mut step) = (0, LONGEST);
    while let Some(rest) = bytes.get(done..).filter(|r| !r.is_empty()) {
        let piece = &rest[..rest.len().min(step)];
        if write_piece(offset + done as i64, piece) {
            done += piece.len();
        } else if step > SHORTEST {
            step /= 2;
        } else {
            return false;
        }
    }
    true
}

thread_local! {
    /// Where the donor that this thread opens is to be.
    static MOVE: Cell<Option<Move>> = const { Cell::new(None) };
}

/// A donor's own place, and the one it is to say it has.
#[derive(Clone, Copy)]
struct Move {
    /// Where `link_map` keeps the place.
    field: usize,
    to: usize,
    from: usize,
    map: *mut c_void,
}

fn write_piece(offset: i64, bytes: &[u8]) -> bool {
    let Some(field) = place_field() else {
        return false;
    };
    // A block is said to be so many bytes below the thread pointer.
    let plan = Move { field, to: offset.wrapping_neg() as usize, from: 0, map: null_mut() };
    MOVE.set(Some(plan));
    let opened = open(bytes);
    let moved = MOVE.take();
    let Some((handle, _file)) = opened else {
        return false;
    };
    let moved = moved.filter(|m| !m.map.is_null());
    if let Some(m) = moved {
        // SAFETY: `settle` found this link map, of the library that `handle` still holds.
        unsafe { place(m.map, m.field).write(m.from) };
    }
    // SAFETY: the handle is the one that was just given, and is given back once.
    unsafe { libc::dlclose(handle) };
    let here = (thread_pointer() as usize).wrapping_add_signed(offset as isize);
    let here = ptr::with_exposed_provenance::<u8>(here);
    // SAFETY: the caller's range is inside the reserve, which this thread has too.
    moved.is_some() && unsafe { slice::from_raw_parts(here, bytes.len()) } == bytes
}

/// The system loader's record of the library that `address` is in.
fn link_map(address: usize) -> Option<*mut c_void> {
    const RTLD_DL_LINKMAP: c_int = 2;
    let mut info = std::mem::MaybeUninit::uninit();
    let mut map = null_mut();
    let address = ptr::with_exposed_provenance(address);
    // SAFETY: both places may be written; any address may be asked for.
    let found = unsafe { libc::dladdr1(address, info.as_mut_ptr(), &raw mut map, RTLD_DL_LINKMAP) };
    (found != 0 && !map.is_null()).then_some(map)
}

/// Called by the system's loader, through the donor, in the thread that opens it.
unsafe extern "C" fn settle(base: usize) -> usize {
    if let Some(plan) = MOVE.get()
        && let Some(map) = link_map(base)
    {
        let place = place(map, plan.field);
        // SAFETY: the system's loader is relocating this library and told us so: its link map is there.
        let from = unsafe { place.read() };
        // SAFETY: as above; the loader's lock is held by this thread.
        unsafe { place.write(plan.to) };
        MOVE.set(Some(Move { map, from, ..plan }));
    }
    base
}

fn place(map: *mut c_void, field: usize) -> *mut usize {
    map.wrapping_byte_add(field).cast()
}

/// Whether the block of the library at `base`, the calling thread's part of which holds `address`, is at one distance
/// from the thread pointer in all threads.
pub(super) fn is_static(base: usize, address: usize) -> bool {
    let below = (thread_pointer() as usize).wrapping_sub(address);
    let said = place_field().zip(link_map(base)).map(|(field, map)| {
        // SAFETY: the library is this one, which stays loaded while its code runs.
        unsafe { place(map, field).read() }
    });
    // 0 and the highest numbers say that it is not; else the block begins at least that far below.
    said.is_some_and(|said| said >= below && said < usize::MAX / 2 && said != 0)
}

/// Where `link_map` keeps how far below the thread pointer a library's block is: a descriptor of bits, count, offset.
fn place_field() -> Option<usize> {
    // SAFETY: a name with a terminating zero.
    let at = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_thread_db_link_map_l_tls_offset".as_ptr()) };
    // SAFETY: the C library's descriptors are three numbers each (nptl_db).
    let &[bits, count, offset] = unsafe { at.cast::<[u32; 3]>().as_ref() }?;
    (bits as usize == usize::BITS as usize && count == 1).then_some(offset as usize)
}

/// Opens a donor with these bytes. Its file must stay as long: by the file's number the system knows it again.
fn open(bytes: &[u8]) -> Option<(*mut c_void, File)> {
    let fd = rustix::fs::memfd_create(c"tls-donor", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
    let mut file = File::from(fd);
    file.write_all(&image(bytes)).ok()?;
    // Not `/proc/self`: a debugger opens what it is told was loaded, and would look among its own files.
    let path = CString::new(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())).ok()?;
    // SAFETY: the library is a donor: nothing of it runs but `settle`.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    (!handle.is_null()).then_some((handle, file))
}

/// A kind of program header that only donors have: whoever lists the libraries of the process leaves them out.
pub const DONOR: u32 = 0x6c64_7464;

const PAGE: u64 = 0x1000;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_TLS: u32 = 7;
const PT_GNU_STACK: u32 = 0x6474_e551;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_RELAENT: u64 = 9;
const DT_STRSZ: u64 = 10;
const DT_SYMENT: u64 = 11;
const DT_FLAGS: u64 = 30;
const DF_STATIC_TLS: u64 = 0x10;
const R_X86_64_TPOFF64: u64 = 18;
const R_X86_64_IRELATIVE: u64 = 37;

/// An ELF file of two pages: what is read and run, what is written.
fn image(tls: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 6;
    let code = 64 + HEADERS * 56;
    let symbols = code + 24;
    let relocations = symbols + 24;
    let (words, dynamic) = (PAGE, PAGE + 16);
    let entries = [
        (DT_STRTAB, symbols), // one empty name: the symbol is all zeroes
        (DT_STRSZ, 1),
        (DT_SYMTAB, symbols),
        (DT_SYMENT, 24),
        (DT_RELA, relocations),
        (DT_RELASZ, 2 * 24),
        (DT_RELAENT, 24),
        (DT_FLAGS, DF_STATIC_TLS),
        (0, 0),
    ];
    let block = dynamic + 16 * entries.len() as u64;
    let end = block + tls.len() as u64;

    let mut out = Vec::with_capacity(end as usize);
    out.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"); // 64 bits, little endian
    out.extend([3, 0, 62, 0, 1, 0, 0, 0]); // a shared object, for x86-64
    [0, 64, 0].iter().for_each(|n: &u64| out.extend(n.to_le_bytes())); // entry, program headers, sections
    out.extend([0, 0, 0, 0, 64, 0, 56, 0, HEADERS as u8, 0, 64, 0, 0, 0, 0, 0]);
    let mut header = |kind: u32, flags: u32, at: u64, len: u64, align: u64| {
        out.extend(kind.to_le_bytes());
        out.extend(flags.to_le_bytes());
        [at, at, at, len, len, align].iter().for_each(|n| out.extend(n.to_le_bytes()));
    };
    header(PT_LOAD, 5, 0, relocations + 48, PAGE);
    header(PT_LOAD, 6, PAGE, end - PAGE, PAGE);
    header(PT_DYNAMIC, 6, dynamic, block - dynamic, 8);
    header(PT_TLS, 4, block, end - block, 1);
    header(PT_GNU_STACK, 6, 0, 0, 16);
    header(DONOR, 0, 0, 0, 1);
    let after_lea = code as u32 + 7;
    out.extend([0x48, 0x8d, 0x3d]); // lea rdi, [rip - …]: the start of this file
    out.extend(after_lea.wrapping_neg().to_le_bytes());
    out.extend([0x48, 0xb8]); // mov rax, settle
    out.extend((settle as *const () as u64).to_le_bytes());
    out.extend([0xff, 0xe0]); // jmp rax
    out.resize(relocations as usize, 0);
    // The first makes the system give the block a place, the second, which it applies last, calls `settle`.
    for (at, kind, addend) in [(words, R_X86_64_TPOFF64, 0), (words + 8, R_X86_64_IRELATIVE, code)] {
        [at, kind, addend].iter().for_each(|n| out.extend(n.to_le_bytes()));
    }
    out.resize(dynamic as usize, 0);
    entries.iter().for_each(|(tag, value)| {
        out.extend(tag.to_le_bytes());
        out.extend(value.to_le_bytes());
    });
    out.extend(tls);
    out
}
