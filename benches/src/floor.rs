//! What loading a DLL costs at least: memory from the system, the file's bytes copied there, fixups, page rights, and
//! the memory given back. No file is opened, nothing is looked up, and no code runs.
//!
//! `unsafe` because pages are mapped and written by address.
#![allow(unsafe_code)]

use crate::Dll;
use loader_core::{Addr, Image, ImageMut, Placement, Rights, Source};
use loader_pe::PeImage;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::{ffi::c_void, ptr::null_mut, sync::Arc};

/// The parts of a DLL, read and understood.
#[derive(Debug)]
pub struct Floor(Vec<(Arc<Source>, Arc<PeImage>)>);

impl Floor {
    /// Reads the parts.
    ///
    /// # Panics
    /// Where one of them is no DLL.
    #[must_use]
    pub fn new(dll: &Dll) -> Self {
        let parsed = |(_, bytes): &(String, Arc<[u8]>)| {
            let source = Arc::new(Source::owned(bytes.clone()));
            let image = PeImage::parse(&source).expect("it is well-formed");
            (source, image)
        };
        Self(dll.bytes().iter().map(parsed).collect())
    }

    /// Loads all of it and gives it back.
    pub fn run(&self) {
        let places: Vec<_> = self.0.iter().map(|(source, image)| load(source.bytes(), image)).collect();
        for (at, len) in places {
            // SAFETY: `load` mapped it, and nobody uses it.
            unsafe { munmap(at, len) }.expect("it was mapped");
        }
    }
}

fn load(bytes: &[u8], image: &PeImage) -> (*mut c_void, usize) {
    let plan = image.plan();
    let len = plan.len().get() as usize;
    // SAFETY: new memory at a place of the kernel's choice.
    let at =
        unsafe { mmap_anonymous(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
    let at = at.expect("there is memory");
    // SAFETY: the memory was just mapped, and is this slice's alone while it is used.
    let memory = unsafe { std::slice::from_raw_parts_mut(at.cast::<u8>(), len) };
    for fill in plan.regions().iter().filter_map(|region| region.fill.as_ref()) {
        let from = &bytes[fill.file.start.0 as usize..fill.file.end.0 as usize];
        memory[fill.at.0 as usize..][..from.len()].copy_from_slice(from);
    }
    let window = plan.window();
    let mut late = Vec::new();
    let mut memory = ImageMut {
        window: &mut memory[window.start.0 as usize..window.end.0 as usize],
        start: window.start,
        at: Placement { link_base: plan.link_base(), base: Addr(at.addr() as u64), len: len as u64 },
        tls: None,
        late: &mut late,
    };
    image.relocate(&mut memory).expect("it is well-formed");
    for (range, rights) in plan.rights() {
        let mut flags = MprotectFlags::empty();
        flags.set(MprotectFlags::READ, rights.contains(Rights::READ));
        flags.set(MprotectFlags::WRITE, rights.contains(Rights::WRITE));
        flags.set(MprotectFlags::EXEC, rights.contains(Rights::EXECUTE));
        let start = at.cast::<u8>().wrapping_add(range.start.0 as usize);
        // SAFETY: a part of the memory that was just mapped; no reference to it is left.
        unsafe { mprotect(start.cast(), (range.end.0 - range.start.0) as usize, flags) }
            .expect("rights are set");
    }
    (at, len)
}
