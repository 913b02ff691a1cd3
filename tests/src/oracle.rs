//! Event traces of Windows: scripts of loader calls, and what the DLLs that they load say of every call they get.
//!
//! A folder of them has `dlls/`, `scenarios/NAME.txt` (the scripts), `expected/NAME.txt` (the traces) and
//! `windows/NAME.txt`, which takes the place of a trace where what was recorded is not what Windows does: see
//! [`pattern`] for its language. [`play`] runs one script in a process of its own. `corpus/oracle` has such a folder.

pub mod pattern;
pub mod play;

use crate::cores::on_all_cores;
use loader_sandbox::{Child, Ending};
use pattern::Pattern;
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// A scenario takes milliseconds; this is for a machine that is busy.
const LIMIT: Duration = Duration::from_secs(60);

/// A script whose lines are run in one process each, and of which only the results are recorded: its images may end
/// their process.
const A_PROCESS_EACH: &str = "59_bad_images";

/// What became of one scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its name: the file's, without extension.
    pub name: String,
    /// Nothing, or the first thing that is not as it should be.
    pub result: Result<(), String>,
}

/// A folder of scenarios.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at a path, of which anything may be missing.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The corpus' own.
    #[must_use]
    pub fn of_corpus() -> Self {
        Self::new(corpus::root().join("oracle"))
    }

    /// The scenarios, and the traces to which there is no scenario, by name.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let kinds = ["scenarios", "expected", "windows"].map(|kind| stems(&self.0.join(kind)));
        kinds.into_iter().flatten().collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn text(&self, kind: &str, name: &str) -> io::Result<String> {
        let bytes = fs::read(self.0.join(kind).join(format!("{name}.txt")))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn pattern(&self, name: &str) -> Result<Pattern, String> {
        match self.text("windows", name) {
            Ok(text) => Pattern::parse(&text).map_err(|what| format!("windows/{name}.txt: {what}")),
            Err(_) => match self.text("expected", name) {
                Ok(text) => Ok(Pattern::literal(&text)),
                Err(error) => Err(format!("expected/{name}.txt: {error}")),
            },
        }
    }

    /// Runs every scenario, each in a process of its own that `program` plays (see [`play::asked`]), and compares traces.
    #[must_use]
    pub fn judge(&self, program: &Path) -> Vec<Verdict> {
        let names = self.names();
        let verdict = |name: &String| {
            let result = self.judge_one(program, name);
            Verdict { name: name.clone(), result }
        };
        on_all_cores(&names, verdict)
    }

    fn judge_one(&self, program: &Path, name: &str) -> Result<(), String> {
        let pattern = self.pattern(name)?;
        let script = self.text("scenarios", name).map_err(|e| format!("scenarios/{name}.txt: {e}"))?;
        let (trace, last_words) = match name {
            A_PROCESS_EACH => (self.results(program, &script)?, String::new()),
            _ => self.trace(program, &script)?,
        };
        pattern.check(&trace).map_err(|difference| format!("{difference}{last_words}"))
    }

    /// What a script leads to, and what the process had to say beside it.
    fn trace(&self, program: &Path, script: &str) -> Result<(Vec<String>, String), String> {
        let (mut trace, code, last_words) = self.run(program, script)?;
        trace.push(format!("exit={code}"));
        Ok((trace, last_words))
    }

    /// What the lines of a script lead to, one process each.
    fn results(&self, program: &Path, script: &str) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        for line in script.lines().filter(|line| !line.is_empty()) {
            let (trace, code, _) = self.run(program, line)?;
            let of_result = |said: &String| !["main returns", "DllMain"].iter().any(|w| said.contains(w));
            all.extend(trace.into_iter().filter(of_result));
            if code != 0 {
                all.push(format!("[--] {line} -> process died rc={code}"));
            }
        }
        Ok(all)
    }

    fn run(&self, program: &Path, script: &str) -> Result<(Vec<String>, i32, String), String> {
        let folder = self.0.join("dlls");
        let child = Child::new(program).args([OsStr::new(play::COMMAND), folder.as_ref(), script.as_ref()]);
        let report = child.no_longer_than(LIMIT).run().map_err(|error| error.to_string())?;
        let trace = String::from_utf8_lossy(&report.stdout).lines().map(String::from).collect();
        let errors = String::from_utf8_lossy(&report.stderr);
        let last_words = match (report.ending, errors.lines().last()) {
            (Ending::Exit(_), None) => String::new(),
            (ending, None) => format!(" ({ending})"),
            (ending, Some(line)) => format!(" ({ending}: {line})"),
        };
        Ok((trace, report.ending.exit_code(), last_words))
    }
}

/// The names of a folder's text files, without extension.
fn stems(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let texts = entries.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    texts.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
}
