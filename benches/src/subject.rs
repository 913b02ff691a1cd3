//! Who opens libraries: this engine, the system's loader, the `elf_loader` crate.

mod elf_loader;
mod glibc;
mod ours;

pub use elf_loader::ElfLoader;
pub use glibc::Glibc;
pub use ours::Ours;

use crate::{Image, images::Format};
use std::ffi::CStr;

/// How an image is given to a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As a path.
    File,
    /// As bytes in memory.
    Bytes,
    /// As a buffer that is handed over.
    Buffer,
}

impl Way {
    /// What results call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Bytes => "bytes",
            Self::Buffer => "buffer",
        }
    }
}

/// A loader that is measured. It is made once, warm, in the parent of all children.
pub trait Subject {
    /// What results call it.
    const NAME: &str;
    /// The ways in which it takes images.
    const WAYS: &[Way];
    /// The formats it loads.
    const FORMATS: &[Format];

    /// An open library.
    type Library;

    /// Gets ready for one open. Not measured.
    fn prepare(&self, _image: &Image, _way: Way) {}

    /// Opens an image, binds all its symbols and runs its initialisers.
    ///
    /// # Errors
    /// What the loader says.
    fn open(&self, image: &Image, way: Way) -> Result<Self::Library, String>;

    /// The address of a symbol; 0 where there is none.
    fn symbol(&self, library: &Self::Library, name: &CStr) -> usize;

    /// Closes a library: its terminators run, its memory is given back.
    ///
    /// # Errors
    /// What the loader says.
    fn close(&self, library: Self::Library) -> Result<(), String>;

    /// What results call this subject when it takes an image this way.
    #[must_use]
    fn label(way: Way) -> String {
        format!("{}-{}", Self::NAME, way.name())
    }
}
