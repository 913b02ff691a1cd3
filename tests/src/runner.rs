//! Plays one case on one subject: every step of its script, twice over, and what must be seen of each.
//!
//! The second time through, caches are warm and every image is loaded afresh: then not one mapping may stay.

use crate::{
    call::call,
    process::{self, Mapped},
    subject::{Subject, UNIQUE_STAYS},
    voice::Voice,
};
use corpus::{Action, Case, Open, Step, Symbol, Value};
use loader::{Addr, Convention};
use std::{collections::HashMap, fmt, io, thread};

/// What did not happen as the script says.
#[derive(Debug)]
pub struct Failure {
    /// The line of `case.txt`; 0 speaks of the case as a whole.
    pub line: usize,
    /// Which time through the script: 1 or 2.
    pub pass: usize,
    /// What was expected, and what happened.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "case.txt:{} (pass {}): {}", self.line, self.pass, self.what)
    }
}

/// Plays a case.
///
/// # Errors
/// The first thing that is not as the script says.
pub fn run<S: Subject>(case: &Case) -> Result<(), Failure> {
    let start = |what| Failure { line: 0, pass: 0, what };
    let mut voice = Voice::listen().map_err(|e| start(e.to_string()))?;
    let subject = S::new(case).map_err(start)?;
    (1..=2).try_for_each(|pass| {
        let mut stage =
            Stage { subject: &subject, voice: &mut voice, roots: HashMap::new(), warm: pass == 2 };
        let at = |line| move |what| Failure { line, pass, what };
        let before = State::of(&subject).map_err(at(0))?;
        for step in &case.script {
            stage.play(step).map_err(at(step.line))?;
        }
        let left = stage.is_as(&before, &case.leaves);
        // What stays has stayed before the second pass begins.
        let stays = S::UNIQUE_STAYS && pass == 1 && case.script.iter().any(is_kept);
        let left = match (stays, left) {
            (true, Ok(())) => Err(format!("nothing stayed, though {UNIQUE_STAYS} says so")),
            (true, Err(_)) => Ok(()),
            (false, left) => left,
        };
        left.map_err(at(case.script.last().map_or(0, |step| step.line)))
    })
}

/// Whether a step is marked as one after which a library may stay.
fn is_kept(step: &Step) -> bool {
    step.glibc.as_deref() == Some(UNIQUE_STAYS)
}

/// What there is before something is tried.
struct State {
    loaded: Vec<String>,
    mapped: Mapped,
}

impl State {
    fn of<S: Subject>(subject: &S) -> Result<Self, String> {
        Ok(Self { loaded: subject.loaded(), mapped: process::mapped().map_err(text)? })
    }
}

fn text(error: io::Error) -> String {
    error.to_string()
}

/// Where a script is played.
struct Stage<'a, S: Subject> {
    subject: &'a S,
    voice: &'a mut Voice,
    roots: HashMap<String, S::Root>,
    /// Whether everything that is loaded once and kept was loaded before, so that no mapping may come and stay.
    warm: bool,
}

impl<S: Subject> Stage<'_, S> {
    fn play(&mut self, step: &Step) -> Result<(), String> {
        match &step.action {
            Action::Open(open) => self.open(open)?,
            Action::Call { root, symbol, arguments, result, fresh_thread } => {
                self.call(root, symbol, arguments, result, *fresh_thread)?;
            }
            Action::Absent { root, symbol } => {
                if self.subject.find(self.root(root)?, symbol)?.is_some() {
                    return Err(format!("{symbol} is there"));
                }
            }
            Action::Rights { root, symbol, rights } => {
                let (at, _) = self.find(root, symbol)?;
                let found = process::rights(at.0).map_err(text)?;
                if found.as_ref() != Some(rights) {
                    let found = found.as_deref().unwrap_or("not mapped");
                    return Err(format!("the page of {symbol} is {found}, not {rights}"));
                }
            }
            Action::Close(name) => {
                let root = self.roots.remove(name).ok_or("the script closes what is not open")?;
                self.subject.close(root)?;
            }
        }
        let said = self.voice.said().map_err(text)?;
        self.heard(step, said)
    }

    fn open(&mut self, open: &Open) -> Result<(), String> {
        let before = State::of(self.subject)?;
        match (self.subject.open(open), &open.refusal) {
            (Ok(root), None) => {
                self.roots.insert(open.name.clone(), root);
                Ok(())
            }
            (Ok(_), Some(_)) => Err(format!("{} was opened, and should have been refused", open.file)),
            (Err(refused), None) => Err(format!("refused: {}", refused.sentence)),
            (Err(refused), Some(wanted)) => {
                if let Some(word) = wanted.words.iter().find(|word| !refused.sentence.contains(*word)) {
                    return Err(format!("the refusal does not say `{word}`: {}", refused.sentence));
                }
                if let (Some(number), Some(wanted)) = (refused.win32, wanted.win32)
                    && number != wanted
                {
                    return Err(format!("refused with {number}, not {wanted}: {}", refused.sentence));
                }
                self.is_as(&before, &[]).map_err(|e| format!("after `{}`: {e}", refused.sentence))
            }
        }
    }

    fn call(
        &self,
        root: &str,
        symbol: &Symbol,
        arguments: &[Value],
        result: &Value,
        fresh_thread: bool,
    ) -> Result<(), String> {
        // Looking a symbol up makes the thread ready for its code, so it is looked up where it is called.
        let work = || {
            let (at, convention) = self.find(root, symbol)?;
            call(at, convention, arguments, result)
        };
        let died = |_| Err("the thread panicked".to_owned());
        let got = match fresh_thread {
            true => thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(died)),
            false => work(),
        }?;
        if got == *result { Ok(()) } else { Err(format!("{symbol} gave {got}, not {result}")) }
    }

    fn root(&self, name: &str) -> Result<&S::Root, String> {
        self.roots.get(name).ok_or_else(|| format!("{name} is not open"))
    }

    fn find(&self, root: &str, symbol: &Symbol) -> Result<(Addr, Convention), String> {
        self.subject.find(self.root(root)?, symbol)?.ok_or_else(|| format!("{symbol} is not there"))
    }

    /// Compares what the images said with what the step says they say.
    fn heard(&self, step: &Step, mut said: Vec<String>) -> Result<(), String> {
        let constant = match &step.glibc {
            Some(constant) if !is_kept(step) => {
                S::differs(constant).ok_or_else(|| format!("no constant {constant}"))?.then_some(constant)
            }
            _ => None,
        };
        match (constant, said == step.log) {
            (None, true) => Ok(()),
            (None, false) => Err(format!("the images said {said:?}, not {:?}", step.log)),
            (Some(constant), true) => Err(format!("nothing differs here, though {constant} says so")),
            (Some(constant), false) => {
                // A known difference is one of order: the lines themselves are the same.
                let mut expected = step.log.clone();
                said.sort();
                expected.sort();
                let more = || format!("{constant} does not explain {said:?} for {expected:?}");
                if said == expected { Ok(()) } else { Err(more()) }
            }
        }
    }

    /// Whether nothing came since `before` but what may stay.
    fn is_as(&self, before: &State, but: &[String]) -> Result<(), String> {
        let now = State::of(self.subject)?;
        let mut new = now.loaded.clone();
        for name in &before.loaded {
            let at = new.iter().position(|other| other == name).ok_or_else(|| format!("{name} is gone"))?;
            new.remove(at);
        }
        if let Some(name) = new.iter().find(|name| !but.contains(name)) {
            return Err(format!("{name} is still loaded"));
        }
        if let Some(name) = but.iter().find(|name| !now.loaded.contains(name)) {
            return Err(format!("{name} should have stayed"));
        }
        match process::difference(&before.mapped, &now.mapped) {
            more if self.warm && !more.is_empty() => Err(format!("not everything was unmapped:{more}")),
            _ => Ok(()),
        }
    }
}
