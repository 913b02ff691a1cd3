//! `loader deps`: what would be loaded with a library, in which order, and from where.

use super::{
    Loading, Outcome, name_of,
    screen::{self, Tone, paint},
    short,
};
use clap::Args;
use loader::{Format, Place, Planned};
use serde_json::{Value, json};
use std::{path::PathBuf, process::ExitCode};

#[derive(Debug, Args)]
pub(super) struct Deps {
    /// The library: a file, or a name that is looked for by the rules of its format
    file: PathBuf,
    #[command(flatten)]
    loading: Loading,
}

impl Deps {
    pub(super) fn run(self, json: bool) -> Outcome<ExitCode> {
        let list = self.loading.builder().build()?.plan(name_of(&self.file))?;
        if json {
            let libraries: Vec<Value> = list.iter().map(object).collect();
            screen::object(&json!({ "load_list": libraries }))?;
        } else {
            list.iter().try_for_each(|p| screen::line(sentence(p)))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn sentence(p: &Planned) -> String {
    let place = match &p.place {
        Place::File(path, format) if path.as_os_str() == &*p.name => format.to_string(),
        Place::File(path, format) => format!("{format}, {}", path.display()),
        Place::Memory(format) => format!("{format}, in memory"),
        Place::Loaded(m) if m.format == Format::Host => "built in".into(),
        Place::Loaded(_) => format!("already in the process, {}", p.name),
        Place::Nowhere => paint(Tone::Bad, "not found"),
    };
    let needed_by = match &*p.needed_by {
        "" => String::new(),
        name => paint(Tone::Aside, format!(", needed by {}", short(name))),
    };
    let name = if matches!(p.place, Place::Loaded(_)) { short(&p.name) } else { &p.name };
    format!("{name} ({place}){needed_by}")
}

fn object(p: &Planned) -> Value {
    let (place, path, format) = match &p.place {
        Place::File(path, format) => ("file", Some(path.clone()), Some(*format)),
        Place::Memory(format) => ("memory", None, Some(*format)),
        Place::Loaded(m) if m.format == Format::Host => ("built in", None, None),
        Place::Loaded(m) => ("process", m.path.clone(), Some(m.format)),
        Place::Nowhere => ("not found", None, None),
    };
    let format = format.map(|f| f.to_string());
    json!({ "name": &*p.name, "needed_by": &*p.needed_by, "place": place, "path": path, "format": format })
}
