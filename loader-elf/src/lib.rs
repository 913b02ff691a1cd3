//! What ELF answers to the questions of [`loader_core::Image`]: shared objects for x86-64, parsed from a file or a
//! buffer ([`ElfImage`]), those that the host process has loaded, read where they are ([`host`]), and shared objects
//! for other machines, which are relocated and bound but never run ([`ForeignImage`]).
//!
//! ```text
//! bytes ─► image (headers) ─► dynamic ─► plan, needs, exports + versions, relocate, bind, tls, lifecycle
//! ```
//! Every table is found and checked once, when the image is parsed, and kept as a range of the file. What is read
//! later is read through checked slices: no bytes, however hostile, make this crate panic or loop for ever.
//! Read [`image`] first; [`search`] says where libraries are looked for, [`inspect()`] what the command line shows.

mod bind;
pub mod debugger;
mod dynamic;
mod exports;
mod foreign;
pub mod host;
pub mod image;
pub mod inspect;
mod lazy;
mod lifecycle;
mod needs;
pub mod perf;
mod plan;
mod read;
mod relocate;
pub mod search;
mod spots;
mod symbol;
mod tls;
pub mod unwinder;
mod versions;

pub use foreign::{ForeignImage, parse_any};
pub use host::{Adopted, HostImage, adopt, generation};
pub use image::ElfImage;
pub use inspect::{Inspection, inspect};
pub use search::Search;

use loader_core::ErrorKind;

/// A contradiction in the file: which part, and the offending number.
fn malformed(what: &'static str, at: u64) -> ErrorKind {
    ErrorKind::Malformed { what, at }
}
