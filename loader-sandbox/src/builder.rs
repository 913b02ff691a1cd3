//! A sandbox that is about to be started.

use crate::{
    Outcome, Sandbox,
    confine::{self, Policy, Require},
    process::{Limits, Start},
    protocol::{EngineSetup, Setup},
};
use loader_core::{MissingPolicy, event::Topics};
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// A sandbox that is about to be started.
#[derive(Clone, Debug)]
#[must_use = "nothing is started before `start`"]
pub struct Builder {
    engine: EngineSetup,
    policy: Policy,
    confined: bool,
    limits: Limits,
    topics: Topics,
    seed: Option<u64>,
    start: Start,
}

/// Where what the guest prints goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// It is kept, up to this many bytes in all between two looks at it; a guest that prints more is killed.
    Kept(u64),
    /// To this process's own standard output and standard error.
    Inherited,
    /// Nowhere.
    Discarded,
}

/// How many descriptors the guest may have.
const OPEN_FILES: u64 = 1024;

impl Default for Builder {
    fn default() -> Self {
        let limits =
            Limits { memory: Some(1 << 30), cpu: None, wall: Duration::from_secs(10), output: 1 << 20 };
        Self {
            engine: EngineSetup::default(),
            policy: Policy::default(),
            confined: true,
            limits,
            topics: Topics::TROUBLE | Topics::FILES,
            seed: None,
            start: Start {
                environment: Vec::new(),
                folder: None,
                same_places: false,
                output: Output::Kept(1 << 20),
            },
        }
    }
}

impl Builder {
    /// Bytes of memory that the guest may have at a time, beside what the engine has when it begins; 1 GiB if nothing is
    /// said, and no limit with [`u64::MAX`].
    ///
    /// A guest that has more when it is looked at (every 5 ms, and at the end of every operation) is killed. Before it has an
    /// eighth more the kernel gives it none, unless it is not confined: allocations fail as they do where memory is short.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.limits.memory = (bytes != u64::MAX).then_some(bytes);
        self
    }

    /// Processor time of all threads together that one operation may use; no limit but the clock's if nothing is said.
    pub fn cpu(mut self, time: Duration) -> Self {
        self.limits.cpu = Some(time);
        self
    }

    /// Time that one operation may take; ten seconds if nothing is said, and no limit with [`Duration::MAX`].
    pub fn wall(mut self, time: Duration) -> Self {
        self.limits.wall = time;
        self
    }

    /// Where what the guest prints goes; up to 1 MiB is kept if nothing is said.
    pub fn output(mut self, output: Output) -> Self {
        self.start.output = output;
        self.limits.output = match output {
            Output::Kept(most) => most,
            Output::Inherited | Output::Discarded => u64::MAX,
        };
        self
    }

    /// A file that the guest may read, or a folder with all that is in it. The system's libraries it may always read.
    pub fn read(mut self, path: impl Into<PathBuf>) -> Self {
        self.policy.read.push(path.into());
        self
    }

    /// A file that the guest may read and write, or a folder with all that is in it.
    pub fn write(mut self, path: impl Into<PathBuf>) -> Self {
        self.policy.write.push(path.into());
        self
    }

    /// Lets the guest use the network.
    pub fn network(mut self, allowed: bool) -> Self {
        self.policy.network = allowed;
        self
    }

    /// Lets the guest have memory that can be written and executed at once, as just-in-time compilers of Windows do.
    pub fn writable_code(mut self, allowed: bool) -> Self {
        self.policy.write_xor_execute = !allowed;
        self
    }

    /// Lets the helper make copies of itself.
    pub(crate) fn copies(mut self) -> Self {
        self.policy.processes = true;
        self
    }

    /// What of the confinement must be enforced for the sandbox to start.
    pub fn require(mut self, require: Require) -> Self {
        self.policy.require = require;
        self
    }

    /// Lets the guest ask of the system whatever this process may: for guests that are trusted, and only may fail.
    pub fn unconfined(mut self) -> Self {
        self.confined = false;
        self
    }

    /// A variable of the guest's environment, which is empty if nothing is said.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.start.environment.push((name.into(), value.into()));
        self
    }

    /// The guest's working folder; this process's own if nothing is said.
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.start.folder = Some(folder.into());
        self
    }

    /// What happens to imports that nobody defines.
    pub fn missing(mut self, policy: MissingPolicy) -> Self {
        self.engine.missing = policy;
        self
    }

    /// A folder in which DLLs are looked for, after that of the DLL that needs one. It may be read.
    pub fn dll_path(mut self, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        self.policy.read.push(folder.clone());
        self.engine.dll_path.push(folder);
        self
    }

    /// Makes a folder, which the guest may read and write, all that Windows code sees of the host's files: it is drive `C:`.
    pub fn windows_root(mut self, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        self.policy.write.push(folder.clone());
        self.engine.windows_root = Some(folder);
        self
    }

    /// The kinds of events that are kept: of files and of trouble, if nothing is said.
    pub fn topics(mut self, topics: Topics) -> Self {
        self.topics = topics;
        self
    }

    /// Makes runs alike: with the same seed, program, libraries and requests, the guest finds everything at the same
    /// addresses, the same time and the same random numbers.
    ///
    /// Time begins with the year 2000. It passes by a microsecond whenever somebody looks, and by as much as somebody sleeps.
    /// This and random numbers are what the functions of Windows tell, and those of the C library as ELF code is bound to them
    /// (`time`, `gettimeofday`, `clock_gettime`, `timespec_get`, `clock`, the `sleep` family, `getrandom`, `getentropy`, the
    /// `arc4random` family); and the stack guard of C and the cookie of `/GS` follow the seed.
    ///
    /// What stays as it is: the instructions `rdtsc`, `rdrand`, `rdseed` and `cpuid`; system calls that code makes itself, by
    /// the instruction or by `syscall`; the system's random devices and its files of processes and times; what the C library
    /// asks for within itself (names of temporary files, the words that it hides addresses with); waits with a deadline, which
    /// the system's own clock ends (one that was reckoned from the time told here is over at once); the processor time of
    /// threads and processes of Windows; numbers of processes and threads, where there is no namespace of them
    /// ([`Measure::ProcessNamespace`](confine::Measure::ProcessNamespace)); and the order in which threads run.
    pub fn deterministic(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self.start.same_places = true;
        self
    }

    /// Starts the helper.
    ///
    /// # Errors
    /// [`Failure::System`](crate::Failure::System), [`Failure::Unmet`](crate::Failure::Unmet).
    pub fn start(self) -> Outcome<Sandbox> {
        let limits = confine::Limits {
            memory: self.limits.hard(),
            file_size: self.limits.memory,
            open_files: Some(OPEN_FILES),
            ..Default::default()
        };
        let policy = self.confined.then_some(Policy { limits, supervised: true, ..self.policy });
        let setup = Setup { engine: self.engine, policy, topics: self.topics.bits(), seed: self.seed };
        Sandbox::start(&self.start, setup, self.limits)
    }
}
