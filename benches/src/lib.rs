//! Measurements of this engine beside the system's `dlopen` and the `elf_loader` crate, in the same run.
//!
//! ```text
//! cargo bench -p benches                  measures everything, then prints the table of ratios (some four minutes)
//! cargo bench -p benches -- libz          only what has `libz` in its name, then the table with what was new and old
//! cargo bench -p benches --bench table    only the table, of the last results
//! ```
//! * `benches/open.rs`: opening and closing, from a file and from bytes, first in a process and again in one.
//! * `benches/access.rs`: whose an address is; thread-local variables.
//! * `benches/relocate.rs`: nanoseconds a fixup.
//! * `benches/symbol.rs`: looking a name up.
//! * `benches/exceptions.rs`: from an access violation to its handler and on.
//! * `benches/dlls.rs`: DLLs beside Wine, and beside what loading one costs at least.
//! * `benches/server.rs`: cases of one function, beside a process that does nothing but fork.
//! * `benches/table.rs`: the ratios.
//!
//! # How it is made fair
//!
//! Many libraries stay in the process when the system's loader closes them (`NODELETE`, `STB_GNU_UNIQUE`), so opening
//! them again measures nothing. Every measurement therefore happens in a forked child ([`child`]) of one warm
//! process, and the child that opens a library is the first to do so. Warm means, for everybody: the files are in the
//! page cache, the C library, `libm` and `libgcc_s` are loaded and known, `/etc/ld.so.cache` has been looked at, and
//! the child has opened and closed a small library before the one that counts, so that it has the loader's own code
//! and heap. All symbols are bound when a library is opened.
//!
//! Read [`images`] for what is opened, then [`subject`] for who opens it.

pub mod child;
pub mod dlls;
pub mod floor;
pub mod images;
pub mod results;
pub mod subject;
pub mod table;
pub mod wine;

pub use dlls::Dll;
pub use floor::Floor;
pub use images::Image;
pub use subject::{ElfLoader, Glibc, Ours, Subject, Way};
pub use wine::Wine;

use criterion::Criterion;
use std::{hint::black_box, time::Duration, time::Instant};

/// A run that is short for each of many measurements.
#[must_use]
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(12)
        .warm_up_time(Duration::from_millis(60))
        .measurement_time(Duration::from_millis(360))
        .nresamples(2_000)
        .without_plots()
        .output_directory(&results::folder())
        .configure_from_args()
}

/// Calls something once and says how long that took, in nanoseconds.
pub fn timed<T>(f: impl FnOnce() -> T) -> (T, u64) {
    let start = Instant::now();
    let value = black_box(f());
    (value, u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
}
