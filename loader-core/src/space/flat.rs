//! Plain bytes pretending to be at an address: any architecture, no mmap, nothing is ever executed.

use super::{AddressSpace, Backing, Block};
use crate::{Addr, ErrorKind, MapPlan, Rights, Rva, Wanted};
use std::ops::Range;

/// An address space of plain buffers.
///
/// Every image is told that it is at `base`, so one at a time is meant; nothing here can run it.
#[derive(Clone, Copy, Debug)]
pub struct Flat {
    base: Addr,
    longest: u64,
}

impl Flat {
    /// The longest image that [`Flat::at`] accepts, in bytes.
    pub const LONGEST: u64 = 1 << 30;

    /// Images pretend to be at `base`.
    #[must_use]
    pub const fn at(base: Addr) -> Self {
        Self { base, longest: Self::LONGEST }
    }

    /// Refuses images longer than `bytes`.
    #[must_use]
    pub const fn no_longer_than(self, bytes: u64) -> Self {
        Self { longest: bytes, ..self }
    }
}

#[derive(Debug)]
struct FlatBlock {
    base: Addr,
    bytes: Vec<u8>,
    window: Range<usize>,
}

impl AddressSpace for Flat {
    fn place(&self, plan: &MapPlan, from: Backing<'_>) -> Result<Box<dyn Block>, ErrorKind> {
        let too_long = ErrorKind::Space { what: "reserve memory", os: libc::ENOMEM };
        if plan.len().get() > self.longest {
            return Err(too_long);
        }
        let base = match plan.wanted() {
            Wanted::Fixed(base) => base,
            Wanted::Anywhere | Wanted::Preferred(_) => self.base,
        };
        let index = |rva: Rva| usize::try_from(rva.0).map_err(|_| too_long.clone());
        let window = index(plan.window().start)?..index(plan.window().end)?;
        let len = index(Rva(plan.len().get()))?;
        let mut bytes = vec![0; len];
        for fill in plan.regions().iter().filter_map(|r| r.fill.as_ref()) {
            let source = &from.bytes[fill.file.start.0 as usize..fill.file.end.0 as usize];
            bytes[fill.at.0 as usize..][..source.len()].copy_from_slice(source);
        }
        Ok(Box::new(FlatBlock { base, bytes, window }))
    }
}

impl Block for FlatBlock {
    fn base(&self) -> Addr {
        self.base
    }

    fn window(&mut self) -> &mut [u8] {
        &mut self.bytes[self.window.clone()]
    }

    fn patch(&mut self, at: Rva, value: u64) -> Result<(), ErrorKind> {
        let outside = ErrorKind::WriteOutside { at, len: 8 };
        let start = usize::try_from(at.0).map_err(|_| outside.clone())?;
        let slot = self.bytes.get_mut(start..).and_then(|b| b.first_chunk_mut());
        *slot.ok_or(outside)? = value.to_le_bytes();
        Ok(())
    }

    fn protect(&mut self, _: Range<Rva>, _: Rights) -> Result<(), ErrorKind> {
        Ok(())
    }
}
