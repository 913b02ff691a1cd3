//! Where results are kept, and what the table reads of them: criterion's estimates, and a word where there is no number.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The file that has a word instead of a number.
const NOTE: &str = "note.txt";

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The median, in nanoseconds, and how many things were done in that time.
    Took(f64, u64),
    /// Why there is none.
    Note(String),
    /// It has not been made.
    Unknown,
}

impl Outcome {
    /// The median, in nanoseconds.
    #[must_use]
    pub fn nanoseconds(&self) -> Option<f64> {
        match self {
            Self::Took(ns, _) => Some(*ns),
            Self::Note(_) | Self::Unknown => None,
        }
    }
}

/// Where criterion puts its results: `criterion` in the target directory.
#[must_use]
pub fn folder() -> PathBuf {
    let me = std::env::current_exe().unwrap_or_default();
    // target/release/deps/table-0123456789abcdef
    me.ancestors().nth(3).unwrap_or(Path::new("target")).join("criterion")
}

fn place(group: &str, image: &str, what: &str) -> PathBuf {
    folder().join(group).join(image).join(what)
}

/// Says in one word why there is no number, and forgets an older one.
pub fn note(group: &str, image: &str, what: &str, word: &str) {
    let place = place(group, image, what);
    let _ = fs::remove_dir_all(&place);
    if fs::create_dir_all(&place).and_then(|()| fs::write(place.join(NOTE), word)).is_err() {
        eprintln!("{}: cannot be written", place.display());
    }
}

/// Forgets the word: a number follows.
pub fn measurable(group: &str, image: &str, what: &str) {
    let _ = fs::remove_file(place(group, image, what).join(NOTE));
}

/// What is known of a measurement.
#[must_use]
pub fn outcome(group: &str, image: &str, what: &str) -> Outcome {
    let place = place(group, image, what);
    if let Ok(word) = fs::read_to_string(place.join(NOTE)) {
        return Outcome::Note(word);
    }
    let read = |file: &str| {
        let text = fs::read(place.join("new").join(file)).ok()?;
        serde_json::from_slice::<Value>(&text).ok()
    };
    let median = read("estimates.json").and_then(|e| e["median"]["point_estimate"].as_f64());
    let things = read("benchmark.json").and_then(|b| b["throughput"]["Elements"].as_u64());
    median.map_or(Outcome::Unknown, |ns| Outcome::Took(ns, things.unwrap_or(1)))
}
