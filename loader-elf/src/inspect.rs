//! Everything a person may want to know of a library, by full parsers of other people's: for the command line, and
//! as an independent source that the tests compare this crate with. Nothing here is on the way of a load.

use crate::malformed;
use goblin::elf::{
    Elf,
    dynamic::tag_to_str,
    program_header::pt_to_str,
    reloc::r_to_str,
    sym::{STB_LOCAL, Sym, bind_to_str, type_to_str},
};
use loader_core::ErrorKind;
use object::{
    Endianness, Object,
    elf::FileHeader64,
    read::elf::{ElfFile64, FileHeader, SectionHeader, VersionTable},
};
use std::collections::BTreeMap;

/// A library, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// `DT_SONAME`.
    pub own_name: Option<String>,
    /// `DT_NEEDED`, in file order.
    pub needs: Vec<String>,
    /// `DT_RPATH` and `DT_RUNPATH`.
    pub paths: Vec<String>,
    /// The interpreter, for programs and for libraries that can be run.
    pub interpreter: Option<String>,
    /// The build id, in hexadecimal.
    pub build_id: Option<String>,
    /// The program headers.
    pub segments: Vec<Segment>,
    /// The sections; empty where the file was stripped of them.
    pub sections: Vec<Section>,
    /// The dynamic section: tags and their numbers.
    pub dynamic: Vec<(String, u64)>,
    /// The symbols that it needs from others.
    pub imports: Vec<Symbol>,
    /// The symbols that it offers to others.
    pub exports: Vec<Symbol>,
    /// How many relocations there are of each type.
    pub relocations: BTreeMap<String, u64>,
}

/// A program header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `PT_LOAD` and so on.
    pub kind: String,
    /// The rights, as in `r-x`.
    pub rights: String,
    /// Link-time address.
    pub address: u64,
    /// Length in memory.
    pub memory: u64,
    /// Position in the file.
    pub offset: u64,
    /// Length in the file.
    pub file: u64,
    /// Alignment.
    pub align: u64,
}

/// A section header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Link-time address, 0 where it is not loaded.
    pub address: u64,
    /// Position in the file.
    pub offset: u64,
    /// Length.
    pub size: u64,
}

/// A dynamic symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Its version, where it has one.
    pub version: Option<String>,
    /// References without a version do not find it.
    pub hidden: bool,
    /// The library that must have the version, for imports.
    pub from: Option<String>,
    /// `FUNC`, `OBJECT`, `TLS` and so on.
    pub kind: String,
    /// `GLOBAL`, `WEAK` and so on.
    pub binding: String,
    /// Its value.
    pub value: u64,
    /// Its length.
    pub size: u64,
}

/// Reads everything of a file that can be shown.
///
/// # Errors
/// [`ErrorKind::Malformed`] where the full parsers give up.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, ErrorKind> {
    let elf = Elf::parse(bytes).map_err(|_| malformed("unreadable ELF file", bytes.len() as u64))?;
    let (imports, exports) = symbols(&elf, bytes);
    Ok(Inspection {
        own_name: elf.soname.map(str::to_owned),
        needs: texts(&elf.libraries),
        paths: texts(&[&elf.rpaths[..], &elf.runpaths[..]].concat()),
        interpreter: elf.interpreter.map(str::to_owned),
        build_id: build_id(bytes),
        segments: segments(&elf),
        sections: sections(&elf),
        dynamic: dynamic(&elf),
        imports,
        exports,
        relocations: relocations(&elf, bytes),
    })
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&s| s.to_owned()).collect()
}

fn build_id(bytes: &[u8]) -> Option<String> {
    let file = object::File::parse(bytes).ok()?;
    let id = file.build_id().ok()??;
    Some(id.iter().map(|b| format!("{b:02x}")).collect())
}

fn segments(elf: &Elf<'_>) -> Vec<Segment> {
    let rights = |flags: u32| {
        let letter = |(bit, c)| if flags & bit != 0 { c } else { '-' };
        [(4, 'r'), (2, 'w'), (1, 'x')].map(letter).iter().collect()
    };
    let segment = |p: &goblin::elf::ProgramHeader| Segment {
        kind: pt_to_str(p.p_type).to_owned(),
        rights: rights(p.p_flags),
        address: p.p_vaddr,
        memory: p.p_memsz,
        offset: p.p_offset,
        file: p.p_filesz,
        align: p.p_align,
    };
    elf.program_headers.iter().map(segment).collect()
}

fn sections(elf: &Elf<'_>) -> Vec<Section> {
    let section = |s: &goblin::elf::SectionHeader| Section {
        name: elf.shdr_strtab.get_at(s.sh_name).unwrap_or("").to_owned(),
        address: s.sh_addr,
        offset: s.sh_offset,
        size: s.sh_size,
    };
    elf.section_headers.iter().map(section).collect()
}

fn dynamic(elf: &Elf<'_>) -> Vec<(String, u64)> {
    let tag = |tag| match tag_to_str(tag) {
        "UNKNOWN_TAG" => format!("{tag:#x}"),
        name => name.to_owned(),
    };
    let entries = elf.dynamic.iter().flat_map(|d| &d.dyns);
    entries.map(|d| (tag(d.d_tag), d.d_val)).collect()
}

type Versions<'data> = VersionTable<'data, FileHeader64<Endianness>>;

/// The imports and the exports.
fn symbols(elf: &Elf<'_>, bytes: &[u8]) -> (Vec<Symbol>, Vec<Symbol>) {
    let versions = ElfFile64::<Endianness>::parse(bytes).ok().and_then(|f| {
        let table = f.elf_section_table().versions(f.endian(), bytes);
        table.ok()?.map(|t| (t, f.endian()))
    });
    let named = elf.dynsyms.iter().enumerate().skip(1);
    named
        .filter(|(_, s)| s.st_bind() != STB_LOCAL)
        .map(|(i, s)| (s.st_shndx == 0, symbol(elf, i, &s, versions.as_ref())))
        .fold((Vec::new(), Vec::new()), |mut lists, (import, symbol)| {
            let list = if import { &mut lists.0 } else { &mut lists.1 };
            list.push(symbol);
            lists
        })
}

fn symbol(
    elf: &Elf<'_>,
    index: usize,
    symbol: &Sym,
    versions: Option<&(Versions<'_>, Endianness)>,
) -> Symbol {
    let number = versions.map(|(v, e)| v.version_index(*e, object::SymbolIndex(index)));
    let version = versions.zip(number).and_then(|((v, _), n)| v.version(n.index()).ok()?);
    let text = |t: &[u8]| String::from_utf8_lossy(t).into_owned();
    Symbol {
        name: elf.dynstrtab.get_at(symbol.st_name).unwrap_or("").to_owned(),
        version: version.map(|v| text(v.name())),
        hidden: number.is_some_and(|n| n.is_hidden()),
        from: version.and_then(|v| v.file()).map(text),
        kind: type_to_str(symbol.st_type()).to_owned(),
        binding: bind_to_str(symbol.st_bind()).to_owned(),
        value: symbol.st_value,
        size: symbol.st_size,
    }
}

/// How many relocations there are of each type; packed ones count as `RELR`.
fn relocations(elf: &Elf<'_>, bytes: &[u8]) -> BTreeMap<String, u64> {
    let mut count = BTreeMap::new();
    let tables = [&elf.dynrelas, &elf.dynrels, &elf.pltrelocs];
    for r in tables.into_iter().flat_map(|t| t.iter()) {
        let kind = r_to_str(r.r_type, elf.header.e_machine);
        *count.entry(kind.to_owned()).or_default() += 1;
    }
    match packed(bytes) {
        0 => {}
        n => drop(count.insert("RELR".to_owned(), n)),
    }
    count
}

fn packed(bytes: &[u8]) -> u64 {
    let count = || {
        let header = FileHeader64::<Endianness>::parse(bytes).ok()?;
        let endian = header.endian().ok()?;
        let sections = header.sections(endian, bytes).ok()?;
        let tables = sections.iter().filter_map(|s| s.relr(endian, bytes).ok()?);
        Some(tables.map(|t| t.count() as u64).sum())
    };
    count().unwrap_or(0)
}
