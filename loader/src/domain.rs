//! Declared functions: a library and an entry point that are named now, and looked for when the function is first used,
//! as platform invoke does it for .NET.
//!
//! `unsafe` because a function's type is the caller's word, as in `library.rs`.
#![allow(unsafe_code)]

use crate::{Closed, Engine, Error, ErrorKind, Format, Handle, Mode, Origin, Stage, Symbol};
use loader_core::{Addr, Load, Query, set::FoundSymbol};
use std::{
    collections::HashMap,
    fmt,
    marker::PhantomData,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
};

/// How long the libraries of [declared](Domain::declare) functions stay: until it is dropped. What .NET calls an
/// application domain.
///
/// A library comes with the first use of a function that is declared in it, and the domain takes one reference to it,
/// however many functions are used. Somebody may free it all the same, with as many
/// [`free_library`](crate::win32::free_library) as there are references; the domain's own is the last that is taken.
/// Then the declared functions are errors until somebody loads the library again, never calls into nothing:
///
/// ```
/// use loader::{Engine, ErrorKind, win32};
///
/// let engine = Engine::new()?;
/// engine.provide("libdemodep.so", corpus::demo::LIBDEMODEP_SO);
/// let domain = engine.domain();
/// // SAFETY: the library's source says `double demo_pi(void)`.
/// let pi = unsafe { domain.declare::<extern "C" fn() -> f64>("libdemodep.so", "demo_pi") };
/// assert!(engine.load_set().module_named("libdemodep.so").is_none()); // nothing was loaded for that
/// assert_eq!(pi.get()?(), std::f64::consts::PI);
///
/// let module = engine.load_set().module_named("libdemodep.so").unwrap();
/// win32::free_library(&engine, module.at.base).unwrap();
/// assert_eq!(pi.get().unwrap_err().kind, ErrorKind::Unloaded);
/// let again = engine.open("libdemodep.so")?;
/// assert_eq!(pi.get()?(), std::f64::consts::PI);
/// # Ok::<(), loader::Error>(())
/// ```
#[derive(Debug)]
pub struct Domain {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    /// The libraries that were used so far, by the name they were declared with.
    libraries: Mutex<HashMap<Box<str>, Handle>>,
    /// Set while the libraries are locked, before they are taken out.
    over: AtomicBool,
}

/// How a declared function is found in its library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryPoint {
    /// By exactly this name.
    Name(Box<str>),
    /// By this name, else by the name with an `A`: the function that takes text in bytes.
    Ansi(Box<str>),
    /// By this name with a `W`, else by the name as it is: the function that takes UTF-16.
    Unicode(Box<str>),
    /// By number.
    Ordinal(u16),
}

impl From<&str> for EntryPoint {
    /// A name is meant exactly; `#12` is a number.
    fn from(name: &str) -> Self {
        let number = name.strip_prefix('#').and_then(|digits| digits.parse().ok());
        number.map_or_else(|| Self::Name(name.into()), Self::Ordinal)
    }
}

impl From<u16> for EntryPoint {
    fn from(ordinal: u16) -> Self {
        Self::Ordinal(ordinal)
    }
}

impl EntryPoint {
    /// What is looked for, in order, until `find` finds it.
    fn search<R>(&self, mut find: impl FnMut(&Query<'_>) -> Result<R, Error>) -> Result<R, Error> {
        let mut named = |name: &str| find(&Query::name(name.as_bytes()));
        let absent = |e: &Error| matches!(e.kind, ErrorKind::SymbolNotFound { .. });
        match self {
            Self::Name(name) => named(name),
            Self::Ansi(name) => match named(name) {
                Err(error) if absent(&error) => named(&format!("{name}A")).map_err(|_| error),
                found => found,
            },
            Self::Unicode(name) => match named(&format!("{name}W")) {
                Err(error) if absent(&error) => named(name),
                found => found,
            },
            Self::Ordinal(ordinal) => find(&Query::ordinal(*ordinal)),
        }
    }
}

impl Engine {
    /// A domain for declared functions. Several are independent of each other.
    #[must_use = "what is declared in a domain is over when it is dropped"]
    pub fn domain(&self) -> Domain {
        let (libraries, over) = (Mutex::default(), AtomicBool::new(false));
        Domain { inner: Arc::new(Inner { engine: self.clone(), libraries, over }) }
    }
}

impl Domain {
    /// Declares a function of a library, which is named as for [`Engine::open`]. Nothing is looked for yet: neither a
    /// library nor an entry point that does not exist is an error before the function is used.
    ///
    /// ```
    /// use loader::{Engine, EntryPoint};
    ///
    /// let domain = Engine::new()?.domain();
    /// // SAFETY: the documentation of this function says so; KERNEL32 has it with an `A` and with a `W`.
    /// let load = unsafe {
    ///     domain.declare::<extern "win64" fn(*const u16) -> usize>(
    ///         "KERNEL32.dll",
    ///         EntryPoint::Unicode("LoadLibrary".into()),
    ///     )
    /// };
    /// let nowhere: Vec<u16> = "nowhere.dll\0".encode_utf16().collect();
    /// assert_eq!(load.get()?(nowhere.as_ptr()), 0);
    /// # Ok::<(), loader::Error>(())
    /// ```
    ///
    /// # Panics
    /// When the program is compiled, if `F` is not as large as a pointer.
    ///
    /// # Safety
    /// The function is what `F` says, in whatever library has the name when it is used. As with
    /// [`Library::get`](crate::Library::get), using it is right only while that library is loaded: [`Declared::get`]
    /// makes sure of that when it is called, so it is called each time anew.
    #[must_use]
    pub unsafe fn declare<F: Copy>(&self, library: &str, entry: impl Into<EntryPoint>) -> Declared<F> {
        Declared {
            domain: self.inner.clone(),
            library: library.into(),
            entry: entry.into(),
            bound: Mutex::default(),
            function: PhantomData,
        }
    }

    /// Ends the domain: gives back what it holds. Returns what went, and what stayed and why, for each of its libraries
    /// that nobody freed before.
    ///
    /// # Errors
    /// None that the domain's own handles can meet; the result is that of
    /// [`LoadSet::close`](loader_core::LoadSet::close).
    pub fn end(self) -> Result<Vec<Closed>, Error> {
        self.inner.end()
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        let _ = self.inner.end();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Handle>> {
        self.libraries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Acquire)
    }

    fn is_open(&self, handle: Handle) -> bool {
        self.engine.load_set().target(handle).is_some()
    }

    /// The domain's handle for a library: taken at its first use, and taken again where somebody freed the library and
    /// somebody loaded it anew.
    fn library(&self, name: &str) -> Result<Handle, Error> {
        let gone = || Error::new(name, Stage::Call, ErrorKind::Unloaded);
        let known = self.lock().get(name).copied();
        let load = match known {
            _ if self.is_over() => return Err(gone()),
            Some(handle) if self.is_open(handle) => return Ok(handle),
            Some(_) => Load::Never,
            None => Load::Now,
        };
        let mode = Mode { load, ..Mode::default() };
        let opened = self.engine.open_request(name, None, mode, Origin::Open);
        let handle = opened.map_err(|error| match error.kind {
            ErrorKind::NotLoaded => gone(),
            _ => error,
        })?;
        let windows = self.engine.windows();
        windows.lend(handle);
        let mut libraries = self.lock();
        let kept = (!self.is_over()).then(|| self.keep(&mut libraries, name, handle));
        drop(libraries);
        if kept != Some(handle) {
            windows.take_back(handle).transpose()?; // another thread was quicker, or the domain is over
        }
        kept.ok_or_else(gone)
    }

    /// Keeps a handle, unless there is one that is open already.
    fn keep(&self, libraries: &mut HashMap<Box<str>, Handle>, name: &str, handle: Handle) -> Handle {
        let kept = libraries.entry(name.into()).or_insert(handle);
        if !self.is_open(*kept) {
            *kept = handle;
        }
        *kept
    }

    fn end(&self) -> Result<Vec<Closed>, Error> {
        let mut used = self.lock();
        self.over.store(true, Release);
        let libraries = std::mem::take(&mut *used);
        drop(used); // closing runs foreign code
        let windows = self.engine.windows();
        libraries.into_values().filter_map(|handle| windows.take_back(handle)).collect()
    }

    /// An entry point of a library: of a DLL's own, as `GetProcAddress` finds it; of an ELF library as `dlsym` does.
    /// Null is none.
    fn find(&self, handle: Handle, entry: &EntryPoint) -> Result<FoundSymbol, Error> {
        let set = self.engine.load_set();
        let dll = set.target(handle).filter(|module| module.format != Format::Elf);
        entry.search(|query| {
            let found = match &dll {
                Some(module) => set.symbol_in(module.id, query),
                None => set.symbol(handle, query),
            }?;
            let symbol = query.symbol.to_name();
            let nowhere = || Error::new(&found.module, Stage::Symbol, ErrorKind::SymbolNotFound { symbol });
            if found.at == Addr(0) { Err(nowhere()) } else { Ok(found) }
        })
    }
}

/// A function that was declared in a [`Domain`].
pub struct Declared<F> {
    domain: Arc<Inner>,
    library: Box<str>,
    entry: EntryPoint,
    bound: Mutex<Option<Bound>>,
    function: PhantomData<fn() -> F>,
}

/// What a declared function came to.
#[derive(Clone, Copy)]
struct Bound {
    at: Addr,
    format: Format,
    /// The domain's handle for the library that has it.
    handle: Handle,
    /// How often handles had been closed when that was last known to be open.
    closes: u64,
}

impl<F: Copy> Declared<F> {
    /// The function, to be called at once: `add.get()?(40, 2)`. The first time, its library is loaded and its entry
    /// point looked for.
    ///
    /// Whether the library is still loaded is looked at here and not again. What is kept of the answer is as good as any
    /// pointer: it dangles when the library goes.
    ///
    /// # Errors
    /// As [`Engine::open`]; [`ErrorKind::SymbolNotFound`] where the library has no such entry point;
    /// [`ErrorKind::Unloaded`] when somebody freed the library, and when the domain is over.
    pub fn get(&self) -> Result<Symbol<'_, F>, Error> {
        let closes = self.domain.engine.load_set().closes();
        let known = *self.lock();
        let bound = match known {
            Some(bound) if bound.closes == closes && !self.domain.is_over() => bound,
            _ => self.bind(known, closes)?,
        };
        // SAFETY: whoever declared the function said what it is, and `find` does not find null.
        Ok(unsafe { Symbol::new(bound.at, bound.format, &self.domain.engine) })
    }

    #[cold]
    fn bind(&self, known: Option<Bound>, closes: u64) -> Result<Bound, Error> {
        let handle = self.domain.library(&self.library)?;
        let bound = match known {
            Some(bound) if bound.handle == handle => Bound { closes, ..bound },
            _ => {
                let found = self.domain.find(handle, &self.entry)?;
                Bound { at: found.at, format: found.format, handle, closes }
            }
        };
        *self.lock() = Some(bound);
        Ok(bound)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Bound>> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> fmt::Debug for Declared<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { library, entry, .. } = self;
        f.debug_struct("Declared").field("library", library).field("entry", entry).finish_non_exhaustive()
    }
}
