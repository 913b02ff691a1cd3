//! The headers of a DLL, and the parsed file: [`PeImage`], which answers what the engine asks.
//!
//! Read `view.rs` next: every table is read through it.

use crate::{
    bind, cookie,
    exports::{self, Exports},
    key, lifecycle, malformed,
    needs::{self, Imports},
    plan, relocate,
    resources::{Resource, Tree},
    tls, unwind,
    view::View,
};
use goblin::pe::{characteristic, header as coff};
use loader_core::{
    ErrorKind, Export, Format, Image, ImageMut, ImportControl, Lifecycle, MapPlan, Need, Query, Resolve, Rva,
    Source, TlsTemplate,
};
use object::{
    LittleEndian as LE, pe,
    pod::{self, Pod},
};
use std::{ops::Range, sync::Arc};

/// A parsed 64-bit Windows DLL.
///
/// ```
/// use loader_core::{ErrorKind, Source};
/// let text = std::sync::Arc::new(Source::embedded(b"not a library"));
/// assert!(matches!(loader_pe::PeImage::parse(&text), Err(ErrorKind::NotALoadfile { .. })));
/// ```
#[derive(Debug)]
pub struct PeImage {
    source: Arc<Source>,
    plan: MapPlan,
    imports: Imports,
    exports: Option<Exports>,
    fixups: Option<Directory>,
    tls: Option<TlsTemplate>,
    callbacks: Option<Rva>,
    entry: Option<Rva>,
    cookie: Option<Rva>,
    functions: Range<Rva>,
    delayed: Option<Directory>,
    resources: Option<Directory>,
    program: bool,
}

impl PeImage {
    /// Whether bytes begin like a Windows executable of any kind.
    #[must_use]
    pub fn claims(bytes: &[u8]) -> bool {
        bytes.starts_with(b"MZ")
    }

    /// Reads the headers and every table that a load needs.
    ///
    /// # Errors
    /// [`ErrorKind::NotALoadfile`], [`ErrorKind::WrongMachine`], [`ErrorKind::Unsupported`],
    /// [`ErrorKind::WritableCode`], or [`ErrorKind::Malformed`] with the offending number.
    pub fn parse(source: &Arc<Source>) -> Result<Arc<Self>, ErrorKind> {
        let bytes = source.bytes();
        let headers = Headers::read(bytes)?;
        let plan = plan::plan(&headers, bytes.len() as u64)?;
        let (view, directory) = (View::new(bytes, &plan), |n| headers.directory(n));

        let imports = needs::needs(view, directory(pe::IMAGE_DIRECTORY_ENTRY_IMPORT))?;
        let exports = exports::exports(view, directory(pe::IMAGE_DIRECTORY_ENTRY_EXPORT))?;
        let fixups = directory(pe::IMAGE_DIRECTORY_ENTRY_BASERELOC);
        relocate::table(view, fixups)?;
        let tls = tls::tls(view, directory(pe::IMAGE_DIRECTORY_ENTRY_TLS))?;
        let guard = cookie::guard(view, directory(pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG))?;
        let functions = unwind::functions(view, directory(pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION))?;

        let (tls, callbacks) = tls.map_or((None, None), |t| (Some(t.template), t.callbacks));
        let entry = headers.optional.address_of_entry_point.get(LE);
        Ok(Arc::new(Self {
            source: source.clone(),
            imports,
            exports,
            fixups,
            tls,
            callbacks,
            entry: (entry != 0).then_some(Rva(entry.into())),
            cookie: guard,
            functions,
            delayed: directory(pe::IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT),
            resources: directory(pe::IMAGE_DIRECTORY_ENTRY_RESOURCE),
            program: headers.file.characteristics.get(LE).0 & characteristic::IMAGE_FILE_DLL == 0,
            plan,
        }))
    }

    /// The entry point (`DllMain` or what the C runtime puts around it); `None` for an image without one.
    #[must_use]
    pub fn entry(&self) -> Option<Rva> {
        self.entry
    }

    /// The table of `RUNTIME_FUNCTION`s (`.pdata`), 12 bytes each; empty where the image has none.
    #[must_use]
    pub fn functions(&self) -> Range<Rva> {
        self.functions.clone()
    }

    /// The libraries that the image loads when it first calls them. They are no needs of the load: the image's own
    /// helper asks for them.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`].
    pub fn delayed(&self) -> Result<Vec<Need>, ErrorKind> {
        needs::delayed(self.view(), self.delayed)
    }

    /// The leaves of the resource tree.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`].
    pub fn resources(&self) -> Result<Vec<Resource>, ErrorKind> {
        self.resource_tree()?.map_or(Ok(Vec::new()), |tree| tree.leaves())
    }

    /// The resource tree, where there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for one outside the image.
    pub fn resource_tree(&self) -> Result<Option<Tree<'_>>, ErrorKind> {
        let Some(at) = self.resources else { return Ok(None) };
        let span = self.view().at(at.at, "resource directory")?;
        Ok(Some(Tree::new(span.raw, Rva(at.at.into()))))
    }

    fn view(&self) -> View<'_> {
        View::new(self.source.bytes(), &self.plan)
    }
}

impl Image for PeImage {
    fn format(&self) -> Format {
        Format::Pe
    }

    fn own_name(&self) -> Option<&str> {
        self.exports.as_ref()?.name.as_deref()
    }

    fn is_program(&self) -> bool {
        self.program
    }

    fn plan(&self) -> &MapPlan {
        &self.plan
    }

    fn needs(&self) -> &[Need] {
        &self.imports.needs
    }

    fn forwards_to(&self) -> &[Need] {
        self.exports.as_ref().map_or(&[], |e| &e.forwards)
    }

    /// Two-level names: an import names the library that has it, nobody else is asked.
    fn import_control(&self) -> ImportControl {
        ImportControl::Localized
    }

    fn export(&self, query: &Query<'_>) -> Result<Option<Export>, ErrorKind> {
        match &self.exports {
            Some(exports) => exports.export(self.view(), query),
            None => Ok(None),
        }
    }

    fn imports(&self, each: &mut dyn FnMut(&Query<'_>)) -> Result<(), ErrorKind> {
        bind::imports(self.view(), &self.imports, |query, _| {
            each(query);
            Ok(())
        })
        .map(drop)
    }

    fn tls(&self) -> Option<&TlsTemplate> {
        self.tls.as_ref()
    }

    fn relocate(&self, mem: &mut ImageMut<'_>) -> Result<usize, ErrorKind> {
        let table = relocate::table(self.view(), self.fixups)?;
        let done = relocate::relocate(table, pe::IMAGE_FILE_MACHINE_AMD64.0, mem)?;
        self.cookie.map_or(Ok(()), |at| cookie::renew(mem, at))?;
        Ok(done)
    }

    fn bind(&self, mem: &mut ImageMut<'_>, resolve: Resolve<'_>) -> Result<usize, ErrorKind> {
        bind::bind(self.view(), &self.imports, mem, resolve)
    }

    fn lifecycle(&self, mem: &ImageMut<'_>) -> Result<Lifecycle, ErrorKind> {
        let entry = self.entry.filter(|_| !self.program); // a program's is called once, by whoever runs it
        lifecycle::lifecycle(&self.plan, self.callbacks, entry, mem)
    }
}

/// A place in the image that the optional header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) at: u32,
    pub(crate) len: u32,
}

/// The headers, where they lie in the file.
pub(crate) struct Headers<'a> {
    pub(crate) file: &'a pe::ImageFileHeader,
    pub(crate) optional: &'a pe::ImageOptionalHeader64,
    pub(crate) sections: &'a [pe::ImageSectionHeader],
    directories: &'a [pe::ImageDataDirectory],
}

impl<'a> Headers<'a> {
    /// Finds the headers and refuses what cannot be put into memory on this machine.
    fn read(bytes: &'a [u8]) -> Result<Self, ErrorKind> {
        let at = new_header(bytes)?;
        let (file, rest) = take::<pe::ImageFileHeader>(bytes, at + 4, "file header")?;
        right_machine(file.machine.get(LE).0)?;
        right_width(bytes, rest)?;
        let (optional, tail) = take::<pe::ImageOptionalHeader64>(bytes, rest, "optional header")?;
        let end = rest + usize::from(file.size_of_optional_header.get(LE));
        if end < tail {
            return malformed("length of the optional header", (end - rest) as u64);
        }
        let room = (end - tail) / size_of::<pe::ImageDataDirectory>();
        let said = optional.number_of_rva_and_sizes.get(LE);
        let count = room.min(said.min(pe::IMAGE_NUMBEROF_DIRECTORY_ENTRIES as u32) as usize);
        let sections = file.number_of_sections.get(LE).into();
        let headers = Self {
            file,
            optional,
            sections: take_slice(bytes, end, sections, "section headers")?,
            directories: take_slice(bytes, tail, count, "data directories")?,
        };
        headers.is_whole().map(|()| headers)
    }

    fn is_whole(&self) -> Result<(), ErrorKind> {
        let flags = self.file.characteristics.get(LE).0;
        let align = self.optional.section_alignment.get(LE);
        let unsupported = |what, value| Err(ErrorKind::Unsupported { what, value });
        match () {
            () if flags & characteristic::IMAGE_FILE_EXECUTABLE_IMAGE == 0 => {
                unsupported("an image with unresolved references", flags.into())
            }
            () if !align.is_power_of_two() => malformed("section alignment", align),
            () if u64::from(align) < loader_core::PAGE => {
                unsupported("sections that share pages", align.into())
            }
            () => Ok(()),
        }
    }

    /// A data directory, where the image has it. An empty one that has a place counts: Windows ignores most lengths.
    pub(crate) fn directory(&self, index: usize) -> Option<Directory> {
        let d = self.directories.get(index)?;
        let (at, len) = (d.virtual_address.get(LE), d.size.get(LE));
        (at != 0).then_some(Directory { at, len })
    }
}

/// Where the `PE\0\0` signature is.
fn new_header(bytes: &[u8]) -> Result<usize, ErrorKind> {
    let not = |found| Err(ErrorKind::NotALoadfile { found });
    match bytes {
        [] => return not("an empty file"),
        [b'M', b'Z', ..] => {}
        _ => return not("not a Windows library"),
    }
    let (dos, _) = take::<pe::ImageDosHeader>(bytes, 0, "DOS header")?;
    let at = dos.e_lfanew.get(LE) as usize;
    match bytes.get(at..) {
        Some([b'P', b'E', 0, 0, ..]) => Ok(at),
        Some([b'N' | b'L', b'E', ..] | [b'L', b'X', ..]) => not("a 16-bit Windows or OS/2 program"),
        _ => not("a DOS program"),
    }
}

fn right_machine(machine: u16) -> Result<(), ErrorKind> {
    if machine == pe::IMAGE_FILE_MACHINE_AMD64.0 {
        return Ok(());
    }
    let name = machine_name(machine);
    Err(ErrorKind::WrongMachine { machine, name })
}

/// What people call a machine.
pub(crate) fn machine_name(machine: u16) -> &'static str {
    match machine {
        coff::COFF_MACHINE_X86 => "i386",
        coff::COFF_MACHINE_X86_64 => "x86-64",
        coff::COFF_MACHINE_ARM64 => "arm64",
        coff::COFF_MACHINE_ARM | coff::COFF_MACHINE_ARMNT | coff::COFF_MACHINE_THUMB => "arm",
        coff::COFF_MACHINE_UNKNOWN => "unknown",
        other => match coff::machine_to_str(other) {
            "COFF_UNKNOWN" => "unknown",
            name => name,
        },
    }
}

fn right_width(bytes: &[u8], at: usize) -> Result<(), ErrorKind> {
    let magic = bytes.get(at..).and_then(<[u8]>::first_chunk);
    match magic.map(|&m| u16::from_le_bytes(m)) {
        Some(pe::IMAGE_NT_OPTIONAL_HDR64_MAGIC) => Ok(()),
        Some(m @ pe::IMAGE_NT_OPTIONAL_HDR32_MAGIC) => {
            Err(ErrorKind::Unsupported { what: "a 32-bit image", value: m.into() })
        }
        Some(m) => malformed("magic number of the optional header", m),
        None => malformed("optional header", at as u64),
    }
}

/// A structure of the file and the offset after it.
fn take<'a, T: Pod>(bytes: &'a [u8], at: usize, what: &'static str) -> Result<(&'a T, usize), ErrorKind> {
    match bytes.get(at..).map(pod::from_bytes::<T>) {
        Some(Ok((found, _))) => Ok((found, at + size_of::<T>())),
        _ => malformed(what, at as u64),
    }
}

fn take_slice<'a, T: Pod>(
    bytes: &'a [u8],
    at: usize,
    count: usize,
    what: &'static str,
) -> Result<&'a [T], ErrorKind> {
    match bytes.get(at..).map(|b| pod::slice_from_bytes::<T>(b, count)) {
        Some(Ok((found, _))) => Ok(found),
        _ => malformed(what, at as u64),
    }
}

/// The longest name that a library can have (`MAX_PATH`).
const LONGEST_LIBRARY: usize = 260;

/// A need, as the file spells it; `None` where that names nothing: it is empty, too long, or a lone dot.
pub(crate) fn need(name: &[u8]) -> Option<Need> {
    if name.len() > LONGEST_LIBRARY {
        return None;
    }
    let name: Box<str> = String::from_utf8_lossy(name).into();
    let key = key(&name);
    (!name.is_empty() && !key.is_empty()).then_some(Need { key, name, reexported: false })
}
