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
        table.as_chunks().0.get(index as usize).map(Self::parse)
    }

    /// Reads an entry of a table.
    #[inline]
    pub(crate) fn parse(entry: &[u8; SYMBOL]) -> Self {
        let [n0, n1, n2, n3, info, other, s0, s1, v0, v1, v2, v3, v4, v5, v6, v7, size @ ..] = *entry;
        Self {
            name: u32::from_le_bytes([n0, n1, n2, n3]),
            info,
            other,
            section: u16::from_le_bytes([s0, s1]),
            value: u64::from_le_bytes([v0, v1, v2, v3, v4, v5, v6, v7]),
            size: u64::from_le_bytes(size),
        }
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

    /// Whether it is as nearly all that are exported: code or data at a place of the image, whose references in the same
    /// image may mean another library's definition.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.kind(), STT_NOTYPE | STT_OBJECT | STT_FUNC | STT_COMMON)
            && matches!(self.binding(), STB_GLOBAL | STB_WEAK)
            && self.visibility() == STV_DEFAULT
            && self.is_defined()
            && !self.is_absolute()
            && self.value != 0
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
        self.rva(plan)
            .map(|rva| if self.is_unique() { Export::Unique(rva) } else { Export::At(rva) })
            .ok_or_else(|| malformed("symbol outside the image", self.value))
    }

    /// Its place in the image that `plan` describes. `_end` and its like stand one byte after the image.
    #[inline]
    pub(crate) fn rva(&self, plan: &MapPlan) -> Option<Rva> {
        let rva = self.value.checked_sub(plan.link_base().0).map(Rva);
        rva.filter(|rva| rva.0 <= plan.len().get())
    }
}

/// The image position of a link-time address that must be code.
pub(crate) fn code(plan: &MapPlan, at: u64) -> Result<Rva, ErrorKind> {
    let rva = at.checked_sub(plan.link_base().0).map(Rva);
    rva.filter(|&r| plan.allows(r, Rights::EXECUTE))
        .ok_or_else(|| malformed("function outside the image's code", at))
}
