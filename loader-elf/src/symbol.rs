//! One entry of the dynamic symbol table.

use crate::malformed;
use goblin::elf::{
    section_header::{SHN_ABS, SHN_UNDEF},
    sym::{
        STB_GLOBAL, STB_GNU_UNIQUE, STB_LOCAL, STB_WEAK, STT_COMMON, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE,
        STT_OBJECT, STT_TLS, STV_DEFAULT, STV_HIDDEN, STV_INTERNAL, Sym,
    },
};
use loader_core::{ErrorKind, Export, MapPlan, Rights, Rva};

/// Length of an entry in bytes.
pub(crate) const SYMBOL: usize = 24;

/// A symbol, as the file has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symbol {
    /// Offset of the name in the string table.
    pub(crate) name: u32,
    info: u8,
    other: u8,
    section: u16,
    /// Link-time address, TLS offset or absolute value.
    pub(crate) value: u64,
    /// Length of what it names, in bytes.
    pub(crate) size: u64,
}

impl Symbol {
    /// Reads symbol number `index` of a table.
    pub(crate) fn read(table: &[u8], index: u32) -> Option<Self> {
        let e = table.as_chunks::<SYMBOL>().0.get(index as usize)?;
        let [n0, n1, n2, n3, info, other, s0, s1, rest @ ..] = *e;
        let (value, size) = rest.split_at(8);
        Some(Self {
            name: u32::from_le_bytes([n0, n1, n2, n3]),
            info,
            other,
            section: u16::from_le_bytes([s0, s1]),
            value: u64::from_le_bytes(*value.first_chunk()?),
            size: u64::from_le_bytes(*size.first_chunk()?),
        })
    }

    /// A symbol of either class.
    pub(crate) fn of(symbol: &Sym) -> Option<Self> {
        Some(Self {
            name: u32::try_from(symbol.st_name).ok()?,
            info: symbol.st_info,
            other: symbol.st_other,
            section: u16::try_from(symbol.st_shndx).ok()?,
            value: symbol.st_value,
            size: symbol.st_size,
        })
    }

    /// The link-time address of a symbol as nearly all are: defined, global or weak, visible to everybody, a function or
    /// data at a place of the image. `None` for others.
    #[inline]
    pub(crate) fn plain(entry: &[u8; SYMBOL]) -> Option<u64> {
        const GLOBAL: u8 = STB_GLOBAL << 4;
        const WEAK: u8 = STB_WEAK << 4;
        let [_, _, _, _, info, other, s0, s1, value @ ..] = entry;
        let (kind, section) = (info & 0xf, u32::from(u16::from_le_bytes([*s0, *s1])));
        let plain = matches!(info & 0xf0, GLOBAL | WEAK)
            && matches!(kind, STT_NOTYPE | STT_OBJECT | STT_FUNC | STT_COMMON)
            && other & 3 == STV_DEFAULT
            && !matches!(section, SHN_UNDEF | SHN_ABS);
        let value = u64::from_le_bytes(*value.first_chunk()?);
        (plain && value != 0).then_some(value)
    }

    /// The binding: `STB_GLOBAL` and so on.
    fn binding(&self) -> u8 {
        self.info >> 4
    }

    /// The type: `STT_FUNC` and so on.
    fn kind(&self) -> u8 {
        self.info & 0xf
    }

    fn visibility(&self) -> u8 {
        self.other & 3
    }

    /// Whether nobody minds when it is not found.
    pub(crate) fn is_weak(&self) -> bool {
        self.binding() == STB_WEAK
    }

    /// Whether it is thread-local.
    pub(crate) fn is_tls(&self) -> bool {
        self.kind() == STT_TLS
    }

    /// Whether a function says where it is.
    pub(crate) fn is_ifunc(&self) -> bool {
        self.kind() == STT_GNU_IFUNC
    }

    /// Whether its value stays as it is wherever the image goes.
    pub(crate) fn is_absolute(&self) -> bool {
        u32::from(self.section) == SHN_ABS
    }

    /// Whether this image has it.
    pub(crate) fn is_defined(&self) -> bool {
        u32::from(self.section) != SHN_UNDEF
    }

    /// Whether a part of the image is its: it is defined there, others can name it, and it is no thread's own.
    pub(crate) fn has_a_place(&self) -> bool {
        self.is_defined() && !self.is_absolute() && !self.is_tls() && self.binding() != STB_LOCAL
    }

    /// Whether references in the same image mean this entry, whatever other libraries define.
    pub(crate) fn binds_to_itself(&self) -> bool {
        self.binding() == STB_LOCAL || self.is_defined() && self.visibility() != STV_DEFAULT
    }

    /// Whether other images can find it: defined, visible, and of a type that has an address.
    pub(crate) fn is_exported(&self) -> bool {
        let typed =
            matches!(self.kind(), STT_NOTYPE | STT_OBJECT | STT_FUNC | STT_COMMON | STT_TLS | STT_GNU_IFUNC);
        self.is_defined()
            && self.binding() != STB_LOCAL
            && typed
            && !matches!(self.visibility(), STV_HIDDEN | STV_INTERNAL)
            && (self.value != 0 || self.is_absolute() || self.is_tls())
    }

    /// Whether the process is to have one definition of it only.
    fn is_unique(&self) -> bool {
        self.binding() == STB_GNU_UNIQUE
    }

    /// Where it is in the image that `plan` describes.
    pub(crate) fn export(&self, plan: &MapPlan) -> Result<Export, ErrorKind> {
        if self.is_tls() {
            return Ok(Export::Tls { offset: self.value });
        }
        if self.is_absolute() {
            return Ok(Export::Absolute(self.value));
        }
        if self.is_ifunc() {
            return code(plan, self.value).map(Export::Resolver);
        }
        // `_end` and its like stand one byte after the image.
        let rva = self.value.checked_sub(plan.link_base().0);
        rva.filter(|&r| r <= plan.len().get())
            .map(|r| if self.is_unique() { Export::Unique(Rva(r)) } else { Export::At(Rva(r)) })
            .ok_or_else(|| malformed("symbol outside the image", self.value))
    }
}

/// The image position of a link-time address that must be code.
pub(crate) fn code(plan: &MapPlan, at: u64) -> Result<Rva, ErrorKind> {
    let rva = at.checked_sub(plan.link_base().0).map(Rva);
    rva.filter(|&r| plan.allows(r, Rights::EXECUTE))
        .ok_or_else(|| malformed("function outside the image's code", at))
}
