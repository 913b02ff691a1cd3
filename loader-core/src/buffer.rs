//! Memory for a library's bytes out of which the library is mapped, not copied: to the kernel it is a file without a
//! name, so that an image shares its pages until it writes to them.
//!
//! `unsafe` because files are mapped, and a file may change under its mapping: nobody else has this one.
#![allow(unsafe_code)]

use crate::ErrorKind;
use memmap2::{Mmap, MmapMut};
use rustix::fs::{MemfdFlags, memfd_create};
use std::{
    fs::File,
    io::{self, Read},
    ops::{Deref, DerefMut},
};

/// Bytes of a library, to be filled in and handed over to be opened.
///
/// # Examples
/// ```
/// use loader_core::Buffer;
///
/// let from_the_net: &[u8] = b"\x7fELF\x02\x01\x01";
/// let buffer = Buffer::read(from_the_net, from_the_net.len())?;
/// assert_eq!(buffer[..4], *b"\x7fELF");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Buffer {
    pages: MmapMut,
    file: File,
}

impl Buffer {
    /// `len` zeros.
    ///
    /// # Errors
    /// What the system says: no memory, no descriptors; an empty buffer is refused ([`io::ErrorKind::InvalidInput`]).
    pub fn new(len: usize) -> io::Result<Self> {
        let file = File::from(memfd_create(c"library", MemfdFlags::CLOEXEC)?);
        file.set_len(len.try_into().map_err(io::Error::other)?)?;
        // SAFETY: nobody else knows the file, and it keeps its length.
        let pages = unsafe { MmapMut::map_mut(&file)? };
        Ok(Self { pages, file })
    }

    /// What a reader gives, which must be `len` bytes at least.
    ///
    /// # Errors
    /// As [`Buffer::new`]; what the reader says; [`io::ErrorKind::UnexpectedEof`].
    pub fn read(mut reader: impl Read, len: usize) -> io::Result<Self> {
        let mut buffer = Self::new(len)?;
        reader.read_exact(&mut buffer)?;
        Ok(buffer)
    }

    /// The bytes as nobody can change them any more, and the file to map pages from.
    pub(crate) fn into_parts(self) -> Result<(Mmap, File), ErrorKind> {
        let io =
            |e: io::Error| ErrorKind::Io { what: "protect the buffer", os: e.raw_os_error().unwrap_or(0) };
        Ok((self.pages.make_read_only().map_err(io)?, self.file))
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.pages
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.pages
    }
}
