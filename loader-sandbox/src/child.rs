//! A program in a process of its own: started, watched and, when its time is up, killed with everything that it started.

use std::{
    ffi::OsStr,
    fmt,
    io::{self, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, kill_process_group, set_parent_process_death_signal, setrlimit,
};

/// A child process that is about to be started.
///
/// ```
/// use loader_sandbox::{Child, Ending};
/// let report = Child::new("sh").args(["-c", "echo hi; kill -SEGV $$"]).run()?;
/// assert_eq!((report.ending, &report.stdout[..]), (Ending::Signal(11), &b"hi\n"[..]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Child {
    command: Command,
    limit: Duration,
    most: usize,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited by itself with this code.
    Exit(i32),
    /// This signal killed it.
    Signal(i32),
    /// Its time was up.
    TimedOut,
}

impl Ending {
    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exit(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }

    /// The exit code with which a command reports this ending: the child's own, or 128 + the signal's number (a
    /// child whose time was up was killed by SIGKILL).
    #[must_use]
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::Exit(code) => code,
            Self::Signal(n) => 128 + n,
            Self::TimedOut => 128 + 9,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exited with code {code}"),
            Self::Signal(n) => write!(f, "died of {}", signal_name(*n)),
            Self::TimedOut => f.write_str("ran out of time"),
        }
    }
}

/// The name of a signal, as `kill -l` spells it.
#[must_use]
pub fn signal_name(number: i32) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        n => return format!("signal {n}"),
    };
    name.into()
}

/// What a child left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub ending: Ending,
    /// What it wrote to its standard output, up to the limit.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error, up to the limit.
    pub stderr: Vec<u8>,
    /// How long it ran.
    pub took: Duration,
}

impl Child {
    /// A child that runs `program`, for at most a minute, and of whose output 1 MiB each is kept.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self { command: Command::new(program), limit: Duration::from_secs(60), most: 1 << 20 }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Kills it, and all it started, after this time.
    #[must_use]
    pub const fn no_longer_than(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end with its output kept.
    ///
    /// # Errors
    /// What the system says when it cannot be started or watched.
    pub fn run(mut self) -> io::Result<Report> {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let start = Instant::now();
        let mut child = self.command.spawn()?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let most = self.most;
        let readers = (thread::spawn(move || keep(out, most)), thread::spawn(move || keep(err, most)));
        let ending = watch(&mut child, start + self.limit)?;
        let took = start.elapsed();
        let text = |reader: thread::JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
        Ok(Report { ending, stdout: text(readers.0), stderr: text(readers.1), took })
    }

    /// Runs it to its end with this process's own input and output.
    ///
    /// # Errors
    /// As [`Child::run`].
    pub fn run_attached(mut self) -> io::Result<Ending> {
        let mut child = self.command.spawn()?;
        child.wait().map(Ending::of)
    }
}

/// Reads to the end, keeps the beginning.
fn keep(from: Option<impl Read>, most: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(mut from) = from {
        let _ = from.by_ref().take(most as u64).read_to_end(&mut kept);
        let _ = io::copy(&mut from, &mut io::sink());
    }
    kept
}

/// Waits for a child's end or its time's, and then makes sure that nothing of its group is left.
fn watch(child: &mut std::process::Child, until: Instant) -> io::Result<Ending> {
    let group = Pid::from_child(child);
    let mut pause = Duration::from_micros(200);
    let ending = loop {
        if let Some(status) = child.try_wait()? {
            break Ending::of(status);
        }
        if Instant::now() >= until {
            break Ending::TimedOut;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    };
    let _ = kill_process_group(group, Signal::KILL);
    child.wait()?;
    Ok(ending)
}

/// For the child itself, before it loads anything: no core file when it dies, and no life without its parent.
pub fn behave_as_child() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_hangs_is_killed_with_all_it_started() {
        let child = Child::new("sh").args(["-c", "sleep 100 & echo started; wait"]);
        let report = child.no_longer_than(Duration::from_millis(300)).run().unwrap();
        assert_eq!(report.ending, Ending::TimedOut);
        assert_eq!(report.stdout, b"started\n", "and its output is kept");
        assert!(report.took < Duration::from_secs(20), "the sleeper that held the pipe is gone too");
    }

    #[test]
    fn endings_become_exit_codes() {
        let code = |script| Child::new("sh").args(["-c", script]).run().unwrap().ending.exit_code();
        assert_eq!((code("exit 3"), code("kill -ABRT $$")), (3, 134));
    }
}
