//! `loader sandbox`: what this machine enforces in a sandbox. One is started, and tells.

use super::{Failure, Outcome, screen};
use clap::Args;
use loader::sandbox::{
    self,
    confine::{Enforced, Finding, Measure},
};
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    process::ExitCode,
};

#[derive(Debug, Args)]
pub(super) struct Sandbox {}

impl Sandbox {
    pub(super) fn run(self, json: bool) -> Outcome<ExitCode> {
        let sandbox = sandbox::Sandbox::builder().start();
        let sandbox = sandbox.map_err(|failure| Failure::Other(failure.to_string()))?;
        match json {
            true => screen::object(&object(sandbox.enforced()))?,
            false => write!(io::stdout(), "{}", sandbox.enforced())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn object(enforced: &Enforced) -> Value {
    let row = |(measure, Finding { state, detail }): (Measure, &Finding)| json!({ "measure": measure, "state": state, "detail": detail });
    enforced.findings().map(row).collect()
}
