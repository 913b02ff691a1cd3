//! The system's loader.
//!
//! `unsafe` because it is C: what is opened runs, and handles are plain pointers.
#![allow(unsafe_code)]

use super::{Subject, Way};
use crate::{
    Image,
    images::{self, Format},
};
use std::{
    ffi::{CStr, CString, c_void},
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// What most libraries need: in the process from the start, for every subject.
const RUNTIMES: [&CStr; 3] = [c"libc.so.6", c"libm.so.6", c"libgcc_s.so.1"];

/// `dlopen(…, RTLD_NOW | RTLD_LOCAL)` and its kin.
#[derive(Debug)]
pub struct Glibc(());

impl Glibc {
    /// Loads what most libraries need and opens a small one once. To be made before the other subjects.
    ///
    /// # Errors
    /// What the system's loader says.
    pub fn new() -> Result<Self, String> {
        for name in RUNTIMES {
            open(name, libc::RTLD_NOW | libc::RTLD_GLOBAL)?;
        }
        let this = Self(());
        let _ = open(c"libof-no-such-name.so", libc::RTLD_NOW);
        for image in images::cases().iter().filter(|i| i.format == Format::Elf) {
            this.close(this.open(image, Way::File)?)?;
        }
        Ok(this)
    }
}

/// A handle that is open.
#[derive(Debug)]
pub struct Opened(*mut c_void);

fn open(name: &CStr, mode: i32) -> Result<Opened, String> {
    // SAFETY: the name ends in a zero; the libraries are the system's own and the corpus's, whose initialisers may
    // run in any process.
    let handle = unsafe { libc::dlopen(name.as_ptr(), mode) };
    if !handle.is_null() {
        return Ok(Opened(handle));
    }
    // SAFETY: asks for the text of what just failed.
    let why = unsafe { libc::dlerror() };
    // SAFETY: after a failure there is a text, which stays until the next call of this thread.
    let why = unsafe { CStr::from_ptr(why) };
    Err(why.to_string_lossy().into_owned())
}

fn c_path(path: &Path) -> Result<CString, String> {
    CString::new(path.as_os_str().as_bytes()).map_err(|e| e.to_string())
}

impl Subject for Glibc {
    const NAME: &str = "glibc";
    const WAYS: &[Way] = &[Way::File];
    const FORMATS: &[Format] = &[Format::Elf];
    type Library = Opened;

    fn open(&self, image: &Image, way: Way) -> Result<Opened, String> {
        match way {
            Way::File => open(&c_path(&image.path)?, libc::RTLD_NOW | libc::RTLD_LOCAL),
            Way::Bytes | Way::Buffer => Err("loads files only".into()),
        }
    }

    fn symbol(&self, library: &Opened, name: &CStr) -> usize {
        // SAFETY: the handle is open and the name ends in a zero.
        unsafe { libc::dlsym(library.0, name.as_ptr()) }.addr()
    }

    fn close(&self, library: Opened) -> Result<(), String> {
        // SAFETY: the handle is open and is not used again.
        match unsafe { libc::dlclose(library.0) } {
            0 => Ok(()),
            _ => Err("dlclose failed".into()),
        }
    }
}
