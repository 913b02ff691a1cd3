//! The subcommands, what they have in common, and how the command ends.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | fine |
//! | 1 | refused: one sentence on standard error says why; a report follows where code faulted |
//! | 2 | the command line is wrong |
//! | 128 + n | signal n killed it |

mod call;
mod demo;
mod deps;
mod events;
mod function;
mod inspect;
mod log;
mod probe;
mod residue;
mod run;
mod sandbox;
mod screen;
mod sweep;
mod trace;
mod value;

use clap::{Args, Parser, Subcommand, ValueEnum};
use loader::{
    Engine, Error, ErrorKind, Library, MissingPolicy, Stage, SymbolName,
    sandbox::{
        Builder, Failure as Apart,
        report::{Cause, Fault},
    },
};
use loader_sandbox::{Child, Ending};
use serde_json::json;
use std::{
    env, fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// Loads ELF shared objects and Windows DLLs, from files or from memory, without the system's loader.
#[derive(Debug, Parser)]
#[command(name = "loader", version, max_term_width = 110)]
struct Command {
    #[command(subcommand)]
    what: What,
    /// Answer in JSON: one object, or one a line where there are many
    #[arg(long, global = true)]
    json: bool,
    /// Log to standard error: -v files, -vv symbols too, -vvv searches too
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show what this is: libraries of both formats become code out of bytes, and vanish again
    Demo,
    /// Call a function of a library and print what it returns
    Call(call::Call),
    /// Show what a file says about itself; nothing is loaded
    Inspect(inspect::Inspect),
    /// Show what would be loaded with a library, and from where; nothing is loaded
    Deps(deps::Deps),
    /// Open and close a library, and print everything that happens
    Trace(trace::Trace),
    /// Open and close many libraries, each in a process of its own, and say how each fared
    Sweep(sweep::Sweep),
    /// Run a Windows program
    Run(run::Run),
    /// Show what this machine enforces when a process is confined
    Sandbox(sandbox::Sandbox),
}

/// By which rules to load.
#[derive(Clone, Debug, Args)]
struct Loading {
    /// What becomes of imports that nobody defines: refuse the library, or stop when one is called
    #[arg(long, value_enum, default_value_t, value_name = "POLICY")]
    missing: Missing,
    /// A folder to look for DLLs in, after that of the DLL that needs one; may be given many times
    #[arg(long, value_name = "DIR")]
    dll_path: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Missing {
    #[default]
    Strict,
    Trap,
}

impl Missing {
    const fn policy(self) -> MissingPolicy {
        match self {
            Self::Strict => MissingPolicy::Strict,
            Self::Trap => MissingPolicy::Trap,
        }
    }
}

impl Loading {
    fn builder(&self) -> loader::Builder {
        let builder = Engine::builder().missing(self.missing.policy());
        self.dll_path.iter().fold(builder, loader::Builder::dll_path)
    }

    fn sandbox(&self) -> Builder {
        let builder = Builder::default().missing(self.missing.policy());
        self.dll_path.iter().fold(builder, Builder::dll_path)
    }
}

/// Why a subcommand did not do what it was asked for.
#[derive(Debug)]
enum Failure {
    /// The engine, or an image, said no.
    Refused(Error),
    /// The image's code faulted.
    Faulted(PathBuf, Box<Fault>),
    /// A signal killed the process in which the image ran.
    Died(PathBuf, i32),
    /// The image's code ended its process.
    Exited(i32),
    /// The sandbox killed it, and why.
    Killed(PathBuf, String),
    /// Something else, in one sentence.
    Other(String),
    /// Nobody reads what is written.
    Unread,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// An error of writing to standard output; those of reading say what was read.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Other(format!("cannot write: {error}")),
        }
    }
}

impl Failure {
    /// Why a sandbox did not do what it was asked for with a library.
    fn of(file: &Path, failure: Apart) -> Self {
        match failure {
            Apart::Refused(error) => Self::Refused(error),
            Apart::Faulted(fault) => Self::Faulted(file.into(), fault),
            Apart::Died(signal) => Self::Died(file.into(), signal),
            Apart::Exited(code) => Self::Exited(code),
            Apart::Killed(_) | Apart::Forbidden(_) => Self::Killed(file.into(), failure.to_string()),
            failure => Self::Other(failure.to_string()),
        }
    }
}

type Outcome<T = ()> = Result<T, Failure>;

/// Runs the command and returns its exit code.
pub(crate) fn run() -> ExitCode {
    let command = Command::parse();
    log::start(command.verbose);
    let json = command.json;
    let done = match command.what {
        What::Demo => demo::run(json),
        What::Call(call) => call.run(json),
        What::Run(run) => apart(&run.file.clone(), || run.run()),
        What::Trace(trace) => apart(&trace.file.clone(), || trace.run(json)),
        What::Inspect(inspect) => inspect.run(json),
        What::Deps(deps) => deps.run(json),
        What::Sweep(sweep) => sweep.run(json),
        What::Sandbox(sandbox) => sandbox.run(json),
    };
    done.unwrap_or_else(|failure| report(&failure, json))
}

/// Says what went wrong.
fn report(failure: &Failure, json: bool) -> ExitCode {
    let died = |file: &Path, signal| {
        let ending = Ending::Signal(signal);
        (format!("{}: {ending} while its code ran", file.display()), ending.exit_code())
    };
    let (sentence, code) = match failure {
        Failure::Refused(error) => (error.to_string(), 1),
        Failure::Other(sentence) => (sentence.clone(), 1),
        Failure::Faulted(file, fault) => match (&fault.error, &fault.cause) {
            (None, Cause::Signal { signal, .. }) => died(file, *signal),
            (Some(error), _) => (error.to_string(), 1),
            (None, cause) => (cause.to_string(), 1),
        },
        Failure::Died(file, signal) => died(file, *signal),
        Failure::Killed(file, how) => {
            (format!("{}: {how}", file.display()), Ending::Signal(9).exit_code()) // SIGKILL, as for a child
        }
        Failure::Exited(code) => return ExitCode::from(u8::try_from(*code).unwrap_or(1)),
        Failure::Unread => return ExitCode::from(128 + 13), // as SIGPIPE would have it
    };
    eprintln!("loader: {sentence}");
    if json {
        let mut error = json!({ "message": sentence });
        match failure {
            Failure::Refused(e) => error = error_json(e),
            Failure::Died(_, signal) => error["signal"] = (*signal).into(),
            Failure::Faulted(_, fault) => error = fault_json(error, fault),
            _ => {}
        }
        let _ = screen::object(&json!({ "error": error }));
    } else if let Failure::Faulted(_, fault) = failure {
        eprint!("\n{}", fault.report());
    }
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// A fault: the error or the signal that it was, and the report.
fn fault_json(mut error: serde_json::Value, fault: &Fault) -> serde_json::Value {
    match (&fault.error, &fault.cause) {
        (Some(e), _) => error = error_json(e),
        (None, Cause::Signal { signal, .. }) => error["signal"] = (*signal).into(),
        (None, _) => {}
    }
    error["fault"] = json!(fault.report());
    error
}

fn error_json(e: &Error) -> serde_json::Value {
    json!({
        "message": e.to_string(),
        "module": &*e.module,
        "stage": e.stage.to_string(),
        "dlresultcode": e.dlresultcode(),
        "win32": e.win32(),
    })
}

/// Set in the process that [`apart`] starts.
const APART: &str = "LOADER_APART";

/// Does something in a copy of this process, so that this one is left to tell how it died.
fn apart(file: &Path, work: impl FnOnce() -> Outcome<ExitCode>) -> Outcome<ExitCode> {
    if env::var_os(APART).is_some() {
        loader_sandbox::behave_as_child();
        return work();
    }
    let child = Child::new("/proc/self/exe").args(env::args_os().skip(1)).env(APART, "1");
    match child.run_attached() {
        Ok(Ending::Signal(signal)) => Err(Failure::Died(file.into(), signal)),
        Ok(ending) => Ok(ExitCode::from(u8::try_from(ending.exit_code()).unwrap_or(1))),
        Err(error) => Err(Failure::Other(format!("cannot start a process: {error}"))),
    }
}

/// The name by which to ask the engine for what the user calls `file`: a file that is there is meant as such; any
/// other name without a folder is looked for by the rules of its format.
fn name_of(file: &Path) -> PathBuf {
    match file.as_os_str().as_bytes().contains(&b'/') || !file.exists() {
        true => file.into(),
        false => Path::new(".").join(file),
    }
}

/// A library's name without its folder.
fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Opens a library from its file, or from a copy of its bytes.
fn open(engine: &Engine, file: &Path, memory: bool) -> Outcome<Library> {
    if !memory {
        return Ok(engine.open(name_of(file))?);
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Ok(engine.open_bytes(&name, read(file)?)?)
}

/// All bytes of a file.
fn read(file: &Path) -> Outcome<Vec<u8>> {
    let kind = match file.metadata() {
        Ok(m) if m.is_dir() => ErrorKind::NotALoadfile { found: "a directory" },
        Ok(_) => match fs::read(file) {
            Ok(bytes) => return Ok(bytes),
            Err(e) => ErrorKind::Io { what: "read the file", os: e.raw_os_error().unwrap_or(0) },
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => ErrorKind::NotFound { needed_by: "".into() },
        Err(e) => ErrorKind::Io { what: "open the file", os: e.raw_os_error().unwrap_or(0) },
    };
    Err(Error::new(&file.to_string_lossy(), Stage::Find, kind).into())
}

/// A time as the user spells it: a number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds.filter(|d| !d.is_zero()).ok_or_else(|| "not a number of seconds".into())
}

/// A symbol as the user spells it: a name, or `#12` for an ordinal.
fn symbol(text: &str) -> Result<SymbolName, String> {
    match text.strip_prefix('#') {
        Some(number) => {
            number.parse().map(SymbolName::Ordinal).map_err(|_| "no ordinal from #0 to #65535".into())
        }
        None => Ok(SymbolName::Name(text.as_bytes().into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Command::command().debug_assert();
    }

    #[test]
    fn symbols_are_names_or_ordinals() {
        assert_eq!(symbol("#12"), Ok(SymbolName::Ordinal(12)));
        assert_eq!(symbol("crc32"), Ok(SymbolName::Name((*b"crc32").into())));
        assert!(symbol("#70000").is_err());
    }
}
