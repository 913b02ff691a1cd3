//! What `loader sweep` does with one library, in a sandbox of its own: open it, which binds everything and runs the
//! initialisers; close it; drop the engine; look at what is left. Or the same by the system's own `dlopen`.
//!
//! The sandbox is not confined and has this process's environment: what a library needs of the system it is to find.
//!
//! # What counts as residue
//! The guest's `/proc/<pid>/maps` is read before and after. Before the first time, the demonstration's libraries come and
//! go, so that what the process makes once (thread blocks, the allocator's arenas) is there already. Then
//!
//! * pages of files, code, and pages that can only be read must be exactly what they were: nothing of the kind is new,
//!   and no file's pages and no code are gone;
//! * in the places where images were there must be nothing that was not there before, whatever its rights;
//! * memory elsewhere that can be read and written, or not even read, is let pass: the C library's allocator keeps
//!   such memory, and so do stacks of threads that ended; nobody can tell it from a leak. So is memory that processes
//!   share by name (`sem_open`, `shm_open`).
//!
//! What else the library's own code leaves by calling the C library (a locale's file, say) is residue too: it is the truth
//! about this library. It happens to refused libraries as well: a refusal must leave nothing either.

use super::{Loading, name_of, residue};
use corpus::demo::{DEMO_DLL, DEMODEP_DLL, LIBDEMO_SO, LIBDEMODEP_SO};
use loader::{
    Addr, Error, ErrorKind,
    sandbox::{Argument, Change, Failure, Happened, Limit, Outcome, Output, Sandbox, report::Cause},
};
use loader_core::maps::Maps;
use loader_sandbox::Ending;
use serde::Serialize;
use std::{
    env,
    os::unix::ffi::OsStrExt,
    path::Path,
    time::{Duration, Instant},
};

#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) status: Status,
    /// How long it took to come and go.
    pub(super) ms: f64,
    /// Why it is not `Ok`.
    pub(super) reason: String,
    /// The same for all libraries that fared so for one reason.
    pub(super) kind: String,
}

/// Who opens the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Engine,
    /// What it leaves is not looked at: it never promised to leave nothing.
    System,
}

/// What a Rust program exits with after a panic: nothing that a library did on purpose.
const PANICKED: i32 = 101;

/// Opens and closes a library in a sandbox.
pub(super) fn probe(file: &Path, loading: &Loading, time: Duration, who: Who) -> Verdict {
    let start = Instant::now();
    let builder = loading.sandbox().unconfined().output(Output::Discarded).memory(u64::MAX).wall(time);
    let builder = env::vars_os().fold(builder, |builder, (name, value)| builder.env(name, value));
    let mut sandbox = match builder.start() {
        Ok(sandbox) => sandbox,
        Err(failure) => return ended(&failure, &[], start),
    };
    let verdict = match who {
        Who::Engine => engines_verdict(&mut sandbox, file),
        Who::System => systems_verdict(&mut sandbox, file),
    };
    let verdict = verdict.unwrap_or_else(|failure| ended(&failure, &sandbox.events(), start));
    match sandbox.end() {
        // It has its verdict, and no longer says how its process should end.
        Ok(()) | Err(Failure::Exited(_) | Failure::Gone) => verdict,
        Err(failure) => {
            let reason = format!("{}, as the process ended", sentence(&failure));
            Verdict { status: Status::Crashed, kind: reason.clone(), reason, ..verdict }
        }
    }
}

fn engines_verdict(sandbox: &mut Sandbox, file: &Path) -> Outcome<Verdict> {
    warm_up(sandbox)?;
    let process = sandbox.id().ok_or(Failure::Gone)?;
    sandbox.events();
    let before = Maps::of(process);
    let start = Instant::now();
    let came = sandbox.load(name_of(file)).and_then(|library| sandbox.close(library));
    let refusal = came.map_or_else(refused, |()| Ok(None))?;
    let last = sandbox.renew()?;
    let ms = milliseconds(start);
    let seen = sandbox.events().into_iter().filter_map(|event| match event.change {
        Change::Mapped { at, .. } => Some(at),
        _ => None,
    });
    let homes: Vec<_> =
        seen.chain(last.iter().map(|module| module.at)).map(|at| at.base.0..at.base.0 + at.len).collect();
    let residue = residue::of(&before, &Maps::of(process), &homes);

    let (status, reason, kind) = match (residue.first(), refusal) {
        (Some(first), _) => {
            let all: Vec<String> = residue.iter().map(ToString::to_string).collect();
            (Status::Residue, all.join("; "), first.kind())
        }
        (None, Some(error)) => (Status::Refused, shortened(file, &error), kind(&error)),
        (None, None) => (Status::Ok, String::new(), String::new()),
    };
    Ok(Verdict { status, ms, reason, kind })
}

/// The engine's error, if that is what it is.
fn refused(failure: Failure) -> Outcome<Option<Error>> {
    match failure {
        Failure::Refused(error) => Ok(Some(error)),
        Failure::Faulted(fault) if fault.error.is_some() => Ok(fault.error),
        failure => Err(failure),
    }
}

/// An error without the library's own name, which precedes it on the line.
fn shortened(file: &Path, error: &Error) -> String {
    match *error.module == *name_of(file).to_string_lossy() {
        true => format!("{}: {}", error.stage, error.kind),
        false => error.to_string(),
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
fn warm_up(sandbox: &mut Sandbox) -> Outcome<()> {
    sandbox.provide("libdemodep.so", LIBDEMODEP_SO)?;
    sandbox.provide("demodep.dll", DEMODEP_DLL)?;
    for (name, bytes) in [("libdemo.so", LIBDEMO_SO), ("demo.dll", DEMO_DLL)] {
        let library = sandbox.load_bytes(name, bytes)?;
        sandbox.close(library)?;
    }
    sandbox.renew().map(drop)
}

/// How the system's loader fares, with all symbols bound.
fn systems_verdict(sandbox: &mut Sandbox, file: &Path) -> Outcome<Verdict> {
    let system = sandbox.load("libc.so.6")?;
    let name = [name_of(file).as_os_str().as_bytes(), b"\0"].concat();
    let start = Instant::now();
    let handle = sandbox.call_in(system, "dlopen", [Argument::Bytes(&name), libc::RTLD_NOW.into()])?.u64();
    let done = handle != 0 && sandbox.call_in(system, "dlclose", [handle.into()])?.i32() == 0;
    let ms = milliseconds(start);
    if done {
        return Ok(Verdict { status: Status::Ok, ms, reason: String::new(), kind: String::new() });
    }
    let text = Addr(sandbox.call_in(system, "dlerror", [])?.u64());
    let text = sandbox.memory().text(text, 1 << 12).unwrap_or_else(|_| b"no reason given".into());
    let reason = String::from_utf8_lossy(&text).into_owned();
    Ok(Verdict { status: Status::Refused, ms, kind: reason.clone(), reason })
}

/// What a guest that came to its end left, in a word.
fn ended(failure: &Failure, events: &[Happened], start: Instant) -> Verdict {
    let last = events.iter().rev().find_map(|event| {
        let text = squeezed(&event.text);
        match &event.change {
            Change::Calling { what } => Some((text, what.to_string())),
            Change::Unmapped { .. } => Some((text, "unmapped".into())),
            _ => None,
        }
    });
    let status = match failure {
        Failure::Killed(Limit::Wall) => Status::Hung,
        Failure::Exited(code) if *code != PANICKED && last.is_some() => Status::Exited,
        _ => Status::Crashed,
    };
    let nothing = "nothing was called";
    let (text, kind) = last.unwrap_or_else(|| (nothing.into(), nothing.into()));
    let sentence = sentence(failure);
    Verdict {
        status,
        ms: milliseconds(start),
        reason: format!("{sentence}, after: {text}"),
        kind: format!("{sentence}, after: {kind}"),
    }
}

fn sentence(failure: &Failure) -> String {
    let ending = match failure {
        Failure::Exited(code) => Ending::Exit(*code),
        Failure::Died(signal) => Ending::Signal(*signal),
        Failure::Killed(Limit::Wall) => Ending::TimedOut,
        Failure::Faulted(fault) => match fault.cause {
            Cause::Signal { signal, .. } => Ending::Signal(signal),
            Cause::Exception(_) => return failure.to_string(),
        },
        _ => return failure.to_string(),
    };
    ending.to_string()
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_micros() as f64 / 1000.0
}

/// A text with its columns closed up.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called() -> Happened {
        let change = Change::Calling { what: "initialiser: load".into() };
        Happened {
            topic: loader_core::event::Topics::FILES,
            change,
            text: "calling    initialiser of x.so: load".into(),
        }
    }

    #[test]
    fn how_a_guest_ended_is_one_word_and_a_reason() {
        let verdict = |failure, events: &[Happened]| {
            let verdict = ended(&failure, events, Instant::now());
            (verdict.status, verdict.reason)
        };
        let said = |status, reason: &str| (status, reason.to_owned());
        let after = "after: calling initialiser of x.so: load";
        let nothing = "after: nothing was called";
        assert_eq!(
            verdict(Failure::Exited(0), &[]),
            said(Status::Crashed, &format!("exited with code 0, {nothing}"))
        );
        assert_eq!(
            verdict(Failure::Exited(7), &[called()]),
            said(Status::Exited, &format!("exited with code 7, {after}"))
        );
        assert_eq!(verdict(Failure::Exited(101), &[called()]).0, Status::Crashed, "a panic");
        assert_eq!(
            verdict(Failure::Died(11), &[called()]),
            said(Status::Crashed, &format!("died of SIGSEGV, {after}"))
        );
        assert_eq!(
            verdict(Failure::Killed(Limit::Wall), &[called()]),
            said(Status::Hung, &format!("ran out of time, {after}"))
        );
        assert_eq!(
            ended(&Failure::Died(11), &[called()], Instant::now()).kind,
            "died of SIGSEGV, after: initialiser: load"
        );
    }
}
