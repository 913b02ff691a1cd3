//! Snapshots: this process, its threads and its libraries as they are at one moment, to be looked through one by one. Other
//! processes of the host are none of Windows'.

use super::{
    Bool, answer,
    error::code,
    fail,
    module::file_name,
    psapi::{base_name, modules},
    wait::object,
};
use crate::{
    guest::Ptr,
    lock,
    object::{Kind, Object},
    teb,
    text::{Text, length},
};
use std::{
    fs,
    sync::{Arc, Mutex},
};

const SNAP_PROCESS: u32 = 2;
const SNAP_THREAD: u32 = 4;
const SNAP_MODULE: u32 = 8;
const SNAP_HEAPS: u32 = 1;
const SNAP_MODULE32: u32 = 0x10;
const INHERIT: u32 = 0x8000_0000;

const MAX_PATH: usize = 260;
const MAX_MODULE_NAME: usize = 256;
const NORMAL_PRIORITY: u32 = 8;

/// What was seen, and how far it was looked through.
pub(crate) struct Snapshot {
    processes: Row<Process>,
    threads: Row<u32>,
    modules: Row<Module>,
}

/// Things in a row, and which of them comes next; nothing where they were not asked for.
struct Row<T> {
    all: Vec<T>,
    next: Mutex<usize>,
}

impl<T> Row<T> {
    fn new(all: Vec<T>) -> Self {
        Self { all, next: Mutex::new(0) }
    }

    /// The first one, or the one after the last that was given.
    fn step(&self, first: bool) -> Result<&T, u32> {
        let mut next = lock(&self.next);
        if first {
            *next = 0;
        }
        let found = self.all.get(*next).ok_or(code::NO_MORE_FILES)?;
        *next += 1;
        Ok(found)
    }
}

struct Process {
    threads: u32,
    parent: u32,
    file: String,
}

struct Module {
    base: usize,
    size: u32,
    file: String,
}

fn threads() -> Vec<u32> {
    let number = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    fs::read_dir("/proc/self/task").map(|all| all.filter_map(number).collect()).unwrap_or_default()
}

impl Snapshot {
    fn take(flags: u32) -> Self {
        let asked = |flag| flags & flag != 0;
        let parent = rustix::process::getppid().map_or(0, |id| id.as_raw_nonzero().get().unsigned_abs());
        let file = file_name(0).unwrap_or_default();
        let process = || Process { threads: length(threads().len()), parent, file };
        let known = modules().into_iter();
        let file = |base| file_name(base).unwrap_or_default();
        let modules = known.map(|m| Module { base: m.base, size: m.size, file: file(m.base) });
        Self {
            processes: Row::new(asked(SNAP_PROCESS).then(process).into_iter().collect()),
            threads: Row::new(if asked(SNAP_THREAD) { threads() } else { Vec::new() }),
            modules: Row::new(if asked(SNAP_MODULE) { modules.collect() } else { Vec::new() }),
        }
    }
}

/// Of libraries and heaps, those of one process, 0 for this one.
extern "win64" fn CreateToolhelp32Snapshot(flags: u32, process: u32) -> usize {
    const ALL: u32 = SNAP_HEAPS | SNAP_PROCESS | SNAP_THREAD | SNAP_MODULE | SNAP_MODULE32 | INHERIT;
    const INVALID_HANDLE_VALUE: usize = usize::MAX;
    let of_one = flags & (SNAP_MODULE | SNAP_HEAPS) != 0;
    let (kinds, other) = (flags & !INHERIT, process != 0 && process != std::process::id());
    if flags & !ALL != 0 || kinds == 0 || of_one && other {
        fail(code::INVALID_PARAMETER);
        return INVALID_HANDLE_VALUE;
    }
    teb::process().objects.open(Kind::Snapshot(Snapshot::take(flags)))
}

/// The snapshot behind a handle, for a structure of the caller's with this length in front.
fn snapshot(handle: usize, size: usize, out: Ptr<u8>) -> Result<Arc<Object>, u32> {
    let object = object(handle)?;
    match &object.kind {
        Kind::Snapshot(_) if out.is_null() => Err(code::NOACCESS),
        Kind::Snapshot(_) if (out.cast::<u32>().get() as usize) < size => Err(code::INSUFFICIENT_BUFFER),
        Kind::Snapshot(_) => Ok(object),
        _ => Err(code::INVALID_HANDLE),
    }
}

/// Runs `f` on a snapshot.
fn look(handle: usize, size: usize, out: Ptr<u8>, f: impl FnOnce(&Snapshot) -> Result<(), u32>) -> Bool {
    answer(snapshot(handle, size, out).and_then(|object| match &object.kind {
        Kind::Snapshot(snapshot) => f(snapshot),
        _ => Err(code::INVALID_HANDLE),
    }))
}

/// Writes a text with its zero into a field of so many units; what does not fit is cut off.
fn put_text<T: Text>(to: Ptr<u8>, text: &str, room: usize) {
    let mut units = T::of(text);
    units.truncate(room - 1);
    units.push(T::default());
    to.cast().fill(&units);
}

/// `THREADENTRY32`
const THREAD_ENTRY: usize = 28;

fn thread(handle: usize, out: Ptr<u8>, first: bool) -> Bool {
    look(handle, THREAD_ENTRY, out, |snapshot| {
        let id = *snapshot.threads.step(first)?;
        out.at(4).cast().set([0, id, std::process::id(), NORMAL_PRIORITY, 0, 0]);
        Ok(())
    })
}

extern "win64" fn Thread32First(handle: usize, out: Ptr<u8>) -> Bool {
    thread(handle, out, true)
}

extern "win64" fn Thread32Next(handle: usize, out: Ptr<u8>) -> Bool {
    thread(handle, out, false)
}

/// `PROCESSENTRY32` and its wide form: the program's name without its folder comes last.
fn process<T: Text>(handle: usize, out: Ptr<u8>, first: bool) -> Bool {
    const NAME: usize = 44;
    let size = (NAME + MAX_PATH * size_of::<T>()).next_multiple_of(8);
    look(handle, size, out, |snapshot| {
        let process = snapshot.processes.step(first)?;
        out.at(4).cast().set([0, std::process::id()]);
        out.at(16).cast().set(0u64);
        out.at(24).cast().set([0, process.threads, process.parent, NORMAL_PRIORITY, 0]);
        put_text::<T>(out.at(NAME), base_name(&process.file), MAX_PATH);
        Ok(())
    })
}

extern "win64" fn Process32First<T: Text>(handle: usize, out: Ptr<u8>) -> Bool {
    process::<T>(handle, out, true)
}

extern "win64" fn Process32Next<T: Text>(handle: usize, out: Ptr<u8>) -> Bool {
    process::<T>(handle, out, false)
}

/// `MODULEENTRY32` and its wide form: the name, then the whole path.
fn module<T: Text>(handle: usize, out: Ptr<u8>, first: bool) -> Bool {
    const NAME: usize = 48;
    const REFERENCES: u32 = 0xffff;
    let path = NAME + MAX_MODULE_NAME * size_of::<T>();
    let size = (path + MAX_PATH * size_of::<T>()).next_multiple_of(8);
    look(handle, size, out, |snapshot| {
        let module = snapshot.modules.step(first)?;
        out.at(4).cast().set([1, std::process::id(), REFERENCES, REFERENCES]);
        out.at(24).cast().set(module.base);
        out.at(32).cast().set(module.size);
        out.at(40).cast().set(module.base);
        put_text::<T>(out.at(NAME), base_name(&module.file), MAX_MODULE_NAME);
        put_text::<T>(out.at(path), &module.file, MAX_PATH);
        Ok(())
    })
}

extern "win64" fn Module32First<T: Text>(handle: usize, out: Ptr<u8>) -> Bool {
    module::<T>(handle, out, true)
}

extern "win64" fn Module32Next<T: Text>(handle: usize, out: Ptr<u8>) -> Bool {
    module::<T>(handle, out, false)
}

table! {
    /// Snapshots.
    pub(crate) TABLE:
        CreateToolhelp32Snapshot, Thread32First, Thread32Next, Process32First = Process32First::<u8>,
        Process32FirstW = Process32First::<u16>, Process32Next = Process32Next::<u8>,
        Process32NextW = Process32Next::<u16>, Module32First = Module32First::<u8>,
        Module32FirstW = Module32First::<u16>, Module32Next = Module32Next::<u8>,
        Module32NextW = Module32Next::<u16>
}
