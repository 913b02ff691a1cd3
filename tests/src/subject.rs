//! Who is put to the test: our engine, with files and with bytes, and the system's own loader. What is known to differ
//! is a named constant with its reason, not a case that is left out.

use crate::voice;
use corpus::{Case, Open, Symbol};
use loader::{
    Addr, Binding, Buffer, Builder, Convention, Dialect, Engine, EntryCalls, ErrorKind, Event, Library,
    MissingPolicy, Mode, Rules, StayPolicy, ThreadDestructors,
};
use loader_core::Query;
use std::{
    fs,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};

/// The mark of a step after which a library stays; every other constant is about the order of lines.
pub const UNIQUE_STAYS: &str = "UNIQUE_STAYS";

/// A loader that a case can be played on.
///
/// The constants say where it does not do what the case's script says. A script marks such a step `glibc: differs
/// CONSTANT`; where the constant is true the step must differ, where it is false it must not.
pub trait Subject: Sized + Sync {
    /// What the command line calls it.
    const NAME: &'static str;
    /// Whether it initialises libraries that are needed by the same one last one first. (glibc walks a sorted list of
    /// everything from its end; the order of siblings is left open by every standard, ours is the order of DT_NEEDED.)
    const SIBLING_ORDER: bool = false;
    /// Whether it finalises the members of a cycle in the order in which it initialised them. (glibc sorts what dies by
    /// who needs whom, anew at every close, and a cycle has no such order; ours is the reverse of the initialisation.)
    const CYCLE_FINI_ORDER: bool = false;
    /// Whether what is closed in a finaliser goes only after everything that was going already. (glibc does one close
    /// at a time; ours does each at once.)
    const NESTED_CLOSE: bool = false;
    /// Whether it finalises what a library is bound to, without needing it, after that library, even if that came first.
    /// (glibc sorts what dies by who uses whom; ours is the reverse of the initialisation.)
    const BOUND_FINI_ORDER: bool = false;
    /// Whether a library stays for good once something of it is the process's single definition. (glibc marks it
    /// NODELETE; ours goes when nobody is bound to it.)
    const UNIQUE_STAYS: bool = false;

    /// An open library.
    type Root: Sync;

    /// Gets ready for a case.
    ///
    /// # Errors
    /// A sentence.
    fn new(case: &Case) -> Result<Self, String>;

    /// Opens an image of the case.
    ///
    /// # Errors
    /// Why it refused.
    fn open(&self, open: &Open) -> Result<Self::Root, Refused>;

    /// Where a root, or what it needs, has a symbol, and how it is called.
    ///
    /// # Errors
    /// A sentence, if the lookup failed in another way than by finding nothing.
    fn find(&self, root: &Self::Root, symbol: &Symbol) -> Result<Option<(Addr, Convention)>, String>;

    /// Closes a root.
    ///
    /// # Errors
    /// A sentence.
    fn close(&self, root: Self::Root) -> Result<(), String>;

    /// The names of what is loaded, as far as it could be of the case.
    fn loaded(&self) -> Vec<String>;

    /// Whether the constant of this name is set; none if there is no such constant.
    #[must_use]
    fn differs(constant: &str) -> Option<bool> {
        match constant {
            "SIBLING_ORDER" => Some(Self::SIBLING_ORDER),
            "CYCLE_FINI_ORDER" => Some(Self::CYCLE_FINI_ORDER),
            "BOUND_FINI_ORDER" => Some(Self::BOUND_FINI_ORDER),
            "NESTED_CLOSE" => Some(Self::NESTED_CLOSE),
            UNIQUE_STAYS => Some(Self::UNIQUE_STAYS),
            _ => None,
        }
    }
}

/// Why an image was not opened.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The error's sentence.
    pub sentence: String,
    /// The Win32 number that goes with it, where the subject has one.
    pub win32: Option<u32>,
}

/// Our engine; images come from their files.
#[derive(Debug)]
pub struct Ours {
    engine: Engine,
    case: Case,
}

/// Our engine, used in another manner.
#[derive(Debug)]
pub struct OursIn<M>(Ours, PhantomData<fn(M)>);

/// What another manner changes.
pub trait Manner {
    /// What tests call it.
    const NAME: &'static str;

    /// The engine, made for it.
    ///
    /// # Errors
    /// A sentence.
    fn make(case: &Case) -> Result<Ours, String>;

    /// Opens an image.
    ///
    /// # Errors
    /// Why it was refused.
    fn open(ours: &Ours, open: &Open) -> Result<Library, Refused>;
}

/// Every image of the case is given to the engine as bytes, and none has a path.
#[derive(Debug)]
pub struct Memory;
/// The same, but what the script opens is handed over in buffers, to be mapped out of them.
#[derive(Debug)]
pub struct Buffers;
/// Every open asks for calls to be bound when they are first made.
#[derive(Debug)]
pub struct Lazily;

/// Our engine; images come as bytes.
pub type OursMemory = OursIn<Memory>;
/// Our engine; images come in buffers.
pub type OursBuffer = OursIn<Buffers>;
/// Our engine; calls are bound when they are first made.
pub type OursLazy = OursIn<Lazily>;

/// An engine that offers what the corpus' DLLs log through, and that knows what this process has loaded (it looks when
/// something is first opened): from here on nothing is to come and stay.
///
/// # Errors
/// A sentence.
pub fn engine(with: Builder) -> Result<Engine, String> {
    let engine = with.host(voice::tlog()).build().map_err(|error| error.to_string())?;
    drop(engine.main_program());
    Ok(engine)
}

/// What an engine reports to have failed, in sentences.
pub type Failed = Arc<Mutex<Vec<String>>>;

/// [`engine`], and what it reports.
///
/// # Errors
/// A sentence.
pub fn reporting() -> Result<(Engine, Failed), String> {
    let failed = Failed::default();
    let heard = failed.clone();
    let observe = move |event: &Event<'_>| {
        if let Event::Failed { error } = event {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string());
        }
    };
    Ok((engine(Engine::builder().observe(observe))?, failed))
}

/// What glibc does where it differs from this engine's own rules.
const POSIX: Rules = Rules {
    dialect: Dialect::Posix,
    missing: MissingPolicy::Strict,
    binding: Binding::Lazy,
    control: None,
    nodelete: StayPolicy::Honour,
    unique: StayPolicy::Honour,
    thread_destructors: ThreadDestructors::Keep,
    entry_calls: EntryCalls::Report,
};

/// The mode of an open. That its number makes no sense is for the corpus to notice.
fn mode(open: &Open) -> Mode {
    Mode::from_rtld(open.mode).unwrap_or_default()
}

/// The name by which an image in memory is known: that of its file, without folders.
fn base_name(file: &str) -> &str {
    file.rsplit_once('/').map_or(file, |(_, base)| base)
}

fn refused(error: &loader::Error) -> Refused {
    Refused { sentence: error.to_string(), win32: Some(error.win32()) }
}

impl Ours {
    fn with(case: &Case, rules: Rules) -> Result<Self, String> {
        Ok(Self { engine: engine(Engine::builder().rules(rules))?, case: case.clone() })
    }
}

impl Subject for Ours {
    const NAME: &'static str = "ours";
    type Root = Library;

    fn new(case: &Case) -> Result<Self, String> {
        Self::with(case, if case.posix { POSIX } else { Rules::default() })
    }

    fn open(&self, open: &Open) -> Result<Library, Refused> {
        let path = self.case.path(&open.file);
        self.engine.open_with(path, mode(open)).map_err(|error| refused(&error))
    }

    fn find(&self, root: &Library, symbol: &Symbol) -> Result<Option<(Addr, Convention)>, String> {
        let query = match symbol {
            Symbol::Name(name) => Query::name(name.as_bytes()),
            Symbol::Versioned(name, version) => {
                Query { version: Some(version.as_bytes()), ..Query::name(name.as_bytes()) }
            }
            Symbol::Ordinal(number) => Query::ordinal(*number),
        };
        let found = match root.find(&query) {
            Ok(found) => found,
            Err(error) if matches!(error.kind, ErrorKind::SymbolNotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        self.engine.load_set().enter(found.format).map_err(|kind| kind.to_string())?;
        let convention = match found.format {
            loader::Format::Pe => Convention::Windows,
            _ => Convention::SystemV,
        };
        Ok(Some((found.at, convention)))
    }

    fn close(&self, root: Library) -> Result<(), String> {
        root.close().map(drop).map_err(|error| error.to_string())
    }

    fn loaded(&self) -> Vec<String> {
        self.engine.modules().iter().map(|module| base_name(&module.name).to_owned()).collect()
    }
}

/// The bytes of an image that a script opens.
fn read(ours: &Ours, open: &Open) -> Result<Vec<u8>, Refused> {
    fs::read(ours.case.path(&open.file)).map_err(|e| unread(open, &e))
}

fn unread(open: &Open, error: &std::io::Error) -> Refused {
    Refused { sentence: format!("{}: {error}", open.file), win32: None }
}

impl Manner for Memory {
    const NAME: &'static str = "ours-memory";

    fn make(case: &Case) -> Result<Ours, String> {
        let ours = Ours::new(case)?;
        for file in case.committed() {
            ours.engine.provide(base_name(file), fs::read(case.path(file)).map_err(|e| e.to_string())?);
        }
        Ok(ours)
    }

    fn open(ours: &Ours, open: &Open) -> Result<Library, Refused> {
        let opened = ours.engine.open_bytes_with(base_name(&open.file), read(ours, open)?, mode(open));
        opened.map_err(|error| refused(&error))
    }
}

impl Manner for Buffers {
    const NAME: &'static str = "ours-buffer";

    fn make(case: &Case) -> Result<Ours, String> {
        Memory::make(case)
    }

    fn open(ours: &Ours, open: &Open) -> Result<Library, Refused> {
        let bytes = read(ours, open)?;
        let buffer = Buffer::read(&*bytes, bytes.len()).map_err(|e| unread(open, &e))?;
        let opened = ours.engine.open_buffer_with(base_name(&open.file), buffer, mode(open));
        opened.map_err(|error| refused(&error))
    }
}

impl Manner for Lazily {
    const NAME: &'static str = "ours-lazy";

    fn make(case: &Case) -> Result<Ours, String> {
        let rules = if case.posix { POSIX } else { Rules::default() };
        let (dialect, binding) = (Dialect::Posix, Binding::Lazy);
        Ours::with(case, Rules { dialect, binding, ..rules })
    }

    fn open(ours: &Ours, open: &Open) -> Result<Library, Refused> {
        let mode = open.mode & !Mode::NOW | Mode::LAZY;
        ours.open(&Open { mode, ..open.clone() })
    }
}

impl<M: Manner> Subject for OursIn<M> {
    const NAME: &'static str = M::NAME;
    type Root = Library;

    fn new(case: &Case) -> Result<Self, String> {
        Ok(Self(M::make(case)?, PhantomData))
    }

    fn open(&self, open: &Open) -> Result<Library, Refused> {
        M::open(&self.0, open)
    }

    fn find(&self, root: &Library, symbol: &Symbol) -> Result<Option<(Addr, Convention)>, String> {
        self.0.find(root, symbol)
    }

    fn close(&self, root: Library) -> Result<(), String> {
        self.0.close(root)
    }

    fn loaded(&self) -> Vec<String> {
        self.0.loaded()
    }
}

pub use system::Glibc;

/// The system's loader. `unsafe` because its calls are C functions, and what they load runs.
#[allow(unsafe_code)]
mod system {
    use super::{Refused, Subject, base_name};
    use crate::process;
    use corpus::{Case, Open, Symbol};
    use loader::{Addr, Convention};
    use std::{
        ffi::{CStr, CString, c_void},
        os::unix::ffi::OsStrExt,
        ptr::null_mut,
    };

    /// The system's `dlopen`. ELF only.
    #[derive(Debug)]
    pub struct Glibc {
        case: Case,
    }

    /// A handle of the system's.
    #[derive(Debug)]
    pub struct Handle(*mut c_void);

    // SAFETY: the system's handles may be used from any thread.
    unsafe impl Sync for Handle {}

    fn c_string(text: &[u8]) -> Result<CString, String> {
        CString::new(text).map_err(|e| e.to_string())
    }

    fn last_error() -> Option<String> {
        // SAFETY: dlerror has no arguments, and its answer belongs to this thread until it is called again.
        let text = unsafe { libc::dlerror() };
        // SAFETY: an answer that is not null is text that ends with a zero byte.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    }

    impl Subject for Glibc {
        const NAME: &'static str = "glibc";
        const SIBLING_ORDER: bool = true;
        const CYCLE_FINI_ORDER: bool = true;
        const BOUND_FINI_ORDER: bool = true;
        const NESTED_CLOSE: bool = true;
        const UNIQUE_STAYS: bool = true;
        type Root = Handle;

        fn new(case: &Case) -> Result<Self, String> {
            Ok(Self { case: case.clone() })
        }

        fn open(&self, open: &Open) -> Result<Handle, Refused> {
            let failed = |sentence| Refused { sentence, win32: None };
            let path = c_string(self.case.path(&open.file).as_os_str().as_bytes()).map_err(failed)?;
            // SAFETY: the path ends with a zero byte; the images of the corpus may run in this process.
            let handle = unsafe { libc::dlopen(path.as_ptr(), open.mode.cast_signed()) };
            if handle.is_null() { Err(failed(last_error().unwrap_or_default())) } else { Ok(Handle(handle)) }
        }

        fn find(&self, root: &Handle, symbol: &Symbol) -> Result<Option<(Addr, Convention)>, String> {
            last_error();
            let at = match symbol {
                Symbol::Name(name) => {
                    let name = c_string(name.as_bytes())?;
                    // SAFETY: the handle is open, the name ends with a zero byte.
                    unsafe { libc::dlsym(root.0, name.as_ptr()) }
                }
                Symbol::Versioned(name, version) => {
                    let (name, version) = (c_string(name.as_bytes())?, c_string(version.as_bytes())?);
                    // SAFETY: as above.
                    unsafe { libc::dlvsym(root.0, name.as_ptr(), version.as_ptr()) }
                }
                Symbol::Ordinal(_) => null_mut(),
            };
            Ok((!at.is_null()).then(|| (Addr(at.addr() as u64), Convention::SystemV)))
        }

        fn close(&self, root: Handle) -> Result<(), String> {
            // SAFETY: the handle is open; nobody uses what it leads to any more.
            let result = unsafe { libc::dlclose(root.0) };
            if result == 0 { Ok(()) } else { Err(last_error().unwrap_or_default()) }
        }

        fn loaded(&self) -> Vec<String> {
            let folder = self.case.folder.to_string_lossy().into_owned();
            let mut files: Vec<String> = (process::mappings().unwrap_or_default().iter())
                .filter(|mapping| mapping.path.starts_with(&folder))
                .map(|mapping| base_name(&mapping.path).to_owned())
                .collect();
            files.dedup();
            files
        }
    }
}
