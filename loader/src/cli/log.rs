//! Log lines on standard error, as many as `-v` was given.

use loader::sandbox::Happened;
use loader_core::event::Topics;
use log::{Level, LevelFilter, Log, Metadata, Record};

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

/// The kinds of events that are logged.
pub(super) fn topics() -> Topics {
    let levels =
        [(Level::Warn, Topics::TROUBLE), (Level::Info, Topics::FILES), (Level::Debug, Topics::SYMBOLS)];
    match log::max_level() {
        LevelFilter::Trace => Topics::all(),
        most => levels.into_iter().filter(|(level, _)| *level <= most).map(|(_, topic)| topic).collect(),
    }
}

/// Logs what happened in a sandbox.
pub(super) fn replay(event: &Happened) {
    let level = match event.topic {
        Topics::TROUBLE => Level::Warn,
        Topics::FILES => Level::Info,
        Topics::SYMBOLS => Level::Debug,
        _ => Level::Trace,
    };
    log::log!(level, "{event}");
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
