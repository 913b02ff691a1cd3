//! Opens one hostile image, from bytes and from a file, strictly and with traps for what is missing, and looks that it
//! is refused, or taken, without harm and without a trace.

use crate::{process, subject, voice::Voice};
use corpus::{Format, hostile::Hostile};
use loader::{Engine, Error, ErrorKind, Event, Library, MissingPolicy, Stage};
use loader_core::{Query, Source};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What hostile images need, so that a loader gets as far as what is wrong with them; relative to the corpus.
const NEEDED: [&str; 6] = [
    "elf/data-relocations/libdatadep.so",
    "elf/versions/libversions.so",
    "pe/data-relocations/datadep.dll",
    "pe/forwarder/forward-end.dll",
    "pe/forwarder/forward-middle.dll",
    "pe/ordinals/ordinals.dll",
];

/// Ordinals that are looked up; the corpus' DLLs have theirs among them.
const ORDINALS: std::ops::RangeInclusive<u16> = 0..=130;

/// Tries one image in every way; `folder` is where its file may be written.
///
/// # Errors
/// What should not have happened.
pub fn run(image: &Hostile, folder: &Path) -> Result<(), String> {
    let mut voice = Voice::listen().map_err(|e| e.to_string())?;
    let folder = folder.join(image.name);
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let file = folder.join(file_name(image));
    fs::write(&file, &image.bytes).map_err(|e| e.to_string())?;
    let mut strictly = None;
    for policy in [MissingPolicy::Strict, MissingPolicy::Trap] {
        for from in [From::Memory, From::File(&file)] {
            eprintln!("{}: {policy:?}, {from:?}", image.name); // a signal's last words
            let way = |what: String| format!("{policy:?}, {from:?}: {what}");
            let attempt = Attempt { image, policy, from };
            let refused = attempt.run(&mut voice, strictly.as_ref()).map_err(way)?;
            strictly = strictly.or(refused);
        }
    }
    Ok(())
}

/// The file's name: that by which the image knows itself, where it says so (a forwarder to itself needs it).
fn file_name(image: &Hostile) -> String {
    let source = Arc::new(Source::owned(&*image.bytes));
    let own = loader_pe::PeImage::parse(&source).ok().and_then(|pe| {
        let own = loader_core::Image::own_name(&*pe)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        (own.bytes().all(plain) && own.ends_with(".dll")).then(|| own.to_owned())
    });
    let extension = if image.format == Some(Format::Pe) { "dll" } else { "so" };
    own.unwrap_or_else(|| format!("{}.{extension}", image.name))
}

#[derive(Clone, Copy)]
enum From<'a> {
    Memory,
    File(&'a Path),
}

impl std::fmt::Debug for From<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory => "from memory",
            Self::File(_) => "from its file",
        })
    }
}

struct Attempt<'a> {
    image: &'a Hostile,
    policy: MissingPolicy,
    from: From<'a>,
}

impl Attempt<'_> {
    /// Opens it three times; the third must leave every mapping as it was. Returns why it was refused.
    fn run(&self, voice: &mut Voice, strictly: Option<&Error>) -> Result<Option<Error>, String> {
        let text = |e: std::io::Error| e.to_string();
        let calls = Arc::new(AtomicUsize::new(0));
        let engine = self.engine(&calls)?;
        let mut refused = None;
        for time in 1..=3 {
            let (modules, mapped) = (engine.modules().len(), process::mapped().map_err(text)?);
            let outcome = self.open(&engine);
            let said = voice.said().map_err(text)?;
            refused = match outcome {
                Ok(library) => {
                    self.may_be_taken(strictly)?;
                    look_around(&library, &self.image.bytes)?;
                    library.close().map_err(|e| e.to_string())?;
                    voice.said().map_err(text)?;
                    None
                }
                Err(error) => {
                    let ran = calls.load(Ordering::Relaxed);
                    if error.stage < Stage::Attach && (ran != 0 || !said.is_empty()) {
                        return Err(format!("{ran} functions ran, and said {said:?}, before `{error}`"));
                    }
                    self.is_well_said(&error)?;
                    Some(error)
                }
            };
            if engine.modules().len() > modules {
                let names: Vec<_> = engine.modules()[modules..].iter().map(|m| m.name.clone()).collect();
                return Err(format!("still loaded: {names:?}"));
            }
            let left = process::difference(&mapped, &process::mapped().map_err(text)?);
            if time == 3 && !left.is_empty() {
                return Err(format!("not everything was unmapped:{left}"));
            }
        }
        Ok(refused)
    }

    fn engine(&self, calls: &Arc<AtomicUsize>) -> Result<Engine, String> {
        let calls = calls.clone();
        let count = move |event: &Event<'_>| {
            if let Event::Calling { .. } = event {
                eprintln!("{event}");
                calls.fetch_add(1, Ordering::Relaxed);
            }
        };
        let engine = subject::engine(Engine::builder().missing(self.policy).observe(count))?;
        for file in NEEDED {
            let (_, name) = file.rsplit_once('/').unwrap_or(("", file));
            engine.provide(name, fs::read(corpus::root().join(file)).map_err(|e| e.to_string())?);
        }
        Ok(engine)
    }

    fn open(&self, engine: &Engine) -> Result<Library, Error> {
        match self.from {
            From::Memory => engine.open_bytes(&file_name(self.image), &*self.image.bytes),
            From::File(path) => engine.open(path),
        }
    }

    /// With traps, what is only missing is no reason to refuse.
    fn may_be_taken(&self, strictly: Option<&Error>) -> Result<(), String> {
        let missing = strictly.is_some_and(|error| {
            matches!(error.kind, ErrorKind::Undefined { .. } | ErrorKind::NotFound { .. })
        });
        match self.image.refuse && !(self.policy == MissingPolicy::Trap && missing) {
            true => Err("it was taken".into()),
            false => Ok(()),
        }
    }

    /// The error names the module, the stage and, where there is one, the number.
    fn is_well_said(&self, error: &Error) -> Result<(), String> {
        let sentence = error.to_string();
        let wrong = |what| Err(format!("{what}: {sentence} ({:?})", error.kind));
        if error.module.is_empty() || !sentence.contains(&*error.module) {
            return wrong("the error names no module");
        }
        if !sentence.contains(&format!(": {}: ", error.stage)) {
            return wrong("the error names no stage");
        }
        if error.stage >= Stage::Attach && self.image.refuse {
            return wrong("it was refused only after its code could run");
        }
        if error.win32() == 0 || error.dlresultcode() == 0 {
            return wrong("the error has no number");
        }
        match is_about_the_file(&error.kind, &sentence) {
            true => Ok(()),
            false => wrong("the error blames somebody else, or names no number"),
        }
    }
}

/// Whether an error is one that a file can be to blame for, and its sentence has the number that its kind has.
#[must_use]
pub fn is_about_the_file(kind: &ErrorKind, sentence: &str) -> bool {
    match kind {
        ErrorKind::WrongMachine { .. }
        | ErrorKind::Unsupported { .. }
        | ErrorKind::Malformed { .. }
        | ErrorKind::WritableCode { .. }
        | ErrorKind::WriteOutside { .. }
        | ErrorKind::Overflow { .. }
        | ErrorKind::BaseTaken { .. }
        // It ran what its damage had made of its code.
        | ErrorKind::Exception(_) => sentence.contains("0x"),
        ErrorKind::NotALoadfile { .. }
        | ErrorKind::NotFound { .. }
        | ErrorKind::Undefined { .. }
        | ErrorKind::ForwardLoop { .. }
        | ErrorKind::Refused { .. }
        // The system has no room for what a plan within bounds asks for.
        | ErrorKind::Space { .. }
        | ErrorKind::StaticTlsExhausted { .. } => true,
        _ => false,
    }
}

/// Looks up every text that the file holds, and ordinals, and minds where they lead.
fn look_around(library: &Library, bytes: &[u8]) -> Result<(), String> {
    let names = texts(bytes);
    let queries = names.iter().map(|name| Query::name(name)).chain(ORDINALS.map(Query::ordinal));
    for query in queries {
        let Ok(found) = library.find(&query) else { continue };
        // The names of versions are symbols too: absolute ones, with the value 0.
        let inside = found.at.0 == 0 || library.engine().load_set().module_at(found.at).is_some();
        if !inside && found.format != loader::Format::Host {
            return Err(format!("{} leads to {}, where no module is", query.symbol.text(), found.at));
        }
    }
    Ok(())
}

/// Every run of displayable characters in a file that ends with a zero byte, and so may be a name.
#[must_use]
pub fn texts(bytes: &[u8]) -> BTreeSet<&[u8]> {
    let runs = bytes.split(|b| !b.is_ascii_graphic());
    let mut found = BTreeSet::new();
    let mut at = 0;
    for run in runs {
        at += run.len();
        if !run.is_empty() && bytes.get(at) == Some(&0) {
            found.insert(run);
        }
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_with_a_zero_byte() {
        let found = texts(b"\x01one\0two\x02three\0\0four");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [&b"one"[..], b"three"]);
    }
}
