//! `loader trace`: everything that happens while a library comes and goes.

use super::{Loading, Outcome, events, open, screen};
use clap::Args;
use loader::Event;
use serde_json::json;
use std::{path::PathBuf, process::ExitCode, time::Instant};

#[derive(Debug, Args)]
pub(super) struct Trace {
    /// The library: a file, or a name that is looked for by the rules of its format
    pub(super) file: PathBuf,
    /// Read the file first and load the library from memory
    #[arg(long)]
    memory: bool,
    #[command(flatten)]
    loading: Loading,
}

impl Trace {
    pub(super) fn run(self, json: bool) -> Outcome<ExitCode> {
        let start = Instant::now();
        let show = move |event: &Event<'_>| {
            // Foreign code is on its way, or in memory: that nobody reads this is no reason to stop in the middle.
            let _ = match json {
                false => screen::line(event),
                true => {
                    let mut object = events::object(event);
                    object["us"] = json!(start.elapsed().as_micros() as u64);
                    screen::object(&object)
                }
            };
        };
        let engine = self.loading.builder().observe(show).build()?;
        open(&engine, &self.file, self.memory)?.close()?;
        Ok(ExitCode::SUCCESS)
    }
}
