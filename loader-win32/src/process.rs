//! One process, as Windows images see it: what [`Process::enter`] puts behind GS and what the functions keep.

use crate::{
    Advice, Counts, Services, bcrypt, com, crt, crypt, dbghelp,
    exception::{self, vectored::Handlers},
    heap::Heaps,
    kernel32::{
        self,
        atom::Atoms,
        child::{Child, OtherProcess},
        control::Control,
        datafile::DataFiles,
        environment::Environment,
        fiber,
        pool::Pool,
        search::DllSearch,
        sharing::Openings,
    },
    ldr::{Listed, Lists},
    memory::{Memory, book::MemoryUse},
    nt, ntdll,
    object::{Kind, Objects, PROCESS_ALL_ACCESS},
    ole,
    path::Drives,
    peb, powrprof, profile, query,
    registry::{self, Registry},
    rtl, security, shell32, sockets, teb, text, tracing, unconnected, user32, variadic, version, wsprintf,
};
use loader_core::{Addr, ErrorKind, HostModule, HostTable};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, Weak},
};

/// One Windows process inside this one: the state behind the built-in modules.
///
/// A thread that has entered keeps its process alive until it ends or enters another one.
pub struct Process {
    services: Weak<dyn Services>,
    counts: Arc<dyn Counts>,
    /// What calls the code of this process's modules has this number.
    caller: u64,
    peb: peb::Block,
    pub(crate) drives: Drives,
    pub(crate) objects: Objects,
    pub(crate) heaps: Heaps,
    pub(crate) memory: Memory,
    pub(crate) atoms: Atoms,
    pub(crate) environment: Environment,
    pub(crate) data: DataFiles,
    pub(crate) search: DllSearch,
    pub(crate) pool: Pool,
    pub(crate) handlers: Handlers,
    pub(crate) runtime: crt::Runtime,
    pub(crate) lists: Lists,
    pub(crate) symbols: dbghelp::Sessions,
    pub(crate) fibers: fiber::Known,
    pub(crate) meetings: nt::keyed::Meetings,
    pub(crate) openings: Openings,
    pub(crate) registry: Registry,
    pub(crate) control: Control,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("program", &self.program()).finish_non_exhaustive()
    }
}

impl Process {
    /// A process whose functions ask `services` for what only the engine knows, and `counts` for references; its modules are
    /// listed under the number `caller`, and of the host's files it sees what `drives` says.
    ///
    /// # Errors
    /// [`ErrorKind::Space`] where the system gives no pages for the process block.
    pub fn new(
        services: Weak<dyn Services>,
        counts: Arc<dyn Counts>,
        caller: u64,
        drives: Drives,
    ) -> Result<Arc<Self>, ErrorKind> {
        let environment = Environment::of_host();
        let texts = [
            text::wide_z(&program_path()).into(),
            text::wide_z(&command_line()).into(),
            environment.block().into(),
        ];
        Ok(Arc::new(Self {
            atoms: Atoms::default(),
            services,
            counts,
            caller,
            peb: peb::Block::new(texts)?,
            drives,
            objects: Objects::new(),
            heaps: Heaps::default(),
            memory: Memory::default(),
            environment,
            data: DataFiles::default(),
            search: DllSearch::default(),
            pool: Pool::default(),
            handlers: Handlers::default(),
            runtime: crt::Runtime::default(),
            lists: Lists::default(),
            symbols: dbghelp::Sessions::default(),
            fibers: fiber::Known::default(),
            meetings: nt::keyed::Meetings::default(),
            openings: Openings::default(),
            registry: Registry::default(),
            control: Control::default(),
        }))
    }

    /// Makes the calling thread ready to run Windows code of this process. Costs about a nanosecond when it is already.
    ///
    /// # Errors
    /// [`ErrorKind::Space`] where the system gives no pages for the thread block.
    #[inline]
    pub fn enter(self: &Arc<Self>) -> Result<(), ErrorKind> {
        if teb::is_ready_for(Arc::as_ptr(self)) {
            return Ok(());
        }
        teb::prepare(self)
    }

    /// The built-in modules. Nothing in them is bound to this process: a function finds its process through GS. So all
    /// processes have the same.
    #[must_use]
    pub fn modules(&self) -> Vec<HostModule> {
        static MODULES: OnceLock<Vec<HostModule>> = OnceLock::new();
        let with_ordinals = |m: HostModule| match m.name() {
            SOCKETS => {
                let all = sockets::ORDINALS.iter().chain(&unconnected::ORDINALS);
                all.fold(m, |m, &(n, f)| m.ordinal(n, f))
            }
            _ => m,
        };
        let make = || modules().iter().map(|(name, tables)| with_ordinals(module(name, tables))).collect();
        MODULES.get_or_init(make).clone()
    }

    /// The address that stands for the program's own image: what `GetModuleHandle(NULL)` should return.
    #[must_use]
    pub fn program(&self) -> Addr {
        Addr(self.peb.program() as u64)
    }

    /// The image of the program that this process runs: what `GetModuleHandle(NULL)` should return from now on.
    pub fn set_program(&self, base: Addr) {
        self.peb.set_program(base.0 as usize);
    }

    /// How much memory the process has reserved, committed, mapped and locked: what a test compares to say that no page
    /// was lost.
    #[must_use]
    pub fn memory_use(&self) -> MemoryUse {
        let (heaps, heap_bytes) = self.heaps.usage();
        MemoryUse { heaps, heap_bytes, ..self.memory.usage() }
    }

    /// A handle of another process, with all rights: what is done to its memory by it is done there.
    #[must_use]
    pub fn open_other(&self, other: Box<dyn OtherProcess>) -> usize {
        self.objects
            .open(Kind::Process { access: PROCESS_ALL_ACCESS, child: Some(Arc::new(Child::of(other))) })
    }

    /// Whether an access at this address hit a guard page; then the page is an ordinary one from now on. For whoever
    /// handles faults: a guard page tells once.
    #[must_use]
    pub fn guard_hit(&self, at: Addr) -> bool {
        if !self.memory.may_guard(at.0) {
            return false;
        }
        let image = self.services().and_then(|s| s.image_pages(at));
        self.memory.guard_hit(at.0, image.map(|image| image.id))
    }

    /// Libraries came: they are in memory, and nothing of them has run.
    pub fn came(self: &Arc<Self>, modules: &[Listed<'_>]) {
        self.ready_to_tell();
        self.lists.add(self.peb.ldr(), &self.drives, modules);
    }

    /// The entry point of the library at a base is about to be called for the first time.
    pub fn starts(&self, base: Addr) {
        self.lists.starts(self.peb.ldr(), base);
    }

    /// The libraries at these bases go: nothing of them runs any more.
    pub fn going(self: &Arc<Self>, bases: &[Addr]) {
        self.ready_to_tell();
        self.lists.remove(bases);
    }

    /// Who is told runs in this thread. Where it cannot be made ready, nobody can have registered in it.
    fn ready_to_tell(self: &Arc<Self>) {
        if self.lists.has_listeners() {
            let _ = self.enter();
        }
    }

    /// The process ends: values of fiber-local slots of this thread go to their callbacks, every library is told, and
    /// then the host process ends as Rust's and C's programs do. For this thread all others are gone already: who waits
    /// for one need not, and none of them returns from a wait.
    pub fn exit(self: &Arc<Self>, code: u32) -> ! {
        if self.enter().is_ok() {
            self.objects.last_thread();
            kernel32::tls::run_callbacks();
        }
        if let Some(services) = self.services() {
            services.process_ends();
        }
        self.objects.end();
        std::process::exit(code.cast_signed())
    }

    /// The process ends at once, and nobody is told.
    #[allow(unsafe_code)]
    pub fn terminate(code: u32) -> ! {
        // SAFETY: ends the process; nothing runs afterwards.
        unsafe { libc::_exit(code.cast_signed()) }
    }

    /// Notes a call that entry points had better not make.
    pub(crate) fn note(&self, function: &'static str, advice: Advice) -> Result<(), u32> {
        self.services().map_or(Ok(()), |services| services.note(function, advice))
    }

    pub(crate) fn peb(&self) -> &peb::Block {
        &self.peb
    }

    /// The number under which its modules are listed.
    pub(crate) fn caller(&self) -> u64 {
        self.caller
    }

    /// References, as far as they are counted only.
    pub(crate) fn counts(&self) -> &dyn Counts {
        &*self.counts
    }

    /// The engine, while it exists.
    pub(crate) fn services(&self) -> Option<Arc<dyn Services>> {
        self.services.upgrade()
    }
}

/// Built-in modules that take the place of a library only where no file of that name is found: they have less than
/// the real one.
#[must_use]
pub fn substitutes() -> Vec<HostModule> {
    vec![module("VCRUNTIME140.dll", &[crt::vcruntime::TABLE, exception::scope::CRT])]
}

fn module(name: &str, tables: &[HostTable]) -> HostModule {
    tables.iter().fold(HostModule::new(name), |m, t| m.functions(t))
}

/// The one module whose functions are mostly asked for by ordinal.
const SOCKETS: &str = "WS2_32.dll";

/// Which tables make which module.
fn modules() -> &'static [(&'static str, Vec<HostTable>)] {
    static MODULES: OnceLock<Vec<(&'static str, Vec<HostTable>)>> = OnceLock::new();
    MODULES.get_or_init(|| {
        let ucrt = [crt::SHARED, crt::UCRT].concat();
        let second_names = crt::private::table(&ucrt);
        vec![
            ("KERNEL32.dll", kernel32::TABLES.to_vec()),
            ("KERNELBASE.dll", kernel32::TABLES.to_vec()),
            ("ntdll.dll", [ntdll::TABLES, query::TABLES, rtl::TABLES].concat()),
            ("ucrtbase.dll", [&*ucrt, &[second_names]].concat()),
            ("msvcrt.dll", [crt::SHARED, crt::MSVCRT].concat()),
            ("bcrypt.dll", vec![bcrypt::BCRYPT]),
            ("bcryptprimitives.dll", vec![bcrypt::PRIMITIVES]),
            (
                "ADVAPI32.dll",
                vec![
                    bcrypt::ADVAPI32,
                    crypt::ADVAPI32,
                    registry::TABLE,
                    security::descriptor::TABLE,
                    security::sid::TABLE,
                    security::token::TABLE,
                    tracing::TABLE,
                ],
            ),
            ("USERENV.dll", vec![profile::USERENV]),
            ("dbghelp.dll", vec![dbghelp::TABLE]),
            ("POWRPROF.dll", vec![powrprof::TABLE]),
            ("PSAPI.DLL", vec![kernel32::psapi::PSAPI]),
            ("SHELL32.dll", vec![shell32::TABLE, profile::SHELL32]),
            ("OLEAUT32.dll", vec![ole::OLEAUT32]),
            ("ole32.dll", vec![ole::OLE32, com::TABLE]),
            ("combase.dll", vec![ole::OLE32, com::TABLE]),
            (SOCKETS, vec![sockets::WS2_32, unconnected::TABLE]),
            (
                "USER32.dll",
                vec![kernel32::resource::USER32, user32::TABLE, variadic::USER32, wsprintf::TABLE],
            ),
            ("VERSION.dll", vec![version::TABLE]),
        ]
    })
}

/// Whether a library of that name is one of the built-in modules.
pub(crate) fn is_built_in(name: &str) -> bool {
    let key = loader_pe::key(name);
    modules().iter().any(|(module, _)| loader_pe::key(module) == key)
}

/// How many processors this process may use.
pub(crate) fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| text::length(n.get()))
}

/// The Windows program that this process runs, if it runs one.
static PROGRAM: OnceLock<Program> = OnceLock::new();

struct Program {
    file: PathBuf,
    words: Vec<String>,
}

/// From now on this process runs a Windows program: its path and its arguments. A process has one command line, so only
/// the first call counts, and it comes before the first [`Process`] is made.
pub fn run_as(program: &str, arguments: &[String]) {
    let words = [&[Drives::Host.to_guest(program)], arguments].concat();
    PROGRAM.get_or_init(|| Program { file: program.into(), words });
}

/// The Windows program that this process runs, if it runs one.
#[must_use]
pub fn program() -> Option<&'static Path> {
    PROGRAM.get().map(|program| &*program.file)
}

/// The command line's words, the program itself first.
pub(crate) fn arguments() -> Vec<String> {
    let host = || std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    PROGRAM.get().map_or_else(host, |program| program.words.clone())
}

/// The program's path, in Windows form.
pub(crate) fn program_path() -> String {
    let host = || std::env::current_exe().ok().map(|p| Drives::Host.to_guest(&p.to_string_lossy()));
    let path = PROGRAM.get().and_then(|program| program.words.first().cloned()).or_else(host);
    path.unwrap_or_else(|| r"Z:\program.exe".into())
}

/// The command line that a Windows program would see: arguments with spaces in quotes.
pub(crate) fn command_line() -> String {
    arguments().iter().map(|argument| quoted(argument)).collect::<Vec<_>>().join(" ")
}

/// An argument as programs take command lines apart: a quote has a backslash in front, and backslashes are doubled where
/// a quote follows.
fn quoted(argument: &str) -> String {
    if !argument.is_empty() && !argument.contains([' ', '\t', '"']) {
        return argument.into();
    }
    let mut out = String::from('"');
    let mut backslashes = 0;
    for c in argument.chars() {
        if c == '"' {
            out.push_str(&"\\".repeat(backslashes + 1));
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        out.push(c);
    }
    out + &"\\".repeat(backslashes) + "\""
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn arguments_on_a_command_line() {
        for (argument, expected) in [
            ("plain", "plain"),
            (r"a\b", r"a\b"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            (r"ends with\", r#""ends with\\""#),
            (r#"say "x""#, r#""say \"x\"""#),
            (r#"a\"b"#, r#""a\\\"b""#),
        ] {
            assert_eq!(quoted(argument), expected);
        }
    }
}
