//! The helper's side: a started program that serves a sandbox and never reaches its `main`.
//!
//! ```text
//! constructor ─► if_asked ─► descriptors ─► confine::enter ─► warden ─► fault handler ─► engine ─► Entered::apply ─► requests
//! ```

use crate::{
    confine::{self, Enforced, Entered, Policy},
    os,
    protocol::{self, EngineSetup, Module, Passed, Reply, Request, Setup, Target, Trouble},
    report,
    sandbox::Happened,
    server::cases::{Cases, Ties},
    shared::Mapped,
    warden::{self, Ward},
};
use loader_core::{
    Error, Event, Placement, SymbolName,
    call::{Arg, Convention},
    deterministic,
    event::Topics,
    maps::Maps,
    set::FoundSymbol,
};
use rustix::{
    io::{Errno, fcntl_dupfd_cloexec},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};
use std::{
    env,
    fs::{self, File},
    io::{self, IoSliceMut, Write, stdin},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{fs::FileExt, net::UnixStream},
    },
    process,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// Set in a process that is to be a helper; the channel is its standard input.
pub(crate) const MARK: &str = "LOADER_SANDBOX";

/// What the engine in a helper does for the guest's sake. One request at a time, all in the process's first thread.
pub trait Harness {
    /// Loads a file, or bytes, and gives a number for the library.
    ///
    /// # Errors
    /// The engine's.
    fn load(&mut self, name: &str, bytes: Option<Vec<u8>>) -> Result<u32, Error>;

    /// Gives bytes for a library that will be needed by name.
    fn provide(&mut self, name: &str, bytes: Vec<u8>);

    /// Finds a function, or whatever has that name.
    ///
    /// # Errors
    /// The engine's.
    fn find(&mut self, target: Target, symbol: &SymbolName) -> Result<Function, Error>;

    /// Calls it and gives the registers in which functions return: the integer one and the floating-point one.
    ///
    /// # Errors
    /// The engine's.
    fn call(&mut self, function: &Function, arguments: &[Arg]) -> Result<(u64, u64), Error>;

    /// Closes a library.
    ///
    /// # Errors
    /// The engine's.
    fn close(&mut self, library: u32) -> Result<(), Error>;

    /// What is loaded.
    fn modules(&self) -> Vec<Module>;

    /// Where what it loaded itself lies: not what the process had before.
    fn places(&self) -> Vec<Placement>;
}

/// What is called. Whose it is stays loaded as long as it is known.
#[derive(Clone, Debug)]
pub struct Function {
    /// Where it is, and whose.
    pub found: FoundSymbol,
    /// How it is called.
    pub convention: Convention,
}

/// Makes an engine of a helper. There is one at a time.
pub type Make = fn(&EngineSetup, Events) -> Result<Box<dyn Harness>, Error>;

/// Where the engine's events go.
#[derive(Clone, Copy, Debug)]
pub struct Events {
    shared: &'static Mapped,
    topics: Topics,
}

impl Events {
    /// Tells the user's side of one.
    pub fn tell(&self, event: &Event<'_>) {
        if self.topics.contains(event.topic()) {
            self.shared.tell(&Happened::encode(event));
        }
    }
}

/// Whether this program would serve if it were started again.
static CARRIED: AtomicBool = AtomicBool::new(false);

/// Serves a sandbox, if that is what this process was started for, and then never returns. To be called before anything of
/// the program's own runs.
pub fn if_asked(make: Make) {
    if env::var_os(MARK).is_none() || !os::is_socket(stdin()) {
        CARRIED.store(true, Ordering::Relaxed);
        return;
    }
    os::forget_variable(MARK);
    let code = match serve(make) {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "the sandbox's helper cannot go on: {error}");
            1
        }
    };
    os::exit(code)
}

/// Whether the program that this process runs can be started again as a helper: its own constructor calls [`if_asked`].
/// That of a library which the program loaded would be of no use, for the helper would not load it.
pub(crate) fn is_carried() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    CARRIED.load(Ordering::Relaxed) && *ANSWER.get_or_init(|| is_in_program(if_asked as *const () as u64))
}

fn is_in_program(address: u64) -> bool {
    let Ok(program) = fs::read_link("/proc/self/exe") else { return false };
    Maps::of("self").find(address).is_some_and(|mapping| program.as_os_str() == mapping.name.as_str())
}

fn serve(make: Make) -> io::Result<()> {
    // Never dropped: the guest may close what it finds, and then it is not this side's to close.
    let channel: &'static UnixStream = Box::leak(Box::new(take_channel()?));
    let Some(attached) = next(channel)? else { return Ok(()) };
    let shared: &'static Mapped = Box::leak(Box::new(Mapped::open(&attached.ok_or(Errno::BADF)?)?));
    let (number, request) = shared.request();
    let helper = Helper { channel, shared };
    let Ok(Request::Begin(setup)) = protocol::decode(&request) else { return Err(Errno::PROTO.into()) };
    let mut cases = Cases::new(setup.policy.is_some());
    let mut engine = match helper.begin(setup, make) {
        Ok((engine, enforced)) => {
            helper.reply(number, Ok(Reply::Begun(enforced)));
            engine
        }
        Err(trouble) => {
            helper.reply(number, Err(trouble));
            return Ok(());
        }
    };
    while let Some(attached) = next(channel)? {
        let (number, request) = shared.request();
        let Ok(request) = protocol::decode(&request) else { return Err(Errno::PROTO.into()) };
        if matches!(request, Request::End) {
            drop(engine);
            process::exit(0); // as programs end: what was printed is written, handlers run
        }
        let reply = helper.answer(&mut engine, &mut cases, request, attached);
        os::flush();
        if !helper.reply(number, reply) {
            // The guest closed the channel. The reply is there all the same, and the end of this process tells of it.
            os::exit(0);
        }
    }
    Ok(())
}

/// The engine: another one, when one has gone.
struct Engine {
    make: Make,
    setup: EngineSetup,
    events: Events,
    now: Option<Box<dyn Harness>>,
}

impl Engine {
    fn now(&mut self) -> Result<&mut dyn Harness, Error> {
        let now = match self.now.take() {
            Some(now) => now,
            None => (self.make)(&self.setup, self.events)?,
        };
        Ok(&mut **self.now.insert(now))
    }

    /// It goes; what there was in it.
    fn end(&mut self) -> Vec<Module> {
        self.now.take().map(|harness| harness.modules()).unwrap_or_default()
    }
}

/// The channel out of the guest's way, and no other descriptor but the three standard ones, whatever came with the process.
fn take_channel() -> io::Result<UnixStream> {
    os::close_from(3)?;
    let own = fcntl_dupfd_cloexec(stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(own.into())
}

/// Waits for the next request, and the descriptor that comes with it; none when nobody is there any more.
fn next(channel: &UnixStream) -> io::Result<Option<Option<OwnedFd>>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = loop {
        match recvmsg(channel, &mut [IoSliceMut::new(&mut byte)], &mut attached, flags) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    if got.bytes == 0 {
        return Ok(None);
    }
    let descriptor = attached.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(Some(descriptor))
}

struct Helper {
    channel: &'static UnixStream,
    shared: &'static Mapped,
}

impl Helper {
    /// Everything up to the point from which the guest's code may run.
    fn begin(&self, setup: Setup, make: Make) -> Result<(Engine, Enforced), Trouble> {
        confine::no_core_dumps()?;
        if let Some(seed) = setup.seed {
            deterministic::begin(seed);
            // This process ends with `exit`: the functions of C that called the constructor never return.
            os::replace_chance([(); 2].map(|()| deterministic::random().unwrap_or_default()));
        }
        let channel = self.channel.as_fd();
        let entered = setup.policy.as_ref().map(|policy| (confine::enter(policy, &[channel]), policy));
        if entered.as_ref().is_some_and(|(entered, _)| entered.has_own_processes()) {
            warden::split(Ward::Warden, self.channel, self.shared)?;
            confine::show_own_processes()?;
        }
        warden::split(Ward::Guest, self.channel, self.shared)?;
        report::install(self.shared, self.channel.as_raw_fd())?;
        let events = Events { shared: self.shared, topics: Topics::from_bits_truncate(setup.topics) };
        let mut engine = Engine { make, setup: setup.engine, events, now: None };
        engine.now()?;
        let apply = |(entered, policy): (Entered, &Policy)| entered.apply(policy).map_err(Trouble::Unmet);
        let mut enforced = entered.map_or(Ok(Enforced::default()), apply)?;
        if let Some(listener) = enforced.take_listener() {
            listener.send(self.channel)?;
        }
        Ok((engine, enforced)) // From here on foreign code may run.
    }

    /// Answers a request; false if nobody hears it.
    fn reply(&self, number: u64, reply: Result<Reply, Trouble>) -> bool {
        let encoded = protocol::encode(&reply).unwrap_or_default();
        if !self.shared.reply(number, &encoded) {
            self.shared.reply(number, &[]); // no answer at all
        }
        os::ring(self.channel.as_raw_fd(), 0)
    }

    fn answer(
        &self,
        engine: &mut Engine,
        cases: &mut Cases,
        request: Request,
        attached: Option<OwnedFd>,
    ) -> Result<Reply, Trouble> {
        if matches!(request, Request::Renew) {
            return Ok(Reply::Renewed { modules: engine.end() });
        }
        let harness = engine.now()?;
        match request {
            Request::Begin(_) | Request::Renew | Request::End => Err(io::Error::from(Errno::PROTO).into()),
            Request::Load { name, bytes } => {
                let bytes = bytes.map(|len| read(attached, len)).transpose()?;
                let library = harness.load(&name, bytes)?;
                Ok(Reply::Loaded { library, modules: harness.modules() })
            }
            Request::Provide { name, bytes } => {
                harness.provide(&name, read(attached, bytes)?);
                Ok(Reply::Done)
            }
            Request::Call { target, symbol, arguments, bytes } => {
                let window = attached.map(|file| os::Window::open(file, bytes as usize)).transpose()?;
                let address = |at| window.as_ref().map_or(0, |w| w.address(at as usize));
                let word = |passed: &Passed| match *passed {
                    Passed::Scalar(arg) => arg,
                    Passed::Place(at) => Arg::Word(address(at)),
                };
                let words: Vec<Arg> = arguments.iter().map(word).collect();
                let function = harness.find(target, &symbol)?;
                let (integer, float) = harness.call(&function, &words)?;
                Ok(Reply::Called { integer, float })
            }
            Request::Find { target, symbol } => Ok(Reply::Found(harness.find(target, &symbol)?.found)),
            Request::Close { library } => {
                harness.close(library)?;
                Ok(Reply::Done)
            }
            Request::Cases { call, mode, limits, lengths } => {
                let bytes = read(attached, lengths.iter().sum())?;
                let mut at = bytes.as_ptr().expose_provenance() as u64;
                let inputs = lengths.iter().map(|len| {
                    at += len;
                    at - len..at
                });
                let ties = Ties { channel: self.channel, shared: self.shared, limits };
                Ok(Reply::Ran(cases.run(harness, &call, mode, inputs, &ties)?))
            }
        }
    }
}

fn read(file: Option<OwnedFd>, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    File::from(file.ok_or(Errno::BADF)?).read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_constructor_of_the_program_itself_counts() {
        assert!(is_in_program(is_in_program as *const () as u64));
        assert!(!is_in_program(libc::getpid as *const () as u64), "the C library's");
        assert!(!is_in_program(0));
    }
}
