//! Runs event traces of Windows on this engine: those of the corpus, or those of a folder.
//!
//! ```text
//! oracle [FOLDER]     one line a scenario, and how many of them are as they should be
//! ```
//! FOLDER has `dlls/`, `scenarios/`, `expected/` and `windows/`. Exits with 0 if all are.

use std::{env, process::ExitCode};
use tests::oracle::{Folder, play};

fn main() -> ExitCode {
    play::asked();
    let folder = match env::args_os().nth(1) {
        Some(path) => Folder::new(path),
        None => Folder::of_corpus(),
    };
    let program = match env::current_exe() {
        Ok(path) => path,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let verdicts = folder.judge(&program);
    for verdict in &verdicts {
        match &verdict.result {
            Ok(()) => println!("ok {}", verdict.name),
            Err(what) => println!("FAILED {}: {what}", verdict.name),
        }
    }
    let good = verdicts.iter().filter(|verdict| verdict.result.is_ok()).count();
    println!("ok {good} of {}", verdicts.len());
    if good == verdicts.len() && good > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
