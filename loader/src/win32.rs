//! `LoadLibrary`, `FreeLibrary`, `GetProcAddress` and `GetModuleHandle` over the engine's load set, for the embedder
//! and, through KERNEL32, for the images themselves.
//!
//! A module's handle is the address of its image, as on Windows. Each `load_library` takes one reference, each
//! `free_library` gives one back.

mod references;

use crate::{
    Builder, Closed, Engine, EntryCalls, Error, ErrorKind, Handle, Load, Mode, Origin, Rules, Stage,
    SymbolName,
    locator::{Files, need, with_flags},
};
use loader_core::{
    Addr, EntryKind, FileId, Format, Found, FoundFile, InMemory, LoadSet, ModuleId, Need, Occasion, Owner,
    Query, Request, Rights, Rva, Symbol, Tools, call::Native,
};
use loader_pe::{PeImage, search::on_disk};
use loader_win32::{
    Advice, DllFolders, Drives, ImagePages, Listed, Process, SYSTEM_FOLDER, Services, in_system_folder,
};
pub use loader_win32::{MemoryUse, run_as};
use references::{GivenBack, References};
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    convert::Infallible,
    ops::Range,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

const DONT_RESOLVE_DLL_REFERENCES: u32 = 1;
const MOD_NOT_FOUND: u32 = 126;
const INVALID_HANDLE: u32 = 6;
const POSSIBLE_DEADLOCK: u32 = 1131;
/// The flags of `LoadLibraryEx` that say where a bare name is looked for.
const SEARCH_FLAGS: u32 = 0x1e00;

/// The Windows side of an engine.
pub(crate) struct Windows {
    process: Arc<Process>,
    services: Arc<Modules>,
}

/// What KERNEL32 asks of the engine. It holds the load set weakly: the set's modules hold what leads here.
#[derive(Debug)]
struct Modules {
    set: Weak<LoadSet>,
    files: Arc<Files>,
    rules: Rules,
    drives: Drives,
    /// References that were taken by address.
    references: Arc<References>,
    /// Modules that were freed in their own PROCESS_ATTACH, before the load had a reference to give.
    spurned: Mutex<HashSet<Addr>>,
    /// How often modules were freed that nobody had a reference to.
    overdrawn: Mutex<HashMap<ModuleId, usize>>,
    program: AtomicU64,
}

impl Windows {
    /// Adds the built-in modules to a load set and lets its caller prepare threads for Windows code.
    pub(crate) fn install(
        set: &Arc<LoadSet>,
        files: &Arc<Files>,
        native: &Native,
        rules: Rules,
        drives: Drives,
    ) -> Result<Arc<Self>, ErrorKind> {
        let references = Arc::new(References::new(set.rest()));
        let services = Arc::new(Modules {
            set: Arc::downgrade(set),
            files: files.clone(),
            rules,
            drives: drives.clone(),
            references: references.clone(),
            spurned: Mutex::default(),
            overdrawn: Mutex::default(),
            program: AtomicU64::new(0),
        });
        let dynamic: Arc<dyn Services> = services.clone();
        let process = Process::new(Arc::downgrade(&dynamic), references.clone(), native.number(), drives)?;
        services.program.store(process.program().0, Relaxed);
        for module in process.modules() {
            set.add_host(module).map_err(|e| e.kind)?;
        }
        let entered = Arc::downgrade(&process);
        native.prepare_pe(move || match entered.upgrade() {
            Some(process) => process.enter(),
            None => Err(ErrorKind::Inconsistent { what: "Windows code after its engine" }),
        });
        set.tell(Lists { process: Arc::downgrade(&process), references });
        Ok(Arc::new(Self { process, services }))
    }

    /// The process that the engine's Windows code believes to run in.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Lets `FreeLibrary` take a handle, as the last of its module's.
    pub(crate) fn lend(&self, handle: Handle) {
        let Some(module) = self.services.set().ok().and_then(|set| set.target(handle)) else { return };
        self.services.references.lend(module.at.base, handle);
    }

    /// Closes a handle that was lent; `None` where `FreeLibrary` took it.
    pub(crate) fn take_back(&self, handle: Handle) -> Option<Result<Closed, Error>> {
        match self.services.references.take_back(handle)? {
            GivenBack::Last(handle) => Some(self.services.set().ok()?.close(handle)),
            GivenBack::OthersAreLeft | GivenBack::NoneWasTaken => Some(Ok(Closed::default())),
        }
    }
}

impl std::fmt::Debug for Windows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Windows").field("process", &self.process).finish_non_exhaustive()
    }
}

/// The loader's lists in the process block, and references, follow what comes and goes.
#[derive(Debug)]
struct Lists {
    process: Weak<Process>,
    references: Arc<References>,
}

impl Tools for Lists {
    fn came(&self, modules: &[InMemory<'_>]) {
        let listed = modules.iter().filter(is_windows).map(|m| Listed {
            base: m.at.base,
            len: m.at.len,
            file: told(m.name, m.path),
        });
        let listed: Vec<Listed<'_>> = listed.collect();
        if !listed.is_empty() {
            let _ = self.process.upgrade().map(|process| process.came(&listed));
        }
    }

    fn starting(&self, module: &InMemory<'_>) {
        if is_windows(&module) {
            let _ = self.process.upgrade().map(|process| process.starts(module.at.base));
        }
    }

    fn going(&self, modules: &[InMemory<'_>]) {
        let bases: Vec<Addr> = modules.iter().filter(is_windows).map(|m| m.at.base).collect();
        if bases.is_empty() {
            return;
        }
        let _ = self.process.upgrade().map(|process| process.going(&bases));
        bases.iter().for_each(|&base| self.references.forget(base));
    }
}

/// A module's file as Windows tells it: in its folder, by the name that was asked for.
fn told<'m>(name: &'m str, path: Option<&'m Path>) -> Cow<'m, Path> {
    let Some(path) = path else { return Path::new(name).into() };
    let folder = path.as_os_str().as_bytes().strip_suffix(name.as_bytes());
    if folder.is_some_and(|folder| folder.is_empty() || folder.ends_with(b"/")) {
        return path.into();
    }
    let asked = loader_pe::file_name(name);
    let asked = Path::new(&asked).file_name().unwrap_or_default();
    match path.file_name().is_some_and(|file| file.eq_ignore_ascii_case(asked)) {
        true => path.with_file_name(asked).into(),
        false => path.into(),
    }
}

/// Whether a name is that of the Windows program that this process runs.
fn is_program(name: &str) -> bool {
    let file = loader_win32::program().and_then(Path::file_name);
    file.is_some_and(|file| loader_pe::key(&file.to_string_lossy()) == loader_pe::key(name))
}

fn is_windows(module: &&InMemory<'_>) -> bool {
    module.image.format() == Format::Pe
}

impl Modules {
    fn set(&self) -> Result<Arc<LoadSet>, u32> {
        self.set.upgrade().ok_or(MOD_NOT_FOUND)
    }

    fn program(&self) -> Addr {
        Addr(self.program.load(Relaxed))
    }

    /// The module at a base; also one whose terminators run, which ask for themselves.
    fn module(&self, base: Addr) -> Result<(Arc<LoadSet>, Owner), u32> {
        let set = self.set()?;
        if base.0 == 0 {
            return Err(INVALID_HANDLE);
        }
        let is_it = |m: &Owner| m.at().base == base && m.format() != Format::Elf;
        let module = set.holder(base).filter(is_it).ok_or(MOD_NOT_FOUND)?;
        Ok((set, module))
    }

    fn take(&self, set: &LoadSet, handle: Handle) -> Option<Addr> {
        let base = set.target(handle)?.at.base;
        self.references.take(base, handle);
        Some(base)
    }

    /// `FreeLibrary` of a module that nobody has a reference to. It succeeds once for each of those that need it, as if they
    /// had one each: so who frees it until that fails comes to an end. But it goes only with them, and a reference to one of them
    /// is taken only where all of them need each other.
    fn free_in_vain(&self, base: Addr) -> Result<(), u32> {
        let (set, module) = self.module(base)?;
        // Its load is not finished: the reference that it will have is given back then.
        if set.is_attaching(module.id()) {
            let first = self.spurned.lock().unwrap_or_else(PoisonError::into_inner).insert(base);
            return if first { Ok(()) } else { Err(MOD_NOT_FOUND) };
        }
        let mut given_back = set.cycle(module.id()).into_iter().map(|base| self.references.give_back(base));
        match given_back.find(|given| !matches!(given, GivenBack::NoneWasTaken)) {
            Some(GivenBack::Last(handle)) => set.close(handle).map(drop).map_err(|e| e.win32()),
            Some(_) => Ok(()),
            None => self.overdraw(&set, module.id()),
        }
    }

    fn overdraw(&self, set: &LoadSet, id: ModuleId) -> Result<(), u32> {
        let Some(users) = set.users(id) else { return Ok(()) };
        let mut overdrawn = self.overdrawn.lock().unwrap_or_else(PoisonError::into_inner);
        overdrawn.retain(|&id, _| set.users(id).is_some());
        let times = overdrawn.entry(id).or_default();
        *times += 1;
        if *times <= users { Ok(()) } else { Err(MOD_NOT_FOUND) }
    }

    /// Waits for the loader lock, and tells the modules if the thread still goes on then. A thread that waits keeps
    /// nothing alive: the engine may go meanwhile.
    fn in_turn(&self, goes_on: &dyn Fn() -> bool, tell: impl FnOnce(&LoadSet)) -> bool {
        let Ok(lock) = self.set().map(|set| set.loader_lock()) else { return false };
        lock.held(|| goes_on() && self.set().inspect(|set| tell(set)).is_ok())
    }

    /// Remembers what a name means without flags.
    fn learn(&self, base: Addr, name: &str, flags: u32) {
        if flags == 0 {
            self.references.name(base, name);
        }
    }

    /// The host's name of the file that a Windows path means; a path on a drive that does not exist is as it was, and so is a
    /// name without a folder, for it is looked for.
    fn host_file(&self, name: &str) -> String {
        if !name.contains([':', '\\', '/']) {
            return name.into();
        }
        let host = self.drives.to_host(name).unwrap_or_else(|| name.into());
        // A dot at the end says that there is no extension; it is none of the file's name.
        let path = if name.ends_with('.') { host } else { loader_pe::file_name(&host) };
        let path = on_disk(Path::new(&path)).into_os_string().into_string().unwrap_or(path);
        match in_system_folder(name) {
            Some(bare) if !Path::new(&path).exists() => bare.into(),
            _ => path,
        }
    }

    /// What a name means to `LoadLibraryEx`: a bare name is whoever is loaded under it; else flags say where it is looked for.
    fn meant(&self, set: &LoadSet, name: &str, flags: u32) -> Result<Need, Error> {
        let file = self.host_file(name);
        let searched = flags & SEARCH_FLAGS != 0 && !file.starts_with('/');
        if file.contains('/') && !searched {
            return Ok(need(&file));
        }
        let bare =
            Need { key: loader_pe::key(name), name: loader_pe::file_name(&file).into(), reexported: false };
        if !searched || !file.contains('/') && set.module_named(&bare.key).is_some() {
            return Ok(bare);
        }
        Ok(match self.find_library(name, flags)? {
            Found::File(found) => need(&found.path.to_string_lossy()),
            Found::Bytes(_) | Found::Host(_) => bare,
        })
    }

    /// The module that a name or a path means. By its bare name a module is found wherever it came from; by a path only if it
    /// came from that file, or from none.
    fn named(&self, name: &str) -> Option<Owner> {
        let set = self.set().ok()?;
        let file = self.host_file(name);
        let bare = || set.holder_named(&loader_pe::key(name));
        let found = match file.contains('/') {
            false => bare(),
            true => set.holder_named(&file).or_else(|| {
                let meant = FileId::at(Path::new(&file));
                bare().filter(|m| m.path().is_none_or(|path| FileId::at(path) == meant))
            }),
        };
        found.filter(|m| m.format() != Format::Elf)
    }
}

impl Services for Modules {
    fn load_library(&self, name: &str, flags: u32) -> Result<Addr, Error> {
        let inconsistent = |what| Error::new(name, Stage::Request, ErrorKind::Inconsistent { what });
        let set = self.set().map_err(|_| inconsistent("the engine is gone"))?;
        if is_program(name) && self.named(name).is_none() {
            return Ok(self.program());
        }
        let need = self.meant(&set, name, flags)?;
        if let Some(base) = self.references.take_more(|| set.base_of(&need.key)) {
            self.learn(base, name, flags);
            return Ok(base);
        }
        let load = match flags & DONT_RESOLVE_DLL_REFERENCES {
            0 => Load::Now,
            _ => Load::Bare,
        };
        let request = Request {
            need,
            source: None,
            mode: Mode { load, ..Mode::default() },
            rules: self.rules,
            origin: Origin::Open,
            by: None,
        };
        let handle = with_flags(flags, || set.open(&request))?;
        let base =
            self.take(&set, handle).ok_or_else(|| inconsistent("an open library without an address"))?;
        if self.spurned.lock().unwrap_or_else(PoisonError::into_inner).remove(&base) {
            let _ = self.free_library(base);
            let refused = ErrorKind::Refused { what: EntryKind::DllMain };
            return Err(Error::new(name, Stage::Attach, refused));
        }
        self.learn(base, name, flags);
        Ok(base)
    }

    fn bring_library(&self, importer: Addr, name: &str) -> Result<Addr, Error> {
        let gone = || Error::new(name, Stage::Request, ErrorKind::InvalidHandle);
        let set = self.set().map_err(|_| gone())?;
        let brought = set.bring(importer, self.meant(&set, name, 0)?, self.rules)?;
        brought.map(|library| library.at().base).ok_or_else(gone)
    }

    fn find_library(&self, name: &str, flags: u32) -> Result<Found, Error> {
        self.files.find_dll(&self.host_file(name), flags).map_err(|kind| Error::new(name, Stage::Find, kind))
    }

    fn look_in(&self, folders: DllFolders) {
        self.files.look_in(folders);
    }

    fn free_library(&self, base: Addr) -> Result<(), u32> {
        let set = self.set()?;
        if set.is_ending() || base == self.program() {
            return Ok(()); // nothing is unloaded any more, and the program never
        }
        match self.references.give_back(base) {
            GivenBack::OthersAreLeft => Ok(()),
            GivenBack::Last(handle) => set.close(handle).map(drop).map_err(|e| e.win32()),
            GivenBack::NoneWasTaken => self.free_in_vain(base),
        }
    }

    fn get_proc_address(&self, base: Addr, symbol: Symbol<'_>) -> Result<Addr, Error> {
        let blame = |kind| Error::new("", Stage::Symbol, kind);
        if base == self.program() {
            return Err(blame(ErrorKind::SymbolNotFound { symbol: symbol.to_name() })); // it exports nothing
        }
        let (set, module) = self.module(base).map_err(|_| blame(ErrorKind::InvalidHandle))?;
        let query = match symbol {
            Symbol::Name(name) => Query::name(name),
            Symbol::Ordinal(ordinal) => Query::ordinal(ordinal),
        };
        set.symbol_of(&module, &query)
    }

    fn module_handle(&self, name: Option<&str>) -> Option<Addr> {
        match name {
            None => Some(self.program()),
            Some(name) => {
                let named = self.named(name).map(|m| m.at().base);
                named.or_else(|| is_program(name).then(|| self.program()))
            }
        }
    }

    fn add_ref(&self, base: Addr) -> Result<(), u32> {
        if base == self.program() {
            return Ok(());
        }
        let (set, module) = self.module(base)?;
        let handle = set.open_again(module.id()).map_err(|e| e.win32())?;
        self.take(&set, handle).map(drop).ok_or(MOD_NOT_FOUND)
    }

    fn pin(&self, base: Addr) -> Result<(), u32> {
        if base == self.program() {
            return Ok(());
        }
        let (set, module) = self.module(base)?;
        set.pin(module.id());
        Ok(())
    }

    fn module_file_name(&self, base: Option<Addr>) -> Option<String> {
        match base.filter(|&b| b != self.program()) {
            None if self.module(self.program()).is_ok() => {
                let (_, module) = self.module(self.program()).ok()?;
                Some(told(module.name(), module.path()).to_string_lossy().into_owned())
            }
            None => {
                let file = loader_win32::program().map(Path::to_path_buf);
                file.or_else(|| std::env::current_exe().ok()).map(|p| p.to_string_lossy().into_owned())
            }
            Some(base) => {
                let (_, module) = self.module(base).ok()?;
                let file = told(module.name(), module.path()).to_string_lossy().into_owned();
                let is_file = module.format() != Format::Host;
                Some(if is_file { file } else { format!(r"{SYSTEM_FOLDER}\{file}") })
            }
        }
    }

    fn module_at(&self, at: Addr) -> Option<Addr> {
        self.set().ok()?.holder(at).filter(|m| m.format() != Format::Elf).map(|m| m.at().base)
    }

    fn image_pages(&self, at: Addr) -> Option<ImagePages> {
        let image = self.set().ok()?.holder(at)?;
        let placed = image.at();
        let live =
            |(at, rights): &(Range<Rva>, Rights)| (placed.addr(at.start).0..placed.addr(at.end).0, *rights);
        Some(ImagePages {
            id: image.id().to_bits(),
            base: placed.base,
            len: placed.len,
            rights: image.rights().iter().map(live).collect(),
        })
    }

    fn is_loaded(&self, at: Addr) -> bool {
        self.set().is_ok_and(|set| set.holder(at).is_some())
    }

    fn disable_thread_library_calls(&self, base: Addr) -> Result<(), u32> {
        let (set, module) = self.module(base).map_err(|_| MOD_NOT_FOUND)?;
        match set.disable_thread_calls(module.id()) {
            true => Ok(()),
            false => Err(MOD_NOT_FOUND),
        }
    }

    fn thread_starts(&self, goes_on: &dyn Fn() -> bool) -> bool {
        self.in_turn(goes_on, LoadSet::thread_starts)
    }

    fn thread_ends(&self, goes_on: &dyn Fn() -> bool) {
        self.in_turn(goes_on, LoadSet::thread_ends);
    }

    fn process_ends(&self) {
        if let Ok(set) = self.set() {
            set.process_ends();
        }
    }

    fn thread_failed(&self, kind: &ErrorKind) {
        if let Ok(set) = self.set() {
            set.report(&Error::new("a thread", Stage::Call, kind.clone()));
        }
    }

    fn note(&self, function: &'static str, advice: Advice) -> Result<(), u32> {
        let Ok(set) = self.set() else { return Ok(()) };
        let forbidden = |occasion: Occasion| match advice {
            Advice::Risky => false,
            Advice::Never => true,
            Advice::NotInDetach => matches!(occasion, Occasion::Unloaded | Occasion::ProgramEnds),
        };
        let refuse = |occasion| self.rules.entry_calls == EntryCalls::Refuse && forbidden(occasion);
        match set.advise(function, refuse) {
            true => Err(POSSIBLE_DEADLOCK),
            false => Ok(()),
        }
    }
}

/// Runs a Windows program in this process: what it needs is loaded, its entry point is called, and when that returns, or
/// the program says so, every library is told that the process ends, and it does. A program that no debugger could have
/// stopped is ended by an exception that nobody handles, with its code.
///
/// # Errors
/// As [`Engine::open`], where it cannot be loaded; then nothing of it has run.
pub fn run_program(builder: Builder, path: &Path, arguments: &[String]) -> Result<Infallible, Error> {
    let name = path.to_string_lossy();
    let blame = |kind| Error::new(&name, Stage::Request, kind);
    let file = std::path::absolute(path).map_err(|_| blame(ErrorKind::BadName))?;
    run_as(&file.to_string_lossy(), arguments);
    let entry = FoundFile::open(path)
        .and_then(|file| PeImage::parse(&Arc::new(file.source()?)))
        .and_then(|image| {
            image.entry().ok_or(ErrorKind::NotALoadfile { found: "a program without an entry point" })
        })
        .map_err(|kind| Error::new(&name, Stage::Find, kind))?;
    let engine = builder.build()?;
    let request = engine.open_request(&file.to_string_lossy(), None, Mode::default(), Origin::Program)?;
    let module = engine.load_set().target(request).ok_or_else(|| blame(ErrorKind::InvalidHandle))?;
    let windows = engine.windows();
    windows.services.program.store(module.at.base.0, Relaxed);
    windows.process.set_program(module.at.base);
    // The handle stays open: the program is there until the process ends.
    engine.load_set().enter(Format::Pe).map_err(blame)?;
    let code = started(module.at.addr(entry)).unwrap_or_else(|exception| {
        eprintln!("{name}: {exception}");
        exception.win32()
    });
    windows.process.exit(code)
}

/// Calls a program's entry point.
#[allow(unsafe_code)]
fn started(entry: Addr) -> Result<u32, ErrorKind> {
    // SAFETY: the program's own entry point, which takes nothing; what it does is what running it accepts.
    unsafe { loader_core::call::invoke(entry, loader_core::call::Convention::Windows, &[]) }
        .map(|(code, _)| code as u32)
}

/// `LoadLibraryEx` without flags: loads a DLL by name or path, or takes one more reference to it; returns the address
/// of its image.
///
/// # Errors
/// As [`Engine::open`]; [`Error::win32`] is what `GetLastError` would say.
pub fn load_library(engine: &Engine, name: &str) -> Result<Addr, Error> {
    engine.windows().services.load_library(name, 0)
}

/// `FreeLibrary`: gives one reference back.
///
/// # Errors
/// The Win32 error: 126 for an address where no module is (any more), 6 for null.
pub fn free_library(engine: &Engine, module: Addr) -> Result<(), u32> {
    engine.windows().services.free_library(module)
}

/// `GetProcAddress`: an export of that one module.
///
/// # Errors
/// [`ErrorKind::SymbolNotFound`] (127), [`ErrorKind::InvalidHandle`].
pub fn get_proc_address(engine: &Engine, module: Addr, symbol: &SymbolName) -> Result<Addr, Error> {
    engine.windows().services.get_proc_address(module, symbol.as_symbol())
}

/// `GetModuleHandle`: where a loaded module is, or the program; takes no reference.
#[must_use]
pub fn get_module_handle(engine: &Engine, name: Option<&str>) -> Option<Addr> {
    engine.windows().services.module_handle(name)
}

/// `ExitProcess`: every library is told that the process ends, and it does. The host process is the Windows process.
pub fn exit_process(engine: &Engine, code: u32) -> ! {
    engine.windows().process.exit(code)
}

/// `TerminateProcess` of this process: at once, and nobody is told.
pub fn terminate_process(code: u32) -> ! {
    Process::terminate(code)
}

/// How much memory the engine's Windows process has reserved, committed, mapped and locked.
#[must_use]
pub fn memory_use(engine: &Engine) -> MemoryUse {
    engine.windows().process.memory_use()
}

/// `GetModuleHandleEx(0, name)`: the same, with one more reference.
#[must_use]
pub fn get_module_handle_ex(engine: &Engine, name: &str) -> Option<Addr> {
    let at = get_module_handle(engine, Some(name))?;
    engine.windows().services.add_ref(at).ok()?;
    Some(at)
}
