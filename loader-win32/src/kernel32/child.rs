//! Other Windows processes: children that were created suspended and are never resumed. What may be done with one is what a
//! debugger or an installer does before a program runs: its memory is reserved, written, asked about and freed.
//!
//! Programs are not run, so a process that is to run at once is not created.

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
    fs::File,
    io::Read,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

const PROCESS_TERMINATE: u32 = 1;
const PROCESS_QUERY_LIMITED_INFORMATION: u32 = 0x1000;
const CREATE_SUSPENDED: u32 = 4;

/// Another process. It ends with the last handle of it.
#[derive(Debug)]
pub(crate) struct Child {
    memory: Mutex<Book<Puppet>>,
    id: u32,
    exit_code: AtomicU32,
}

impl Child {
    fn start() -> Result<Self, u32> {
        let puppet = Puppet::start().map_err(|_| code::NOT_ENOUGH_MEMORY)?;
        let id = puppet.id();
        Ok(Self { memory: Mutex::new(Book::new(puppet)), id, exit_code: AtomicU32::new(STILL_ACTIVE) })
    }

    /// Its memory, as long as it has not ended.
    pub(crate) fn memory(&self) -> Result<MutexGuard<'_, Book<Puppet>>, u32> {
        let memory = lock(&self.memory);
        if self.has_ended() { Err(code::ACCESS_DENIED) } else { Ok(memory) }
    }

    /// The number by which the system knows it.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Whether it was ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.exit_code.load(SeqCst) != STILL_ACTIVE
    }

    fn end(&self, code: u32) {
        let memory = lock(&self.memory);
        if !self.has_ended() {
            memory.pages().end();
            self.exit_code.store(code, SeqCst);
        }
    }

    /// `VirtualProtect`: what the first page had before.
    pub(crate) fn protect(&self, address: u64, len: u64, protect: u32) -> Result<u32, u32> {
        let (range, protect) = (book::pages(address, len)?, Protect::new(protect)?);
        self.memory()?.protect(range, protect)?.ok_or(code::INVALID_ADDRESS)
    }

    /// `VirtualQuery`: what is not in the book is free.
    pub(crate) fn query(&self, address: u64) -> Result<Info, u32> {
        let (book, page) = (self.memory()?, address & !(PAGE - 1));
        Ok(book.query(page).unwrap_or_else(|| Info::free(page..book.next(page))))
    }
}

/// The program that a command line or an application's name means: a file of the host's that begins as programs do.
fn program(application: &str, command: &str) -> Result<(), u32> {
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
extern "win64" fn TerminateProcess(handle: usize, exit_code: u32) -> Bool {
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
