//! The PE answers of the loader: what a Windows DLL wants in memory, needs, exports, and how it is made ready.
//!
//! ```text
//! bytes ──image──► PeImage ──plan──► MapPlan      needs ──► search ──► files      exports: names, ordinals, forwarders
//!                     └── relocate ──► bind ──► tls, lifecycle: the calls to make
//! ```
//! [`PeImage::parse`] reads the headers and every table that a load needs, once; the answers are address-free, so one
//! image can be placed many times. Start at [`image`], then `view.rs` (how an image position becomes file bytes), then
//! the files in the order of the picture. [`unwind`] walks stacks by what `.pdata` says. Only `cookie`, `resources`, `version` and `inspect` have no counterpart for ELF.
//!
//! Images of other machines than x86-64 are refused by [`PeImage::parse`]; [`inspect`](inspect::inspect) reads them,
//! and [`relocate`](relocate::relocate) knows the fixups of the 32-bit machines.

#![forbid(unsafe_code)]

pub mod image;
pub mod inspect;
pub mod relocate;
pub mod resources;
pub mod search;
pub mod unwind;
pub mod version;

mod bind;
mod cookie;
mod exports;
mod lifecycle;
mod needs;
mod plan;
mod tls;
mod view;

pub use image::PeImage;
pub use inspect::{Inspection, inspect};
pub use search::{Search, file_name, key};

use loader_core::ErrorKind;

/// A contradiction in the file: which part, and the offending number.
fn malformed<T>(what: &'static str, at: impl Into<u64>) -> Result<T, ErrorKind> {
    Err(ErrorKind::Malformed { what, at: at.into() })
}
