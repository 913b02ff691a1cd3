//! The process block: what Windows code finds at `gs:[0x60]`, and the page that stands for the program's image.
//!
//! Unsafe because both live in pages of their own that images read by offset without asking anyone.
#![allow(unsafe_code)]

use crate::{
    guest::Ptr,
    kernel32::sync::{InitializeCriticalSection, Section},
    ldr::Link,
};
use loader_core::ErrorKind;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::{mem::offset_of, ptr};

const SIZE: usize = 0x3000;
/// Where in the pages the parts lie.
const PARAMETERS_AT: usize = 0x800;
const LDR_AT: usize = 0xe00;
const LOCK_AT: usize = 0xf00;
const PROGRAM_AT: usize = 0x1000;

/// The Windows version that is claimed: 10.0, build 19045.
pub(crate) const VERSION: (u32, u32, u32) = (10, 0, 19045);

/// The block, up to the last field that images are known to read.
#[repr(C)]
#[allow(missing_docs)]
pub(crate) struct Peb {
    _flags: [u8; 0x10],
    pub image_base: usize,
    pub ldr: *const Ldr,
    pub parameters: *const Parameters,
    _28: usize,
    pub process_heap: usize,
    /// What code takes that changes the block.
    pub fast_lock: usize,
    _40: [u8; 0xb8 - 0x40],
    pub number_of_processors: u32,
    pub global_flag: u32,
    _c0: [u8; 0x118 - 0xc0],
    pub version_major: u32,
    pub version_minor: u32,
    pub build: u16,
    pub service_pack: u16,
    pub platform: u32,
    pub subsystem: u32,
    pub subsystem_major: u32,
    pub subsystem_minor: u32,
    _134: [u8; 0x2c0 - 0x134],
    pub session: u32,
    _2c4: [u8; 0x7c8 - 0x2c4],
}

/// The loader's lists, of images: built-in modules have none, and are found by asking.
#[repr(C)]
pub(crate) struct Ldr {
    length: u32,
    initialized: u32,
    handle: usize,
    /// In load order, by address (that is: in load order, too), in the order of initialisation.
    pub(crate) lists: [Link; 3],
}

/// A counted wide text.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnicodeString {
    /// Length in bytes.
    pub length: u16,
    /// Room in bytes.
    pub maximum: u16,
    /// The text.
    pub buffer: *const u16,
}

/// What the process was started with.
#[repr(C)]
pub(crate) struct Parameters {
    maximum_length: u32,
    length: u32,
    flags: u32,
    debug_flags: u32,
    console: usize,
    console_flags: usize,
    std_handles: [usize; 3],
    current_directory: UnicodeString,
    current_directory_handle: usize,
    dll_path: UnicodeString,
    image_path: UnicodeString,
    command_line: UnicodeString,
    environment: *const u16,
}

const _: () = {
    assert!(offset_of!(Peb, process_heap) == 0x30);
    assert!(offset_of!(Peb, number_of_processors) == 0xb8);
    assert!(offset_of!(Peb, version_major) == 0x118);
    assert!(offset_of!(Parameters, image_path) == 0x60);
    assert!(offset_of!(Parameters, command_line) == 0x70);
    assert!(offset_of!(Parameters, environment) == 0x80);
    assert!(PARAMETERS_AT >= size_of::<Peb>());
    assert!(LOCK_AT >= LDR_AT + size_of::<Ldr>() && LOCK_AT + size_of::<Section>() <= PROGRAM_AT);
    assert!(LDR_AT >= PARAMETERS_AT + size_of::<Parameters>());
};

/// The pages of one process, freed when dropped, and the texts that they point to.
pub(crate) struct Block {
    pages: *mut u8,
    _texts: [Box<[u16]>; 3],
}

// SAFETY: after `new` nothing of the host writes to the pages; what guest code does to them is its own affair.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// A block for a process with this image path, command line and environment (each with its terminator).
    pub(crate) fn new(texts: [Box<[u16]>; 3]) -> Result<Self, ErrorKind> {
        // SAFETY: new pages at a place of the kernel's choice touch nobody's memory.
        let pages = unsafe {
            mmap_anonymous(ptr::null_mut(), SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        };
        let pages: *mut u8 = pages
            .map_err(|e| ErrorKind::Space { what: "make a process block", os: e.raw_os_error() })?
            .cast();
        let block = Self { pages, _texts: texts };
        block.write();
        Ok(block)
    }

    fn write(&self) {
        let [image, command, environment] = &self._texts;
        let parameters = self.pages.wrapping_add(PARAMETERS_AT).cast::<Parameters>();
        let ldr = self.pages.wrapping_add(LDR_AT).cast::<Ldr>();
        // SAFETY: the pages are ours, zeroed, large enough, and nobody else knows them yet.
        let peb = unsafe { &mut *self.pages.cast::<Peb>() };
        // SAFETY: as above; the parts do not overlap.
        let parameters = unsafe { &mut *parameters };
        // SAFETY: as above.
        let ldr_ref = unsafe { &mut *ldr };
        // SAFETY: as above; the lock's place is for a lock.
        let lock = unsafe { Ptr::<Section>::new(self.pages.wrapping_add(LOCK_AT).cast()) };
        peb.image_base = self.program();
        peb.ldr = ldr;
        peb.parameters = parameters;
        peb.process_heap = self.heap();
        peb.fast_lock = lock.addr();
        InitializeCriticalSection(lock);
        peb.number_of_processors = crate::process::processors();
        (peb.version_major, peb.version_minor) = (VERSION.0, VERSION.1);
        peb.build = VERSION.2 as u16;
        (peb.platform, peb.subsystem, peb.subsystem_major) = (2, 3, 10);
        peb.session = crate::names::SESSION;
        parameters.flags = 1; // normalised: the pointers are addresses
        parameters.length = size_of::<Parameters>() as u32;
        parameters.maximum_length = parameters.length;
        parameters.std_handles = crate::object::STD_HANDLES;
        parameters.image_path = UnicodeString::of(image);
        parameters.command_line = UnicodeString::of(command);
        parameters.environment = environment.as_ptr();
        ldr_ref.length = size_of::<Ldr>() as u32;
        ldr_ref.initialized = 1;
        ldr_ref.lists.iter().for_each(Link::close);
        self.write_program();
    }

    /// A page that reads as a PE image without sections: what asks `GetModuleHandle(NULL)` for headers finds some.
    fn write_program(&self) {
        let put = |at: usize, bytes: &[u8]| {
            let to = self.pages.wrapping_add(PROGRAM_AT + at);
            // SAFETY: the few header bytes below lie inside the second page, which is ours.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        };
        put(0, b"MZ");
        put(0x3c, &0x80u32.to_le_bytes());
        put(0x80, b"PE\0\0");
        put(0x84, &0x8664u16.to_le_bytes()); // machine
        put(0x94, &240u16.to_le_bytes()); // size of the optional header
        put(0x96, &0x22u16.to_le_bytes()); // an executable that knows large addresses
        put(0x98, &0x20bu16.to_le_bytes()); // PE32+
        put(0xb0, &(self.program() as u64).to_le_bytes());
        put(0xb8, &0x1000u32.to_le_bytes()); // section alignment
        put(0xbc, &0x200u32.to_le_bytes()); // file alignment
        put(0xc8, &6u16.to_le_bytes()); // subsystem version
        put(0xd0, &0x1000u32.to_le_bytes()); // size of the image
        put(0xd4, &0x1000u32.to_le_bytes()); // size of the headers
        put(0xdc, &3u16.to_le_bytes()); // a console program
        put(0x104, &16u32.to_le_bytes()); // directories, all empty
    }

    /// The process block.
    pub(crate) fn block(&self) -> *const Peb {
        self.pages.cast()
    }

    /// The loader's lists.
    pub(crate) fn ldr(&self) -> &Ldr {
        // SAFETY: `write` made it there; the links are atomic, and nothing else of it changes.
        unsafe { &*self.pages.wrapping_add(LDR_AT).cast() }
    }

    /// Says where the program's image is.
    pub(crate) fn set_program(&self, base: usize) {
        let place = self.pages.wrapping_add(std::mem::offset_of!(Peb, image_base)).cast::<usize>();
        // SAFETY: the word lies in the first page, which is ours; no code of the program runs yet.
        unsafe { place.write(base) };
    }

    /// The address of the page that stands for the program's image.
    pub(crate) fn program(&self) -> usize {
        self.pages.wrapping_add(PROGRAM_AT).expose_provenance()
    }

    /// The number by which the process heap is known.
    pub(crate) fn heap(&self) -> usize {
        self.pages.wrapping_add(PROGRAM_AT + 0x1000).addr()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the pages are those that `new` mapped; threads that run code of this process keep the process alive.
        let _ = unsafe { munmap(self.pages.cast(), SIZE) };
    }
}

impl UnicodeString {
    /// Text with its terminator.
    pub(crate) fn of(text: &[u16]) -> Self {
        let bytes = |n: usize| u16::try_from(n * 2).unwrap_or(u16::MAX - 1);
        Self {
            length: bytes(text.len().saturating_sub(1)),
            maximum: bytes(text.len()),
            buffer: text.as_ptr(),
        }
    }
}
