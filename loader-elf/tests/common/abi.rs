//! What the ABIs of the other machines say of relocations, applied to what `object` reads of them: a second opinion on
//! every word that this crate writes.

use loader_core::Addr;
use object::{
    Object, ObjectSegment, ObjectSymbol, ObjectSymbolTable, RelocationFlags, RelocationTarget, SymbolFlags,
    elf,
    read::elf::{ElfFile, FileHeader, SectionHeader},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    I386,
    Arm,
    Aarch64,
    Riscv64,
}

/// What the ABI wants in the place. B, S, A, P as it uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Formula {
    Nothing,
    BA,
    S,
    SA,
    /// The number of a module.
    Module,
    /// S + A in the block, less the number.
    Block(u64),
    /// S + A from the thread pointer.
    Thread,
    /// What a loader that runs nothing cannot do.
    NeedsCode,
}

impl Machine {
    pub const ALL: [Self; 4] = [Self::I386, Self::Arm, Self::Aarch64, Self::Riscv64];

    pub fn folder(self) -> &'static str {
        ["i386", "arm", "aarch64", "riscv64"][self as usize]
    }

    pub fn number(self) -> u16 {
        [elf::EM_386, elf::EM_ARM, elf::EM_AARCH64, elf::EM_RISCV][self as usize].0
    }

    pub fn wide(self) -> bool {
        matches!(self, Self::Aarch64 | Self::Riscv64)
    }

    /// A base that such a machine could have.
    pub fn base(self) -> Addr {
        Addr(if self.wide() { crate::common::BASE } else { 0xf000_0000 })
    }

    /// A number as a word of the machine.
    pub fn word(self, value: u64) -> u64 {
        if self.wide() { value } else { value & 0xffff_ffff }
    }

    /// Reads the word at the start of eight bytes.
    pub fn read(self, bytes: [u8; 8]) -> u64 {
        self.word(u64::from_le_bytes(bytes))
    }

    fn formula(self, kind: u32) -> Formula {
        use Formula::*;
        let table: &[(u32, Formula)] = match self {
            Self::I386 => &[
                (elf::R_386_NONE.0, Nothing),
                (elf::R_386_RELATIVE.0, BA),
                (elf::R_386_32.0, SA),
                (elf::R_386_GLOB_DAT.0, S),
                (elf::R_386_JMP_SLOT.0, S),
                (elf::R_386_TLS_DTPMOD32.0, Module),
                (elf::R_386_TLS_DTPOFF32.0, Block(0)),
                (elf::R_386_TLS_TPOFF.0, Thread),
                (elf::R_386_IRELATIVE.0, NeedsCode),
                (elf::R_386_TLS_DESC.0, NeedsCode),
            ],
            Self::Arm => &[
                (elf::R_ARM_NONE.0, Nothing),
                (elf::R_ARM_RELATIVE.0, BA),
                (elf::R_ARM_ABS32.0, SA),
                (elf::R_ARM_GLOB_DAT.0, S),
                (elf::R_ARM_JUMP_SLOT.0, S),
                (elf::R_ARM_TLS_DTPMOD32.0, Module),
                (elf::R_ARM_TLS_DTPOFF32.0, Block(0)),
                (elf::R_ARM_TLS_TPOFF32.0, Thread),
                (elf::R_ARM_IRELATIVE.0, NeedsCode),
            ],
            Self::Aarch64 => &[
                (elf::R_AARCH64_NONE.0, Nothing),
                (elf::R_AARCH64_RELATIVE.0, BA),
                (elf::R_AARCH64_ABS64.0, SA),
                (elf::R_AARCH64_GLOB_DAT.0, SA),
                (elf::R_AARCH64_JUMP_SLOT.0, SA),
                (elf::R_AARCH64_TLS_DTPMOD.0, Module),
                (elf::R_AARCH64_TLS_DTPREL.0, Block(0)),
                (elf::R_AARCH64_TLS_TPREL.0, Thread),
                (elf::R_AARCH64_TLSDESC.0, NeedsCode),
                (elf::R_AARCH64_IRELATIVE.0, NeedsCode),
            ],
            Self::Riscv64 => &[
                (elf::R_RISCV_NONE.0, Nothing),
                (elf::R_RISCV_RELATIVE.0, BA),
                (elf::R_RISCV_64.0, SA),
                (elf::R_RISCV_JUMP_SLOT.0, SA),
                (elf::R_RISCV_TLS_DTPMOD64.0, Module),
                (elf::R_RISCV_TLS_DTPREL64.0, Block(0x800)),
                (elf::R_RISCV_TLS_TPREL64.0, Thread),
                (elf::R_RISCV_IRELATIVE.0, NeedsCode),
            ],
        };
        let found = table.iter().find(|(n, _)| *n == kind);
        found.unwrap_or_else(|| panic!("{self:?}: relocation type {kind}")).1
    }
}

/// Where a symbol is, for the one who refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    At(u64),
    /// In the thread-local block of the library of that number, whose start is so far from the thread pointer.
    Tls {
        owner: usize,
        start: i64,
        offset: u64,
    },
    Absent,
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Seen {
    /// Words that were compared.
    pub words: usize,
    /// The module numbers that were found, and for whom.
    pub modules: Vec<(usize, u64)>,
}

/// A library as `object` reads it; its link-time base is 0.
pub struct Library<'a> {
    pub machine: Machine,
    pub file: object::File<'a>,
    /// Its number, and where its thread-local block is.
    pub owner: usize,
    pub start: i64,
    pub base: Addr,
}

impl<'a> Library<'a> {
    pub fn read(machine: Machine, bytes: &'a [u8], owner: usize, start: i64, base: Addr) -> Self {
        let file = object::File::parse(bytes).expect("object reads it");
        assert_eq!(file.relative_address_base(), 0);
        Self { machine, file, owner, start, base }
    }

    /// A symbol that others can see.
    pub fn export(&self, name: &str) -> Option<Target> {
        let symbols = self.file.dynamic_symbol_table()?;
        let mut found = symbols.symbols().filter(|s| !s.is_undefined() && s.name() == Ok(name));
        found.next().map(|s| self.target(&s))
    }

    fn target<'d>(&self, s: &impl ObjectSymbol<'d>) -> Target {
        match s.kind() {
            object::SymbolKind::Tls => {
                Target::Tls { owner: self.owner, start: self.start, offset: s.address() }
            }
            _ => Target::At(self.base.0.wrapping_add(s.address())),
        }
    }

    fn in_file(&self, at: u64) -> u64 {
        let bytes = self.file.segments().find_map(|s| s.data_range(at, 8).ok().flatten());
        // The last word of a segment of a 32-bit image has but four bytes.
        let bytes = bytes.or_else(|| self.file.segments().find_map(|s| s.data_range(at, 4).ok().flatten()));
        let bytes = bytes.expect("in the file");
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        self.machine.read(word)
    }

    /// Whether a word needs code to run before it is known.
    pub fn needs_code(&self) -> bool {
        let Some(mut all) = self.file.dynamic_relocations() else { return false };
        all.any(|(_, r)| self.machine.formula(kind(&r)) == Formula::NeedsCode)
    }

    /// The places of packed RELATIVE relocations.
    fn packed(&self) -> Vec<u64> {
        match &self.file {
            object::File::Elf32(file) => places(file),
            object::File::Elf64(file) => places(file),
            other => panic!("no ELF file: {other:?}"),
        }
    }

    /// Compares every relocated word with what the ABI says; `word` reads the memory, `find` knows other libraries.
    pub fn compare(&self, word: impl Fn(u64) -> u64, find: impl Fn(&str) -> Target) -> Seen {
        let symbols = self.file.dynamic_symbol_table().expect("dynamic symbols");
        let mut seen = Seen::default();
        for at in self.packed() {
            let wanted = self.machine.word(self.base.0.wrapping_add(self.in_file(at)));
            assert_eq!(word(at), wanted, "{:?}: packed, at {at:#x}", self.machine);
            seen.words += 1;
        }
        for (at, r) in self.file.dynamic_relocations().expect("dynamic relocations") {
            let formula = self.machine.formula(kind(&r));
            let (name, target) = match r.target() {
                RelocationTarget::Symbol(index) => {
                    let s = symbols.symbol_by_index(index).expect("a symbol");
                    let name = s.name().expect("a name");
                    (name, if binds_to_itself(&s) { self.target(&s) } else { find(name) })
                }
                _ if matches!(formula, Formula::Module | Formula::Block(_) | Formula::Thread) => {
                    ("", Target::Tls { owner: self.owner, start: self.start, offset: 0 })
                }
                _ => ("", Target::At(self.base.0)),
            };
            let addend = || match r.has_implicit_addend() {
                true => self.in_file(at),
                false => r.addend().cast_unsigned(),
            };
            let wanted = match (formula, target) {
                (Formula::Nothing, _) => continue,
                (Formula::BA, _) => self.base.0.wrapping_add(addend()),
                (Formula::S, Target::At(s)) => s,
                (Formula::SA, Target::At(s)) => s.wrapping_add(addend()),
                (Formula::S, Target::Absent) => 0,
                (Formula::SA, Target::Absent) => addend(),
                (Formula::Module, Target::Tls { owner, .. }) => {
                    seen.modules.push((owner, word(at)));
                    continue;
                }
                (Formula::Block(less), Target::Tls { offset, .. }) => {
                    offset.wrapping_add(addend()).wrapping_sub(less)
                }
                (Formula::Thread, Target::Tls { start, offset, .. }) => {
                    offset.wrapping_add_signed(start).wrapping_add(addend())
                }
                (formula, target) => panic!("{formula:?} of {name}, which is {target:?}"),
            };
            let wanted = self.machine.word(wanted);
            assert_eq!(word(at), wanted, "{:?}: {formula:?} of {name:?} at {at:#x}", self.machine);
            seen.words += 1;
        }
        seen
    }
}

fn places<E: FileHeader<Endian = object::Endianness>>(file: &ElfFile<'_, E>) -> Vec<u64> {
    let tables = file.elf_section_table().iter().filter_map(|s| {
        let table = s.relr(file.endian(), file.data()).expect("object reads it")?;
        Some(table.map(Into::into))
    });
    tables.flatten().collect()
}

fn kind(r: &object::Relocation) -> u32 {
    match r.flags() {
        RelocationFlags::Elf { r_type } => r_type.0,
        other => panic!("no ELF relocation: {other:?}"),
    }
}

fn binds_to_itself<'d>(s: &impl ObjectSymbol<'d>) -> bool {
    match s.flags() {
        SymbolFlags::Elf { st_info, st_other } => {
            let local = st_info.0 >> 4 == 0;
            local || !s.is_undefined() && st_other.0 & 3 != 0
        }
        _ => false,
    }
}
