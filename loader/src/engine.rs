//! The engine: a load set, its rules, and the two formats joined.

use crate::{
    Addr, Binding, Buffer, ErrorKind, Library, MissingPolicy, Mode, ModuleInfo, Observer, Origin, Rules,
    Unloading,
    guest::Guests,
    host::HostLibraries,
    locator::{Files, Shared, need},
    tools::{Debugger, Outside},
    win32::Windows,
};
use loader_core::{
    Error, HostModule, LoadSet, Placement, Request, Source, Stage,
    call::Native,
    set::{MissingReport, Planned, SymbolAt},
    space::Local,
};
use loader_win32::Drives;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A load set in this process, ELF and PE alike. Clones are the same engine.
///
/// An engine starts with what the host process has loaded: those libraries are read where they are and never loaded
/// again. It shares nothing with other engines but them.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    set: Arc<LoadSet>,
    files: Arc<Files>,
    rules: Rules,
    host: Arc<HostLibraries>,
    _guests: Arc<Guests>,
    windows: Arc<Windows>,
}

impl Drop for Inner {
    /// While everything that terminators may ask for is still there.
    fn drop(&mut self) {
        self.set.unload_all();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("rules", &self.inner.rules).finish_non_exhaustive()
    }
}

/// An engine that is about to be made.
#[derive(Default)]
#[must_use = "nothing is made before `build`"]
pub struct Builder {
    rules: Rules,
    unloading: Unloading,
    dll_dirs: Vec<PathBuf>,
    hosts: Vec<HostModule>,
    observers: Vec<Box<dyn Observer>>,
    program: Vec<PathBuf>,
    windows_root: Option<PathBuf>,
    outside: Outside,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("rules", &self.rules)
            .field("dll_dirs", &self.dll_dirs)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Sets the rules: whose dialect, what happens to missing imports, which import control.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Sets what happens to imports that nobody defines.
    pub fn missing(mut self, policy: MissingPolicy) -> Self {
        self.rules.missing = policy;
        self
    }

    /// Sets whether calls of ELF libraries may be bound when they are first made.
    pub fn binding(mut self, binding: Binding) -> Self {
        self.rules.binding = binding;
        self
    }

    /// Sets what is done before memory of what went is given back, and how.
    pub fn unloading(mut self, unloading: Unloading) -> Self {
        self.unloading = unloading;
        self
    }

    /// Adds a folder in which DLLs are looked for, after the folder of the DLL that needs one.
    pub fn dll_path(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dll_dirs.push(dir.into());
        self
    }

    /// Offers functions of this program to what is loaded.
    pub fn host(mut self, module: HostModule) -> Self {
        self.hosts.push(module);
        self
    }

    /// Adds an observer.
    pub fn observe(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Makes a library part of the main program's load set: it is loaded with the engine, told so (`lpvReserved` is
    /// not null), and stays until the engine goes.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program.push(path.into());
        self
    }

    /// Makes a folder all that Windows code sees of the host's files: it is drive `C:`, and there is no other. Without this
    /// the host's tree is drive `Z:`.
    ///
    /// What is held to it are the functions of Windows. Code that makes system calls of its own is held by a
    /// [sandbox](crate::sandbox) only.
    pub fn windows_root(mut self, folder: impl Into<PathBuf>) -> Self {
        self.windows_root = Some(folder.into());
        self
    }

    /// Sets what a debugger is shown of libraries.
    pub fn debugger(mut self, debugger: Debugger) -> Self {
        self.outside.debugger = debugger;
        self
    }

    /// Writes the functions of ELF libraries that are opened from bytes to `/tmp/perf-<pid>.map`, where `perf` looks
    /// for the names of code that has no file. The map only grows, and stays when the process ends: `perf` reads it
    /// then.
    pub fn perf_map(mut self, write: bool) -> Self {
        self.outside.perf_map = write;
        self
    }

    /// Makes the engine.
    ///
    /// # Errors
    /// What loading the program's libraries says, or the system when it has no memory for the environment of Windows
    /// images.
    pub fn build(self) -> Result<Engine, Error> {
        let files = Arc::new(Files::new(self.dll_dirs));
        let native = Arc::new(Native::new());
        let set = LoadSet::new(Local, native.clone(), Shared(files.clone()));
        let set = set.shared();
        set.tell(self.outside);
        set.set_unloading(self.unloading);
        for observer in self.observers {
            set.observe(move |event: &crate::Event<'_>| observer.event(event));
        }
        let host = Arc::<HostLibraries>::default();
        let guests = Guests::install(&set, &native, self.rules, host.clone())?;
        for module in self.hosts {
            set.add_host(module)?;
        }
        let drives = self.windows_root.map_or(Ok(Drives::Host), |folder| drive(&folder))?;
        let windows = Windows::install(&set, &files, &native, self.rules, drives)
            .map_err(|kind| Error::new("Windows environment", Stage::Request, kind))?;
        let inner = Inner { set, files, rules: self.rules, host, _guests: guests, windows };
        let engine = Engine { inner: Arc::new(inner) };
        for path in self.program {
            let name = spelled(&path)?;
            let handle = engine.open_request(name, None, Mode::default(), Origin::Program)?;
            engine.load_set().close(handle)?; // it stays all the same
        }
        Ok(engine)
    }
}

/// The folder as a drive.
fn drive(folder: &Path) -> Result<Drives, Error> {
    let blame = |kind| Error::new(&folder.to_string_lossy(), Stage::Request, kind);
    let what = "open the folder of Windows code";
    let whole = folder.canonicalize().and_then(|whole| whole.read_dir().map(|_| whole));
    let whole =
        whole.map_err(|error| blame(ErrorKind::Io { what, os: error.raw_os_error().unwrap_or(0) }))?;
    whole.to_str().ok_or_else(|| blame(ErrorKind::BadName))?;
    Ok(Drives::Folder(whole))
}

/// Names are text here as in the files that need them: a path that is not UTF-8 is refused, not guessed at.
fn spelled(path: &Path) -> Result<&str, Error> {
    let blame = || Error::new(&path.to_string_lossy(), Stage::Request, ErrorKind::BadName);
    path.to_str().ok_or_else(blame)
}

impl Engine {
    /// An engine with the TNS/R rules, where every import must be defined.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// The way to an engine with other rules, search folders, host modules or observers.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Opens a library: a path, or a name that is looked for by the rules of its format.
    ///
    /// # Errors
    /// What went wrong, with the module and the stage it happened to; the load set is as it was.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Library, Error> {
        self.open_with(path, Mode::default())
    }

    /// As [`Engine::open`], in another mode than the usual one.
    ///
    /// # Errors
    /// As [`Engine::open`]; [`ErrorKind::NotLoaded`](crate::ErrorKind::NotLoaded).
    pub fn open_with(&self, path: impl AsRef<Path>, mode: Mode) -> Result<Library, Error> {
        let name = spelled(path.as_ref())?;
        let handle = self.open_request(name, None, mode, Origin::Open)?;
        Ok(Library::new(self.clone(), handle, name))
    }

    /// Opens a library whose bytes are in memory. No file is made, and none is read for it; what it needs is looked
    /// for among what is loaded, what was [provided](Engine::provide), and then in files.
    ///
    /// While a library of that name is loaded, the same bytes give another handle for it, and other bytes are
    /// refused.
    ///
    /// # Errors
    /// As [`Engine::open`]; [`ErrorKind::NameTaken`](crate::ErrorKind::NameTaken).
    pub fn open_bytes(&self, name: &str, bytes: impl Into<Arc<[u8]>>) -> Result<Library, Error> {
        self.open_bytes_with(name, bytes, Mode::default())
    }

    /// As [`Engine::open_bytes`], in another mode than the usual one.
    ///
    /// # Errors
    /// As [`Engine::open_bytes`] and [`Engine::open_with`].
    pub fn open_bytes_with(
        &self,
        name: &str,
        bytes: impl Into<Arc<[u8]>>,
        mode: Mode,
    ) -> Result<Library, Error> {
        self.open_source(name, Source::owned(bytes), mode)
    }

    /// As [`Engine::open_bytes`], for bytes that are part of the program: they are not copied.
    ///
    /// # Errors
    /// As [`Engine::open_bytes`].
    pub fn open_embedded(&self, name: &str, bytes: &'static [u8]) -> Result<Library, Error> {
        self.open_source(name, Source::embedded(bytes), Mode::default())
    }

    /// As [`Engine::open_bytes`], for a buffer that is handed over: the library is mapped out of it as out of a file, and
    /// what it does not change is not copied. For large libraries nothing is faster.
    ///
    /// # Errors
    /// As [`Engine::open_bytes`]; the system may refuse to run code out of such memory.
    ///
    /// # Examples
    /// ```
    /// use loader::{Buffer, Engine};
    ///
    /// let bytes = corpus::demo::LIBDEMODEP_SO;
    /// let library = Engine::new()?.open_buffer("libdemodep.so", Buffer::read(bytes, bytes.len()).unwrap())?;
    /// // SAFETY: the library's source says `double demo_pi(void)`.
    /// let pi = unsafe { library.get::<extern "C" fn() -> f64>(c"demo_pi")? };
    /// assert_eq!(pi(), std::f64::consts::PI);
    /// # Ok::<(), loader::Error>(())
    /// ```
    pub fn open_buffer(&self, name: &str, buffer: Buffer) -> Result<Library, Error> {
        self.open_buffer_with(name, buffer, Mode::default())
    }

    /// As [`Engine::open_buffer`], in another mode than the usual one.
    ///
    /// # Errors
    /// As [`Engine::open_buffer`] and [`Engine::open_with`].
    pub fn open_buffer_with(&self, name: &str, buffer: Buffer, mode: Mode) -> Result<Library, Error> {
        let source = Source::pages(buffer).map_err(|kind| Error::new(name, Stage::Request, kind))?;
        self.open_source(name, source, mode)
    }

    fn open_source(&self, name: &str, source: Source, mode: Mode) -> Result<Library, Error> {
        let handle = self.open_request(name, Some(Arc::new(source)), mode, Origin::Open)?;
        Ok(Library::new(self.clone(), handle, name))
    }

    /// Gives bytes for a library that will be needed by name.
    pub fn provide(&self, name: &str, bytes: impl Into<Arc<[u8]>>) {
        self.inner.files.provide(name, Source::owned(bytes));
    }

    /// The main program: the program itself, and in its load list everything that was loaded with it.
    pub fn main_program(&self) -> Library {
        Library::new(self.clone(), self.main_program_handle(), "(main program)")
    }

    pub(crate) fn main_program_handle(&self) -> crate::Handle {
        self.adopt_host();
        self.load_set().main_program(self.inner.rules.dialect)
    }

    /// What would be missing if a library were opened: everything but running it is tried, and nothing stays.
    ///
    /// # Errors
    /// As [`Engine::open`], less what is missing.
    pub fn missing_imports(&self, path: impl AsRef<Path>) -> Result<MissingReport, Error> {
        self.adopt_host();
        let name = spelled(path.as_ref())?;
        self.load_set().missing_imports(&self.request(name, None, Mode::default(), Origin::Open))
    }

    /// What opening a library would load, from where, and who needs it: breadth first, the library itself first.
    /// Files are read, and nothing is put into memory.
    ///
    /// # Errors
    /// As [`Engine::open`], where a file is found that cannot be loaded, or the library itself is not found.
    pub fn plan(&self, path: impl AsRef<Path>) -> Result<Vec<Planned>, Error> {
        self.adopt_host();
        let name = spelled(path.as_ref())?;
        self.load_set().plan(&self.request(name, None, Mode::default(), Origin::Open))
    }

    /// Everything that is loaded, in load order.
    #[must_use]
    pub fn modules(&self) -> Vec<ModuleInfo> {
        self.load_set().modules()
    }

    /// Where what the engine loaded itself lies.
    pub(crate) fn places(&self) -> Vec<Placement> {
        self.modules().into_iter().filter(|m| m.origin != Origin::Host).map(|m| m.at).collect()
    }

    /// Shows everything that is loaded to a debugger that came after it, libraries opened from bytes too.
    pub fn show_to_debugger(&self) {
        self.load_set().look(|modules| loader_elf::debugger::show(modules, true));
    }

    /// What is at an address: the module that it lies in, of this engine or of the host, and the symbol. For a
    /// backtrace through loaded code, whose frames the standard library cannot name.
    ///
    /// The first question about a module sorts its symbols, which takes milliseconds where there are many; after that
    /// an answer takes a tenth of a microsecond.
    ///
    /// ```
    /// use loader::{Addr, Engine};
    ///
    /// let engine = Engine::new()?;
    /// let library = engine.open_bytes("libdemodep.so", corpus::demo::LIBDEMODEP_SO)?;
    /// let add = library.find(&loader_core::Query::name(b"demo_pi"))?.at;
    /// let found = engine.symbol_at(Addr(add.0 + 1)).unwrap();
    /// assert_eq!(&*found.module.name, "libdemodep.so");
    /// assert_eq!((found.symbol.as_deref(), found.offset), (Some("demo_pi"), 1));
    /// # Ok::<(), loader::Error>(())
    /// ```
    #[must_use]
    pub fn symbol_at(&self, at: Addr) -> Option<SymbolAt> {
        self.load_set().symbol_at(at)
    }

    /// The load set itself.
    #[must_use]
    pub fn load_set(&self) -> &LoadSet {
        &self.inner.set
    }

    /// The program ends: everything is terminated, the last attached first, and told so. All handles are invalid
    /// afterwards.
    pub fn program_ends(&self) {
        self.load_set().program_ends();
    }

    pub(crate) fn windows(&self) -> &Windows {
        &self.inner.windows
    }

    pub(crate) fn open_request(
        &self,
        name: &str,
        source: Option<Arc<Source>>,
        mode: Mode,
        origin: Origin,
    ) -> Result<crate::Handle, Error> {
        if name.is_empty() || name.contains('\0') {
            return Err(Error::new(name, Stage::Request, ErrorKind::BadName));
        }
        self.adopt_host();
        self.load_set().open(&self.request(name, source, mode, origin))
    }

    fn request(
        &self,
        name: &str,
        source: Option<Arc<Source>>,
        mode: Mode,
        origin: Origin,
    ) -> Request<'static> {
        Request { need: need(name), source, mode, rules: self.inner.rules, origin, by: None }
    }

    fn adopt_host(&self) {
        self.inner.host.adopt_into(&self.inner.set);
    }
}
