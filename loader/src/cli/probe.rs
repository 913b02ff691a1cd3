//! What `loader sweep` does with one library, in the process that it starts for it: open it, which binds everything
//! and runs the initialisers; close it; drop the engine; look at what is left.
//!
//! # What counts as residue
//! `/proc/self/maps` is read before and after. Before the first time, the demonstration's libraries come and go, so
//! that what the process makes once (thread blocks, the allocator's arenas) is there already. Then
//!
//! * pages of files, code, and pages that can only be read must be exactly what they were: nothing of the kind is new,
//!   and no file's pages and no code are gone;
//! * in the places where images were there must be nothing that was not there before, whatever its rights;
//! * memory elsewhere that can be read and written, or not even read, is let pass: the C library's allocator keeps
//!   such memory, and so do stacks of threads that ended; nobody can tell it from a leak.
//!
//! What the library's own code leaves by calling the C library (a locale's file, say) is residue too: it is the truth
//! about this library. It happens to refused libraries as well: a refusal must leave nothing either.

use super::{Loading, Outcome, maps::Maps, name_of, system};
use clap::Args;
use corpus::demo::{DEMO_DLL, DEMODEP_DLL, LIBDEMO_SO, LIBDEMODEP_SO};
use loader::{Engine, Error, ErrorKind, Event, Format};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Write},
    ops::Range,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

#[derive(Debug, Args)]
pub(super) struct Probe {
    file: PathBuf,
    #[command(flatten)]
    loading: Loading,
    /// Let the system's own dlopen do it
    #[arg(long)]
    system: bool,
}

/// What the process says to the one that started it, a line each, between whatever the library prints.
#[derive(Debug, Deserialize, Serialize, PartialEq)]
pub(super) enum Note {
    /// This happens next. `kind` is the same without names.
    Next { what: String, kind: String },
    /// This is how it went.
    Done(Verdict),
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    Refused,
    /// Code of the library ended the process.
    Exited,
    Crashed,
    Hung,
    Residue,
}

/// How a library fared.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub(super) struct Verdict {
    pub(super) status: Status,
    /// How long it took to come and go.
    pub(super) ms: f64,
    /// Why it is not `Ok`.
    pub(super) reason: String,
    /// The same for all libraries that fared so for one reason.
    pub(super) kind: String,
}

/// What precedes a note.
const MARK: &str = "\n\u{1e}loader ";

impl Note {
    fn say(&self) {
        let text = serde_json::to_string(self).unwrap_or_default();
        let _ = io::stdout().lock().write_all(format!("{MARK}{text}\n").as_bytes());
    }

    /// The notes in what a process wrote.
    pub(super) fn all(output: &[u8]) -> impl Iterator<Item = Self> {
        let text = String::from_utf8_lossy(output).into_owned();
        let notes: Vec<Self> = text
            .split(MARK)
            .skip(1)
            .filter_map(|part| serde_json::from_str(part.lines().next()?).ok())
            .collect();
        notes.into_iter()
    }
}

impl Probe {
    pub(super) fn run(self) -> ExitCode {
        loader_sandbox::behave_as_child();
        let verdict = if self.system { Ok(self.systems_verdict()) } else { self.verdict() };
        match verdict {
            Ok(verdict) => {
                Note::Done(verdict).say();
                ExitCode::SUCCESS
            }
            Err(failure) => super::report(&failure, false),
        }
    }

    fn verdict(&self) -> Outcome<Verdict> {
        warm_up()?;
        let before = Maps::now()?;
        let start = Instant::now();
        let homes: Arc<Mutex<Vec<Range<u64>>>> = Arc::default();
        let result = self.come_and_go(&homes);
        let ms = start.elapsed().as_micros() as f64 / 1000.0;
        let homes = std::mem::take(&mut *homes.lock().unwrap_or_else(PoisonError::into_inner));
        let residue = Maps::now()?.residue(&before, &homes);

        let (status, reason, kind) = match (residue.first(), result) {
            (Some(first), _) => {
                let all: Vec<String> = residue.iter().map(ToString::to_string).collect();
                (Status::Residue, all.join("; "), first.kind())
            }
            (None, Err(error)) => (Status::Refused, self.sentence(&error), kind(&error)),
            (None, Ok(())) => (Status::Ok, String::new(), String::new()),
        };
        Ok(Verdict { status, ms, reason, kind })
    }

    /// How the system's loader fares. What it leaves is not looked at: it never promised to leave nothing.
    fn systems_verdict(&self) -> Verdict {
        let start = Instant::now();
        let result = system::come_and_go(&name_of(&self.file));
        let ms = start.elapsed().as_micros() as f64 / 1000.0;
        let (status, reason) = match result {
            Ok(()) => (Status::Ok, String::new()),
            Err(reason) => (Status::Refused, reason),
        };
        Verdict { status, ms, kind: reason.clone(), reason }
    }

    fn come_and_go(&self, homes: &Arc<Mutex<Vec<Range<u64>>>>) -> Result<(), Error> {
        let seen = homes.clone();
        let watch = move |event: &Event<'_>| match event {
            Event::Mapped { at, .. } => {
                let at = at.base.0..at.base.0 + at.len;
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(at);
            }
            Event::Calling { kind, occasion, .. } => {
                Note::Next { what: event.to_string(), kind: format!("{kind}: {occasion}") }.say();
            }
            Event::Unmapped { .. } => Note::Next { what: event.to_string(), kind: "unmapped".into() }.say(),
            _ => {}
        };
        let engine = self.loading.builder().observe(watch).build()?;
        let built_in = engine.modules().into_iter().filter(|m| m.format == Format::Host);
        homes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(built_in.map(|m| m.at.base.0..m.at.base.0 + m.at.len));
        engine.open(name_of(&self.file))?.close()?;
        Ok(())
    }

    /// An error without the library's own name, which precedes it on the line.
    fn sentence(&self, error: &Error) -> String {
        match *error.module == *name_of(&self.file).to_string_lossy() {
            true => format!("{}: {}", error.stage, error.kind),
            false => error.to_string(),
        }
    }
}

/// What errors of many libraries have in common.
fn kind(error: &Error) -> String {
    match &error.kind {
        ErrorKind::NotFound { .. } => format!("not found: {}", error.module),
        kind => kind.to_string(),
    }
}

/// One library of each format comes and goes.
fn warm_up() -> Result<(), Error> {
    let engine = Engine::new()?;
    engine.provide("libdemodep.so", LIBDEMODEP_SO);
    engine.provide("demodep.dll", DEMODEP_DLL);
    engine.open_embedded("libdemo.so", LIBDEMO_SO)?.close()?;
    engine.open_embedded("demo.dll", DEMO_DLL)?.close()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_found_between_whatever_a_library_prints() {
        let note = Note::Next { what: "calling DllMain".into(), kind: "x".into() };
        let text = serde_json::to_string(&note).unwrap();
        let output = format!("hello\nno end of line{MARK}{text}\nmore\n{MARK}nonsense\n");
        assert_eq!(Note::all(output.as_bytes()).collect::<Vec<_>>(), [note]);
        assert_eq!(Note::all(b"").count(), 0);
    }
}
