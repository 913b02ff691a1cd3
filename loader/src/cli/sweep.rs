//! `loader sweep`: many libraries, each in a sandbox of its own, and how each fared. What happens there is in `probe.rs`.

use super::{
    Failure, Loading, Outcome,
    probe::{Status, Verdict, Who, probe},
    screen::{self, Tone, paint},
    seconds,
};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt,
    fs::{self, File},
    io::{self, Read},
    num::NonZero,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

#[derive(Debug, Args)]
pub(super) struct Sweep {
    /// Libraries, and folders to search for *.so, *.so.*, *.dll and *.pyd (links are not followed there)
    #[arg(value_name = "PATH", required_unless_present = "list")]
    paths: Vec<PathBuf>,
    /// A file with more libraries, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// How many processes at a time [default: one for each processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
    /// How many seconds it may take to load a library, and how many to close it
    #[arg(long, value_name = "S", default_value = "60", value_parser = seconds)]
    timeout: Duration,
    /// Print the reasons to standard error, most frequent first
    #[arg(long)]
    reasons: bool,
    /// Let the system's own dlopen try each ELF library too, and say how it fared
    #[arg(long)]
    beside_system: bool,
    #[command(flatten)]
    loading: Loading,
}

/// In the order of the last line.
const ALL: [Status; 6] =
    [Status::Ok, Status::Refused, Status::Exited, Status::Crashed, Status::Hung, Status::Residue];

impl Sweep {
    pub(super) fn run(self, json: bool) -> Outcome<ExitCode> {
        let files = self.files()?;
        let jobs = self.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZero::get);
        let bar = ProgressBar::new(files.len() as u64); // draws nothing where standard error is no terminal
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let (mut tally, mut systems) = (Tally::default(), Tally::default());
        let mut only_system = 0;

        let (next, (sender, results)) = (AtomicUsize::new(0), mpsc::channel());
        let written = thread::scope(|scope| {
            for _ in 0..jobs.min(files.len()) {
                let sender = sender.clone();
                scope.spawn(|| {
                    let sender = sender; // dropped when there is no more to do
                    while let Some((n, file)) = self.take(&next, &files) {
                        if sender.send((n, self.tried(file))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            // Results come as they come, and are shown in the order of the files.
            let mut early = BTreeMap::new();
            let mut shown = 0;
            for (n, tried) in results {
                early.insert(n, tried);
                bar.inc(1);
                while let Some(tried) = early.remove(&shown) {
                    bar.suspend(|| show(&files[shown], &tried, json))?;
                    tally.add(&tried.ours);
                    tried.systems.iter().for_each(|verdict| systems.add(verdict));
                    only_system += usize::from(tried.only_by_the_system());
                    shown += 1;
                }
            }
            Ok::<(), io::Error>(())
        });
        bar.finish_and_clear();
        written?;
        if self.reasons {
            tally.reasons().iter().for_each(|(n, status, kind)| eprintln!("{n:>7}  {status}: {kind}"));
        }
        if json {
            let mut summary = tally.object();
            if self.beside_system {
                summary["system"] = systems.object();
                summary["only_system"] = only_system.into();
            }
            screen::object(&summary)?;
        } else {
            if self.beside_system {
                screen::line(format_args!(
                    "the system's dlopen: {systems}; {only_system} are ok only there"
                ))?;
            }
            screen::line(&tally)?;
        }
        Ok(if tally.count(Status::Ok) == tally.all() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    fn take<'f>(&self, next: &AtomicUsize, files: &'f [PathBuf]) -> Option<(usize, &'f Path)> {
        let n = next.fetch_add(1, Ordering::Relaxed);
        files.get(n).map(|file| (n, &**file))
    }

    /// Tries one library, and lets the system try it where that is asked for.
    fn tried(&self, file: &Path) -> Tried {
        let probe = |who| probe(file, &self.loading, self.timeout, who);
        let ours = probe(Who::Engine);
        let systems = (self.beside_system && is_elf(file)).then(|| probe(Who::System));
        Tried { ours, systems }
    }

    fn files(&self) -> Outcome<Vec<PathBuf>> {
        let mut files = Vec::new();
        if let Some(list) = &self.list {
            let mut text = Vec::new();
            let read = match list.as_os_str() == "-" {
                true => io::stdin().lock().read_to_end(&mut text),
                false => File::open(list).and_then(|mut f| f.read_to_end(&mut text)),
            };
            read.map_err(|e| Failure::Other(format!("{}: {e}", list.display())))?;
            let lines = text.split(|&b| b == b'\n').filter(|l| !l.is_empty());
            files.extend(lines.map(|l| PathBuf::from(OsStr::from_bytes(l))));
        }
        for path in &self.paths {
            match path.is_dir() {
                true => {
                    walk(path, &mut files).map_err(|e| Failure::Other(format!("{}: {e}", path.display())))?
                }
                false => files.push(path.clone()),
            }
        }
        Ok(files)
    }
}

/// How one library fared.
#[derive(Debug)]
struct Tried {
    ours: Verdict,
    systems: Option<Verdict>,
}

impl Tried {
    fn only_by_the_system(&self) -> bool {
        self.ours.status != Status::Ok && self.systems.as_ref().is_some_and(|v| v.status == Status::Ok)
    }
}

/// The libraries in a folder and below, sorted.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            if let Err(e) = walk(&path, files) {
                log::warn!("{}: {e}", path.display());
            }
        } else if kind.is_file() && has_library_name(&entry.file_name()) && has_library_mark(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn has_library_name(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_lowercase();
    name.contains(".so.") || [".so", ".dll", ".pyd"].iter().any(|end| name.ends_with(end))
}

fn has_library_mark(path: &Path) -> bool {
    head(path).is_some_and(|head| head == *b"\x7fELF" || head.starts_with(b"MZ"))
}

fn is_elf(path: &Path) -> bool {
    head(path).is_some_and(|head| head == *b"\x7fELF")
}

/// How a file begins.
fn head(path: &Path) -> Option<[u8; 4]> {
    let mut head = [0; 4];
    File::open(path).and_then(|mut f| f.read_exact(&mut head)).ok()?;
    Some(head)
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Refused => "refused",
        Status::Exited => "exited",
        Status::Crashed => "crashed",
        Status::Hung => "hung",
        Status::Residue => "residue",
    }
}

fn show(file: &Path, tried: &Tried, json: bool) -> io::Result<()> {
    let Verdict { status, ms, reason, .. } = &tried.ours;
    if json {
        let file = file.to_string_lossy();
        let mut line = json!({ "status": status, "ms": ms, "path": file, "reason": reason });
        if let Some(Verdict { status, ms, reason, .. }) = &tried.systems {
            line["system"] = json!({ "status": status, "ms": ms, "reason": reason });
        }
        return screen::object(&line);
    }
    let tone = match status {
        Status::Ok => Tone::Good,
        Status::Refused => Tone::Aside,
        _ => Tone::Bad,
    };
    let status = paint(tone, format_args!("{:<7}", word(*status)));
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let aside = if tried.only_by_the_system() { " (the system opens it)" } else { "" };
    screen::line(format_args!("{status} {ms:>9.1} ms  {}{reason}{aside}", file.display()))
}

/// How all of them fared.
#[derive(Debug, Default)]
struct Tally {
    counts: [usize; ALL.len()],
    reasons: BTreeMap<(&'static str, String), usize>,
}

impl Tally {
    fn add(&mut self, verdict: &Verdict) {
        self.counts[verdict.status as usize] += 1;
        if verdict.status != Status::Ok {
            *self.reasons.entry((word(verdict.status), verdict.kind.clone())).or_default() += 1;
        }
    }

    fn count(&self, status: Status) -> usize {
        self.counts[status as usize]
    }

    fn all(&self) -> usize {
        self.counts.iter().sum()
    }

    /// The reasons with their numbers, most frequent first.
    fn reasons(&self) -> Vec<(usize, &'static str, &str)> {
        let mut list: Vec<_> = self.reasons.iter().map(|((s, kind), n)| (*n, *s, &**kind)).collect();
        list.sort_by_key(|(n, ..)| std::cmp::Reverse(*n));
        list
    }

    fn object(&self) -> Value {
        let counts: serde_json::Map<_, _> =
            ALL.iter().map(|&s| (word(s).into(), self.count(s).into())).collect();
        let reason = |(n, status, kind)| json!({ "count": n, "status": status, "reason": kind });
        let reasons: Vec<Value> = self.reasons().into_iter().map(reason).collect();
        json!({ "summary": counts, "of": self.all(), "reasons": reasons })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ALL.iter().try_for_each(|&s| write!(f, "{} {}, ", word(s), self.count(s)))?;
        write!(f, "of {}", self.all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn library_names_are_told_from_others() {
        let yes = ["libz.so", "libz.so.1.2.13", "A.DLL", "_x.cp311-win_amd64.pyd"];
        let no = ["libz.a", "so", "x.sorry", "dll.txt"];
        assert!(yes.iter().all(|n| has_library_name(n.as_ref())));
        assert!(!no.iter().any(|n| has_library_name(n.as_ref())));
    }

    #[test]
    fn the_last_line_counts_everything() {
        let mut tally = Tally::default();
        let verdict =
            |status, kind: &str| Verdict { status, ms: 1.0, reason: String::new(), kind: kind.into() };
        tally.add(&verdict(Status::Ok, ""));
        tally.add(&verdict(Status::Refused, "a"));
        tally.add(&verdict(Status::Refused, "b"));
        tally.add(&verdict(Status::Refused, "b"));
        assert_eq!(tally.to_string(), "ok 1, refused 3, exited 0, crashed 0, hung 0, residue 0, of 4");
        assert_eq!(tally.reasons(), [(2, "refused", "b"), (1, "refused", "a")]);
    }
}
