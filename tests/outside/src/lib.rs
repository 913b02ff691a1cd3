//! A program of somebody else's, as a user of `loader` would write it: plug-ins sum up numbers, and nobody knows who wrote
//! them. Each runs in a sandbox of its own.
//!
//! There is nothing here about helper processes: no `main`, no hook, no path. `cargo test` in this folder shows that none
//! is needed.

use loader::sandbox::{Failure, Sandbox};
use std::time::Duration;

/// What became of a plug-in's turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// It answered.
    Answer(i32),
    /// It is no plug-in, or not for this machine: in the loader's words.
    Unusable(String),
    /// It had to be stopped, or stopped by itself: in the sandbox's words.
    Stopped(String),
}

/// Lets a plug-in add two numbers. It has half a second, 64 MiB, no files and no network.
///
/// # Errors
/// Where the machine cannot start a sandbox.
pub fn add(name: &str, plugin: &[u8], function: &str, a: i32, b: i32) -> Result<Turn, Failure> {
    let half = Duration::from_millis(500);
    let mut sandbox = Sandbox::builder().wall(half).memory(64 << 20).start()?;
    let turn = sandbox.load_bytes(name, plugin).and_then(|_| sandbox.call(function, [a.into(), b.into()]));
    Ok(match turn {
        Ok(answer) => Turn::Answer(answer.i32()),
        Err(Failure::Refused(error)) => Turn::Unusable(error.to_string()),
        Err(failure) => Turn::Stopped(failure.to_string()),
    })
}
