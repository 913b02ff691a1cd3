//! What differs between machines: the length of a word, and what the types of relocations mean.

use crate::dynamic::Dynamic;
use goblin::{
    container::{Container, Ctx, Endian},
    elf::{
        header::{EI_CLASS, ELFCLASS32, ELFCLASS64, EM_386, EM_AARCH64, EM_ARM, EM_RISCV, Header},
        reloc::*,
    },
};
use loader_core::{ErrorKind, ImageMut, Rva};

/// A machine whose images are understood, though not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    I386,
    Arm,
    Aarch64,
    Riscv64,
}

/// What a type of relocation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fixup {
    /// Nothing.
    None,
    /// B + A, in the terms of [`Named`], where B is the distance of the image from its link-time address.
    Relative,
    /// Something that depends on a symbol.
    Named(Named),
}

/// What a relocation with a symbol puts into its place, one word long on all these machines. In the terms of their
/// ABIs: S is the symbol's address, A the addend, P the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// S + A.
    Address,
    /// S, and A where the relocation itself has one: the place holds no addend, but what lazy binding begins with.
    Slot,
    /// S + A - P.
    Distance,
    /// The length of what the symbol names, plus A.
    Size,
    /// A word by which code finds a thread-local variable.
    ThreadLocal(TlsWord),
    /// What cannot be done for an image that does not run, or not for a library.
    Refused(&'static str),
}

/// The words by which code finds a thread-local variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsWord {
    /// The number of its module.
    Module,
    /// Its distance from the start of its block, plus A.
    Offset,
    /// Its distance from the thread pointer, plus A.
    ThreadPointer,
    /// A minus that distance.
    BelowThreadPointer,
}

impl Machine {
    /// The machine that a header names.
    pub(crate) fn of(header: &Header) -> Result<Self, ErrorKind> {
        match (header.e_machine, header.e_ident[EI_CLASS]) {
            (EM_386, ELFCLASS32) => Ok(Self::I386),
            (EM_ARM, ELFCLASS32) => Ok(Self::Arm),
            (EM_AARCH64, ELFCLASS64) => Ok(Self::Aarch64),
            (EM_RISCV, ELFCLASS64) => Ok(Self::Riscv64),
            (machine, _) => Err(ErrorKind::Unsupported { what: "machine", value: machine.into() }),
        }
    }

    /// The length of its words.
    pub(crate) const fn word(self) -> Word {
        match self {
            Self::I386 | Self::Arm => Word::Four,
            Self::Aarch64 | Self::Riscv64 => Word::Eight,
        }
    }

    /// The bytes that offsets into TLS blocks leave out, so that more of a block is in reach of short instructions.
    pub(crate) const fn tls_bias(self) -> u64 {
        match self {
            Self::Riscv64 => 0x800,
            Self::I386 | Self::Arm | Self::Aarch64 => 0,
        }
    }

    /// What a type of relocation means; `None` for what no dynamic section of this machine has.
    pub(crate) const fn fixup(self, kind: u32) -> Option<Fixup> {
        match self {
            Self::I386 => i386(kind),
            Self::Arm => arm(kind),
            Self::Aarch64 => aarch64(kind),
            Self::Riscv64 => riscv64(kind),
        }
    }
}

const COPY: Fixup = refused("copy relocation in a library");
const DESCRIPTOR: Fixup = refused("TLS descriptor of another machine");
const RESOLVER: Fixup = refused("ifunc of another machine");

const fn refused(what: &'static str) -> Fixup {
    Fixup::Named(Named::Refused(what))
}

const fn tls(word: TlsWord) -> Fixup {
    Fixup::Named(Named::ThreadLocal(word))
}

const fn i386(kind: u32) -> Option<Fixup> {
    Some(match kind {
        R_386_NONE => Fixup::None,
        R_386_32 => Fixup::Named(Named::Address),
        R_386_PC32 => Fixup::Named(Named::Distance),
        R_386_GLOB_DAT | R_386_JMP_SLOT => Fixup::Named(Named::Slot),
        R_386_RELATIVE => Fixup::Relative,
        R_386_SIZE32 => Fixup::Named(Named::Size),
        R_386_TLS_DTPMOD32 => tls(TlsWord::Module),
        R_386_TLS_DTPOFF32 => tls(TlsWord::Offset),
        R_386_TLS_TPOFF => tls(TlsWord::ThreadPointer),
        R_386_TLS_TPOFF32 => tls(TlsWord::BelowThreadPointer),
        R_386_TLS_DESC => DESCRIPTOR,
        R_386_COPY => COPY,
        R_386_IRELATIVE => RESOLVER,
        _ => return None,
    })
}

const fn arm(kind: u32) -> Option<Fixup> {
    Some(match kind {
        R_ARM_NONE => Fixup::None,
        R_ARM_ABS32 => Fixup::Named(Named::Address),
        R_ARM_REL32 => Fixup::Named(Named::Distance),
        R_ARM_GLOB_DAT | R_ARM_JUMP_SLOT => Fixup::Named(Named::Slot),
        R_ARM_RELATIVE => Fixup::Relative,
        R_ARM_TLS_DTPMOD32 => tls(TlsWord::Module),
        R_ARM_TLS_DTPOFF32 => tls(TlsWord::Offset),
        R_ARM_TLS_TPOFF32 => tls(TlsWord::ThreadPointer),
        R_ARM_TLS_DESC => DESCRIPTOR,
        R_ARM_COPY => COPY,
        R_ARM_IRELATIVE => RESOLVER,
        _ => return None,
    })
}

const fn aarch64(kind: u32) -> Option<Fixup> {
    Some(match kind {
        R_AARCH64_NONE | R_AARCH64_WITHDRAWN => Fixup::None,
        R_AARCH64_ABS64 => Fixup::Named(Named::Address),
        R_AARCH64_GLOB_DAT | R_AARCH64_JUMP_SLOT => Fixup::Named(Named::Slot),
        R_AARCH64_RELATIVE => Fixup::Relative,
        R_AARCH64_TLS_DTPMOD => tls(TlsWord::Module),
        R_AARCH64_TLS_DTPREL => tls(TlsWord::Offset),
        R_AARCH64_TLS_TPREL => tls(TlsWord::ThreadPointer),
        R_AARCH64_TLSDESC => DESCRIPTOR,
        R_AARCH64_COPY => COPY,
        R_AARCH64_IRELATIVE => RESOLVER,
        _ => return None,
    })
}

/// A second number for nothing, from a draft of the ABI.
const R_AARCH64_WITHDRAWN: u32 = 256;
/// Two words: a function of the loader and its argument.
const R_RISCV_TLSDESC: u32 = 12;

const fn riscv64(kind: u32) -> Option<Fixup> {
    Some(match kind {
        R_RISCV_NONE => Fixup::None,
        R_RISCV_64 => Fixup::Named(Named::Address),
        R_RISCV_JUMP_SLOT => Fixup::Named(Named::Slot),
        R_RISCV_RELATIVE => Fixup::Relative,
        R_RISCV_TLS_DTPMOD64 => tls(TlsWord::Module),
        R_RISCV_TLS_DTPREL64 => tls(TlsWord::Offset),
        R_RISCV_TLS_TPREL64 => tls(TlsWord::ThreadPointer),
        R_RISCV_TLSDESC => DESCRIPTOR,
        R_RISCV_COPY => COPY,
        R_RISCV_IRELATIVE => RESOLVER,
        _ => return None,
    })
}

/// The length of a machine's words: of its addresses, and of everything that a relocation writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Four,
    Eight,
}

impl Word {
    /// In bytes.
    pub(crate) const fn len(self) -> u64 {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// How the tables of a file with such words are read.
    pub(crate) const fn ctx(self) -> Ctx {
        let container = match self {
            Self::Four => Container::Little,
            Self::Eight => Container::Big,
        };
        Ctx { container, le: Endian::Little }
    }

    /// How the dynamic section of such a file is read.
    pub(crate) fn dynamic(self) -> fn(&[u8]) -> Dynamic {
        match self {
            Self::Four => Dynamic::read_narrow,
            Self::Eight => Dynamic::read,
        }
    }

    /// The word at the start of `bytes`.
    pub(crate) fn first(self, bytes: &[u8]) -> Option<u64> {
        match self {
            Self::Four => bytes.first_chunk().map(|b| u32::from_le_bytes(*b).into()),
            Self::Eight => bytes.first_chunk().map(|b| u64::from_le_bytes(*b)),
        }
    }

    /// Reads a word of the image.
    pub(crate) fn read(self, mem: &mut ImageMut<'_>, at: Rva) -> Result<u64, ErrorKind> {
        match self {
            Self::Four => mem.read(at).map(|b| u32::from_le_bytes(b).into()),
            Self::Eight => mem.read_u64(at),
        }
    }

    /// Writes a sum into a word of the image. Sums wrap round at the length of a word, as the ABIs have it: what must
    /// not be cut off went through [`Word::fit`] before.
    pub(crate) fn write(self, mem: &mut ImageMut<'_>, at: Rva, sum: u64) -> Result<(), ErrorKind> {
        match self {
            Self::Four => mem.write(at, (sum as u32).to_le_bytes()),
            Self::Eight => mem.write_u64(at, sum),
        }
    }

    /// A sum of addresses, cut off at the length of a word.
    pub(crate) const fn wrap(self, sum: u64) -> u64 {
        match self {
            Self::Four => sum & u32::MAX as u64,
            Self::Eight => sum,
        }
    }

    /// Refuses an address or a number that has no room in a word.
    pub(crate) fn fit(self, at: Rva, value: u64) -> Result<u64, ErrorKind> {
        match self {
            Self::Four if value > u32::MAX.into() => Err(ErrorKind::Overflow { at, value }),
            Self::Four | Self::Eight => Ok(value),
        }
    }

    /// Refuses a distance that has no room in a word; as a number to add modulo 2^64.
    pub(crate) fn fit_signed(self, at: Rva, value: i64) -> Result<u64, ErrorKind> {
        match self {
            Self::Four if i32::try_from(value).is_err() => {
                Err(ErrorKind::Overflow { at, value: value.cast_unsigned() })
            }
            Self::Four | Self::Eight => Ok(value.cast_unsigned()),
        }
    }
}
