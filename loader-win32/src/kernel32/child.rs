//! Other Windows processes: children that were created suspended and are never resumed. What may be done with one is what a
//! debugger or an installer does before a program runs: its memory is reserved, written, asked about and freed.
//!
//! Programs are not run, so a process that is to run at once is not created. But the host may have processes for which it
//! gives handles ([`OtherProcess`]).

use super::{Bool, TRUE, answer, error::code, fail, system::process_of, wait::object};
use crate::{
    guest::Ptr,
    lock,
    memory::{
        Info,
        book::{self, Book},
        protect::Protect,
        puppet::Puppet,
    },
    object::{Kind, Object, PROCESS_ALL_ACCESS, STILL_ACTIVE},
    path, teb,
};
use loader_core::PAGE;
use std::{
    fmt,
    fs::File,
    io::Read,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
};

const PROCESS_TERMINATE: u32 = 1;
const PROCESS_QUERY_LIMITED_INFORMATION: u32 = 0x1000;
const CREATE_SUSPENDED: u32 = 4;

/// Another process, as its memory is worked on. Numbers of errors are Windows' own.
pub trait OtherProcess: Send + Sync + fmt::Debug {
    /// The number by which the system knows it.
    fn id(&self) -> u32;
    /// Whether it has ended.
    fn has_ended(&self) -> bool;
    /// Ends it.
    fn end(&self);
    /// `VirtualAlloc` in it.
    ///
    /// # Errors
    /// As `GetLastError` has it.
    fn allocate(&self, at: u64, len: u64, kind: u32, protect: u32) -> Result<u64, u32>;
    /// `VirtualFree` in it.
    ///
    /// # Errors
    /// As `GetLastError` has it.
    fn free(&self, at: u64, len: u64, kind: u32) -> Result<(), u32>;
    /// `VirtualProtect` in it: what the first page had before.
    ///
    /// # Errors
    /// As `GetLastError` has it.
    fn protect(&self, at: u64, len: u64, protect: u32) -> Result<u32, u32>;
    /// `VirtualQuery` in it.
    ///
    /// # Errors
    /// As `GetLastError` has it.
    fn query(&self, at: u64) -> Result<Info, u32>;
}

/// A process that was created suspended.
#[derive(Debug)]
struct Suspended {
    memory: Mutex<Book<Puppet>>,
    id: u32,
    ended: AtomicBool,
}

impl OtherProcess for Suspended {
    fn id(&self) -> u32 {
        self.id
    }

    fn has_ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    fn end(&self) {
        let memory = lock(&self.memory);
        memory.pages().end();
        self.ended.store(true, SeqCst);
    }

    fn allocate(&self, at: u64, len: u64, kind: u32, protect: u32) -> Result<u64, u32> {
        lock(&self.memory).allocate(at, len, kind, protect)
    }

    fn free(&self, at: u64, len: u64, kind: u32) -> Result<(), u32> {
        lock(&self.memory).free(at, len, kind)
    }

    fn protect(&self, at: u64, len: u64, protect: u32) -> Result<u32, u32> {
        let (range, protect) = (book::pages(at, len)?, Protect::new(protect)?);
        lock(&self.memory).protect(range, protect)?.ok_or(code::INVALID_ADDRESS)
    }

    /// What is not in the book is free.
    fn query(&self, at: u64) -> Result<Info, u32> {
        let (book, page) = (lock(&self.memory), at & !(PAGE - 1));
        Ok(book.query(page).unwrap_or_else(|| Info::free(page..book.next(page))))
    }
}

/// Another process. If it was created here, it ends with the last handle of it.
#[derive(Debug)]
pub(crate) struct Child {
    process: Box<dyn OtherProcess>,
    exit_code: AtomicU32,
}

impl Child {
    fn start() -> Result<Self, u32> {
        let puppet = Puppet::start().map_err(|_| code::NOT_ENOUGH_MEMORY)?;
        let id = puppet.id();
        let memory = Mutex::new(Book::new(puppet));
        Ok(Self::of(Box::new(Suspended { memory, id, ended: AtomicBool::new(false) })))
    }

    pub(crate) fn of(process: Box<dyn OtherProcess>) -> Self {
        Self { process, exit_code: AtomicU32::new(STILL_ACTIVE) }
    }

    /// The process, as long as it has not ended.
    pub(crate) fn alive(&self) -> Result<&dyn OtherProcess, u32> {
        if self.has_ended() { Err(code::ACCESS_DENIED) } else { Ok(&*self.process) }
    }

    /// The number by which the system knows it.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it was ended, or has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.exit_code.load(SeqCst) != STILL_ACTIVE || self.process.has_ended()
    }

    /// Ends it, unless it has ended.
    pub(crate) fn end(&self, code: u32) {
        if self.exit_code.compare_exchange(STILL_ACTIVE, code, SeqCst, SeqCst).is_ok() {
            self.process.end();
        }
    }
}

/// The program that a command line or an application's name means: a file of the host's that begins as programs do.
pub(crate) fn program(application: &str, command: &str) -> Result<(), u32> {
    let first = match command.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => command.split_whitespace().next(),
    };
    let name = if application.is_empty() { first.unwrap_or_default() } else { application };
    let host = path::to_host(name).filter(|_| !name.is_empty()).ok_or(code::PATH_NOT_FOUND)?;
    let file = [host.clone(), format!("{host}.exe")].into_iter().find(|file| Path::new(file).is_file());
    let mut head = [0; 2];
    let file = File::open(file.ok_or(code::FILE_NOT_FOUND)?);
    let read = file.and_then(|mut file| file.read_exact(&mut head));
    match read.is_ok() && head == *b"MZ" {
        true => Ok(()),
        false => Err(193), // ERROR_BAD_EXE_FORMAT
    }
}

/// `PROCESS_INFORMATION`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Created {
    process: usize,
    thread: usize,
    process_id: u32,
    thread_id: u32,
}

/// The thread that the new process has can be waited for, and not resumed: its handle is one of the process.
fn create(application: &str, command: &str, flags: u32, out: Ptr<Created>) -> Bool {
    let made = program(application, command).and_then(|()| match flags & CREATE_SUSPENDED {
        0 => Err(code::NOT_SUPPORTED),
        _ => Child::start(),
    });
    answer(made.map(|child| {
        let (objects, id) = (&teb::process().objects, child.id());
        let process =
            objects.make(Kind::Process { access: PROCESS_ALL_ACCESS, child: Some(Arc::new(child)) });
        let thread = objects.add(Arc::clone(&process));
        out.set(Created { process: objects.add(process), thread, process_id: id, thread_id: id });
    }))
}

extern "win64" fn CreateProcessA(
    application: Ptr<u8>,
    command: Ptr<u8>,
    _process_security: usize,
    _thread_security: usize,
    _inherit: Bool,
    flags: u32,
    _environment: usize,
    _folder: usize,
    _startup: usize,
    out: Ptr<Created>,
) -> Bool {
    create(&application.string(), &command.string(), flags, out)
}

extern "win64" fn CreateProcessW(
    application: Ptr<u16>,
    command: Ptr<u16>,
    _process_security: usize,
    _thread_security: usize,
    _inherit: Bool,
    flags: u32,
    _environment: usize,
    _folder: usize,
    _startup: usize,
    out: Ptr<Created>,
) -> Bool {
    create(&application.string(), &command.string(), flags, out)
}

/// This process ends at once, and nobody is told; so does another.
pub(crate) extern "win64" fn TerminateProcess(handle: usize, exit_code: u32) -> Bool {
    match process_of(handle, PROCESS_TERMINATE) {
        Ok(None) => crate::Process::terminate(exit_code),
        Ok(Some(child)) => {
            let process: Option<Arc<Object>> = object(handle).ok();
            process.iter().for_each(|p| p.change(|_| child.end(exit_code)));
            TRUE
        }
        Err(e) => fail(e),
    }
}

extern "win64" fn GetExitCodeProcess(handle: usize, out: Ptr<u32>) -> Bool {
    answer(process_of(handle, PROCESS_QUERY_LIMITED_INFORMATION).map(|child| {
        out.put(child.map_or(STILL_ACTIVE, |child| child.exit_code.load(SeqCst)));
    }))
}

extern "win64" fn GetProcessId(handle: usize) -> u32 {
    let child = process_of(handle, PROCESS_QUERY_LIMITED_INFORMATION);
    child.map_or_else(|e| fail(e) as u32, |child| child.map_or(std::process::id(), |child| child.id()))
}

table! {
    /// Processes by their handles.
    pub(crate) TABLE: CreateProcessA, CreateProcessW, TerminateProcess, GetExitCodeProcess, GetProcessId
}
