//! A parsed shared object: header, program headers, dynamic section, and where every table is.

use crate::{
    bind::Parts,
    dynamic::{
        DF_1_NODEFLIB, DF_1_NODELETE, DF_1_PIE, DF_SYMBOLIC, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_SYMBOLIC,
        Dynamic,
    },
    exports::Tables,
    lazy::LazyTable,
    lifecycle::Calls,
    malformed, needs,
    plan::{self, Segments},
    relocate::Fixups,
    spots::Spots,
    tls,
};
use goblin::elf::{
    Elf, ProgramHeader,
    header::{
        EI_CLASS, EI_DATA, EI_VERSION, ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, ET_CORE, ET_DYN, ET_EXEC,
        ET_REL, EV_CURRENT, Header, header64::SIZEOF_EHDR, machine_to_str,
    },
    program_header::program_header64::SIZEOF_PHDR,
};
use loader_core::{
    ErrorKind, Export, Format, Image, ImageMut, ImportControl, Lifecycle, MapPlan, NameFilter, NearSymbol,
    Need, NeededVersion, Outline, Query, Resolve, Rights, Rva, SearchPath, Source, Symbol, TlsTemplate,
};
use once_cell::race::OnceBox;
use std::{ops::Range, sync::Arc};

/// A shared object for x86-64, parsed from its bytes; it knows nothing of live addresses.
#[derive(Debug)]
pub struct ElfImage {
    source: Arc<Source>,
    plan: MapPlan,
    own_name: Option<Box<str>>,
    needs: Vec<Need>,
    paths: Paths,
    control: ImportControl,
    wants_to_stay: bool,
    tables: Tables,
    fixups: Fixups,
    lazy: Option<LazyTable>,
    tls: Option<TlsTemplate>,
    calls: Calls,
    headers: Range<usize>,
    unwind: Option<Rva>,
    dynamic: Option<Rva>,
    /// Made when the first address is looked up.
    spots: OnceBox<Spots>,
}

impl ElfImage {
    /// Reads a shared object and checks every table once.
    ///
    /// # Errors
    /// [`ErrorKind::NotALoadfile`], [`ErrorKind::WrongMachine`], [`ErrorKind::Unsupported`],
    /// [`ErrorKind::WritableCode`], or [`ErrorKind::Malformed`] with the offending number.
    pub fn parse(source: &Arc<Source>) -> Result<Arc<Self>, ErrorKind> {
        let bytes = source.bytes();
        let header = header(bytes)?;
        let headers = plan::headers(bytes, header.e_phoff, header.e_phnum)?;
        let table = bytes.get(headers.clone()).unwrap_or_default().as_chunks().0;
        let segments = Segments::sort(table.iter().filter_map(plan::header).collect(), bytes.len() as u64)?;
        let dynamic = dynamic(&segments, bytes, Dynamic::read)?;
        let layout = plan::layout(&segments, dynamic.text_relocations())?;
        let plan = MapPlan::check(layout, bytes.len() as u64)?;
        let tables = Tables::find(&dynamic, &segments, bytes)?;
        let strings = tables.strings(bytes);
        let fixups = Fixups::find(&dynamic, &segments)?;
        Ok(Arc::new(Self {
            own_name: dynamic.text(strings, DT_SONAME)?,
            needs: needs::needs(&dynamic, strings)?,
            paths: Paths::read(&dynamic, strings)?,
            control: control(&dynamic),
            wants_to_stay: dynamic.flag_1(DF_1_NODELETE),
            lazy: LazyTable::find(&dynamic, &fixups, &plan),
            fixups,
            tls: tls::template(segments.tls.as_ref(), &plan)?,
            unwind: place(segments.unwind.as_ref(), &plan),
            dynamic: place(segments.dynamic.as_ref(), &plan),
            headers,
            spots: OnceBox::new(),
            calls: Calls::read(&dynamic, &plan)?,
            source: Arc::clone(source),
            plan,
            tables,
        }))
    }

    fn parts(&self) -> Parts<'_> {
        Parts { bytes: self.source.bytes(), tables: &self.tables, fixups: &self.fixups, plan: &self.plan }
    }
}

impl Image for ElfImage {
    fn format(&self) -> Format {
        Format::Elf
    }

    fn own_name(&self) -> Option<&str> {
        self.own_name.as_deref()
    }

    fn plan(&self) -> &MapPlan {
        &self.plan
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn search_path(&self) -> SearchPath<'_> {
        self.paths.view()
    }

    fn import_control(&self) -> ImportControl {
        self.control
    }

    fn export(&self, query: &Query<'_>) -> Result<Option<Export>, ErrorKind> {
        export(&self.tables, self.source.bytes(), &self.plan, query)
    }

    fn needed_versions(&self, each: &mut dyn FnMut(&NeededVersion<'_>)) -> Result<(), ErrorKind> {
        self.tables.needed_versions(self.source.bytes(), each)
    }

    fn defines_version(&self, version: &[u8]) -> Option<bool> {
        self.tables.defines_version(self.source.bytes(), version)
    }

    fn wants_to_stay(&self) -> bool {
        self.wants_to_stay
    }

    fn export_hashes(&self) -> Option<Box<dyn Iterator<Item = u32> + '_>> {
        Some(Box::new(self.tables.hashes(self.source.bytes())?))
    }

    fn names(&self) -> NameFilter {
        self.tables.names(self.source.bytes())
    }

    fn imports(&self, each: &mut dyn FnMut(&Query<'_>)) -> Result<(), ErrorKind> {
        self.parts().imports(each)
    }

    fn tls(&self) -> Option<&TlsTemplate> {
        self.tls.as_ref()
    }

    fn relocate(&self, mem: &mut ImageMut<'_>) -> Result<usize, ErrorKind> {
        self.fixups.relocate(self.source.bytes(), &self.plan, mem)
    }

    fn bind(&self, mem: &mut ImageMut<'_>, resolve: Resolve<'_>) -> Result<usize, ErrorKind> {
        self.parts().bind(mem, self.lazy, resolve)
    }

    fn lazy_call(&self, nth: u64) -> Result<Option<(Query<'_>, Rva)>, ErrorKind> {
        match self.lazy {
            Some(_) => self.parts().lazy_call(nth),
            None => Ok(None),
        }
    }

    fn lifecycle(&self, mem: &ImageMut<'_>) -> Result<Lifecycle, ErrorKind> {
        self.calls.entries(mem, &self.plan)
    }

    fn outline(&self) -> Outline<'_> {
        let file = self.source.bytes();
        let headers = file.get(self.headers.clone()).unwrap_or_default();
        Outline { headers, unwind: self.unwind, dynamic: self.dynamic, file }
    }

    fn symbol_at(&self, at: Rva) -> Option<NearSymbol<'_>> {
        let bytes = self.source.bytes();
        let spots = self.spots.get_or_init(|| Box::new(Spots::of(&self.tables, bytes, &self.plan)));
        spots.symbol(at, &self.tables, bytes, &self.plan)
    }
}

/// Where a segment that others are told of is: nowhere, if it is not all in one readable part of the image.
fn place(header: Option<&ProgramHeader>, plan: &MapPlan) -> Option<Rva> {
    let start = header?.p_vaddr.checked_sub(plan.link_base().0)?;
    let end = start.checked_add(header?.p_memsz)?;
    let part = plan.regions().iter().find(|r| r.at.start.0 <= start && end <= r.at.end.0 && start < end)?;
    part.rights.contains(Rights::READ).then_some(Rva(start))
}

/// Answers a query from an image's tables.
pub(crate) fn export(
    tables: &Tables,
    bytes: &[u8],
    plan: &MapPlan,
    query: &Query<'_>,
) -> Result<Option<Export>, ErrorKind> {
    let Symbol::Name(name) = query.symbol else {
        return Ok(None);
    };
    let found = tables.definition(bytes, name, query);
    found.map(|symbol| symbol.export(plan)).transpose()
}

/// Where an image wants its needs to be looked for.
#[derive(Debug)]
pub(crate) struct Paths {
    rpath: Option<Box<str>>,
    runpath: Option<Box<str>>,
    own_only: bool,
}

impl Paths {
    /// Reads them. A file with a `DT_RUNPATH` has no `DT_RPATH`.
    pub(crate) fn read(dynamic: &Dynamic, strings: &[u8]) -> Result<Self, ErrorKind> {
        let runpath = dynamic.text(strings, DT_RUNPATH)?;
        let rpath = dynamic.text(strings, DT_RPATH)?;
        Ok(Self {
            rpath: rpath.filter(|_| runpath.is_none()),
            runpath,
            own_only: dynamic.flag_1(DF_1_NODEFLIB),
        })
    }

    /// As the engine asks for them.
    pub(crate) fn view(&self) -> SearchPath<'_> {
        SearchPath {
            before: self.rpath.as_deref().unwrap_or(""),
            after: self.runpath.as_deref().unwrap_or(""),
            own_only: self.own_only,
        }
    }
}

/// `DF_SYMBOLIC` prefers the image's own definitions.
pub(crate) fn control(dynamic: &Dynamic) -> ImportControl {
    match dynamic.get(DT_SYMBOLIC).is_some() || dynamic.flag(DF_SYMBOLIC) {
        true => ImportControl::SemiGlobalized,
        false => ImportControl::Globalized,
    }
}

/// The header of a shared object for this machine.
fn header(bytes: &[u8]) -> Result<Header, ErrorKind> {
    let head = head(bytes)?;
    if head[EI_CLASS] != ELFCLASS64 {
        return Err(unsupported("32-bit image", head[EI_CLASS].into()));
    }
    let header = little_endian(head)?;
    if header.e_machine != EM_X86_64 {
        let (machine, name) = (header.e_machine, machine_to_str(header.e_machine));
        return Err(ErrorKind::WrongMachine { machine, name });
    }
    library(header, SIZEOF_PHDR)
}

/// The start of an ELF file, long enough for the header of either class.
pub(crate) fn head(bytes: &[u8]) -> Result<&[u8], ErrorKind> {
    if !bytes.starts_with(ELFMAG) {
        return Err(ErrorKind::NotALoadfile { found: kind(bytes) });
    }
    bytes.get(..SIZEOF_EHDR).ok_or_else(|| malformed("file ends inside its header", bytes.len() as u64))
}

/// The header of a little-endian file of either class.
pub(crate) fn little_endian(head: &[u8]) -> Result<Header, ErrorKind> {
    if head[EI_DATA] != ELFDATA2LSB {
        return Err(unsupported("big-endian image", head[EI_DATA].into()));
    }
    if head[EI_VERSION] != EV_CURRENT {
        return Err(unsupported("version of ELF", head[EI_VERSION].into()));
    }
    Elf::parse_header(head).map_err(|_| unsupported("class of ELF", head[EI_CLASS].into()))
}

/// Refuses what is no library, or has program headers of another size than its class.
pub(crate) fn library(header: Header, program_header: usize) -> Result<Header, ErrorKind> {
    match header.e_type {
        ET_DYN => {}
        ET_EXEC => return Err(unsupported("executable (ET_EXEC)", ET_EXEC)),
        ET_REL => return Err(unsupported("object file (ET_REL)", ET_REL)),
        ET_CORE => return Err(unsupported("core dump", ET_CORE)),
        other => return Err(malformed("type of file", other.into())),
    }
    match usize::from(header.e_phentsize) {
        n if n == program_header => Ok(header),
        n => Err(malformed("size of a program header", n as u64)),
    }
}

fn unsupported(what: &'static str, value: u16) -> ErrorKind {
    ErrorKind::Unsupported { what, value: value.into() }
}

/// What a file without the ELF mark is.
fn kind(bytes: &[u8]) -> &'static str {
    let text = |b: &[u8]| b.iter().all(|&c| c >= b' ' && c != 0x7f || b"\t\n\r\x0c".contains(&c));
    match bytes {
        [] => "an empty file",
        _ if bytes.starts_with(b"!<arch>\n") || bytes.starts_with(b"!<thin>\n") => "an archive",
        _ if text(&bytes[..bytes.len().min(512)]) => "a text file",
        _ => "not an ELF file",
    }
}

/// The dynamic section of a library, as `read` understands it.
pub(crate) fn dynamic(
    segments: &Segments,
    bytes: &[u8],
    read: impl FnOnce(&[u8]) -> Dynamic,
) -> Result<Dynamic, ErrorKind> {
    let none = || malformed("no dynamic section", 0);
    let at = segments.dynamic.as_ref().ok_or_else(none)?;
    let range = segments.file("dynamic section outside the file", at.p_vaddr, at.p_filesz)?;
    let dynamic = read(bytes.get(range).unwrap_or_default());
    match dynamic.flag_1(DF_1_PIE) {
        true => Err(ErrorKind::Unsupported { what: "position-independent executable", value: DF_1_PIE }),
        false => Ok(dynamic),
    }
}
