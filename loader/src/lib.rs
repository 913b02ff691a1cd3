//! Loads ELF shared objects and Windows PE DLLs into this process: from files or from bytes in memory, without the
//! system's loader, and takes them out again without a trace.
//!
//! ```
//! use loader::Engine;
//!
//! let engine = Engine::new()?;
//! engine.provide("libdemodep.so", corpus::demo::LIBDEMODEP_SO); // what the library will need
//! let library = engine.open_bytes("libdemo.so", corpus::demo::LIBDEMO_SO)?;
//! // SAFETY: the library's source says `int demo_add(int, int)`.
//! let add = unsafe { library.get::<extern "C" fn(i32, i32) -> i32>(c"demo_add") }?;
//! assert_eq!(add(40, 2), 42);
//! library.close()?;
//! # Ok::<(), loader::Error>(())
//! ```
//!
//! * [`Engine`] is a load set with its rules; [`Library`] is one open handle; [`Symbol`] is a function or a variable.
//! * A [`Domain`] has functions that are declared now and looked for when they are first used.
//! * [`dl`] has `dlopen` … `dlresultcode` with the rules of TNS/R; [`win32`] has `LoadLibrary` and its kin. Both work
//!   on the same load set.
//! * [`fuzz`] lets a fuzzer drive a function of a library.
//! * [`HostModule`] offers functions of your program to what you load; an [`Observer`] hears of every [`Event`].
//!
//! # What is promised
//!
//! A refused file leaves nothing behind: no mapping, no changed load set. What a *loaded* file does is its own: its
//! code runs with all rights of the process as soon as it is opened, and `open` is safe to call only in the sense in
//! which running a program is. Run what you do not trust in a [`sandbox`].

pub mod dl;
mod domain;
mod engine;
pub mod fuzz;
mod guest;
mod host;
mod library;
mod locator;
pub mod sandbox;
mod tools;
pub mod win32;

pub use domain::{Declared, Domain, EntryPoint};
pub use engine::{Builder, Engine};
pub use library::{Library, Symbol};
pub use loader_core::{
    Addr, Binding, Buffer, Closed, Dialect, EntryCalls, Error, ErrorKind, Event, Exception, Format, Handle,
    Hold, HostModule, ImportControl, Load, MissingPolicy, Mode, ModuleInfo, Observer, Origin, Rules, Scope,
    Stage, StayPolicy, Stayed, SymbolName, ThreadDestructors, Unloaded, Unloading, Visibility,
    call::{Arg, Convention, MissingImport, guarded, invoke},
    report_use_after_unload,
    set::{FoundSymbol, MissingReport, Place, Planned, SymbolAt},
};
pub use locator::parse;
pub use tools::Debugger;
