//! Where images go. A block is one reservation; dropping it gives the memory back.
//!
//! [`Flat`] is a plain buffer at a pretended base, for tests, fuzzers and a look at an image without running it;
//! [`Local`] is this process.

mod flat;
mod local;
mod name;

pub use flat::Flat;
pub use local::Local;

use crate::{Addr, ErrorKind, MapPlan, Rights, Rva};
use std::{fmt, fs::File, ops::Range};

/// Memory that images are put into.
pub trait AddressSpace: Send + Sync + fmt::Debug {
    /// Puts one image where its plan wants it: its regions hold what the file puts there, all else is zero. The plan's
    /// window is writable; the rest may not have its rights yet.
    ///
    /// # Errors
    /// [`ErrorKind::Space`], [`ErrorKind::BaseTaken`].
    fn place(&self, plan: &MapPlan, from: Backing<'_>) -> Result<Box<dyn Block>, ErrorKind>;
}

/// Where the bytes of an image come from when it is mapped; by default there are none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backing<'a> {
    /// The bytes of the whole file.
    pub bytes: &'a [u8],
    /// The file itself, where pages may be mapped from it instead of copied.
    pub file: Option<&'a File>,
}

/// The memory of one image. Dropping it gives the memory back.
pub trait Block: Send + Sync + fmt::Debug {
    /// The address of the first byte.
    fn base(&self) -> Addr;

    /// Names what of the memory comes from no file, for those who read the system's list of mappings.
    fn name(&self, _name: &str) {}

    /// The window's bytes while nobody else can see them: from `place` until `seal`.
    fn window(&mut self) -> &mut [u8];

    /// Writes a 64-bit number into the window while code of the image may run already (ifunc slots).
    ///
    /// # Errors
    /// [`ErrorKind::WriteOutside`].
    fn patch(&mut self, at: Rva, value: u64) -> Result<(), ErrorKind>;

    /// Sets the rights of whole pages.
    ///
    /// # Errors
    /// [`ErrorKind::Space`].
    fn protect(&mut self, at: Range<Rva>, rights: Rights) -> Result<(), ErrorKind>;

    /// Gives the pages back and keeps the addresses: whoever touches them faults. Where nothing runs, nothing is to do.
    ///
    /// # Errors
    /// [`ErrorKind::Space`].
    fn close_off(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}
