//! Log lines on standard error, as many as `-v` was given.

use log::{LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true // `log::max_level` decides
    }

    fn log(&self, record: &Record<'_>) {
        eprintln!("{:<5} {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

/// Starts logging. Refusals are reported without it.
pub(super) fn start(verbose: u8) {
    log::set_max_level(match verbose {
        0 => LevelFilter::Off,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    });
    let _ = log::set_logger(&Stderr);
}
