//! A sandbox as its user sees it.

use crate::{
    Builder, Failure, Outcome, Returned,
    confine::{Enforced, RefusedCall},
    memory::Memory,
    process::{Limits, Process, Start, Woken},
    protocol::{self, Call, Module, Passed, Ran, Reply, Request, Setup, Target, Trouble},
    report::{self, Given, Record, Scene},
    server::Mode,
    shared::{SLOT, SLOTS, Word},
};
use loader_core::{
    Addr, Error, ErrorKind, Event, Format, Placement, SymbolName, call::Arg, event::Topics, set::FoundSymbol,
};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    process::Pid,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    ffi::CString,
    fmt,
    fs::File,
    io,
    os::unix::{fs::FileExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
};

/// A process of its own in which an engine loads and calls what is not trusted.
///
/// Whatever the guest does, an operation comes to its end within its limits and says what happened ([`Failure`]). Dropping
/// the sandbox kills the guest and all that it started.
#[derive(Debug)]
pub struct Sandbox {
    process: Process,
    limits: Limits,
    enforced: Enforced,
    modules: Vec<Module>,
    /// The libraries that came as bytes, for reports of faults.
    given: Vec<Given>,
    events: Vec<Happened>,
    /// The texts of the last ones, whoever took them, for reports of faults.
    last: VecDeque<String>,
    /// How many events were seen.
    seen: u64,
}

/// A library that a sandbox loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Loaded(u32);

/// An argument of a call.
#[derive(Debug)]
pub enum Argument<'a> {
    /// A number or an address, in a register.
    Scalar(Arg),
    /// The address of a copy of these bytes.
    Bytes(&'a [u8]),
    /// The address of a copy of this text, with a zero byte behind it.
    Text(&'a str),
    /// The address of a copy of this buffer; what the function leaves in it is here when it has returned.
    Buffer(&'a mut [u8]),
}

macro_rules! from {
    ($($kind:ty => $scalar:expr),* $(,)?) => { $(
        impl From<$kind> for Argument<'_> {
            fn from(value: $kind) -> Self {
                Self::Scalar($scalar(value))
            }
        }
    )* };
}

from! {
    i32 => |v: i32| Arg::Word(i64::from(v).cast_unsigned()),
    i64 => |v: i64| Arg::Word(v.cast_unsigned()),
    u32 => |v: u32| Arg::Word(v.into()),
    u64 => Arg::Word,
    usize => |v: usize| Arg::Word(v as u64),
    bool => |v: bool| Arg::Word(v.into()),
    f32 => Arg::Float,
    f64 => Arg::Double,
    Addr => |v: Addr| Arg::Word(v.0),
}

impl<'a> From<&'a [u8]> for Argument<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a str> for Argument<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a mut [u8]> for Argument<'a> {
    fn from(buffer: &'a mut [u8]) -> Self {
        Self::Buffer(buffer)
    }
}

/// An event in the sandbox's engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// What kind it is of.
    pub topic: Topics,
    /// What it does to what is loaded.
    pub change: Change,
    /// What happened, in words.
    pub text: String,
}

/// What an event does to what is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Nothing.
    None,
    /// A module was found.
    Found {
        /// Its name.
        name: Box<str>,
        /// Its file, where it has one.
        path: Option<PathBuf>,
        /// Its format.
        format: Format,
    },
    /// A module is in memory.
    Mapped {
        /// Its name.
        name: Box<str>,
        /// Where.
        at: Placement,
    },
    /// A module's memory was given back.
    Unmapped {
        /// Its name.
        name: Box<str>,
    },
    /// Nothing yet: code of it is called.
    Calling {
        /// The kind of function, and the occasion.
        what: Box<str>,
    },
}

/// How much of an event's text is kept.
const TEXT: usize = 300;

impl Happened {
    pub(crate) fn encode(event: &Event<'_>) -> Vec<u8> {
        let change = match *event {
            Event::Found { name, path, format, .. } => {
                Change::Found { name: name.into(), path: path.map(Path::to_path_buf), format }
            }
            Event::Mapped { name, at } => Change::Mapped { name: name.into(), at },
            Event::Unmapped { name } => Change::Unmapped { name: name.into() },
            Event::Calling { kind, occasion, .. } => {
                Change::Calling { what: format!("{kind}: {occasion}").into() }
            }
            _ => Change::None,
        };
        let mut text = event.to_string();
        text.truncate(text.floor_char_boundary(TEXT));
        let encode = |change| protocol::encode(&(event.topic().bits(), change, &text));
        let whole = encode(change).ok().filter(|bytes| bytes.len() <= SLOT);
        whole.or_else(|| encode(Change::None).ok()).unwrap_or_default()
    }

    /// What is no event is one of which nothing is known.
    fn decode(bytes: &[u8]) -> Self {
        let (topic, change, text) = protocol::decode(bytes).unwrap_or((0, Change::None, String::new()));
        let text = text.replace(char::is_control, "?"); // it is shown to people
        Self { topic: Topics::from_bits_truncate(topic), change, text }
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl Sandbox {
    /// The way to a sandbox.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn start(start: &Start, setup: Setup, limits: Limits) -> Outcome<Self> {
        let process = Process::start(start)?;
        let (modules, events, enforced) = (Vec::new(), Vec::new(), Enforced::default());
        let given = Vec::new();
        let mut sandbox =
            Self { process, limits, enforced, modules, given, events, last: VecDeque::new(), seen: 0 };
        let request = protocol::encode(&Request::Begin(setup))?;
        let woken = sandbox.process.begin(&request).map_err(Failure::system("start a helper"))?;
        match sandbox.judge(woken) {
            Ok(Reply::Begun(enforced)) => {
                sandbox.enforced = enforced;
                Ok(sandbox)
            }
            Ok(_) => Err(Failure::Garbled),
            Err(failure @ (Failure::Refused(_) | Failure::System { .. } | Failure::Unmet(_))) => Err(failure),
            Err(failure) => {
                let [_, printed] = sandbox.process.take_printed();
                let text = format!("{failure}: {}", String::from_utf8_lossy(&printed).trim_end());
                Err(Failure::System { what: "start a helper", error: io::Error::other(text) })
            }
        }
    }

    /// What the guest is kept from, measure by measure.
    #[must_use]
    pub const fn enforced(&self) -> &Enforced {
        &self.enforced
    }

    /// Loads a library: a path, or a name that is looked for by the rules of its format. Its initialisers run.
    ///
    /// The guest's side opens the file and those that it needs: where they are not among the system's libraries, they must
    /// be in what the guest may [read](Builder::read).
    ///
    /// # Errors
    /// Any [`Failure`].
    pub fn load(&mut self, path: impl AsRef<Path>) -> Outcome<Loaded> {
        let blame = || {
            let name = path.as_ref().to_string_lossy();
            Failure::Refused(Error::new(&name, loader_core::Stage::Request, ErrorKind::BadName))
        };
        let name = path.as_ref().to_str().ok_or_else(blame)?;
        self.loaded(&Request::Load { name: name.into(), bytes: None }, None)
    }

    /// Loads a library whose bytes are in memory. Its initialisers run.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub fn load_bytes(&mut self, name: &str, bytes: &[u8]) -> Outcome<Loaded> {
        let file = bulk(bytes).map_err(Failure::system("send a library"))?;
        let file = self.give(name, file);
        self.loaded(&Request::Load { name: name.into(), bytes: Some(bytes.len() as u64) }, Some(&file))
    }

    fn loaded(&mut self, request: &Request, attached: Option<&File>) -> Outcome<Loaded> {
        match self.ask(request, attached)? {
            Reply::Loaded { library, modules } => {
                self.modules = modules;
                Ok(Loaded(library))
            }
            _ => Err(self.garbled()),
        }
    }

    /// Gives bytes for a library that will be needed by name.
    ///
    /// # Errors
    /// Any [`Failure`] but a refusal.
    pub fn provide(&mut self, name: &str, bytes: &[u8]) -> Outcome<()> {
        let file = bulk(bytes).map_err(Failure::system("send a library"))?;
        let file = self.give(name, file);
        self.done(&Request::Provide { name: name.into(), bytes: bytes.len() as u64 }, Some(&file))
    }

    /// Keeps the bytes of a library.
    fn give(&mut self, name: &str, file: File) -> Arc<File> {
        let file = Arc::new(file);
        self.given.retain(|(known, _)| **known != *name);
        self.given.push((name.into(), file.clone()));
        file
    }

    /// Closes a library. Its terminators run.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub fn close(&mut self, library: Loaded) -> Outcome<()> {
        self.done(&Request::Close { library: library.0 }, None)
    }

    /// Lets the engine go with all that it loaded: terminators run, and whatever was [`Loaded`] is unknown from here on. What
    /// is loaded next goes to a new engine. Returns what there was until then.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub fn renew(&mut self) -> Outcome<Vec<Module>> {
        match self.ask(&Request::Renew, None)? {
            Reply::Renewed { modules } => {
                self.modules.clear();
                Ok(modules)
            }
            _ => Err(self.garbled()),
        }
    }

    fn done(&mut self, request: &Request, attached: Option<&File>) -> Outcome<()> {
        match self.ask(request, attached)? {
            Reply::Done => Ok(()),
            _ => Err(self.garbled()),
        }
    }

    /// Calls a function of the first library that has it, in the order in which they were loaded.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub fn call<'a>(
        &mut self,
        symbol: impl Into<SymbolName>,
        arguments: impl IntoIterator<Item = Argument<'a>>,
    ) -> Outcome<Returned> {
        self.called(Target::First, symbol.into(), arguments.into_iter().collect())
    }

    /// Calls a function of one library, or of what that needs.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub fn call_in<'a>(
        &mut self,
        library: Loaded,
        symbol: impl Into<SymbolName>,
        arguments: impl IntoIterator<Item = Argument<'a>>,
    ) -> Outcome<Returned> {
        self.called(Target::Library(library.0), symbol.into(), arguments.into_iter().collect())
    }

    pub(crate) fn called(
        &mut self,
        target: Target,
        symbol: SymbolName,
        mut arguments: Vec<Argument<'_>>,
    ) -> Outcome<Returned> {
        let (passed, bytes) = lay_out(&arguments)?;
        let file = match bytes.is_empty() {
            true => None,
            false => Some(bulk(&bytes).map_err(Failure::system("send the arguments"))?),
        };
        let request = Request::Call { target, symbol, arguments: passed.clone(), bytes: bytes.len() as u64 };
        let Reply::Called { integer, float } = self.ask(&request, file.as_ref())? else {
            return Err(self.garbled());
        };
        for (argument, passed) in arguments.iter_mut().zip(passed) {
            if let (Argument::Buffer(buffer), Passed::Place(at), Some(file)) = (argument, passed, &file) {
                file.read_exact_at(buffer, at).map_err(|_| self.garbled())?;
            }
        }
        Ok(Returned { integer, float })
    }

    /// Finds a function, or whatever has that name, without calling it.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub fn find(&mut self, library: Loaded, symbol: impl Into<SymbolName>) -> Outcome<FoundSymbol> {
        let request = Request::Find { target: Target::Library(library.0), symbol: symbol.into() };
        match self.ask(&request, None)? {
            Reply::Found(found) => Ok(found),
            _ => Err(self.garbled()),
        }
    }

    /// Calls a function for each of these inputs.
    pub(crate) fn cases(&mut self, call: Call, mode: Mode, inputs: &[&[u8]]) -> Outcome<Vec<Ran>> {
        let lengths = inputs.iter().map(|input| input.len() as u64).collect();
        let file = bulk(&inputs.concat()).map_err(Failure::system("send the inputs"))?;
        match self.ask(&Request::Cases { call, mode, limits: self.limits, lengths }, Some(&file))? {
            Reply::Ran(ran) => Ok(ran),
            _ => Err(self.garbled()),
        }
    }

    /// What happened in the engine since this was last asked; the latest 8192, if it was more.
    pub fn events(&mut self) -> Vec<Happened> {
        self.look();
        std::mem::take(&mut self.events)
    }

    /// What is loaded.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// What the guest printed since this was last asked: to its standard output, and to its standard error.
    pub fn printed(&mut self) -> (Vec<u8>, Vec<u8>) {
        let [out, err] = self.process.take_printed();
        (out, err)
    }

    /// The system calls that were refused to the guest since this was last asked; the first 1024, if it was more. They
    /// fail with `EPERM`, and the guest goes on. Files that the policy does not name are another matter: the kernel tells only
    /// the guest that they cannot be opened.
    pub fn refused(&self) -> Vec<RefusedCall> {
        self.process.take_refused()
    }

    /// Lets the guest's process end as programs do: what is loaded is terminated, and what was printed is written. Then
    /// nothing that the guest started is left.
    ///
    /// # Errors
    /// [`Failure`]s that only code can be the cause of: it still runs.
    pub fn end(mut self) -> Outcome<()> {
        match self.ask(&Request::End, None) {
            Err(Failure::Exited(0)) => Ok(()),
            Err(failure) => Err(failure),
            Ok(_) => Err(Failure::Garbled),
        }
    }

    /// Kills the guest and everything that it started. From here on all operations say [`Failure::Gone`].
    pub fn kill(&mut self) {
        self.process.end();
    }

    /// The guest's memory.
    pub fn memory(&mut self) -> Memory<'_> {
        Memory::of(self)
    }

    /// The number of the guest's process, as long as it lives: by it the system knows it here.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.guest().map(|pid| pid.as_raw_nonzero().get().cast_unsigned())
    }

    /// The guest's process, as long as it lives.
    pub(crate) fn guest(&self) -> Option<Pid> {
        self.process.guest().filter(|_| !self.process.is_over())
    }

    fn garbled(&mut self) -> Failure {
        self.process.end();
        Failure::Garbled
    }

    fn ask(&mut self, request: &Request, attached: Option<&File>) -> Outcome<Reply> {
        if self.process.is_over() {
            return Err(Failure::Gone);
        }
        let request = protocol::encode(request)?;
        let woken = self.process.ask(&request, attached, &self.limits);
        let outcome = woken.map_err(Failure::system("ask the helper")).and_then(|woken| self.judge(woken));
        if outcome.as_ref().is_err_and(|failure| !failure.is_survived()) {
            self.process.end();
        }
        outcome
    }

    /// What a wait's end means. The guest's process, if it is there, stands still where it faulted.
    fn judge(&mut self, woken: Woken) -> Outcome<Reply> {
        self.look();
        match woken {
            Woken::Replied(bytes) => match protocol::decode::<Result<Reply, Trouble>>(&bytes)? {
                Ok(reply) => Ok(reply),
                Err(trouble) => Err(self.trouble(trouble)),
            },
            Woken::Faulted(bytes) => {
                let record = Record::read(&bytes).filter(|record| record.is_signal());
                let Some(record) = record else { return Err(Failure::Garbled) };
                match record.forbidden() {
                    Some(call) => Err(Failure::Forbidden(call)),
                    None => Err(Failure::Faulted(Box::new(report::of_signal(record, &self.scene())))),
                }
            }
            Woken::Over(limit) => Err(Failure::Killed(limit)),
            Woken::Ended(status) => Err(ending(status)),
        }
    }

    pub(crate) fn trouble(&self, trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Engine(error) if matches!(error.kind, ErrorKind::Exception(_)) => {
                let shared = self.process.shared().record().unwrap_or_default();
                let fault = report::of_exception(error, &shared, &self.scene());
                fault.map_or(Failure::Garbled, |fault| Failure::Faulted(Box::new(fault)))
            }
            Trouble::Engine(error) => Failure::Refused(error),
            Trouble::System { os } => {
                let error = io::Error::from_raw_os_error(os);
                Failure::System { what: "do it in the helper", error }
            }
            Trouble::Unmet(what) => Failure::Unmet(what),
            Trouble::Over(limit) => Failure::Killed(limit),
        }
    }

    fn scene(&self) -> Scene<'_> {
        Scene {
            process: self.process.guest(),
            modules: &self.modules,
            given: &self.given,
            events: &self.last,
        }
    }

    /// Takes the events that were told, and what they say about what is loaded.
    fn look(&mut self) {
        let told = self.process.shared().word(Word::Events).unwrap_or(self.seen).max(self.seen);
        let first = self.seen.max(told.saturating_sub(SLOTS as u64));
        for number in first..told {
            let Ok(bytes) = self.process.shared().event(number) else { break };
            let event = Happened::decode(&bytes);
            self.follow(&event.change);
            self.last.truncate(report::EVENTS - 1);
            self.last.push_front(event.text.clone());
            self.events.push(event);
        }
        self.seen = told;
        let more = self.events.len().saturating_sub(SLOTS);
        self.events.drain(..more);
    }

    fn follow(&mut self, change: &Change) {
        match change {
            Change::None | Change::Calling { .. } => {}
            Change::Found { name, path, format } => {
                let (name, path) = (name.clone(), path.clone());
                let (at, rights) = (Placement::default(), Vec::new());
                self.modules.push(Module { name, path, format: *format, at, rights });
            }
            Change::Mapped { name, at } => {
                self.modules.iter_mut().filter(|m| m.name == *name).for_each(|m| m.at = *at);
            }
            Change::Unmapped { name } => self.modules.retain(|m| m.name != *name),
        }
    }
}

/// How a process that nobody told about ended.
pub(crate) fn ending(status: ExitStatus) -> Failure {
    match (status.code(), status.signal()) {
        (Some(code), _) => Failure::Exited(code),
        (None, signal) => Failure::Died(signal.unwrap_or(0)),
    }
}

/// Bytes for the helper.
fn bulk(bytes: &[u8]) -> io::Result<File> {
    let file = File::from(memfd_create("bytes", MemfdFlags::CLOEXEC)?);
    file.write_all_at(bytes, 0)?;
    Ok(file)
}

/// The arguments as they are passed, and the bytes that those which are addresses lead to.
fn lay_out(arguments: &[Argument<'_>]) -> Outcome<(Vec<Passed>, Vec<u8>)> {
    /// What any type may be aligned to.
    const ALIGN: usize = 64;
    let mut all = Vec::new();
    let mut place = |bytes: &[u8]| {
        all.resize(all.len().next_multiple_of(ALIGN), 0);
        let at = all.len() as u64;
        all.extend_from_slice(bytes);
        Passed::Place(at)
    };
    let passed = arguments.iter().map(|argument| {
        Ok(match argument {
            Argument::Scalar(arg) => Passed::Scalar(*arg),
            Argument::Bytes(bytes) => place(bytes),
            Argument::Buffer(buffer) => place(buffer),
            Argument::Text(text) => {
                let text =
                    CString::new(*text).map_err(|_| Failure::TooMuch("text with a zero byte in it"))?;
                place(text.as_bytes_with_nul())
            }
        })
    });
    Ok((passed.collect::<Outcome<_>>()?, all))
}
