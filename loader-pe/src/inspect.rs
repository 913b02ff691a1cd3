//! Everything that a file says about itself, for people and for cross-checks: the full parser of the `object` crate
//! reads it, not the code that a load uses. Any machine, programs as well as libraries.

use crate::{image::machine_name, malformed, relocate::blocks};
use goblin::pe::{dll_characteristic as dll, section_table as scn};
use loader_core::{ErrorKind, Rights};
use object::{
    LittleEndian as LE, Object, pe,
    read::pe::{
        ExportTable, ImageNtHeaders, ImageOptionalHeader, ImageThunkData, ImportTable, PeFile, PeFile32,
        PeFile64, SectionTable,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// What a Windows executable file says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The machine number.
    pub machine: u16,
    /// What people call that machine.
    pub machine_name: &'static str,
    /// Width of an address in bits.
    pub bits: u8,
    /// A library, not a program.
    pub is_dll: bool,
    /// The address that the linker gave the first byte.
    pub image_base: u64,
    /// Length of the image in memory.
    pub image_len: u32,
    /// Position of the entry point; 0 for none.
    pub entry: u32,
    /// The subsystem number (2 windows, 3 console, 1 native).
    pub subsystem: u16,
    /// The properties that the header claims, in words.
    pub flags: Vec<&'static str>,
    /// The sections, in file order.
    pub sections: Vec<Section>,
    /// The libraries that come with the image.
    pub imports: Vec<Library>,
    /// The libraries that come when they are first called.
    pub delayed: Vec<Library>,
    /// The exports, by ordinal.
    pub exports: Vec<Exported>,
    /// How many base relocations there are of each kind, by [`relocation_name`].
    pub relocations: BTreeMap<&'static str, usize>,
    /// The thread-local block.
    pub tls: Option<Tls>,
    /// Entries of the unwind table.
    pub functions: usize,
    /// Whether the load configuration names a security cookie.
    pub has_cookie: bool,
}

/// A section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Its position in the image.
    pub at: u32,
    /// Its length in memory.
    pub len: u32,
    /// Its position in the file.
    pub file_at: u32,
    /// Its length in the file.
    pub file_len: u32,
    /// What may be done with its pages.
    pub rights: Rights,
}

/// A library and what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name, as the file spells it.
    pub name: String,
    /// The names, or ordinals as `#12`.
    pub symbols: Vec<String>,
}

/// An export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Its ordinal.
    pub ordinal: u32,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Its position in the image; 0 for a forwarder.
    pub at: u32,
    /// The library and the symbol that it stands for: `KERNEL32.HeapAlloc`.
    pub forward: Option<String>,
}

/// The thread-local block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Length of the initialised part.
    pub init: u64,
    /// Length of the zeros behind it.
    pub zeros: u32,
    /// Whether there is a row of callbacks.
    pub has_callbacks: bool,
}

/// Reads a whole file.
///
/// # Errors
/// [`ErrorKind::NotALoadfile`] for what is no Windows executable, [`ErrorKind::Malformed`] where a table cannot be read.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, ErrorKind> {
    match object::FileKind::parse(bytes) {
        Ok(object::FileKind::Pe64) => read(&PeFile64::parse(bytes).map_err(broken("headers"))?),
        Ok(object::FileKind::Pe32) => read(&PeFile32::parse(bytes).map_err(broken("headers"))?),
        _ => Err(ErrorKind::NotALoadfile { found: "not a Windows image" }),
    }
}

fn broken(what: &'static str) -> impl Fn(object::read::Error) -> ErrorKind {
    move |_| ErrorKind::Malformed { what, at: 0 }
}

fn read<Pe: ImageNtHeaders>(file: &PeFile<'_, Pe>) -> Result<Inspection, ErrorKind> {
    let texts = &mut Texts::of(file);
    let (head, optional) = (file.nt_headers().file_header(), file.nt_headers().optional_header());
    let characteristics = head.characteristics.get(LE);
    Ok(Inspection {
        machine: head.machine.get(LE).0,
        machine_name: machine_name(head.machine.get(LE).0),
        bits: if file.is_64() { 64 } else { 32 },
        is_dll: characteristics.contains(pe::IMAGE_FILE_DLL),
        image_base: optional.image_base(),
        image_len: optional.size_of_image(),
        entry: optional.address_of_entry_point(),
        subsystem: optional.subsystem().0,
        flags: flags(characteristics, optional.dll_characteristics().0),
        sections: file.section_table().iter().map(section).collect(),
        imports: imports(file, texts)?,
        delayed: delayed(file, texts)?,
        exports: exports(file, texts)?,
        relocations: relocations(file)?,
        tls: tls(file),
        functions: directory(file, pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION).map_or(0, |d| d.len() / 12),
        has_cookie: has_cookie(file),
    })
}

fn flags(file: pe::FileFlags, dll: u16) -> Vec<&'static str> {
    let relocs = file.contains(pe::IMAGE_FILE_RELOCS_STRIPPED);
    let named = [
        (dll::IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA, "high-entropy"),
        (dll::IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, "dynamic-base"),
        (dll::IMAGE_DLLCHARACTERISTICS_NX_COMPAT, "no-execute"),
        (dll::IMAGE_DLLCHARACTERISTICS_NO_SEH, "no-seh"),
        (dll::IMAGE_DLLCHARACTERISTICS_GUARD_CF, "control-flow-guard"),
    ];
    let claims = named.iter().filter(|(bit, _)| dll & bit != 0).map(|&(_, name)| name);
    relocs.then_some("relocations-stripped").into_iter().chain(claims).collect()
}

fn section(s: &pe::ImageSectionHeader) -> Section {
    let flags = s.characteristics.get(LE).0;
    let mut rights = Rights::empty();
    rights.set(Rights::READ, flags & scn::IMAGE_SCN_MEM_READ != 0);
    rights.set(Rights::WRITE, flags & scn::IMAGE_SCN_MEM_WRITE != 0);
    rights.set(Rights::EXECUTE, flags & scn::IMAGE_SCN_MEM_EXECUTE != 0);
    Section {
        name: text(s.raw_name()),
        at: s.virtual_address.get(LE),
        len: s.virtual_size.get(LE),
        file_at: s.pointer_to_raw_data.get(LE),
        file_len: s.size_of_raw_data.get(LE),
        rights,
    }
}

fn imports<'a, Pe: ImageNtHeaders>(
    file: &PeFile<'a, Pe>,
    texts: &mut Texts<'a>,
) -> Result<Vec<Library>, ErrorKind> {
    let broken = broken("import directory");
    let Some(table) = file.import_table().map_err(&broken)? else {
        return Ok(Vec::new());
    };
    let imports = table.descriptors().map_err(&broken)?;
    imports
        .map(|import| {
            let import = import.map_err(&broken)?;
            let names = match import.original_first_thunk.get(LE) {
                0 => import.first_thunk.get(LE),
                names => names,
            };
            library(file, texts, import.name.get(LE), names)
        })
        .collect()
}

fn delayed<'a, Pe: ImageNtHeaders>(
    file: &PeFile<'a, Pe>,
    texts: &mut Texts<'a>,
) -> Result<Vec<Library>, ErrorKind> {
    let broken = broken("delay-import directory");
    let Some(table) = file.delay_load_import_table().map_err(&broken)? else {
        return Ok(Vec::new());
    };
    let imports = table.descriptors().map_err(&broken)?;
    imports
        .map(|import| {
            let import = import.map_err(&broken)?;
            library(file, texts, import.dll_name_rva.get(LE), import.import_name_table_rva.get(LE))
        })
        .collect()
}

/// Reads one library's lookup table. Wheels that `delvewheel` repaired have some names in a section of their own, so
/// each place is looked up by itself; the parser's own reader takes all names from one section.
fn library<'a, Pe: ImageNtHeaders>(
    file: &PeFile<'a, Pe>,
    texts: &mut Texts<'a>,
    name: u32,
    names: u32,
) -> Result<Library, ErrorKind> {
    let broken = broken("import lookup table");
    let table = file.section_table().pe_data_at(file.data(), names);
    let Some(table) = table.map(|there| ImportTable::new(there, names, names)) else {
        return malformed("import lookup table", names);
    };
    let mut thunks = table.thunks(names).map_err(&broken)?;
    let mut symbols = Vec::new();
    while let Some(thunk) = thunks.next::<Pe>().map_err(&broken)? {
        symbols.push(match thunk.is_ordinal() {
            true => texts.made(format!("#{}", thunk.ordinal()))?,
            false => texts.at(thunk.address().saturating_add(2))?,
        });
    }
    Ok(Library { name: texts.at(name)?, symbols })
}

/// The names of a file. They are shared out of what the file could hold, so that tables that overlap a thousand times
/// are an error and not a thousandfold of memory.
struct Texts<'a> {
    bytes: &'a [u8],
    sections: SectionTable<'a>,
    left: usize,
}

impl<'a> Texts<'a> {
    fn of<Pe: ImageNtHeaders>(file: &PeFile<'a, Pe>) -> Self {
        Self { bytes: file.data(), sections: file.section_table(), left: file.data().len().saturating_mul(4) }
    }

    /// The name at an image position.
    fn at(&mut self, at: u32) -> Result<String, ErrorKind> {
        let there = self.sections.pe_data_at(self.bytes, at);
        match there.and_then(|b| b[..b.len().min(self.left)].split(|&b| b == 0).next()) {
            Some(name) => self.made(text(name)),
            None => malformed("name", at),
        }
    }

    fn made(&mut self, text: String) -> Result<String, ErrorKind> {
        match self.left.checked_sub(text.len().max(1)) {
            Some(left) => self.left = left,
            None => return malformed("more names than the file has room for", self.bytes.len() as u64),
        }
        Ok(text)
    }
}

fn exports<'a, Pe: ImageNtHeaders>(
    file: &PeFile<'a, Pe>,
    texts: &mut Texts<'a>,
) -> Result<Vec<Exported>, ErrorKind> {
    let Some(table) = file.export_table().map_err(broken("export directory"))? else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    let mut named = BTreeSet::new();
    for (name, index) in table.name_iter() {
        named.insert(usize::from(index.0));
        let name = Some(texts.at(name)?);
        all.extend(exported(&table, texts, index.0.into(), name)?);
    }
    for index in (0..table.addresses().len()).filter(|i| !named.contains(i)) {
        all.extend(exported(&table, texts, index, None)?);
    }
    all.sort_by_key(|e| e.ordinal);
    Ok(all)
}

/// An entry of the address table; `None` for a gap.
fn exported(
    table: &ExportTable<'_>,
    texts: &mut Texts<'_>,
    index: usize,
    name: Option<String>,
) -> Result<Option<Exported>, ErrorKind> {
    let at = table.addresses().get(index).map_or(0, |a| a.get(LE));
    let forward = table.is_forward(at).then(|| texts.at(at)).transpose()?;
    Ok((at != 0).then(|| Exported {
        ordinal: table.directory().base.get(LE).wrapping_add(index as u32),
        name,
        at: if forward.is_some() { 0 } else { at },
        forward,
    }))
}

fn relocations<Pe: ImageNtHeaders>(
    file: &PeFile<'_, Pe>,
) -> Result<BTreeMap<&'static str, usize>, ErrorKind> {
    let mut counts = BTreeMap::new();
    let table = directory(file, pe::IMAGE_DIRECTORY_ENTRY_BASERELOC).unwrap_or_default();
    for block in blocks(table) {
        for entry in block?.1.as_chunks().0 {
            *counts.entry(relocation_name(u16::from_le_bytes(*entry) >> 12)).or_default() += 1;
        }
    }
    Ok(counts)
}

/// What a kind of base relocation is called.
#[must_use]
pub fn relocation_name(kind: u16) -> &'static str {
    match pe::BaseRelocationType(kind) {
        pe::IMAGE_REL_BASED_ABSOLUTE => "ABSOLUTE",
        pe::IMAGE_REL_BASED_HIGH => "HIGH",
        pe::IMAGE_REL_BASED_LOW => "LOW",
        pe::IMAGE_REL_BASED_HIGHLOW => "HIGHLOW",
        pe::IMAGE_REL_BASED_HIGHADJ => "HIGHADJ",
        pe::IMAGE_REL_BASED_DIR64 => "DIR64",
        _ => "of the machine",
    }
}

fn tls<Pe: ImageNtHeaders>(file: &PeFile<'_, Pe>) -> Option<Tls> {
    let bytes = directory(file, pe::IMAGE_DIRECTORY_ENTRY_TLS)?;
    let width = if file.is_64() { 8 } else { 4 };
    let field = |i: usize| number(bytes, i * width, width);
    Some(Tls {
        init: field(1)?.wrapping_sub(field(0)?),
        zeros: number(bytes, 4 * width, 4)? as u32,
        has_callbacks: field(3)? != 0,
    })
}

fn has_cookie<Pe: ImageNtHeaders>(file: &PeFile<'_, Pe>) -> bool {
    let (at, width) = match file.is_64() {
        true => (std::mem::offset_of!(pe::ImageLoadConfigDirectory64, security_cookie), 8),
        false => (std::mem::offset_of!(pe::ImageLoadConfigDirectory32, security_cookie), 4),
    };
    // The directory's length is one of Windows XP times and too short; the structure says its own.
    let there = file.data_directory(pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG).and_then(|d| {
        let at = d.virtual_address.get(LE);
        file.section_table().pe_data_at(file.data(), at)
    });
    let whole = there.filter(|b| number(b, 0, 4).is_some_and(|said| said >= (at + width) as u64));
    whole.and_then(|b| number(b, at, width)).is_some_and(|c| c != 0)
}

fn directory<'a, Pe: ImageNtHeaders>(file: &PeFile<'a, Pe>, index: usize) -> Option<&'a [u8]> {
    file.data_directory(index)?.data(file.data(), &file.section_table()).ok()
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let mut out = [0; 8];
    out[..width].copy_from_slice(bytes.get(at..at + width)?);
    Some(u64::from_le_bytes(out))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
