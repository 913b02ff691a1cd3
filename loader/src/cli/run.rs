//! `loader run`: a Windows program, from its entry point to its exit code.

use super::{Loading, Outcome};
use clap::Args;
use std::{path::PathBuf, process::ExitCode};

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    loading: Loading,
    /// The program
    pub(super) file: PathBuf,
    /// What it is given
    #[arg(value_name = "ARG", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Run {
    pub(super) fn run(self) -> Outcome<ExitCode> {
        match loader::win32::run_program(self.loading.builder(), &self.file, &self.arguments)? {}
    }
}
