//! `loader demo`: a library of each format, with what it needs, out of bytes in this program and away again.

use super::{
    Failure, Outcome, events, function,
    screen::{self, Tone, paint},
    short,
    value::{Type, Value as Answer},
};
use corpus::demo::{DEMO_DLL, DEMODEP_DLL, LIBDEMO_SO, LIBDEMODEP_SO};
use loader::{Arg, Engine, Event, Format, Library, ModuleInfo, Origin};
use loader_core::maps::Maps;
use serde_json::{Value, json};
use std::{
    ops::Range,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

/// A function that both libraries have.
type Export = (&'static str, &'static [Arg], Type);

/// What is called in each library.
const CALLS: [Export; 3] = [
    ("demo_add", &[Arg::Word(40), Arg::Word(2)], Type::I32),
    ("demo_greeting", &[], Type::Str),
    ("demo_area", &[Arg::Double(2.0)], Type::F64),
];

/// An argument as it is written.
fn shown(argument: &Arg) -> String {
    match argument {
        Arg::Word(n) => (*n as i64).to_string(),
        Arg::Double(n) => n.to_string(),
        Arg::Float(n) => n.to_string(),
    }
}

/// What the demonstration found, for JSON.
#[derive(Default)]
struct Record {
    events: Vec<Value>,
    calls: Vec<Value>,
    sets: Vec<(&'static str, Vec<Value>)>,
}

pub(super) fn run(json: bool) -> Outcome<ExitCode> {
    let events: Arc<Mutex<Vec<Value>>> = Arc::default();
    let told = events.clone();
    let engine = Engine::builder()
        .observe(move |event: &Event<'_>| match json {
            true => told.lock().unwrap_or_else(PoisonError::into_inner).push(events::object(event)),
            false => show(event),
        })
        .build()?;
    engine.provide("libdemodep.so", LIBDEMODEP_SO);
    engine.provide("demodep.dll", DEMODEP_DLL);
    drop(engine.main_program()); // takes in what the process has, so that `before` shows it
    let mut record = Record::default();
    let say = |text: &str| if json { Ok(()) } else { screen::line(text) };
    let heading = |text: &str| say(&paint(Tone::Heading, text));

    say(
        "Two libraries that exist only as bytes inside this program become code in this process, and vanish again.",
    )?;
    say(
        "Each needs a second one, which is bytes as well. No file is opened, and the system's loader is not asked.",
    )?;
    heading("\nThe load set before")?;
    let before = engine.modules();
    record.set("before", &before, json)?;

    heading("\nOpening libdemo.so, an ELF shared object for Linux")?;
    let elf = engine.open_embedded("libdemo.so", LIBDEMO_SO)?;
    heading("\nOpening demo.dll, a PE library for Windows")?;
    let pe = engine.open_embedded("demo.dll", DEMO_DLL)?;

    heading("\nCalling the same three functions in both")?;
    for library in [&elf, &pe] {
        for (name, arguments, returns) in CALLS {
            let answer = function::call(library, &name.into(), arguments, returns)?;
            record.call(library, name, arguments, &answer, json)?;
        }
    }

    heading("\nThe load set now")?;
    let during = engine.modules();
    record.set("during", &during, json)?;
    let homes: Vec<Range<u64>> = during.iter().filter(|m| m.origin == Origin::Open).map(home).collect();

    heading("\nClosing both")?;
    pe.close()?;
    elf.close()?;

    heading("\nThe load set after")?;
    let after = engine.modules();
    record.set("after", &after, json)?;

    let maps = Maps::read("self").map_err(|e| Failure::Other(format!("cannot read /proc/self/maps: {e}")))?;
    let left: Vec<String> = maps.0.iter().filter(|m| m.is_in(&homes)).map(ToString::to_string).collect();
    let same = names(&before) == names(&after);
    if json {
        record.events = std::mem::take(&mut *events.lock().unwrap_or_else(PoisonError::into_inner));
        screen::object(&record.object(&left, same))?;
    }
    if !left.is_empty() || !same {
        return Err(Failure::Other(format!("something is left of the demonstration: {}", left.join("; "))));
    }
    let done = format!(
        "\nThe load set is what it was, and /proc/self/maps has nothing left in the {} places where they were.",
        homes.len()
    );
    say(&paint(Tone::Good, done))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints an event. The search for symbols would be most of them, and is left to `loader trace`.
fn show(event: &Event<'_>) {
    if !matches!(event, Event::Asked { .. }) {
        let _ = screen::line(format_args!("  {event}"));
    }
}

fn home(m: &ModuleInfo) -> Range<u64> {
    m.at.base.0..m.at.base.0 + m.at.len
}

fn names(set: &[ModuleInfo]) -> Vec<&str> {
    set.iter().map(|m| &*m.name).collect()
}

impl Record {
    /// Shows a load set: what this process brought in a line each, the rest by address.
    fn set(&mut self, when: &'static str, set: &[ModuleInfo], json: bool) -> Outcome {
        if json {
            let module = |m: &ModuleInfo| {
                let origin = if m.origin == Origin::Open { "open" } else { "host" };
                json!({ "name": &*m.name, "format": m.format.to_string(), "at": m.at.base.0, "len": m.at.len, "origin": origin })
            };
            self.sets.push((when, set.iter().map(module).collect()));
            return Ok(());
        }
        let (built_in, process): (Vec<_>, Vec<_>) =
            set.iter().filter(|m| m.origin != Origin::Open).partition(|m| m.format == Format::Host);
        let list = |modules: Vec<&ModuleInfo>| {
            let names: Vec<&str> = modules.iter().map(|m| short(&m.name)).collect();
            names.join(", ")
        };
        screen::line(format_args!("  of this process   {}", list(process)))?;
        screen::line(format_args!("  built in          {}", list(built_in)))?;
        for m in set.iter().filter(|m| m.origin == Origin::Open) {
            let needs = if m.needs.is_empty() { "nothing".into() } else { m.needs.join(", ") };
            let (name, at) = (&m.name, home(m));
            screen::line(format_args!(
                "  {:<3} {name:<13} {:#x}-{:#x}, needs {needs}",
                m.format.to_string(),
                at.start,
                at.end
            ))?;
        }
        Ok(())
    }

    fn call(
        &mut self,
        library: &Library,
        name: &str,
        arguments: &[Arg],
        answer: &Answer,
        json: bool,
    ) -> Outcome {
        if json {
            self.calls.push(json!({ "library": library.name(), "symbol": name, "value": answer.json() }));
            return Ok(());
        }
        let shown: Vec<String> = arguments.iter().map(shown).collect();
        let call = format!("{name}({})", shown.join(", "));
        Ok(screen::line(format_args!("  {:<11} {call:<18} = {}", library.name(), answer))?)
    }

    fn object(&self, left: &[String], same: bool) -> Value {
        let mut object =
            json!({ "events": self.events, "calls": self.calls, "left": left, "same_load_set": same });
        for (when, set) in &self.sets {
            object[*when] = set.clone().into();
        }
        object
    }
}
