//! Where the engine's libraries come from: bytes that the embedder provided, else files, by the rules of the format
//! that asks.

use loader_core::{ErrorKind, Format, Found, FoundFile, HostModule, Image, Locator, Need, Requester, Source};
use loader_pe::search::on_disk;
use loader_win32::DllFolders;
use std::{
    cell::Cell,
    collections::HashMap,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

/// Both formats' search rules, and what is in memory.
#[derive(Debug)]
pub(crate) struct Files {
    elf: loader_elf::Search,
    pe: loader_pe::Search,
    memory: RwLock<HashMap<Box<str>, Arc<Source>>>,
    /// Where DLLs are looked for too, because they say so.
    folders: RwLock<DllFolders>,
    /// For where no file is found.
    substitutes: HashMap<Box<str>, Arc<HostModule>>,
}

impl Files {
    pub(crate) fn new(dll_dirs: Vec<PathBuf>) -> Self {
        let substitutes = loader_win32::substitutes().into_iter();
        Self {
            elf: loader_elf::Search::system(),
            pe: loader_pe::Search { dirs: dll_dirs },
            memory: RwLock::default(),
            folders: RwLock::default(),
            substitutes: substitutes.map(|m| (m.key().into(), Arc::new(m))).collect(),
        }
    }

    pub(crate) fn provide(&self, name: &str, source: Source) {
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.insert(need(name).key, Arc::new(source));
    }

    fn provided(&self, key: &str) -> Option<Arc<Source>> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}

// What the flags of `LoadLibraryEx` and `SetDefaultDllDirectories` say about where to look.
const DLL_LOAD_DIR: u32 = 0x100;
const APPLICATION_DIR: u32 = 0x200;
const USER_DIRS: u32 = 0x400;
const SYSTEM32: u32 = 0x800;
const DEFAULT_DIRS: u32 = 0x1000;

/// All of them.
const SEARCH: u32 = DLL_LOAD_DIR | APPLICATION_DIR | USER_DIRS | SYSTEM32 | DEFAULT_DIRS;

thread_local! {
    /// The flags of the load that this thread is at: they hold for what the library needs, too.
    static FLAGS: Cell<u32> = const { Cell::new(0) };
}

/// Loads with flags.
pub(crate) fn with_flags<R>(flags: u32, load: impl FnOnce() -> R) -> R {
    struct Before(u32);
    impl Drop for Before {
        fn drop(&mut self) {
            FLAGS.set(self.0);
        }
    }
    let _before = Before(FLAGS.replace(flags & SEARCH));
    load()
}

impl Files {
    pub(crate) fn look_in(&self, folders: DllFolders) {
        *self.folders.write().unwrap_or_else(PoisonError::into_inner) = folders;
    }

    /// Where DLLs are looked for: flags decide, those of the call or else the process's, in Windows' order. The folders of
    /// the engine's builder stand for the system's. Without any flags, the folder of the Windows program, where this process
    /// runs one, and that of `SetDllDirectory` come before them; where there is a program and no such folder, the current one
    /// comes after them.
    fn dlls(&self, flags: u32) -> loader_pe::Search {
        let folders = self.folders.read().unwrap_or_else(PoisonError::into_inner);
        let asked = flags & SEARCH;
        let flags = match if asked != 0 { asked } else { folders.default } {
            all if all & DEFAULT_DIRS != 0 => APPLICATION_DIR | USER_DIRS | SYSTEM32,
            some => some,
        };
        let own = folders.own.iter().cloned();
        let system = self.pe.dirs.iter().cloned();
        let folder = |file: &Path| file.parent().map(Path::to_path_buf);
        let program = loader_win32::program().and_then(folder);
        if flags == 0 {
            let last = program.is_some() && folders.own.is_none();
            let current = last.then(|| std::env::current_dir().ok()).flatten();
            let dirs = program.into_iter().chain(own).chain(system).chain(current);
            return loader_pe::Search { dirs: dirs.collect() };
        }
        let if_asked = |flag: u32| move |_: &PathBuf| flags & flag != 0;
        let application = program.or_else(|| std::env::current_exe().ok().as_deref().and_then(folder));
        let added = folders.added.iter().cloned().chain(own);
        let dirs = application.into_iter().filter(if_asked(APPLICATION_DIR));
        let dirs = dirs.chain(added.filter(if_asked(USER_DIRS))).chain(system.filter(if_asked(SYSTEM32)));
        loader_pe::Search { dirs: dirs.collect() }
    }

    /// A DLL that guest code asks for by name or path.
    pub(crate) fn find_dll(&self, name: &str, flags: u32) -> Result<Found, ErrorKind> {
        if let Some(source) = self.provided(&need(name).key) {
            return Ok(Found::Bytes(source));
        }
        if flags & SEARCH != 0 && name.contains('/') && !name.starts_with('/') {
            let folders = self.dlls(flags).dirs.into_iter();
            return first(folders.map(|folder| on_disk(&folder.join(name))), |_| true, &mut |_| {});
        }
        self.dll(name, flags, &Requester::default(), &mut |_| {})
    }

    /// A file, or where there is none what takes its place.
    fn dll(
        &self,
        name: &str,
        flags: u32,
        by: &Requester<'_>,
        trying: &mut dyn FnMut(&Path),
    ) -> Result<Found, ErrorKind> {
        match first(self.dlls(flags).candidates(name, by), |_| true, trying) {
            Err(ErrorKind::NotFound { needed_by }) => {
                let substitute = self.substitutes.get(&need(name).key).cloned();
                substitute.map(Found::Host).ok_or(ErrorKind::NotFound { needed_by })
            }
            found => found,
        }
    }
}

/// What a name asks for, spelled by the embedder: a path is itself; a DLL's name has no case.
pub(crate) fn need(name: &str) -> Need {
    let dll = !name.contains('/') && is_dll_name(name);
    Need { name: name.into(), key: if dll { loader_pe::key(name) } else { name.into() }, reexported: false }
}

fn is_dll_name(name: &str) -> bool {
    let extension = Path::new(name).extension().unwrap_or_default();
    ["dll", "exe", "pyd", "drv", "ocx"].iter().any(|e| extension.eq_ignore_ascii_case(e))
}

/// The engine's locator.
#[derive(Clone, Debug)]
pub(crate) struct Shared(pub(crate) Arc<Files>);

impl Locator for Shared {
    fn locate(
        &self,
        need: &Need,
        by: &Requester<'_>,
        trying: &mut dyn FnMut(&Path),
    ) -> Result<Found, ErrorKind> {
        if let Some(source) = self.0.provided(&need.key) {
            return Ok(Found::Bytes(source));
        }
        let windows = match by.image.map(Image::format) {
            Some(format) => format == Format::Pe,
            None => is_dll_name(&need.name),
        };
        match windows {
            true => {
                let flags = FLAGS.get();
                // Without flags a DLL's own folder comes first; with flags they have to say so.
                let elsewhere = flags != 0 && flags & DLL_LOAD_DIR == 0;
                let by = Requester { path: by.path.filter(|_| !elsewhere), ..*by };
                self.0.dll(&need.name, flags, &by, trying)
            }
            // A library of another machine in the search path is not the one that is meant.
            false if need.name.contains('/') => {
                first(self.0.elf.candidates(&need.name, by), |_| true, trying)
            }
            false => first(self.0.elf.candidates(&need.name, by), for_this_machine, trying),
        }
    }

    fn parse(&self, source: &Arc<Source>) -> Result<Arc<dyn Image>, ErrorKind> {
        parse(source)
    }
}

/// Understands the bytes of one file, of either format, as a load does.
///
/// # Errors
/// Why they cannot be loaded.
pub fn parse(source: &Arc<Source>) -> Result<Arc<dyn Image>, ErrorKind> {
    let bytes = source.bytes();
    Ok(match bytes {
        [0x7f, b'E', b'L', b'F', ..] => loader_elf::ElfImage::parse(source)?,
        [b'M', b'Z', ..] => loader_pe::PeImage::parse(source)?,
        _ => return Err(ErrorKind::NotALoadfile { found: what_it_is(bytes) }),
    })
}

/// The first candidate that exists and suits. Only if none does, what stood in the way of opening one is reported.
fn first(
    candidates: impl Iterator<Item = PathBuf>,
    suits: impl Fn(&FoundFile) -> bool,
    trying: &mut dyn FnMut(&Path),
) -> Result<Found, ErrorKind> {
    let mut failure = ErrorKind::NotFound { needed_by: "".into() };
    for path in candidates {
        trying(&path);
        match FoundFile::open(path) {
            Ok(file) if suits(&file) => return Ok(Found::File(file)),
            Ok(_) | Err(ErrorKind::NotFound { .. }) => {}
            Err(other) => failure = other,
        }
    }
    Err(failure)
}

/// Whether a file begins as a 64-bit x86 ELF file does.
fn for_this_machine(found: &FoundFile) -> bool {
    let mut head = [0; 20];
    let read = found.file.read_exact_at(&mut head, 0).is_ok();
    read && head.starts_with(b"\x7fELF\x02\x01") && head[18..20] == [62, 0] // EM_X86_64
}

/// What bytes are that are no loadfile.
fn what_it_is(bytes: &[u8]) -> &'static str {
    let head = &bytes[..bytes.len().min(512)];
    let text = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~') || *b >= 0x80;
    match head {
        [] => "an empty file",
        _ if head.starts_with(b"!<arch>\n") || head.starts_with(b"!<thin>\n") => "an archive",
        _ if head.iter().all(text) => "a text file",
        _ => "neither an ELF nor a PE file",
    }
}
