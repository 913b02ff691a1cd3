//! One dangerous thing in a process of its own: plays a case of the corpus, or tries a hostile image.
//!
//! ```text
//! run-case SUBJECT FORMAT/CASE          as the case's script says; SUBJECT is ours, ours-lazy, ours-memory,
//!                                       ours-buffer or glibc
//! run-case again SUBJECT FORMAT/CASE    its roots opened and closed over and over; nothing may grow
//! run-case guest SCENE                  what loaded code asks for, and leaves with the process
//! run-case real LIBRARY                 a library of the system from bytes, at its work
//! run-case blas FILE                    OpenBLAS for Windows multiplies matrices
//! run-case hostile IMAGE FOLDER         a hostile image; FOLDER is for its file
//! run-case cycles files|bytes TIMES     opened and closed that often; nothing may grow
//! run-case crowd THREADS TIMES            threads load DLLs and have them make threads; nothing may be lost or grow
//! run-case threads|signals|forks SECONDS    threads load at random; signals, or forks, happen while they do
//! ```
//! Exits with 0 if all was as it should be, with 1 and a sentence if not, with 2 if it was asked for something else.

use corpus::Case;
use std::{env, path::Path, process::ExitCode, time::Duration};
use tests::{
    again, blas, crowd,
    endure::{self, Way},
    guest, real, runner,
    subject::{Glibc, Ours, OursBuffer, OursLazy, OursMemory, Subject},
    survive,
};

fn main() -> ExitCode {
    loader_sandbox::behave_as_child();
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some(result) = asked(&args) else {
        eprintln!("usage: run-case SUBJECT FORMAT/CASE | again SUBJECT FORMAT/CASE | hostile IMAGE FOLDER");
        eprintln!(
            "     | guest SCENE | real LIBRARY | blas FILE | cycles files|bytes TIMES | crowd THREADS TIMES"
        );
        eprintln!("     | threads|signals|forks SECONDS");
        return ExitCode::from(2);
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            println!("{what}");
            ExitCode::FAILURE
        }
    }
}

/// What the arguments ask for; none if they make no sense.
fn asked(args: &[&str]) -> Option<Result<(), String>> {
    match *args {
        ["hostile", name, folder] => {
            let image = corpus::hostile::images().into_iter().find(|image| image.name == name)?;
            Some(survive::run(&image, Path::new(folder)))
        }
        ["cycles", "files", times] => Some(endure::cycles(Way::Files, times.parse().ok()?)),
        ["cycles", "bytes", times] => Some(endure::cycles(Way::Bytes, times.parse().ok()?)),
        ["crowd", threads, times] => Some(crowd::run(threads.parse().ok()?, times.parse().ok()?)),
        ["threads", time] => Some(endure::threads(seconds(time)?).map(|n| println!("{n} opens"))),
        ["signals", time] => Some(endure::signals(seconds(time)?).map(|n| println!("{n} opens"))),
        ["forks", time] => Some(endure::forks(seconds(time)?).map(|n| println!("{n} forks"))),
        ["guest", name] => {
            guest::SCENES.iter().find(|scene| scene.name == name)?.play();
            Some(Ok(()))
        }
        ["real", name] => Some((real::LIBRARIES.iter().find(|library| library.name == name)?.at_work)()),
        ["blas", file] => Some(blas::multiplies(Path::new(file))),
        ["again", subject, case] => of_subject(subject, &named(case)?, &Again),
        [subject, case] => of_subject(subject, &named(case)?, &Once),
        _ => None,
    }
}

fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_secs)
}

fn named(name: &str) -> Option<Case> {
    let (format, name) = name.split_once('/')?;
    corpus::cases().ok()?.into_iter().find(|case| case.format.folder() == format && case.name == name)
}

/// What is done with a case, whoever the subject is.
trait Task {
    fn run<S: Subject>(&self, case: &Case) -> Result<(), String>;
}

struct Once;
struct Again;

impl Task for Once {
    fn run<S: Subject>(&self, case: &Case) -> Result<(), String> {
        runner::run::<S>(case).map_err(|failure| failure.to_string())
    }
}

impl Task for Again {
    fn run<S: Subject>(&self, case: &Case) -> Result<(), String> {
        again::run::<S>(case)
    }
}

fn of_subject(name: &str, case: &Case, task: &impl Task) -> Option<Result<(), String>> {
    match name {
        Ours::NAME => Some(task.run::<Ours>(case)),
        OursLazy::NAME => Some(task.run::<OursLazy>(case)),
        OursMemory::NAME => Some(task.run::<OursMemory>(case)),
        OursBuffer::NAME => Some(task.run::<OursBuffer>(case)),
        Glibc::NAME => Some(task.run::<Glibc>(case)),
        _ => None,
    }
}
