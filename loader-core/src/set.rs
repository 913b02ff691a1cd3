//! Everything that is loaded, who holds it, and who goes when nobody does. The rules are those of TNS/R `dlopen`,
//! `dlsym` and `dlclose` (DLL Programmer's Guide for TNS/R Systems, section 3).

mod closed;
mod destructors;
mod fork;
mod globals;
mod lazy;
mod lifecycle;
mod scope;
mod state;

pub use closed::{Closed, Hold, Stayed, Unloading};
pub use destructors::thread_ends;
pub use fork::Pause;
pub(crate) use globals::{Globals, Member};
pub use lazy::LazyCalls;
pub(crate) use lazy::LazyScope;
pub use lifecycle::Rest;
pub use scope::Owner;
pub(crate) use state::{Info, Loaded, Pins, State, Target, post_order};
pub use state::{ModuleInfo, Origin};

use crate::{
    Addr, Error, ErrorKind, Event, Export, FileId, Format, Forward, HostModule, Image, Locator, Need,
    Placement, Query, Reach, Result, Source, Stage, Symbol, TlsHome,
    call::{Caller, MissingImport},
    event::{Observer, Topics, log},
    mode::{Binding, Dialect, Load, MissingPolicy, Mode, Rules, Scope, Visibility},
    module::Identity,
    quarantine::Unloaded,
    session::{FORWARDS, Root, Session, query_of},
    space::{AddressSpace, Backing},
    tls,
    tools::{InMemory, Tools},
    turnstile::{Signal, Turnstile},
};
use ahash::AHashMap;
use lifecycle::Memory;
use slotmap::{Key, new_key_type};
use std::{
    borrow::Cow,
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
};

new_key_type! {
    /// Names a loaded module; one that was unloaded stays invalid even if its slot is used again.
    pub struct ModuleId;

    /// What an open gives: new and unique for every open. A handle that was closed is refused, never mistaken.
    pub struct Handle;
}

impl ModuleId {
    /// The module as a number that no other module of its load set has, before it or after.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.data().as_ffi()
    }
}

impl Handle {
    /// The handle as a number that is not 0, for C callers.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.data().as_ffi()
    }

    /// The handle that [`Handle::to_bits`] made; any other number makes a handle that is refused.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        slotmap::KeyData::from_ffi(bits).into()
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handle {:#x}", self.to_bits())
    }
}

/// What is to be opened, and how.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The library: a name to search for, or a path.
    pub need: Need,
    /// Its bytes, where it is not to be looked for.
    pub source: Option<Arc<Source>>,
    /// The mode.
    pub mode: Mode,
    /// The rules.
    pub rules: Rules,
    /// Whether it joins the main program's load set.
    pub origin: Origin,
    /// Who asks, for search rules: nobody for the embedder.
    pub by: Option<&'a Owner>,
}

impl Request<'_> {
    pub(crate) fn refuses_to_load(&self) -> bool {
        self.mode.load == Load::Never
    }
}

/// A module of the host process, read in place.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// Where it is.
    pub at: Placement,
    /// Its file.
    pub path: PathBuf,
    /// Which file that is.
    pub file: Option<FileId>,
    /// The names it answers to, in key form.
    pub keys: Vec<Box<str>>,
    /// Its tables.
    pub image: Arc<dyn Image>,
    /// Its thread-local block.
    pub tls: Option<TlsHome>,
}

/// What a lookup found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FoundSymbol {
    /// The live address; for a thread-local variable, the calling thread's.
    pub at: Addr,
    /// The library that has it.
    pub module: Box<str>,
    /// That library's format: by which convention a function is called.
    pub format: Format,
}

/// What is at an address.
#[derive(Clone, Debug)]
pub struct SymbolAt {
    /// The module that it lies in.
    pub module: ModuleInfo,
    /// The name of the symbol that it belongs to, where there is one.
    pub symbol: Option<Box<str>>,
    /// How far it is from the start of the symbol; of the module, where there is no symbol.
    pub offset: u64,
}

/// What is searched for a handle, in order.
#[derive(Clone, Debug)]
pub struct SearchList(Arc<[Arc<Info>]>);

/// A [`FoundSymbol`] that need not own the name.
struct Seen<'l> {
    at: Addr,
    module: Cow<'l, str>,
    format: Format,
}

/// The first export of a list that answers a query, and whose it is.
#[inline]
fn first_export<'l>(list: &'l [Arc<Info>], query: &Query<'_>) -> Result<Option<(&'l Arc<Info>, Export)>> {
    for info in list.iter().filter(|info| info.names.may_have(query.hash)) {
        if let Some(export) = info.image.export(query).map_err(|kind| info.blamed(kind))? {
            return Ok(Some((info, export)));
        }
    }
    Ok(None)
}

/// The lock under which entry points of Windows images run. To wait for it keeps no load set alive.
#[derive(Clone, Debug)]
pub struct LoaderLock(Arc<Turnstile>);

impl LoaderLock {
    /// Calls `f` while no other thread is in an entry point; in one of the calling thread's own, at once.
    pub fn held<R>(&self, f: impl FnOnce() -> R) -> R {
        let _pass = self.0.enter(|| {});
        f()
    }
}

/// What would be missing if a library were opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissingReport {
    /// Imports that nobody defines, in file order.
    pub symbols: Vec<MissingImport>,
    /// Libraries that are not found.
    pub libraries: Vec<Box<str>>,
}

/// A library that an open would need.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its name, as the user knows it.
    pub name: Box<str>,
    /// Who needs it first; empty for the library that would be opened.
    pub needed_by: Box<str>,
    /// Where it is.
    pub place: Place,
}

/// Where a [`Planned`] library is.
#[derive(Clone, Debug)]
pub enum Place {
    /// In this file.
    File(PathBuf, Format),
    /// In memory, as bytes.
    Memory(Format),
    /// It is loaded already.
    Loaded(ModuleInfo),
    /// It is not found.
    Nowhere,
}

/// Everything that is loaded, and the rules by which it comes and goes.
pub struct LoadSet {
    state: Mutex<State>,
    /// Told when a module's phase changes.
    settled: Signal,
    /// Taken while a session builds and while a close decides. No foreign code runs under it but ifunc resolvers.
    building: Turnstile,
    /// The loader lock: entry points of Windows images run one at a time (DllMain reference).
    entry_points: Arc<Turnstile>,
    space: Box<dyn AddressSpace>,
    caller: Arc<dyn Caller>,
    locator: Box<dyn Locator>,
    observers: RwLock<Vec<Arc<dyn Observer>>>,
    /// Whether there are any: nearly never, and quicker to ask than the list.
    observed: AtomicBool,
    tools: RwLock<Arc<Vec<Arc<dyn Tools>>>>,
    /// How often handles were closed.
    closes: AtomicU64,
    /// Whether the process is about to end.
    ending: AtomicBool,
    /// Which threads are in which entries.
    inside: Mutex<Vec<lifecycle::Entered>>,
    rest: Rest,
    /// What ifunc resolvers of live modules answered.
    resolved: Mutex<AHashMap<Addr, Addr>>,
    /// What went and still has its addresses.
    afterlife: Mutex<lifecycle::Afterlife>,
    /// This load set, for loaded code that comes back to it.
    me: Weak<Self>,
}

impl fmt::Debug for LoadSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadSet").field("space", &self.space).finish_non_exhaustive()
    }
}

impl LoadSet {
    /// An empty load set: images go to `space`, are called by `caller` and come from `locator`.
    pub fn new(
        space: impl AddressSpace + 'static,
        caller: Arc<dyn Caller>,
        locator: impl Locator + 'static,
    ) -> Self {
        Self {
            state: Mutex::default(),
            settled: Signal::default(),
            building: Turnstile::default(),
            entry_points: Arc::default(),
            space: Box::new(space),
            caller,
            locator: Box::new(locator),
            observers: RwLock::default(),
            observed: AtomicBool::default(),
            tools: RwLock::default(),
            closes: AtomicU64::default(),
            ending: AtomicBool::default(),
            inside: Mutex::default(),
            rest: Rest::default(),
            resolved: Mutex::default(),
            afterlife: Mutex::default(),
            me: Weak::new(),
        }
    }

    /// The same load set, where loaded code finds it: only then can calls be bound when they are first made.
    #[must_use]
    pub fn shared(self) -> Arc<Self> {
        Arc::new_cyclic(|me| {
            let mut set = self;
            set.me = me.clone();
            set
        })
    }

    /// Tells `tools` of every module from now on.
    pub fn tell(&self, tools: impl Tools + 'static) {
        let mut all = self.tools.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut all).push(Arc::new(tools));
    }

    /// Those who are told, in no lock: they may run foreign code.
    fn tools(&self) -> Arc<Vec<Arc<dyn Tools>>> {
        self.tools.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows everything that is loaded, less what the host has; nothing of it goes meanwhile.
    pub fn look(&self, look: impl FnOnce(&[InMemory<'_>])) {
        let mut state = self.lock();
        let ours = state.modules.iter().filter(|(_, m)| m.origin != Origin::Host);
        let (ids, infos): (Vec<ModuleId>, Vec<Arc<Info>>) = ours.map(|(id, m)| (id, m.info.clone())).unzip();
        let held: Vec<Handle> = ids.into_iter().map(|id| state.open(Target::Module(id)).0).collect();
        drop(state);
        look(&infos.iter().map(|info| info.shown()).collect::<Vec<_>>());
        let mut state = self.lock();
        for handle in held {
            state.close(handle);
        }
        drop(state);
        self.collect();
    }

    fn came(&self, modules: &[Arc<Info>], verbose: Topics) {
        if modules.is_empty() {
            return;
        }
        let windows = modules.iter().find(|info| info.image.format() == Format::Pe);
        let _entry = windows.and_then(|info| self.entry_point(info, verbose));
        let shown: Vec<InMemory<'_>> = modules.iter().map(|info| info.shown()).collect();
        self.tools().iter().for_each(|tools| tools.came(&shown));
    }

    /// Adds an observer; it hears of everything from now on.
    pub fn observe(&self, observer: impl Observer + 'static) {
        self.observers.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(observer));
        self.observed.store(true, Release);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes everything out but what the host has; no handle is open afterwards.
    fn take_all(&self) -> Vec<Loaded> {
        let _building = self.building.enter(|| {});
        let all = self.lock().take_all();
        self.closes.fetch_add(1, Release);
        all
    }

    pub(crate) fn space(&self) -> &dyn AddressSpace {
        &*self.space
    }

    pub(crate) fn caller(&self) -> &dyn Caller {
        &*self.caller
    }

    pub(crate) fn locator(&self) -> &dyn Locator {
        &*self.locator
    }

    /// Tells the observers, and the log what `verbose` lets through.
    pub(crate) fn emit(&self, verbose: Topics, event: &Event<'_>) {
        if self.observed.load(Acquire) {
            for observer in self.observers.read().unwrap_or_else(PoisonError::into_inner).iter() {
                observer.event(event);
            }
        }
        if verbose.contains(event.topic()) {
            log(event);
        }
    }

    /// The topics that anybody would hear of: events of others need not be made.
    pub(crate) fn told(&self, verbose: Topics) -> Topics {
        match log::max_level() {
            _ if self.observed.load(Acquire) => Topics::all(),
            log::LevelFilter::Trace => verbose,
            log::LevelFilter::Debug => verbose & !(Topics::SYMBOL_SEARCH | Topics::FILE_SEARCH),
            _ => verbose & (Topics::TROUBLE | Topics::FILES),
        }
    }

    /// The address that the ifunc resolver at `at`, of a live module, answers with.
    pub(crate) fn resolved(&self, at: Addr) -> Result<Addr, ErrorKind> {
        let memo = || self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&known) = memo().get(&at) {
            return Ok(known);
        }
        let answer = self.caller.resolver(at)?;
        memo().insert(at, answer);
        Ok(answer)
    }

    /// Offers functions of the host program as a module. It is part of the main program's load set.
    ///
    /// # Errors
    /// [`ErrorKind::NameTaken`], [`ErrorKind::Space`].
    pub fn add_host(&self, module: HostModule) -> Result<ModuleId> {
        let blame = |kind| Error::new(module.name(), Stage::Request, kind);
        let _building = self.building.enter(|| {});
        if self.lock().by_key(module.key()).is_some() {
            return Err(blame(ErrorKind::NameTaken));
        }
        let block = self.space.place(module.plan(), Backing::default()).map_err(blame)?;
        let identity = Identity {
            name: module.name().into(),
            keys: vec![module.key().into()],
            path: None,
            file: None,
            source: None,
        };
        let global = module.reach() == Reach::Global;
        let at = Placement { base: block.base(), len: module.plan().len().get(), ..Placement::default() };
        let info = Info::new(Arc::new(identity), Arc::new(module), at, None, Scope::default());
        Ok(self.lock().insert_host(info, Some(block), global))
    }

    /// Takes in what the host process has loaded, as part of the main program's load set: each module once, however
    /// often it is adopted.
    pub fn adopt(&self, modules: Vec<Adopted>) {
        let _building = self.building.enter(|| {});
        let mut state = self.lock();
        let mut fresh = Vec::new();
        for m in modules {
            if state.at(m.at.base).is_none() {
                let name = m.path.to_string_lossy().into();
                let identity =
                    Identity { name, keys: m.keys, path: Some(m.path), file: m.file, source: None };
                let info = Info::new(Arc::new(identity), m.image, m.at, m.tls, Scope::default());
                fresh.push(state.insert_host(info, None, true));
            }
        }
        state.connect_hosts(&fresh);
    }

    /// Opens a library: the whole story, in order.
    ///
    /// A library that is loaded already is not loaded again; every successful call gives a new handle. A failed one
    /// leaves the load set as it was.
    ///
    /// # Errors
    /// Whatever went wrong, with the module and the stage it happened to.
    pub fn open(&self, request: &Request<'_>) -> Result<Handle> {
        self.open_quietly(request)
            .inspect_err(|error| self.emit(request.mode.verbose, &Event::Failed { error }))
    }

    fn open_quietly(&self, request: &Request<'_>) -> Result<Handle> {
        let waiting = || self.emit(request.mode.verbose, &Event::Waiting { name: &request.need.name });
        let building = self.building.enter(waiting);
        let found = match self.loaded(request) {
            Ok(Some(root)) => Ok((root, Vec::new())),
            Ok(None) => self.build(request),
            Err(error) => Err(error),
        };
        let (root, fresh) = match found {
            Ok(found) => found,
            Err(error) => {
                drop(building);
                self.collect(); // what was closed meanwhile
                return Err(error);
            }
        };
        let handle = self.hand_out(root, request.mode.verbose);
        if request.mode.no_delete {
            self.lock().pin(root, Pins::NODELETE);
        }
        drop(building);
        self.came(&fresh, request.mode.verbose);
        let mut undo = lifecycle::Undo::of(self, root, handle);
        // From here on foreign code runs, and no lock is held that others wait for. It may unwind out of this call.
        let attached = self.attach(root, &fresh, request);
        undo.memory = Memory::Unmapped;
        attached?;
        undo.not_needed();
        // As glibc has it: what its initialisers opened for all to see comes before it.
        if let (Dialect::Posix, Visibility::Global) = (request.rules.dialect, request.mode.visibility) {
            self.lock().promote(root);
        }
        self.collect(); // what was closed while it could not go
        Ok(handle)
    }

    /// Brings in what is not loaded, up to the point where only foreign code is left to run; returns the root, and all
    /// that came with it.
    fn build(&self, request: &Request<'_>) -> Result<(ModuleId, Vec<Arc<Info>>)> {
        let mut session = Session::begin(self, request); // dropping a session undoes all of it
        let parsed = match session.find(request)? {
            Root::Loaded(id) => return Ok((id, Vec::new())),
            Root::Fresh(parsed) => parsed,
        };
        // From here on the list of modules is complete.
        let mapped = session.map(parsed)?;
        // From here on every address is known.
        let relocated = session.relocate(mapped)?;
        let bound = session.bind(relocated)?;
        // From here on nothing is undefined. The first foreign code, an ifunc resolver, runs inside seal.
        let sealed = session.seal(bound)?;
        // From here on nobody writes to the images.
        session.commit(sealed, request.origin)
    }

    /// What would be missing if the request were opened; everything but running it is tried, and nothing stays.
    ///
    /// # Errors
    /// As [`LoadSet::open`], less undefined symbols and libraries that are not found.
    pub fn missing_imports(&self, request: &Request<'_>) -> Result<MissingReport> {
        let (missing, binding) = (MissingPolicy::Trap, Binding::Now);
        let request = Request { rules: Rules { missing, binding, ..request.rules }, ..request.clone() };
        let _building = self.building.enter(|| {});
        let mut session = Session::begin(self, &request);
        if let Root::Fresh(parsed) = session.find(&request)? {
            let mapped = session.map(parsed)?;
            let relocated = session.relocate(mapped)?;
            session.bind(relocated)?;
        }
        let gaps = session.into_gaps();
        Ok(MissingReport { symbols: gaps.symbols, libraries: gaps.libraries })
    }

    /// The loadList that the request would have: the library, then breadth first everything it needs, each once, but
    /// not what loaded libraries need in turn. Files are read; nothing is put into memory.
    ///
    /// # Errors
    /// As [`LoadSet::open`] up to the end of the search; but a library that is not found is no error, unless it is
    /// the first.
    pub fn plan(&self, request: &Request<'_>) -> Result<Vec<Planned>> {
        let missing = MissingPolicy::Trap;
        let request = Request { rules: Rules { missing, ..request.rules }, ..request.clone() };
        let _building = self.building.enter(|| {});
        let mut session = Session::begin(self, &request);
        let loaded = match self.loaded(&request)? {
            Some(id) => id,
            None => match session.find(&request)? {
                Root::Fresh(found) => return Ok(session.planned(&found)),
                Root::Loaded(id) => id,
            },
        };
        let place = Place::Loaded(self.lock().describe(loaded));
        Ok(vec![Planned { name: request.need.name, needed_by: "".into(), place }])
    }

    /// The module that a request means, where that can be told without looking for a file.
    fn loaded(&self, request: &Request<'_>) -> Result<Option<ModuleId>> {
        let state = self.lock();
        let known = state.by_key(&request.need.key);
        let (Some(id), Some(source)) = (known, &request.source) else {
            return Ok(known);
        };
        let same = state.info(id).identity.source.as_ref().is_some_and(|s| s.bytes() == source.bytes());
        match same {
            true => Ok(Some(id)),
            false => Err(Error::new(&request.need.name, Stage::Request, ErrorKind::NameTaken)),
        }
    }

    fn hand_out(&self, target: ModuleId, verbose: Topics) -> Handle {
        let mut state = self.lock();
        let (handle, handles) = state.open(Target::Module(target));
        let info = state.info(target).clone();
        drop(state);
        self.emit(verbose, &Event::Opened { name: &info.identity.name, handle, handles });
        handle
    }

    /// A new handle for the main program: the program and what was loaded with it. By the rules of TNS/R the entire
    /// operating load set is searched for it, by those of POSIX what everybody sees: what was opened `GLOBAL` besides.
    #[must_use]
    pub fn main_program(&self, dialect: Dialect) -> Handle {
        self.lock().open(Target::Program(dialect)).0
    }

    /// A new handle for a module that is loaded already.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidHandle`] where it is not.
    pub fn open_again(&self, id: ModuleId) -> Result<Handle> {
        let _building = self.building.enter(|| {});
        if self.lock().modules.contains_key(id) {
            return Ok(self.hand_out(id, Topics::all()));
        }
        Err(Error::new("", Stage::Request, ErrorKind::InvalidHandle))
    }

    /// Invalidates a handle; what nothing holds any more is terminated, the last attached first, and only then
    /// unmapped. Returns what went, in that order, and what stayed and why.
    ///
    /// What is closed in the middle of an open, by an observer or a resolver, goes when that open is done with it.
    ///
    /// Pointers into what went are dangling from then on; that no thread runs its code any more is the caller's care,
    /// unless [`LoadSet::set_unloading`] says otherwise.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidHandle`] for a handle that was closed before or was never given out.
    pub fn close(&self, handle: Handle) -> Result<Closed> {
        if self.take_back(handle) {
            let mut closed = self.collect();
            while self.await_destructors() {
                closed.then(self.collect());
            }
            return Ok(closed);
        }
        let error = Error::new("", Stage::Close, ErrorKind::InvalidHandle);
        self.emit(Topics::all(), &Event::Failed { error: &error });
        Err(error)
    }

    fn take_back(&self, handle: Handle) -> bool {
        let Some(target) = self.lock().close(handle) else {
            return false;
        };
        self.closes.fetch_add(1, Release);
        if let Some((info, handles)) = target {
            let event = Event::Closed { name: &info.identity.name, handle, handles };
            self.emit(Topics::all(), &event);
        }
        true
    }

    /// Where the modules are that need a module and that it needs, directly or not, itself among them: nothing if it is
    /// not loaded, or no more.
    #[must_use]
    pub fn cycle(&self, id: ModuleId) -> Vec<Addr> {
        let state = self.lock();
        let loaded = state.modules.contains_key(id).then(|| state.cycle(id));
        loaded.into_iter().flatten().map(|id| state.info(id).at.base).collect()
    }

    /// How many modules need a module, without any in between; `None` of one that is not loaded, or that never goes.
    #[must_use]
    pub fn users(&self, id: ModuleId) -> Option<usize> {
        self.lock().modules.get(id).and_then(Loaded::users)
    }

    /// Keeps a module, and what it needs, loaded for as long as the load set lives.
    pub fn pin(&self, id: ModuleId) {
        self.lock().pin(id, Pins::EMBEDDER);
    }

    /// Says what is done before memory is given back from now on, and how. At first: nothing, and it is unmapped.
    pub fn set_unloading(&self, unloading: Unloading) {
        let mut afterlife = self.afterlife.lock().unwrap_or_else(PoisonError::into_inner);
        afterlife.check_threads = unloading.check_threads;
        afterlife.quarantine.limit = unloading.quarantine;
    }

    /// The library that an address belonged to, if it is in quarantine.
    #[must_use]
    pub fn quarantined(&self, at: Addr) -> Option<Unloaded> {
        self.afterlife.lock().unwrap_or_else(PoisonError::into_inner).quarantine.named(at)
    }

    /// Looks a symbol up as TNS/R `dlsym` does: in the handle's target, then in its loadList in order. A handle for
    /// the main program searches what [`LoadSet::main_program`] says.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidHandle`], [`ErrorKind::SymbolNotFound`], malformed export tables.
    pub fn symbol(&self, handle: Handle, query: &Query<'_>) -> Result<FoundSymbol> {
        let list = self.lock().search_list(handle);
        let list = list.ok_or_else(|| Error::new("", Stage::Symbol, ErrorKind::InvalidHandle))?;
        self.first_in(&list, query)
    }

    /// What [`LoadSet::symbol`] searches for the handle of a module: it stays the same as long as the handle is open.
    #[must_use]
    pub fn searched(&self, handle: Handle) -> Option<SearchList> {
        let state = self.lock();
        state.target_module(handle)?;
        state.search_list(handle).map(SearchList)
    }

    /// How often handles were closed so far: as long as this stays the same, every open handle stays open.
    #[inline]
    #[must_use]
    pub fn closes(&self) -> u64 {
        self.closes.load(Acquire)
    }

    /// Where the first definition of a list is, and by which convention it is called. No lock is taken for it.
    ///
    /// # Errors
    /// Malformed export tables; what an ifunc resolver's call or the load behind a forwarder says.
    #[inline]
    pub fn address(&self, list: &SearchList, query: &Query<'_>) -> Result<Option<(Addr, Format)>> {
        match first_export(&list.0, query)? {
            None => Ok(None),
            Some((info, Export::At(rva))) => Ok(Some((info.at.addr(rva), info.image.format()))),
            Some((info, export)) => self.place(info, export, query).map(|at| Some((at.at, at.format))),
        }
    }

    /// Looks a symbol up in one module only, as `GetProcAddress` does; also in one whose terminators run.
    ///
    /// # Errors
    /// As [`LoadSet::symbol`].
    pub fn symbol_in(&self, id: ModuleId, query: &Query<'_>) -> Result<FoundSymbol> {
        let info = self.lock().info_of(id).cloned();
        let info = info.ok_or(Error::new("", Stage::Symbol, ErrorKind::InvalidHandle))?;
        self.first_in(std::slice::from_ref(&info), query)
    }

    /// Where one module has a symbol: as [`LoadSet::symbol_in`], for those who ask often.
    ///
    /// # Errors
    /// As [`LoadSet::symbol`].
    pub fn symbol_of(&self, owner: &Owner, query: &Query<'_>) -> Result<Addr> {
        let list = std::slice::from_ref(&owner.info);
        match self.seek(list, query)? {
            Some(found) => Ok(found.at),
            None => self.first_in(list, query).map(|found| found.at), // the error
        }
    }

    fn first_in(&self, list: &[Arc<Info>], query: &Query<'_>) -> Result<FoundSymbol> {
        if let Some(Seen { at, module, format }) = self.seek(list, query)? {
            return Ok(FoundSymbol { at, module: module.into(), format });
        }
        let symbol = query.symbol.to_name();
        let name = list.first().map_or("", |i| &i.identity.name);
        Err(Error::new(name, Stage::Symbol, ErrorKind::SymbolNotFound { symbol }))
    }

    fn seek<'l>(&self, list: &'l [Arc<Info>], query: &Query<'_>) -> Result<Option<Seen<'l>>> {
        let first = first_export(list, query)?;
        first.map(|(info, export)| self.place(info, export, query)).transpose()
    }

    /// Where an export of a module is now.
    fn place<'l>(&self, info: &'l Arc<Info>, export: Export, query: &Query<'_>) -> Result<Seen<'l>> {
        let at = match export {
            Export::At(rva) => info.at.addr(rva),
            Export::Unique(rva) => {
                let single = match query.symbol {
                    Symbol::Name(name) => self.lock().single(name),
                    Symbol::Ordinal(_) => None,
                };
                single.map_or(info.at.addr(rva), |(_, at)| at)
            }
            Export::Absolute(value) => Addr(value),
            Export::Resolver(rva) => self.resolved(info.at.addr(rva)).map_err(|kind| info.blamed(kind))?,
            Export::Tls { offset } => Addr(info.tls.map_or(0, |home| tls::address(home, offset))),
            Export::Forward(forward) => {
                let found = self.forwarded(info, *forward)?;
                let module = Cow::Owned(found.module.into());
                return Ok(Seen { at: found.at, module, format: found.format });
            }
        };
        Ok(Seen { at, module: Cow::Borrowed(&*info.identity.name), format: info.image.format() })
    }

    /// Loads a library that the module at `base` turns out to need: it stays as long as that module. `None` where the module
    /// itself went meanwhile.
    ///
    /// # Errors
    /// As [`LoadSet::open`].
    pub fn bring(&self, base: Addr, need: Need, rules: Rules) -> Result<Option<Owner>> {
        let by = self.owner(base);
        let request = Request {
            need,
            source: None,
            mode: Mode::default(),
            rules,
            origin: Origin::Open,
            by: by.as_ref(),
        };
        let handle = self.open(&request)?;
        let target = self.lock().link(base, handle);
        self.close(handle)?;
        Ok(target)
    }

    /// A forwarded export that is looked up at run time: the exporter needs the other library from now on.
    fn forwarded(&self, exporter: &Arc<Info>, forward: Forward) -> Result<FoundSymbol> {
        let (mut exporter, mut forward) = (exporter.clone(), forward);
        for _ in 0..FORWARDS {
            let Some(target) = self.bring(exporter.at.base, forward.need.clone(), Rules::default())? else {
                break;
            };
            let target = target.info;
            let query = query_of(&forward.symbol);
            match target.image.export(&query) {
                Ok(Some(Export::Forward(further))) => (exporter, forward) = (target, *further),
                _ => return self.first_in(std::slice::from_ref(&target), &query),
            }
        }
        let kind = ErrorKind::ForwardLoop { symbol: forward.symbol };
        Err(Error::new(&exporter.identity.name, Stage::Symbol, kind))
    }

    /// Everything that is loaded, in load order.
    #[must_use]
    pub fn modules(&self) -> Vec<ModuleInfo> {
        self.lock().list()
    }

    /// The handle's target.
    #[must_use]
    pub fn target(&self, handle: Handle) -> Option<ModuleInfo> {
        let state = self.lock();
        let id = state.target_module(handle)?;
        Some(state.describe(id))
    }

    /// The loadList of the handle's target: itself, then breadth first everything it needs, each once.
    #[must_use]
    pub fn load_list(&self, handle: Handle) -> Option<Vec<ModuleInfo>> {
        let state = self.lock();
        let list = match state.target(handle)? {
            Target::Module(id) => state.load_list_ids(id),
            Target::Program(_) => state.program(),
        };
        Some(list.into_iter().map(|id| state.describe(id)).collect())
    }

    /// The module that answers to a name in key form.
    #[must_use]
    pub fn module_named(&self, key: &str) -> Option<ModuleInfo> {
        let state = self.lock();
        state.by_key(key).map(|id| state.describe(id))
    }

    /// Where the module is that answers to a name in key form.
    #[must_use]
    pub fn base_of(&self, key: &str) -> Option<Addr> {
        let state = self.lock();
        state.by_key(key).map(|id| state.info(id).at.base)
    }

    /// The module that an address lies in.
    #[must_use]
    pub fn module_at(&self, at: Addr) -> Option<ModuleInfo> {
        let state = self.lock();
        state.at(at).map(|id| state.describe(id))
    }

    /// What is at an address: the module, and the symbol as `dladdr` finds it.
    #[must_use]
    pub fn symbol_at(&self, at: Addr) -> Option<SymbolAt> {
        let state = self.lock();
        let id = state.at(at)?;
        let (module, info) = (state.describe(id), state.info(id).clone());
        drop(state); // the first question about an image takes its time
        let rva = info.at.rva_of(at)?;
        let symbol = info.image.symbol_at(rva);
        Some(SymbolAt {
            module,
            offset: rva.0 - symbol.map_or(0, |s| s.at.0),
            symbol: symbol.map(|s| s.name.to_string_lossy().into()),
        })
    }

    /// Makes the calling thread ready to run code of a format.
    ///
    /// # Errors
    /// What the environment of that format says.
    #[inline]
    pub fn enter(&self, format: Format) -> Result<(), ErrorKind> {
        self.caller.enter(format)
    }
}
