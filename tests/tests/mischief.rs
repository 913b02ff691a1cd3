//! Every kind of mischief of the corpus, ELF and PE, in a sandbox: the parent is told the right thing within its limit, and is
//! as it was.
//!
//! What each function tries is in `corpus/mischief/README.md`. What is asked of the system and not given comes back as the
//! function's own result, below zero.

use corpus::Format;
use loader::sandbox::{Argument, Failure, Limit, Outcome, Returned, Sandbox, report::Cause};
use object::Object;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tests::process;

const MIB: u64 = 1 << 20;
/// What the guest may have.
const MEMORY: u64 = 64 * MIB;
const WALL: Duration = Duration::from_millis(700);
/// How long it may take until the parent hears of it: the limit, and the start of a process on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the parent must be told.
#[derive(Clone, Copy, Debug)]
enum Told {
    Killed(Limit),
    /// The memory is short: it was killed, or all that it got is less than it may have.
    Sated,
    /// Refused when there was no more, or killed for the memory that it took.
    Scarce,
    /// A signal, with all that is known of the fault.
    Faulted(i32),
    /// The same, or only the signal, where the guest had taken it for itself or had no stack to tell of it.
    Died(i32),
    /// An exception that nobody handled.
    Raised(u32),
    Exited(i32),
    /// The system said no.
    Denied,
    /// It may do that; and from then on every answer is typed, too.
    Allowed,
}

use Told::{Allowed, Denied, Died, Exited, Faulted, Killed, Raised, Sated, Scarce};

impl Told {
    fn suits(self, outcome: &Outcome<Returned>) -> bool {
        match (self, outcome) {
            (Killed(limit), Err(Failure::Killed(over))) => *over == limit,
            (Sated, Ok(eaten)) => (1..=(MEMORY / MIB) as i64 * 9 / 8 + 1).contains(&eaten.i64()),
            (Sated, Err(Failure::Killed(over))) => *over == Limit::Memory,
            (Scarce, Ok(answer)) => answer.i64() < 0,
            (Scarce, Err(Failure::Killed(over))) => *over == Limit::Memory,
            (Faulted(wanted) | Died(wanted), Err(Failure::Faulted(fault))) => {
                matches!(fault.cause, Cause::Signal { signal, .. } if signal == wanted)
            }
            (Raised(code), Err(Failure::Faulted(fault))) => {
                matches!(&fault.cause, Cause::Exception(exception) if exception.code == code)
            }
            (Died(signal), Err(Failure::Died(of))) => *of == signal,
            (Exited(code), Err(Failure::Exited(with))) => *with == code,
            (Denied, Ok(answer)) => answer.i64() < 0,
            (Denied, Err(Failure::Forbidden(_))) => true,
            (Allowed, Ok(answer)) => answer.i64() == 0,
            _ => false,
        }
    }
}

const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;
const SIGABRT: i32 = 6;

/// Both formats, then what only one of them has.
const BOTH: [(&str, Told, Told); 25] = [
    ("spins", Killed(Limit::Wall), Killed(Limit::Wall)),
    ("sleeps", Killed(Limit::Wall), Killed(Limit::Wall)),
    ("eats_memory", Sated, Sated),
    ("takes", Allowed, Allowed), // nothing, by what it is given here
    ("raw_forks", Denied, Denied),
    ("starts_threads", Scarce, Scarce),
    ("leaves_a_process", Denied, Denied),
    ("fills_stack", Died(SIGSEGV), Raised(0xc000_00fd)),
    ("writes_sealed", Faulted(SIGSEGV), Raised(0xc000_0005)),
    ("calls_null", Faulted(SIGSEGV), Raised(0xc000_0005)),
    ("exits", Exited(7), Exited(7)),
    ("raw_exits", Exited(0), Exited(0)),
    ("kills_itself", Died(SIGKILL), Died(SIGKILL)),
    ("faults_and_looks_well", Exited(0), Exited(0)),
    ("faults_for_ever", Killed(Limit::Wall), Killed(Limit::Wall)),
    ("reads_file", Denied, Denied),
    ("writes_file", Denied, Denied),
    ("raw_opens", Denied, Denied),
    ("raw_socket", Denied, Denied),
    ("kills_parent", Denied, Denied),
    ("reads_parent", Denied, Denied),
    ("starts_a_shell", Denied, Denied),
    ("opens_its_code", Denied, Denied),
    ("prints", Killed(Limit::Output), Killed(Limit::Output)),
    ("breaks_heap", Faulted(SIGABRT), Faulted(SIGABRT)),
];
const ELF: [(&str, Told); 9] = [
    ("forks", Denied),
    ("spins_without_signals", Killed(Limit::Wall)),
    ("aborts", Faulted(SIGABRT)),
    ("faults_ignored", Died(SIGSEGV)),
    ("opens_socket", Denied),
    ("asks_in_a_thread", Allowed),
    ("times_answered", Allowed),
    ("closes_descriptors", Allowed),
    ("closes_everything", Allowed),
];
const PE: [(&str, Told); 4] = [
    ("terminates_itself", Exited(7)),
    ("raises", Raised(0xe000_0001)),
    ("closes_descriptors", Allowed),
    ("closes_everything", Allowed),
];
/// In the initialiser; what is left of the image's name says what.
const BORN: [(&str, Told, Told); 4] = [
    ("born-exits", Exited(7), Exited(7)),
    ("born-leaves", Exited(0), Exited(0)),
    ("born-faults", Faulted(SIGSEGV), Raised(0xc000_0005)),
    ("born-spins", Killed(Limit::Wall), Killed(Limit::Wall)),
];

/// What is to be seen of each function of a format.
fn all(format: Format) -> Vec<(&'static str, Told)> {
    let both = BOTH.map(|(name, elf, pe)| (name, if format == Format::Elf { elf } else { pe }));
    let own: &[(&str, Told)] = if format == Format::Elf { &ELF } else { &PE };
    both.iter().chain(own).copied().collect()
}

fn image(format: Format, name: &str) -> PathBuf {
    let file = match format {
        Format::Elf => format!("lib{name}.so"),
        Format::Pe => format!("{name}.dll"),
    };
    corpus::root().join("mischief").join(format.folder()).join(file)
}

fn loaded(image: &Path) -> Outcome<Sandbox> {
    let mut sandbox = Sandbox::builder().memory(MEMORY).wall(WALL).start()?;
    let name = image.file_name().unwrap().to_string_lossy();
    sandbox.load_bytes(&name, &fs::read(image).unwrap())?;
    Ok(sandbox)
}

/// What of this process mischief could change.
#[derive(Debug, PartialEq)]
struct Unharmed {
    descriptors: usize,
    children: usize,
    canary: bool,
}

impl Unharmed {
    fn now(canary: &Path) -> Self {
        let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
        let children = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            text.split_whitespace().count()
        };
        Self {
            descriptors: process::descriptors().unwrap(),
            children: tasks.map(children).sum(),
            canary: canary.exists(),
        }
    }
}

/// Tries all of a list, each in a sandbox of its own, and fails with all that is not as it should be.
fn each(list: &[(&str, Told)], attempt: impl Fn(&str, &Path) -> Outcome<Returned>) {
    let _alone = process::alone();
    let folder = tempfile::tempdir().unwrap();
    let canary = folder.path().join("written");
    let before = Unharmed::now(&canary);
    let wrong = list.iter().filter_map(|&(name, told)| {
        let start = Instant::now();
        let outcome = attempt(name, &canary);
        let (took, suits) = (start.elapsed(), told.suits(&outcome));
        let said = outcome.map(Returned::i64).map_err(|failure| failure.to_string()); // and what a report holds is gone
        let after = Unharmed::now(&canary);
        let right = suits && took < PATIENCE && after == before;
        (!right)
            .then(|| format!("{name}: {told:?}, not {said:?}, after {took:?}; {before:?}, then {after:?}"))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{} of {} are wrong: {wrong:#?}", wrong.len(), list.len());
}

/// Calls a function with what it would harm: a file that it may not read, or one that it may not make.
fn calls(format: Format) {
    let path = image(format, "mischief");
    each(&all(format), |name, canary| {
        let mut sandbox = loaded(&path)?;
        let victim = if name.starts_with("writes_file") { canary.to_str().unwrap() } else { "/etc/passwd" };
        let outcome = sandbox.call(name, [Argument::from(victim)]);
        // Whatever it was, what comes next is typed too: it works, or the sandbox is gone.
        let next = sandbox.call("closes_nothing", []);
        assert!(next.is_err(), "{name}: {next:?}");
        outcome
    });
}

#[test]
fn elf_functions() {
    calls(Format::Elf);
}

#[test]
fn pe_functions() {
    calls(Format::Pe);
}

#[test]
fn initialisers() {
    for format in Format::ALL {
        let list = BORN.map(|(name, elf, pe)| (name, if format == Format::Elf { elf } else { pe }));
        each(&list, |name, _| loaded(&image(format, name))?.call("nothing", []));
    }
}

#[test]
fn no_function_of_the_corpus_is_left_out() {
    let _alone = process::alone();
    for format in Format::ALL {
        let bytes = fs::read(image(format, "mischief")).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let name = |export: object::Result<object::read::Export<'_>>| {
            String::from_utf8(export.unwrap().name().name().unwrap().to_vec()).unwrap()
        };
        let there: BTreeSet<String> = file.exports().unwrap().map(name).collect();
        let tried: BTreeSet<String> = all(format).iter().map(|(name, _)| (*name).into()).collect();
        assert_eq!(tried, there, "{format:?}");
    }
}
