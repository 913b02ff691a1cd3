//! Foreign code in a process of its own: an engine that runs what nobody trusts.
//!
//! ```
//! use loader::sandbox::{Failure, Sandbox};
//!
//! let mut sandbox = Sandbox::builder().memory(64 << 20).start()?;
//! sandbox.provide("demodep.dll", corpus::demo::DEMODEP_DLL)?; // what the library will need
//! sandbox.load_bytes("demo.dll", corpus::demo::DEMO_DLL)?;
//! assert_eq!(sandbox.call("demo_add", [40.into(), 2.into()])?.i32(), 42);
//! assert!(matches!(sandbox.call("no_such_function", []), Err(Failure::Refused(_))));
//! # Ok::<(), Failure>(())
//! ```
//!
//! The helper process is carried by the program that uses this crate: it is that program, started once more. A constructor
//! that comes with the crate runs before `main` and, in a process that was started to be a helper, serves the sandbox and
//! never returns; in any other it does nothing. So nothing has to be called in `main`, and `cargo test` of any crate can use
//! sandboxes. A program that cannot be started again like that (the crate is in a library that it loads) is told so.
//!
//! # What is promised
//!
//! An operation comes to its end within its limits, and its result is a value. The process that uses the sandbox is not
//! harmed: it maps nothing that the guest can write to, takes no descriptor from it, and believes no length that it says.
//! What the guest says may be a lie; how it ended is told by the system.
//!
//! | the guest… | the user is told |
//! |---|---|
//! | returns | what it returned, and what it left in buffers |
//! | is refused by the engine | [`Failure::Refused`], with the error that [`Engine`] gives; the sandbox goes on |
//! | faults, aborts | [`Failure::Faulted`]; [`Failure::Died`] where it had taken the signal for itself, or closed everything |
//! | raises a Windows exception that nobody handles | [`Failure::Faulted`]; the sandbox goes on |
//! | exits, in an initialiser too | [`Failure::Exited`] |
//! | never ends, busy or idle | [`Failure::Killed`] with [`Limit::Wall`], or [`Limit::Cpu`] if that is less |
//! | takes memory without end | [`Failure::Killed`] with [`Limit::Memory`]; one allocation that is too large fails, as where memory is short |
//! | prints without end | [`Failure::Killed`] with [`Limit::Output`] |
//! | makes processes | refused; where that is not enforced, all of them are killed and reaped with the sandbox |
//! | asks for files, the network, other processes | it is refused, and its code goes on with an error |
//! | kills its parent | refused; where that is not enforced, that is a process in between, and the user is told [`Failure::Died`] |
//! | closes descriptors | what it returned; then the sandbox is gone |
//! | writes all over its memory | whatever comes of that, one of the above, or [`Failure::Garbled`] |
//!
//! Whatever the guest started goes with the sandbox, when that is dropped, or its user ends in whatever way. Where there is
//! no namespace of processes, a guest that is allowed processes, leaves its group and kills the one in between can leave
//! one; [`confine::Enforced`] says whether there is one.
//!
//! Limits hold while an operation is waited for. Threads of the guest run on between two of them.

pub use loader_sandbox::{
    Argument, Builder, Change, Failure, Happened, Limit, Loaded, Memory, Module, Outcome, Output, Pages,
    Returned, Sandbox, confine, report, server,
};

use crate::{Addr, Arg, Convention, Engine, Error, ErrorKind, Event, Library, Origin, Stage, SymbolName};
use loader_core::{Placement, Query};
use loader_sandbox::{
    EngineSetup, Target,
    serve::{self, Events, Function, Harness},
};
use loader_win32::{MemoryInfo, OtherProcess};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The constructor: [`serve::if_asked`] for this crate's engine. Unsafe because the linker is told where a static goes.
#[allow(unsafe_code)]
mod constructor {
    extern "C" fn construct() {
        super::serve::if_asked(super::engine);
    }

    // SAFETY: the section holds addresses of functions that are called without arguments that they need, when the program
    // or the library that this is in has been loaded.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static CONSTRUCTOR: extern "C" fn() = construct;
}

/// A handle by which the Windows code of an engine in this process reaches a guest's: `VirtualAllocEx` and its kin,
/// `ReadProcessMemory`, `WriteProcessMemory`, `TerminateProcess`. `CloseHandle` closes it; the sandbox goes on.
///
/// ```
/// use loader::{Engine, sandbox::{self, Sandbox}};
/// use std::sync::{Arc, Mutex};
///
/// let sandbox = Arc::new(Mutex::new(Sandbox::builder().start()?));
/// let process = sandbox::process_handle(&Engine::new().unwrap(), sandbox.clone());
/// assert_ne!(process, 0); // what a DLL calls an HANDLE
/// # Ok::<(), loader::sandbox::Failure>(())
/// ```
#[must_use]
pub fn process_handle(engine: &Engine, sandbox: Arc<Mutex<Sandbox>>) -> usize {
    engine.windows().process().open_other(Box::new(Guest(sandbox)))
}

/// A guest's process as Windows code sees it.
#[derive(Debug)]
struct Guest(Arc<Mutex<Sandbox>>);

impl Guest {
    fn sandbox(&self) -> MutexGuard<'_, Sandbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory<T>(&self, work: impl FnOnce(Memory<'_>) -> Outcome<T>) -> Result<T, u32> {
        work(self.sandbox().memory()).map_err(|failure| match failure {
            Failure::Windows(code) => code,
            _ => ERROR_ACCESS_DENIED,
        })
    }
}

/// What is said of a process that has ended.
const ERROR_ACCESS_DENIED: u32 = 5;

impl OtherProcess for Guest {
    fn id(&self) -> u32 {
        self.sandbox().id().unwrap_or(0)
    }

    fn has_ended(&self) -> bool {
        self.sandbox().id().is_none()
    }

    fn end(&self) {
        self.sandbox().kill();
    }

    fn allocate(&self, at: u64, len: u64, kind: u32, protect: u32) -> Result<u64, u32> {
        self.memory(|mut memory| memory.allocate(Addr(at), len, kind, protect)).map(|at| at.0)
    }

    fn free(&self, at: u64, len: u64, kind: u32) -> Result<(), u32> {
        self.memory(|mut memory| memory.free(Addr(at), len, kind))
    }

    fn protect(&self, at: u64, len: u64, protect: u32) -> Result<u32, u32> {
        self.memory(|mut memory| memory.protect(Addr(at), len, protect))
    }

    fn query(&self, at: u64) -> Result<MemoryInfo, u32> {
        let pages = self.memory(|mut memory| memory.query(Addr(at)))?;
        Ok(MemoryInfo {
            base: pages.base.0,
            allocation_base: pages.allocation_base.0,
            allocation_protect: pages.allocation_protect,
            size: pages.len,
            state: pages.state,
            protect: pages.protect,
            kind: pages.kind,
            ..MemoryInfo::default()
        })
    }
}

fn engine(setup: &EngineSetup, events: Events) -> Result<Box<dyn Harness>, Error> {
    let builder =
        Engine::builder().missing(setup.missing).observe(move |event: &Event<'_>| events.tell(event));
    let builder = setup.dll_path.iter().fold(builder, crate::Builder::dll_path);
    let engine = setup.windows_root.iter().fold(builder, crate::Builder::windows_root).build()?;
    Ok(Box::new(Served { engine, libraries: Vec::new() }))
}

/// The engine in a helper.
struct Served {
    engine: Engine,
    /// By their numbers; none where it was closed.
    libraries: Vec<Option<Library>>,
}

impl Served {
    fn library(&self, number: u32) -> Result<&Library, Error> {
        let library = self.libraries.get(number as usize).and_then(Option::as_ref);
        library.ok_or_else(|| Error::new("", Stage::Request, ErrorKind::InvalidHandle))
    }
}

impl Harness for Served {
    fn load(&mut self, name: &str, bytes: Option<Vec<u8>>) -> Result<u32, Error> {
        let library = match bytes {
            Some(bytes) => self.engine.open_bytes(name, bytes)?,
            None => self.engine.open(name)?,
        };
        self.libraries.push(Some(library));
        Ok(u32::try_from(self.libraries.len() - 1).unwrap_or(u32::MAX))
    }

    fn provide(&mut self, name: &str, bytes: Vec<u8>) {
        self.engine.provide(name, bytes);
    }

    fn find(&mut self, target: Target, symbol: &SymbolName) -> Result<Function, Error> {
        let query = Query::lookup(symbol.as_symbol());
        let of = |library: &Library| library.find_function(&query);
        let (found, convention) = match target {
            Target::Library(number) => of(self.library(number)?)?,
            Target::First => {
                self.libraries.iter().flatten().find_map(|library| of(library).ok()).ok_or_else(|| {
                    Error::new("", Stage::Symbol, ErrorKind::SymbolNotFound { symbol: symbol.clone() })
                })?
            }
            // The functions that the engine has itself have the convention of those for whom they are there.
            Target::Windows => (self.engine.open("KERNEL32.dll")?.find(&query)?, Convention::Windows),
        };
        Ok(Function { found, convention })
    }

    fn call(&mut self, function: &Function, arguments: &[Arg]) -> Result<(u64, u64), Error> {
        call(&self.engine, function, arguments)
    }

    fn close(&mut self, library: u32) -> Result<(), Error> {
        self.library(library)?;
        self.libraries[library as usize].take().map_or(Ok(()), |library| library.close().map(drop))
    }

    fn modules(&self) -> Vec<Module> {
        let module = |m: crate::ModuleInfo| {
            let owner = self.engine.load_set().owner(m.at.base).filter(|_| m.origin == Origin::Open);
            let rights = owner.map(|owner| owner.rights().to_vec()).unwrap_or_default();
            Module { name: m.name, path: m.path, format: m.format, at: m.at, rights }
        };
        self.engine.modules().into_iter().map(module).collect()
    }

    fn places(&self) -> Vec<Placement> {
        self.engine.places()
    }
}

/// Unsafe because nobody knows that what is called is a function of that kind. What a wrong word of the user's does, it
/// does to this process alone, which is there for it.
#[allow(unsafe_code)]
mod word {
    use super::{Arg, Engine, Error, Function};
    use crate::library;

    pub(super) fn call(engine: &Engine, function: &Function, arguments: &[Arg]) -> Result<(u64, u64), Error> {
        // SAFETY: the user's word (see above).
        unsafe { library::call(engine, &function.found, function.convention, arguments) }
    }
}
use word::call;
