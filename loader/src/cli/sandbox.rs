//! `loader sandbox`: what this machine enforces when a process is confined. One is, and tells.

use super::{Failure, Outcome, screen};
use clap::Args;
use loader_sandbox::{
    Child, Ending,
    confine::{Enforced, Limits, Policy},
};
use serde_json::{Value, json};
use std::{io::Write, process::ExitCode};

#[derive(Debug, Args)]
pub(super) struct Sandbox {
    /// Be the process that is confined
    #[arg(long, hide = true)]
    confined: bool,
}

impl Sandbox {
    pub(super) fn run(self, json: bool) -> Outcome<ExitCode> {
        if self.confined {
            return confined();
        }
        let child = Child::new("/proc/self/exe").args(["sandbox", "--confined"]).run();
        let report = child.map_err(|error| Failure::Other(format!("cannot start a process: {error}")))?;
        let Ending::Exit(0) = report.ending else {
            return Err(Failure::Other(format!("the process that was confined {}", report.ending)));
        };
        let enforced: Enforced = serde_json::from_slice(&report.stdout).map_err(|error| {
            Failure::Other(format!("the process that was confined says nonsense: {error}"))
        })?;
        match json {
            true => screen::object(&object(&enforced))?,
            false => write!(std::io::stdout(), "{enforced}")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A policy that asks for everything.
fn everything() -> Policy {
    let limits = Limits {
        memory: Some(8 << 30),
        cpu: Some(60),
        file_size: Some(1 << 30),
        open_files: Some(256),
        tasks: Some(64),
    };
    Policy { limits, supervised: true, ..Policy::default() }
}

fn confined() -> Outcome<ExitCode> {
    let enforced = everything().enforce().map_err(|refusal| Failure::Other(refusal.to_string()))?;
    serde_json::to_writer(std::io::stdout(), &enforced).map_err(std::io::Error::from)?;
    Ok(ExitCode::SUCCESS)
}

fn object(enforced: &Enforced) -> Value {
    let measure = |(measure, finding): (_, &loader_sandbox::confine::Finding)| json!({ "measure": measure, "state": finding.state, "detail": finding.detail });
    enforced.findings().map(measure).collect()
}
