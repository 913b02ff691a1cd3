//! Page protections: which numbers are one, and what the host is asked for.

use crate::kernel32::error::code;
use loader_core::Rights;

pub(crate) const NOACCESS: u32 = 0x01;
pub(crate) const READONLY: u32 = 0x02;
pub(crate) const READWRITE: u32 = 0x04;
pub(crate) const WRITECOPY: u32 = 0x08;
pub(crate) const EXECUTE: u32 = 0x10;
pub(crate) const EXECUTE_READ: u32 = 0x20;
pub(crate) const EXECUTE_READWRITE: u32 = 0x40;
pub(crate) const EXECUTE_WRITECOPY: u32 = 0x80;
pub(crate) const GUARD: u32 = 0x100;
const NOCACHE: u32 = 0x200;
const WRITECOMBINE: u32 = 0x400;
/// What control-flow guard is to make of new code (`PAGE_TARGETS_INVALID`): nothing here.
const TARGETS_INVALID: u32 = 0x4000_0000;

/// A page protection: one of the eight, with at most one of the three modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Protect(u32);

impl Protect {
    /// Checks a number.
    ///
    /// # Errors
    /// 87 for what is no protection.
    pub(crate) fn new(bits: u32) -> Result<Self, u32> {
        let plain = bits & !TARGETS_INVALID;
        let (kind, modifier) = (plain & 0xff, plain & !0xff);
        let code = kind >= EXECUTE;
        let fits = match modifier {
            0 => true,
            GUARD | NOCACHE | WRITECOMBINE => kind != NOACCESS,
            _ => false,
        };
        match kind.is_power_of_two() && fits && (code || plain == bits) {
            true => Ok(Self(plain)),
            false => Err(code::INVALID_PARAMETER),
        }
    }

    /// What an image's page has: its writable pages are copies of the file's that are made when they are written to.
    pub(crate) fn of_image(rights: Rights) -> Self {
        let execute = rights.contains(Rights::EXECUTE);
        Self(match (rights.contains(Rights::WRITE), execute, rights.contains(Rights::READ)) {
            (true, true, _) => EXECUTE_WRITECOPY,
            (true, false, _) => WRITECOPY,
            (false, true, true) => EXECUTE_READ,
            (false, true, false) => EXECUTE,
            (false, false, true) => READONLY,
            (false, false, false) => NOACCESS,
        })
    }

    /// The same for a page of an image, where writing means copying.
    pub(crate) fn copying(self) -> Self {
        let modifier = self.0 & !0xff;
        match self.0 & 0xff {
            READWRITE => Self(WRITECOPY | modifier),
            EXECUTE_READWRITE => Self(EXECUTE_WRITECOPY | modifier),
            _ => self,
        }
    }

    /// The number.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// Whether writing makes a copy.
    pub(crate) fn copies(self) -> bool {
        self.0 & (WRITECOPY | EXECUTE_WRITECOPY) != 0
    }

    /// Whether the next access is to be told of.
    pub(crate) fn is_guard(self) -> bool {
        self.0 & GUARD != 0
    }

    /// What is left once the access was told of.
    pub(crate) fn without_guard(self) -> Self {
        Self(self.0 & !GUARD)
    }

    /// What the protection allows once no guard is in the way.
    pub(crate) fn allows(self) -> Rights {
        match self.0 & 0xff {
            READONLY => Rights::READ,
            READWRITE | WRITECOPY => Rights::READ | Rights::WRITE,
            EXECUTE | EXECUTE_READ => Rights::READ | Rights::EXECUTE,
            EXECUTE_READWRITE | EXECUTE_WRITECOPY => Rights::READ | Rights::WRITE | Rights::EXECUTE,
            _ => Rights::empty(),
        }
    }

    /// What whoever is behind the pages has to allow: nobody is asked to be written to by who makes copies.
    pub(crate) fn needs(self) -> Rights {
        if self.copies() { self.allows() - Rights::WRITE } else { self.allows() }
    }

    /// What the host is asked for: nothing for a guard page, so that the first access faults.
    pub(crate) fn rights(self) -> Rights {
        if self.is_guard() { Rights::empty() } else { self.allows() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Memory Protection Constants": one of the eight, and PAGE_GUARD, PAGE_NOCACHE, PAGE_WRITECOMBINE each with any but
    /// PAGE_NOACCESS and not with each other.
    #[test]
    fn only_documented_numbers_are_protections() {
        let fine = [1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x102, 0x104, 0x204, 0x404, 0x110, 0x4000_0040];
        let wrong = [
            0,
            3,
            6,
            0x30,
            0x100,
            0x101,
            0x201,
            0x401,
            0x304,
            0x604,
            0x800,
            0x1000,
            0x4000_0004,
            0x8000_0004,
        ];
        for bits in fine {
            assert!(Protect::new(bits).is_ok(), "{bits:#x}");
        }
        for bits in wrong {
            assert_eq!(Protect::new(bits), Err(87), "{bits:#x}");
        }
    }

    #[test]
    fn a_guard_page_allows_nothing_until_it_was_hit() {
        let guard = Protect::new(READWRITE | GUARD).unwrap();
        assert_eq!(guard.rights(), Rights::empty());
        assert_eq!(guard.without_guard().rights(), Rights::READ | Rights::WRITE);
    }

    #[test]
    fn what_images_may_write_is_copied() {
        assert_eq!(Protect::of_image(Rights::READ | Rights::WRITE).bits(), WRITECOPY);
        assert_eq!(Protect::new(EXECUTE_READWRITE).unwrap().copying().bits(), EXECUTE_WRITECOPY);
        assert_eq!(Protect::new(READONLY).unwrap().copying().bits(), READONLY);
    }
}
