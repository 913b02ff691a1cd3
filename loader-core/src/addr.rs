//! Four kinds of number that must never be mixed, and the one type that converts between them.
//!
//! Read [`plan`](crate::plan) next: it says which of these numbers a file may contain.

use std::fmt;

/// Size of a page of memory, in bytes. The engine runs on x86-64 Linux only, where it is fixed.
pub const PAGE: u64 = 4096;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name(pub u64);

        impl $name {
            /// The number `n` bytes further on, or `None` where that would pass the end of the number range.
            #[must_use]
            pub const fn checked_add(self, n: u64) -> Option<Self> {
                match self.0.checked_add(n) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:#x}"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

address!(
    /// A position in the file, in bytes from its start.
    FileOffset, "file+"
);
address!(
    /// A position in the image, in bytes from its first byte ("relative virtual address" in PE, the
    /// distance from the lowest `PT_LOAD` address in ELF).
    Rva, "image+"
);
address!(
    /// An address that the static linker wrote, before anyone knew where the image would go.
    LinkAddr, "link:"
);
address!(
    /// An address in the space that the image was put into.
    Addr, ""
);

/// A length that is a whole number of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PageBytes(u64); // Invariant: a multiple of PAGE.

impl PageBytes {
    /// The pages that hold `bytes` bytes, or `None` where that many pages have no 64-bit length.
    #[must_use]
    pub const fn covering(bytes: u64) -> Option<Self> {
        match bytes.checked_next_multiple_of(PAGE) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// The length in bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The start of the page that holds `n`.
#[must_use]
pub const fn page_floor(n: u64) -> u64 {
    n & !(PAGE - 1)
}

/// Where an image was put: the only place where one kind of address becomes another.
///
/// ```
/// use loader_core::{Addr, LinkAddr, Placement, Rva};
/// let at = Placement { link_base: LinkAddr(0x1_8000_0000), base: Addr(0x7000_0000), len: 0x3000 };
/// assert_eq!(at.moved(LinkAddr(0x1_8000_1234)), Addr(0x7000_1234));
/// assert_eq!(at.rva(LinkAddr(0x1_8000_1234)), Some(Rva(0x1234)));
/// assert!(!at.contains(Addr(0x7000_3000)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Placement {
    /// The address that the static linker gave the image's first byte.
    pub link_base: LinkAddr,
    /// The address that the image's first byte has.
    pub base: Addr,
    /// The image's length in bytes.
    pub len: u64,
}

impl Placement {
    /// What has to be added (modulo 2^64) to a link-time address to make it a live one.
    #[must_use]
    pub const fn slide(&self) -> u64 {
        self.base.0.wrapping_sub(self.link_base.0)
    }

    /// The live address of an image position.
    #[must_use]
    pub const fn addr(&self, rva: Rva) -> Addr {
        Addr(self.base.0.wrapping_add(rva.0))
    }

    /// The live address of a link-time address, inside the image or not.
    #[must_use]
    pub const fn moved(&self, old: LinkAddr) -> Addr {
        Addr(old.0.wrapping_add(self.slide()))
    }

    /// The image position of a link-time address, or `None` where it lies outside the image.
    #[must_use]
    pub fn rva(&self, link: LinkAddr) -> Option<Rva> {
        link.0.checked_sub(self.link_base.0).filter(|&r| r < self.len).map(Rva)
    }

    /// The image position of a live address, or `None` where it lies outside the image.
    #[must_use]
    pub fn rva_of(&self, live: Addr) -> Option<Rva> {
        live.0.checked_sub(self.base.0).filter(|&r| r < self.len).map(Rva)
    }

    /// Whether a live address lies inside the image.
    #[must_use]
    pub const fn contains(&self, a: Addr) -> bool {
        a.0.wrapping_sub(self.base.0) < self.len
    }
}
