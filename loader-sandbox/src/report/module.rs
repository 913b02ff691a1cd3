//! The modules of the guest, and the files that they come from, read where a frame or a register leads there.

use super::{carefully, image::Image, place::printable};
use crate::protocol::Module;
use loader_core::{
    Format, Rights, Rva,
    maps::{Mapping, Maps},
};
use std::{
    cell::{Cell, OnceCell},
    collections::BTreeMap,
    fs::File,
    io::Read,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// A library that came as bytes: its name, and a file in memory that has them.
pub(crate) type Given = (Box<str>, Arc<File>);

/// A module of the guest.
#[derive(Debug)]
pub(super) struct Known {
    /// Its name, without a folder.
    pub(super) name: Box<str>,
    /// Where it is.
    pub(super) at: Range<u64>,
    source: Source,
    /// The rights that its pages have since the engine sealed it; empty for modules of the host.
    sealed: Vec<(Range<Rva>, Rights)>,
}

impl Known {
    fn new(module: &Module, given: &[Given], maps: &Maps) -> Self {
        let bytes = given.iter().find(|(name, _)| *name == module.name).map(|(_, file)| file.clone());
        let at = module.at.base.0..module.at.base.0.saturating_add(module.at.len);
        let inode = maps.find(at.start).map(|m| m.inode).filter(|inode| *inode != 0);
        let source = match (bytes, &module.path) {
            (Some(bytes), _) => Source::Bytes(bytes),
            (None, Some(path)) => Source::File(path.clone(), inode),
            (None, None) => Source::Nowhere,
        };
        Self { name: printable(short(&module.name)).into(), at, source, sealed: module.rights.clone() }
    }

    /// The rights that a page has since the engine sealed the module, as in `r-x`.
    pub(super) fn sealed_rights(&self, offset: u64) -> Option<String> {
        self.sealed.iter().find(|(at, _)| at.contains(&Rva(offset))).map(|(_, rights)| rights.to_string())
    }
}

/// A name without its folder.
pub(super) fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Where the bytes of a module's file are.
#[derive(Debug)]
enum Source {
    /// In memory.
    Bytes(Arc<File>),
    /// In a file, which has to have this number where one is given.
    File(PathBuf, Option<u64>),
    Nowhere,
}

/// As many bytes of files are read for one report.
const MOST: u64 = 1 << 30;

/// The modules of a guest, the engine's and what else the kernel says is mapped from files, and the bytes of their files.
pub(super) struct Files {
    files: Vec<(Known, OnceCell<Option<Vec<u8>>>)>,
    left: Cell<u64>,
}

impl Files {
    pub(super) fn new(engine: &[Module], given: &[Given], maps: &Maps) -> Self {
        let own = engine.iter().filter(|m| m.format != Format::Host && m.at.len != 0);
        let mut known: Vec<_> = own.map(|module| Known::new(module, given, maps)).collect();
        let free = |m: &Known| !known.iter().any(|e| e.at.start < m.at.end && m.at.start < e.at.end);
        let host: Vec<_> = of_host(maps).into_iter().filter(free).collect();
        known.extend(host);
        Self {
            files: known.into_iter().map(|known| (known, OnceCell::new())).collect(),
            left: Cell::new(MOST),
        }
    }

    fn bytes(&self, nth: usize) -> Option<&[u8]> {
        let (known, bytes) = self.files.get(nth)?;
        bytes.get_or_init(|| self.read(&known.source)).as_deref()
    }

    fn read(&self, source: &Source) -> Option<Vec<u8>> {
        let spend = |len: u64| self.left.get().checked_sub(len).map(|left| self.left.set(left));
        match source {
            Source::Nowhere => None,
            Source::Bytes(file) => {
                let len = file.metadata().ok()?.len();
                spend(len)?;
                let mut bytes = vec![0; usize::try_from(len).ok()?];
                file.read_exact_at(&mut bytes, 0).ok()?;
                Some(bytes)
            }
            Source::File(path, inode) => {
                // Whatever is there by now: a pipe would have nobody at its other end.
                let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
                let facts = file.metadata().ok()?;
                let same = facts.is_file() && inode.is_none_or(|n| n == facts.ino());
                spend(facts.len()).filter(|()| same)?;
                let mut bytes = Vec::new();
                file.take(facts.len()).read_to_end(&mut bytes).ok()?;
                Some(bytes)
            }
        }
    }
}

/// How long files are searched for what they say: what is well meant takes less than a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the files of all modules say.
pub(super) struct Modules<'f> {
    files: &'f Files,
    images: Vec<OnceCell<Option<Image<'f>>>>,
    /// When the search in files is given up.
    until: Instant,
}

/// An address in a module.
pub(super) struct Found<'m, 'f> {
    pub(super) module: &'f Known,
    /// Its distance from the module's first byte.
    pub(super) offset: u64,
    /// What the module's file says, where it can be read.
    pub(super) image: Option<&'m Image<'f>>,
}

impl<'f> Modules<'f> {
    pub(super) fn new(files: &'f Files) -> Self {
        let images = files.files.iter().map(|_| OnceCell::new()).collect();
        Self { files, images, until: Instant::now() + PATIENCE }
    }

    /// The module that an address lies in.
    pub(super) fn find(&self, at: u64) -> Option<Found<'_, 'f>> {
        let nth = self.files.files.iter().position(|(module, _)| module.at.contains(&at))?;
        let module = &self.files.files[nth].0;
        let image =
            self.images[nth].get_or_init(|| carefully(|| Image::parse(self.files.bytes(nth)?, self.until)));
        Some(Found { module, offset: at - module.at.start, image: image.as_ref() })
    }
}

/// Files that are mapped with code among it.
fn of_host(maps: &Maps) -> Vec<Known> {
    let mut files: BTreeMap<(&str, u64), Vec<&Mapping>> = BTreeMap::new();
    for mapping in maps.0.iter().filter(|m| m.name.starts_with('/')) {
        files.entry((&mapping.name, mapping.inode)).or_default().push(mapping);
    }
    let module = |((name, inode), parts): ((&str, u64), Vec<&Mapping>)| {
        let (first, last) = (parts.first()?, parts.last()?);
        let code = parts.iter().any(|m| m.rights.contains('x'));
        let start = first.at.start.checked_sub(first.offset).filter(|_| code)?;
        let source = Source::File(name.into(), Some(inode));
        Some(Known {
            name: printable(short(name)).into(),
            at: start..last.at.end,
            source,
            sealed: Vec::new(),
        })
    };
    files.into_iter().filter_map(module).collect()
}
