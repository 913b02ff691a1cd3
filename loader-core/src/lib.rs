//! The format-neutral half of a manual-mapping loader.
//!
//! ```text
//! Image ──plan──► Module<Parsed> ──map──► <Mapped> ──relocate──► <Relocated> ──bind──► <Bound> ──seal──► <Sealed> ──commit──► LoadSet
//! ```
//! Each arrow is one function. Read in this order: [`addr`] → [`plan`] → [`image`] → [`space`] → [`module`] →
//! `session` → [`set`]. The rules of the load set are those of TNS/R `dlopen` and `dlclose`.

pub mod addr;
mod buffer;
pub mod call;
pub mod deterministic;
pub mod error;
pub mod event;
pub mod exception;
mod filter;
mod hash;
pub mod host;
pub mod image;
pub mod index;
#[cfg(feature = "serde")]
mod known;
pub mod locate;
pub mod maps;
pub mod memory;
pub mod mode;
pub mod module;
pub mod plan;
pub mod quarantine;
pub mod registers;
mod session;
pub mod set;
pub mod signals;
pub mod space;
mod threads;
pub mod tls;
pub mod tools;
mod turnstile;

pub use addr::*;
pub use buffer::Buffer;
pub use call::Occasion;
pub use error::{Error, ErrorKind, Result, Stage};
pub use event::{Event, Observer};
pub use exception::Exception;
pub use filter::NameFilter;
pub use hash::gnu_hash;
pub use host::{HostFn, HostModule, HostTable, Reach};
pub use image::*;
pub use locate::{FileId, Found, FoundFile, Locator, Requester, Source};
pub use mode::{
    Binding, Dialect, EntryCalls, Load, MissingPolicy, Mode, Rules, Scope, StayPolicy, ThreadDestructors,
    Visibility,
};
pub use plan::{Fill, Layout, MapPlan, Region, Rights, Wanted};
pub use quarantine::{Unloaded, report_use_after_unload};
pub use session::Rivals;
pub use set::{
    Adopted, Closed, Handle, Hold, LoadSet, LoaderLock, ModuleId, ModuleInfo, Origin, Owner, Request, Rest,
    Stayed, Unloading,
};
pub use tools::{InMemory, Tools};
