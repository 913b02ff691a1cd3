//! Shared objects for other machines: i386, ARM, AArch64, RISC-V 64, little-endian.
//!
//! They are put into a plain buffer ([`loader_core::space::Flat`]) at any pretended base, relocated and bound to each
//! other, for emulators, tests and a look at what a library becomes. Nothing of them is ever executed: they have no
//! initialisers here, and what only their own code could answer (an ifunc, a TLS descriptor) is refused.
//!
//! The layout, the needs and the versions of an image look the same on all machines; what does not is in `machine`
//! (relocation types, word lengths), `exports` and `relocate` (tables of either class), and `bind`.

mod bind;
mod exports;
mod machine;
mod relocate;

use crate::{
    ElfImage,
    dynamic::{DF_1_NODELETE, DT_SONAME},
    image::{Paths, control, dynamic, head, library, little_endian},
    malformed, needs,
    plan::{self, Segments},
    tls,
};
use bind::Parts;
use exports::Tables;
use goblin::elf::{
    ProgramHeader,
    header::{EM_X86_64, Header},
};
use loader_core::{
    ErrorKind, Export, Format, Image, ImageMut, ImportControl, Lifecycle, MapPlan, Need, NeededVersion,
    Query, Resolve, SearchPath, Source, Symbol, TlsTemplate,
};
use machine::{Machine, Word};
use relocate::Fixups;
use std::sync::Arc;

/// A shared object for another machine, parsed from its bytes.
#[derive(Debug)]
pub struct ForeignImage {
    source: Arc<Source>,
    machine: Machine,
    plan: MapPlan,
    own_name: Option<Box<str>>,
    needs: Vec<Need>,
    paths: Paths,
    control: ImportControl,
    wants_to_stay: bool,
    tables: Tables,
    fixups: Fixups,
    tls: Option<TlsTemplate>,
}

impl ForeignImage {
    /// Reads a shared object and checks every table once.
    ///
    /// # Errors
    /// [`ErrorKind::NotALoadfile`], [`ErrorKind::Unsupported`] (also for any other machine),
    /// [`ErrorKind::WritableCode`], or [`ErrorKind::Malformed`] with the offending number.
    pub fn parse(source: &Arc<Source>) -> Result<Arc<Self>, ErrorKind> {
        let bytes = source.bytes();
        let header = little_endian(head(bytes)?)?;
        let machine = Machine::of(&header)?;
        let word = machine.word();
        let headers = headers(bytes, library(header, ProgramHeader::size(word.ctx()))?, word)?;
        let segments = Segments::sort(headers, bytes.len() as u64)?;
        let dynamic = dynamic(&segments, bytes, word.dynamic())?;
        let layout = plan::layout(&segments, dynamic.text_relocations())?;
        let plan = MapPlan::check(layout, bytes.len() as u64)?;
        let tables = Tables::find(&dynamic, &segments, bytes, word)?;
        let strings = tables.strings(bytes);
        Ok(Arc::new(Self {
            own_name: dynamic.text(strings, DT_SONAME)?,
            needs: needs::needs(&dynamic, strings)?,
            paths: Paths::read(&dynamic, strings)?,
            control: control(&dynamic),
            wants_to_stay: dynamic.flag_1(DF_1_NODELETE),
            fixups: Fixups::find(&dynamic, &segments, word)?,
            tls: tls::template(segments.tls.as_ref(), &plan)?,
            source: Arc::clone(source),
            machine,
            plan,
            tables,
        }))
    }

    fn parts(&self) -> Parts<'_> {
        Parts {
            bytes: self.source.bytes(),
            machine: self.machine,
            tables: &self.tables,
            fixups: &self.fixups,
        }
    }
}

/// Reads a shared object for this machine or another. For load sets that run nothing: the process itself can only
/// use what [`ElfImage::parse`] accepts.
///
/// # Errors
/// As [`ElfImage::parse`] and [`ForeignImage::parse`].
pub fn parse_any(source: &Arc<Source>) -> Result<Arc<dyn Image>, ErrorKind> {
    let header = little_endian(head(source.bytes())?)?;
    Ok(match header.e_machine {
        EM_X86_64 => ElfImage::parse(source)?,
        _ => ForeignImage::parse(source)?,
    })
}

fn headers(bytes: &[u8], header: Header, word: Word) -> Result<Vec<ProgramHeader>, ErrorKind> {
    let outside = || malformed("program headers outside the file", header.e_phoff);
    let start = usize::try_from(header.e_phoff).map_err(|_| outside())?;
    ProgramHeader::parse(bytes, start, header.e_phnum.into(), word.ctx()).map_err(|_| outside())
}

impl Image for ForeignImage {
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
        let Symbol::Name(name) = query.symbol else {
            return Ok(None);
        };
        let found = self.tables.definition(self.source.bytes(), name, query);
        found.map(|symbol| symbol.export(&self.plan)).transpose()
    }

    fn needed_versions(&self, each: &mut dyn FnMut(&NeededVersion<'_>)) -> Result<(), ErrorKind> {
        let mut needed = self.tables.versions().needed(self.tables.strings(self.source.bytes()));
        needed.try_for_each(|needed| needed.map(|n| each(&n)))
    }

    fn defines_version(&self, version: &[u8]) -> Option<bool> {
        self.tables.versions().defines(self.tables.strings(self.source.bytes()), version)
    }

    fn wants_to_stay(&self) -> bool {
        self.wants_to_stay
    }

    fn imports(&self, each: &mut dyn FnMut(&Query<'_>)) -> Result<(), ErrorKind> {
        self.parts().imports(each)
    }

    fn tls(&self) -> Option<&TlsTemplate> {
        self.tls.as_ref()
    }

    fn relocate(&self, mem: &mut ImageMut<'_>) -> Result<usize, ErrorKind> {
        self.fixups.relocate(self.source.bytes(), self.machine, mem)
    }

    fn bind(&self, mem: &mut ImageMut<'_>, resolve: Resolve<'_>) -> Result<usize, ErrorKind> {
        self.parts().bind(mem, resolve)
    }

    /// Nothing: there is nobody who could run it.
    fn lifecycle(&self, _: &ImageMut<'_>) -> Result<Lifecycle, ErrorKind> {
        Ok(Lifecycle::default())
    }
}
