//! Every case of the corpus, on our engine from files, on our engine from bytes and out of buffers, and (ELF) on the system's loader.
//!
//! Each runs in a child of its own, so that one that crashes or hangs is one failure among the others.

use corpus::{Action, Case, Format};
use std::{path::Path, time::Duration};
use tests::{
    cores::{child, nothing_wrong, on_all_cores},
    subject::{Glibc, Ours, OursBuffer, OursLazy, OursMemory, Subject},
};

/// A case takes milliseconds; this is for a machine that is busy.
const LIMIT: Duration = Duration::from_secs(60);

fn play<S: Subject>(suits: fn(&Case) -> bool) {
    let cases: Vec<Case> = corpus::cases().unwrap().into_iter().filter(suits).collect();
    let results = on_all_cores(&cases, |case| {
        let name = format!("{}/{}", case.format.folder(), case.name);
        child(Path::new(env!("CARGO_BIN_EXE_run-case")), &[S::NAME, &name], LIMIT)
            .map_err(|what| format!("{name} on {}: {what}", S::NAME))
    });
    nothing_wrong(S::NAME, results);
}

#[test]
fn on_our_engine_from_files() {
    play::<Ours>(|_| true);
}

#[test]
fn on_our_engine_from_bytes() {
    play::<OursMemory>(|_| true);
}

/// Whether a case speaks of functions that nobody defines, which are no matter here until they are called.
fn misses_something(case: &Case) -> bool {
    let refusals = case.script.iter().filter_map(|step| match &step.action {
        Action::Open(open) => open.refusal.as_ref(),
        _ => None,
    });
    refusals
        .flat_map(|refusal| &refusal.words)
        .any(|word| word.contains("undefined") || word.contains("nobody_has"))
}

#[test]
fn on_our_engine_with_calls_bound_when_made() {
    play::<OursLazy>(|case| case.format == Format::Elf && !misses_something(case));
}

#[test]
fn on_our_engine_from_buffers() {
    play::<OursBuffer>(|_| true);
}

#[test]
fn on_the_systems_loader() {
    play::<Glibc>(|case| case.format == Format::Elf);
}

#[test]
fn what_the_runner_is_asked_wrongly_is_no_success() {
    for args in [&["ours"][..], &["ours", "elf/no-such-case"], &["nobody", "elf/plain"]] {
        let refused = child(Path::new(env!("CARGO_BIN_EXE_run-case")), args, LIMIT).unwrap_err();
        assert!(refused.contains("code 2") && refused.contains("usage:"), "{refused}");
    }
    // A DLL is nothing that the system's loader could open, and the runner says so.
    let refused =
        child(Path::new(env!("CARGO_BIN_EXE_run-case")), &["glibc", "pe/plain"], LIMIT).unwrap_err();
    assert!(refused.contains("code 1") && refused.contains("refused:"), "{refused}");
}
