//! The format-neutral half of a manual-mapping loader.
//!
//! ```text
//! Image ──plan──► Module<Parsed> ──map──► <Mapped> ──relocate──► <Relocated> ──bind──► <Bound> ──seal──► <Sealed> ──commit──► LoadSet
//! ```
//! Each arrow is one function. Read in this order: [`addr`] → [`plan`] → [`image`] → [`space`] → [`module`] →
//! [`session`] → [`set`]. The rules of the load set are those of TNS/R `dlopen` and `dlclose`.

pub mod addr;
pub mod error;
pub mod host;
pub mod image;
pub mod locate;
pub mod plan;

pub use addr::*;
pub use error::{Error, ErrorKind, Result, Stage};
pub use host::{HostFn, HostModule, HostTable, Reach};
pub use image::*;
pub use locate::{FileId, Found, FoundFile, Locator, Requester, Source};
pub use plan::{Fill, Layout, MapPlan, Region, Rights, Wanted};
