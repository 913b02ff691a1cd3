//! The functions as guest code calls them: found by name in the modules, called through win64 pointers on threads that
//! entered. The tables of single subjects are tested where they are.
#![allow(unsafe_code)] // every call is a call of machine code by address

use crate::{Advice, Counts, DllFolders, Drives, ImagePages, MemoryUse, Process, Services, teb};
use loader_core::{Addr, Error, ErrorKind, Found, HostModule, Image, Query, Stage, Symbol};
use std::{
    arch::asm,
    ffi::{CString, c_char},
    mem::transmute,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

/// An engine with one module, at 0x1000, that has one function.
#[derive(Default)]
struct Engine {
    noted: Mutex<Vec<String>>,
    /// The loader lock.
    turn: Mutex<()>,
    folders: Mutex<DllFolders>,
}

impl Engine {
    fn say(&self, what: &str) {
        self.noted.lock().unwrap().push(what.into());
    }

    fn count(&self, what: &str) -> usize {
        self.noted.lock().unwrap().iter().filter(|said| *said == what).count()
    }
}

impl Services for Engine {
    fn load_library(&self, name: &str, _flags: u32) -> Result<Addr, Error> {
        let missing = ErrorKind::NotFound { needed_by: "".into() };
        if name == "one.dll" { Ok(Addr(0x1000)) } else { Err(Error::new(name, Stage::Find, missing)) }
    }
    fn bring_library(&self, _importer: Addr, name: &str) -> Result<Addr, Error> {
        self.load_library(name, 0)
    }
    fn find_library(&self, name: &str, _flags: u32) -> Result<Found, Error> {
        Err(Error::new(name, Stage::Find, ErrorKind::NotFound { needed_by: "".into() }))
    }
    fn look_in(&self, folders: DllFolders) {
        *self.folders.lock().unwrap() = folders;
    }
    fn free_library(&self, base: Addr) -> Result<(), u32> {
        if base == Addr(0x1000) { Ok(()) } else { Err(126) }
    }
    fn get_proc_address(&self, _base: Addr, symbol: Symbol<'_>) -> Result<Addr, Error> {
        match symbol {
            Symbol::Name(b"f") | Symbol::Ordinal(7) => Ok(Addr(0x1234)),
            other => Err(Error::new(
                "one.dll",
                Stage::Symbol,
                ErrorKind::SymbolNotFound { symbol: other.to_name() },
            )),
        }
    }
    fn module_handle(&self, name: Option<&str>) -> Option<Addr> {
        (name == Some("one.dll")).then_some(Addr(0x1000))
    }
    fn add_ref(&self, _base: Addr) -> Result<(), u32> {
        Ok(())
    }
    fn pin(&self, _base: Addr) -> Result<(), u32> {
        Ok(())
    }
    fn module_file_name(&self, _base: Option<Addr>) -> Option<String> {
        Some("/opt/one.dll".into())
    }
    fn module_at(&self, _at: Addr) -> Option<Addr> {
        None
    }
    fn image_pages(&self, _at: Addr) -> Option<ImagePages> {
        None
    }
    fn is_loaded(&self, _: Addr) -> bool {
        true
    }
    fn disable_thread_library_calls(&self, _base: Addr) -> Result<(), u32> {
        Ok(())
    }
    fn thread_starts(&self, goes_on: &dyn Fn() -> bool) -> bool {
        let _turn = self.turn.lock().unwrap();
        let told = goes_on();
        if told {
            self.say("start");
        }
        told
    }
    fn thread_ends(&self, goes_on: &dyn Fn() -> bool) {
        let _turn = self.turn.lock().unwrap();
        if goes_on() {
            self.say("end");
        }
    }
    fn process_ends(&self) {
        self.say("process ends");
    }
    fn thread_failed(&self, error: &ErrorKind) {
        self.say(&error.to_string());
    }
    fn note(&self, function: &'static str, _: Advice) -> Result<(), u32> {
        self.say(function);
        Ok(())
    }
}

/// Nothing is loaded a second time.
#[derive(Debug)]
struct NoCounts;

impl Counts for NoCounts {
    fn load_again(&self, _: &str) -> Option<Addr> {
        None
    }
    fn free_spare(&self, _: Addr) -> bool {
        false
    }
}

/// A process, its engine and its modules; the calling thread has entered.
struct World {
    engine: Arc<Engine>,
    process: Arc<Process>,
    modules: Vec<HostModule>,
}

fn world() -> World {
    world_with(Drives::Host)
}

fn world_with(drives: Drives) -> World {
    let engine = Arc::new(Engine::default());
    let services: Weak<Engine> = Arc::downgrade(&engine);
    let process = Process::new(services, Arc::new(NoCounts), 0, drives).unwrap();
    process.enter().unwrap();
    let modules = process.modules();
    World { engine, process, modules }
}

impl World {
    fn at(&self, module: &str, name: &str) -> *const () {
        let module = self.modules.iter().find(|m| m.name() == module).unwrap();
        match module.export(&Query::name(name.as_bytes())).unwrap() {
            Some(loader_core::Export::Absolute(at)) => std::ptr::with_exposed_provenance(at as usize),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// Calls a function with up to four integers or pointers.
macro_rules! call {
    ($world:expr, $module:literal, $name:literal $(, $arg:expr)*) => {{
        let at = $world.at($module, $name);
        // SAFETY: the functions called here take integers and pointers, all of which fit the registers and slots that
        // this signature fills.
        let f: unsafe extern "win64" fn($(call!(@type $arg)),*) -> u64 = unsafe { transmute(at) };
        // SAFETY: each test passes what the function is documented to take.
        unsafe { f($($arg as u64),*) }
    }};
    (@type $arg:expr) => { u64 };
}

macro_rules! kernel32 {
    ($world:expr, $name:literal $(, $arg:expr)*) => { call!($world, "KERNEL32.dll", $name $(, $arg)*) };
}
macro_rules! ucrt {
    ($world:expr, $name:literal $(, $arg:expr)*) => { call!($world, "ucrtbase.dll", $name $(, $arg)*) };
}

fn gs(offset: usize) -> u64 {
    let value;
    // SAFETY: the thread has entered, so GS leads to a block of two pages.
    unsafe { asm!("mov {}, gs:[{}]", out(reg) value, in(reg) offset, options(readonly, nostack)) };
    value
}

#[test]
fn what_lies_behind_gs() {
    let w = world();
    let here = &raw const w as u64;
    assert!(gs(0x10) < here && here < gs(0x08));
    assert_eq!(gs(0x40), u64::from(std::process::id()));
    assert_eq!(gs(0x48), kernel32!(w, "GetCurrentThreadId"));
    assert_eq!(gs(0x58), loader_core::tls::thread_table() as u64);
    let peb: *const u64 = std::ptr::with_exposed_provenance(gs(0x60) as usize);
    // SAFETY: the process block has three pages.
    let head = unsafe { std::slice::from_raw_parts(peb, 16) };
    assert_eq!((head[2], head[6]), (w.process.program().0, kernel32!(w, "GetProcessHeap")));
    assert_eq!(gs(0x30) & 0xfff, 0);
}

/// A new thread begins with the GS base of the thread that made it.
#[test]
fn a_thread_that_inherits_a_block_gets_one_of_its_own() {
    fn base() -> u64 {
        const ARCH_GET_GS: i32 = 0x1004;
        let mut base = 0_u64;
        // SAFETY: the call writes the GS base of this thread to the place, which is ours.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_GET_GS, &raw mut base) };
        base
    }
    let w = world();
    kernel32!(w, "SetLastError", 77);
    let parents = base();
    assert_eq!(parents, gs(0x30));
    let (inherited, own, error) = thread::scope(|scope| {
        let child = scope.spawn(|| {
            let inherited = base();
            w.process.enter().unwrap();
            kernel32!(w, "SetLastError", 88);
            (inherited, gs(0x30), gs(0x68) as u32)
        });
        child.join().unwrap()
    });
    assert_eq!((inherited, error), (parents, 88));
    assert_ne!(own, parents);
    assert_eq!(kernel32!(w, "GetLastError"), 77);
}

#[test]
fn last_error() {
    let w = world();
    kernel32!(w, "SetLastError", 77);
    assert_eq!((kernel32!(w, "GetLastError") as u32, gs(0x68) as u32), (77, 77));
    assert_eq!(kernel32!(w, "LoadLibraryA", c"two.dll".as_ptr()), 0);
    assert_eq!(kernel32!(w, "GetLastError") as u32, 126);
    assert_eq!(kernel32!(w, "FreeLibrary", 0) as i32, 0);
    assert_eq!(kernel32!(w, "GetLastError") as u32, 6);
}

#[test]
fn modules_are_the_engines() {
    let w = world();
    assert_eq!(kernel32!(w, "LoadLibraryA", c"one.dll".as_ptr()), 0x1000);
    assert_eq!(kernel32!(w, "GetProcAddress", 0x1000, c"f".as_ptr()), 0x1234);
    assert_eq!(kernel32!(w, "GetProcAddress", 0x1000, 7), 0x1234);
    assert_eq!(kernel32!(w, "GetProcAddress", 0x1000, 8), 0);
    assert_eq!(kernel32!(w, "GetLastError") as u32, 127);
    let mut out = 5u64;
    assert_eq!(kernel32!(w, "GetModuleHandleExA", 3, c"one.dll".as_ptr(), &raw mut out) as i32, 0);
    assert_eq!((kernel32!(w, "GetLastError") as u32, out), (87, 0));
    assert_eq!(kernel32!(w, "GetModuleHandleExA", 0, c"one.dll".as_ptr(), &raw mut out) as i32, 1);
    assert_eq!(out, 0x1000);
    let mut name = [0u8; 32];
    assert_eq!(kernel32!(w, "GetModuleFileNameA", 0x1000, name.as_mut_ptr(), 32) as u32, 14);
    assert_eq!(&name[..15], b"Z:\\opt\\one.dll\0");
    assert_eq!(kernel32!(w, "GetModuleFileNameA", 0x1000, name.as_mut_ptr(), 5) as u32, 5);
    assert_eq!((&name[..5], kernel32!(w, "GetLastError") as u32), (&b"Z:\\o\0"[..], 122));
    drop(w.engine);
    assert_eq!(kernel32!(World { engine: Arc::default(), ..w }, "GetModuleHandleA", c"one.dll".as_ptr()), 0);
}

#[test]
fn slots_of_threads() {
    let w = world();
    let slots: Vec<u64> = (0..100).map(|_| kernel32!(w, "TlsAlloc") & 0xffff_ffff).collect();
    assert!(slots.iter().any(|&s| s >= 64));
    for &s in &slots {
        assert_eq!(kernel32!(w, "TlsGetValue", s), 0);
        kernel32!(w, "TlsSetValue", s, s + 1000);
    }
    thread::scope(|t| {
        t.spawn(|| {
            w.process.enter().unwrap();
            assert!(slots.iter().all(|&s| kernel32!(w, "TlsGetValue", s) == 0));
        });
    });
    kernel32!(w, "SetLastError", 5);
    assert!(slots.iter().all(|&s| kernel32!(w, "TlsGetValue", s) == s + 1000));
    assert_eq!(kernel32!(w, "GetLastError") as u32, 0);
    for &s in &slots {
        assert_eq!(kernel32!(w, "TlsFree", s) as i32, 1);
    }
    assert_eq!(kernel32!(w, "TlsFree", slots[0]) as i32, 0);
    assert_eq!(kernel32!(w, "TlsGetValue", 5000), 0);
    assert_eq!(kernel32!(w, "GetLastError") as u32, 87);
}

static FORGOTTEN: AtomicU32 = AtomicU32::new(0);

extern "win64" fn forget(value: usize) {
    FORGOTTEN.fetch_add(value as u32, SeqCst);
}

#[test]
fn callbacks_of_fiber_slots() {
    let w = world();
    let slot = kernel32!(w, "FlsAlloc", forget as *const ()) & 0xffff_ffff;
    thread::scope(|t| {
        t.spawn(|| {
            w.process.enter().unwrap();
            kernel32!(w, "FlsSetValue", slot, 30);
        });
    });
    // A scope ends before its threads' destructors have: only what follows a real join is certain.
    for _ in 0..1000 {
        if FORGOTTEN.load(SeqCst) != 0 {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(FORGOTTEN.load(SeqCst), 30);
    kernel32!(w, "FlsSetValue", slot, 12);
    kernel32!(w, "FlsFree", slot);
    assert_eq!(FORGOTTEN.load(SeqCst), 42);
}

#[test]
fn a_thread_that_begins_nowhere_ends_with_an_access_violation() {
    let w = world();
    let mut code = 0u32;
    let thread = kernel32!(w, "CreateThread", 0, 0, 0x1230, 0, 0, 0);
    assert_eq!(kernel32!(w, "WaitForSingleObject", thread, 20_000), 0);
    assert_eq!(kernel32!(w, "GetExitCodeThread", thread, &raw mut code) as i32, 1);
    assert_eq!((code, kernel32!(w, "CloseHandle", thread) as i32), (0xc000_0005, 1));
}

/// Runs `f` on some threads that have entered, at once.
fn together(w: &World, n: usize, f: impl Fn() + Sync) {
    thread::scope(|t| {
        for _ in 0..n {
            t.spawn(|| {
                w.process.enter().unwrap();
                f();
            });
        }
    });
}

struct Shared(std::cell::UnsafeCell<u64>);
// SAFETY: the tests change it under a lock of the crate's, which is what they test.
unsafe impl Sync for Shared {}

impl Shared {
    fn add_slowly(&self) {
        // SAFETY: the caller holds the lock.
        let now = unsafe { self.0.get().read_volatile() };
        std::hint::spin_loop();
        // SAFETY: as above.
        unsafe { self.0.get().write_volatile(now + 1) };
    }
}

#[test]
fn critical_sections_exclude() {
    let w = world();
    let section = Box::new([0u64; 5]);
    let at = section.as_ptr().expose_provenance();
    kernel32!(w, "InitializeCriticalSection", at);
    let sum = Shared(0.into());
    together(&w, 4, || {
        for _ in 0..20_000 {
            kernel32!(w, "EnterCriticalSection", at);
            kernel32!(w, "EnterCriticalSection", at);
            sum.add_slowly();
            kernel32!(w, "LeaveCriticalSection", at);
            kernel32!(w, "LeaveCriticalSection", at);
        }
    });
    assert_eq!(sum.0.into_inner(), 80_000);
    assert_eq!(section[2], 0); // nobody owns it
    assert_eq!(kernel32!(w, "TryEnterCriticalSection", at) as i32, 1);
    together(&w, 1, || assert_eq!(kernel32!(w, "TryEnterCriticalSection", at) as i32, 0));
}

#[test]
fn slim_locks_exclude() {
    let w = world();
    let lock = Box::new(0u64);
    let at = (&raw const *lock).expose_provenance();
    let sum = Shared(0.into());
    together(&w, 4, || {
        for i in 0..20_000 {
            if i % 4 == 0 {
                kernel32!(w, "AcquireSRWLockShared", at);
                kernel32!(w, "ReleaseSRWLockShared", at);
            }
            kernel32!(w, "AcquireSRWLockExclusive", at);
            sum.add_slowly();
            kernel32!(w, "ReleaseSRWLockExclusive", at);
        }
    });
    assert_eq!((sum.0.into_inner(), *lock), (80_000, 0));
}

#[test]
fn condition_variables_wake() {
    let w = world();
    let words = Box::new([0u64; 2]); // a slim lock and a condition variable, both as their static initialisers leave them
    let (lock, condition) = (words.as_ptr().expose_provenance(), words.as_ptr().expose_provenance() + 8);
    let ready = AtomicU32::new(0);
    thread::scope(|t| {
        t.spawn(|| {
            w.process.enter().unwrap();
            kernel32!(w, "AcquireSRWLockExclusive", lock);
            while ready.load(SeqCst) == 0 {
                kernel32!(w, "SleepConditionVariableSRW", condition, lock, u32::MAX, 0);
            }
            kernel32!(w, "ReleaseSRWLockExclusive", lock);
        });
        kernel32!(w, "AcquireSRWLockExclusive", lock);
        ready.store(1, SeqCst);
        kernel32!(w, "ReleaseSRWLockExclusive", lock);
        kernel32!(w, "WakeAllConditionVariable", condition);
    });
    kernel32!(w, "AcquireSRWLockExclusive", lock);
    assert_eq!(kernel32!(w, "SleepConditionVariableSRW", condition, lock, 5, 0) as i32, 0);
    assert_eq!(kernel32!(w, "GetLastError") as u32, 1460);
}

#[test]
fn events_semaphores_mutexes() {
    let w = world();
    let wait = |h: u64, ms: u32| kernel32!(w, "WaitForSingleObject", h, ms) as u32;
    let automatic = kernel32!(w, "CreateEventA", 0, 0, 1, 0);
    assert_eq!((wait(automatic, 0), wait(automatic, 0)), (0, 258));
    let manual = kernel32!(w, "CreateEventA", 0, 1, 0, c"name".as_ptr());
    let again = kernel32!(w, "CreateEventA", 0, 1, 0, c"name".as_ptr());
    assert_eq!(kernel32!(w, "GetLastError") as u32, 183);
    kernel32!(w, "SetEvent", again);
    assert_eq!((wait(manual, 0), wait(manual, 0)), (0, 0));
    let semaphore = kernel32!(w, "CreateSemaphoreA", 0, 2, 2, 0);
    assert_eq!((wait(semaphore, 0), wait(semaphore, 0), wait(semaphore, 1)), (0, 0, 258));
    assert_eq!(kernel32!(w, "ReleaseSemaphore", semaphore, 3, 0) as i32, 0);
    assert_eq!(kernel32!(w, "GetLastError") as u32, 298);
    let mutex = kernel32!(w, "CreateMutexA", 0, 1, 0);
    assert_eq!(wait(mutex, 0), 0);
    together(&w, 1, || assert_eq!(wait(mutex, 0), 258));
    let all = [manual, automatic];
    assert_eq!(kernel32!(w, "WaitForMultipleObjects", 2, all.as_ptr(), 1, 1) as u32, 258);
    assert_eq!(kernel32!(w, "WaitForMultipleObjects", 2, all.as_ptr(), 0, 1) as u32, 0);
    thread::scope(|t| {
        t.spawn(|| {
            w.process.enter().unwrap();
            thread::sleep(Duration::from_millis(10));
            kernel32!(w, "SetEvent", automatic);
        });
        assert_eq!(kernel32!(w, "WaitForMultipleObjects", 2, all.as_ptr(), 1, u32::MAX) as u32, 0);
    });
    for h in [automatic, manual, again, semaphore, mutex] {
        assert_eq!(kernel32!(w, "CloseHandle", h) as i32, 1);
    }
    assert_eq!(kernel32!(w, "CloseHandle", mutex) as i32, 0);
    assert_eq!(wait(mutex, 0), u32::MAX);
}

extern "win64" fn leave_early(w: &World) -> u32 {
    kernel32!(w, "ExitThread", 7);
    unreachable!()
}

extern "win64" fn double(n: u64) -> u32 {
    (n * 2) as u32
}

extern "win64" fn sleep_for_ever(w: &World) -> u32 {
    kernel32!(w, "Sleep", u32::MAX);
    0
}

#[test]
fn threads() {
    let w = world();
    let exit_code = |h: u64| {
        let mut code = 0u32;
        kernel32!(w, "GetExitCodeThread", h, &raw mut code);
        code
    };
    let create = |f: *const (), argument: u64, flags: u32| {
        let handle = kernel32!(w, "CreateThread", 0, 0, f, argument, flags, 0);
        assert_ne!(handle, 0);
        handle
    };
    let join = |h: u64| kernel32!(w, "WaitForSingleObject", h, u32::MAX) as u32;
    let one = create(double as *const (), 21, 0);
    assert_eq!((join(one), exit_code(one)), (0, 42));
    let two = create(leave_early as *const (), &raw const w as u64, 0);
    assert_eq!((join(two), exit_code(two)), (0, 7));
    let three = create(double as *const (), 4, 4);
    assert_eq!((kernel32!(w, "WaitForSingleObject", three, 5) as u32, exit_code(three)), (258, 259));
    assert_eq!(kernel32!(w, "ResumeThread", three) as u32, 1);
    assert_eq!((join(three), exit_code(three)), (0, 8));
    let four = create(sleep_for_ever as *const (), &raw const w as u64, 0);
    while w.engine.count("start") < 4 {
        thread::yield_now();
    }
    assert_eq!(kernel32!(w, "TerminateThread", four, 9) as i32, 1);
    assert_eq!((join(four), exit_code(four)), (0, 9));
    // "TerminateThread … the DLLs of that thread do not receive DLL_THREAD_DETACH" (DllMain reference): three ended cleanly.
    assert_eq!((w.engine.count("CreateThread"), w.engine.count("start"), w.engine.count("end")), (4, 4, 3));
}

/// In a DllMain, threads that were just made wait for the loader lock: one that is terminated there never runs.
#[test]
fn a_thread_that_is_terminated_before_it_begins() {
    let w = world();
    let lock = w.engine.turn.lock().unwrap();
    let thread = kernel32!(w, "CreateThread", 0, 0, sleep_for_ever as *const (), 0, 0, 0);
    let before = Instant::now();
    assert_eq!(kernel32!(w, "TerminateThread", thread, 9) as i32, 1);
    assert_eq!(kernel32!(w, "WaitForSingleObject", thread, u32::MAX) as u32, 0);
    assert!(before.elapsed() < Duration::from_millis(100));
    let mut code = 0u32;
    assert_eq!(kernel32!(w, "GetExitCodeThread", thread, &raw mut code) as i32, 1);
    assert_eq!(code, 9);
    drop(lock);
    thread::sleep(Duration::from_millis(20));
    assert_eq!((w.engine.count("start"), w.engine.count("end")), (0, 0));
}

#[test]
fn a_thread_that_runs_is_suspended_looked_at_and_goes_on_elsewhere() {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    extern "win64" fn counts(_: usize) -> u32 {
        loop {
            COUNT.fetch_add(1, SeqCst);
        }
    }
    extern "win64" fn leaves() {
        let w = world();
        kernel32!(w, "ExitThread", 77);
    }
    let w = world();
    let thread = kernel32!(w, "CreateThread", 0, 0, counts as *const (), 0, 0, 0);
    while COUNT.load(SeqCst) == 0 {
        thread::yield_now();
    }
    let mut context = Box::new([0u128; 0x4d0 / 16]);
    let place = context.as_mut_ptr().expose_provenance();
    // `CONTEXT` of winnt.h: ContextFlags at 0x30, Rsp at 0x98, Rip at 0xf8; CONTEXT_CONTROL | CONTEXT_INTEGER.
    context[3] = 0x10_0003;
    assert_eq!(kernel32!(w, "GetThreadContext", thread, place) as i32, 0, "it runs");
    assert_eq!(kernel32!(w, "GetLastError") as u32, 87);
    assert_eq!(kernel32!(w, "SuspendThread", thread) as u32, 0);
    assert_eq!(kernel32!(w, "SuspendThread", thread) as u32, 1);
    let now = COUNT.load(SeqCst);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(COUNT.load(SeqCst), now);
    assert_eq!(kernel32!(w, "GetThreadContext", thread, place) as i32, 1);
    let word = |context: &[u128], at: usize| (context[at / 16] >> (at % 16 * 8)) as u64;
    let (rsp, rip) = (word(&*context, 0x98), word(&*context, 0xf8));
    assert!(rsp != 0 && rip != 0);
    context[0xf] = context[0xf] & u128::from(u64::MAX) | u128::from(leaves as *const () as u64) << 64;
    // As if called: the stack is 8 off a multiple of 16.
    context[0x9] = context[0x9] & u128::from(u64::MAX) | u128::from((rsp - 512) & !15 | 8) << 64;
    assert_eq!(kernel32!(w, "SetThreadContext", thread, place) as i32, 1);
    assert_eq!(kernel32!(w, "ResumeThread", thread) as u32, 2);
    assert_eq!(kernel32!(w, "ResumeThread", thread) as u32, 1);
    assert_eq!(kernel32!(w, "WaitForSingleObject", thread, 5000) as u32, 0);
    let mut code = 0u32;
    kernel32!(w, "GetExitCodeThread", thread, &raw mut code);
    assert_eq!(code, 77);
    assert_eq!(kernel32!(w, "SuspendThread", 0x4444) as u32, u32::MAX);
}

/// The same at the other end: a thread that waits to tell that it ends is gone at once, and tells nobody.
#[test]
fn a_thread_that_is_terminated_when_its_work_is_done() {
    let w = world();
    extern "win64" fn take_the_lock(w: &World) -> u32 {
        std::mem::forget(w.engine.turn.lock());
        3
    }
    let thread = kernel32!(w, "CreateThread", 0, 0, take_the_lock as *const (), &raw const w, 0, 0);
    while w.engine.turn.try_lock().is_ok() {
        thread::yield_now();
    }
    thread::sleep(Duration::from_millis(20));
    assert_eq!(kernel32!(w, "WaitForSingleObject", thread, 0) as u32, 258);
    assert_eq!(kernel32!(w, "TerminateThread", thread, 9) as i32, 1);
    assert_eq!(kernel32!(w, "WaitForSingleObject", thread, 0) as u32, 0);
    assert_eq!((w.engine.count("start"), w.engine.count("end")), (1, 0));
    std::mem::forget(w); // the thread waits for ever
}

/// A DLL in somebody else's program does not take the program's Ctrl-C.
#[test]
fn interrupts_stay_with_a_host_that_runs_no_windows_program() {
    extern "win64" fn never(_event: u32) -> i32 {
        panic!("nothing happened")
    }
    let w = world();
    let handler = never as *const () as usize;
    assert_eq!(kernel32!(w, "SetConsoleCtrlHandler", handler, 1) as i32, 1);
    // SAFETY: all zeroes are a valid action, which is only written to.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: asks only.
    assert_eq!(unsafe { libc::sigaction(libc::SIGINT, std::ptr::null(), &raw mut now) }, 0);
    assert_eq!(now.sa_sigaction, libc::SIG_DFL);
    assert_eq!(kernel32!(w, "SetConsoleCtrlHandler", handler, 0) as i32, 1);
    assert_eq!(kernel32!(w, "SetConsoleCtrlHandler", handler, 0) as i32, 0, "it is gone");
}

#[test]
fn entering_leaves_nothing() {
    let w = world();
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let round = || {
        let threads: Vec<_> = (0..16)
            .map(|_| {
                let process = Arc::clone(&w.process);
                thread::spawn(move || {
                    process.enter().unwrap();
                    process.enter().unwrap();
                    gs(0x30)
                })
            })
            .collect();
        let blocks: Vec<u64> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert!(blocks.iter().all(|&b| b != 0));
    };
    round();
    let before = (maps(), teb::count());
    (0..20).for_each(|_| round());
    // Other tests run at the same time, each with a handful of threads; 320 leaked blocks would show.
    assert!(teb::count() < before.1 + 40 && maps() < before.0 + 200);
    let engine = Arc::new(Engine::default());
    let other =
        Process::new(Arc::downgrade(&engine) as Weak<dyn Services>, Arc::new(NoCounts), 0, Drives::Host)
            .unwrap();
    let mine = gs(0x60);
    other.enter().unwrap();
    assert_ne!(gs(0x60), mine);
    w.process.enter().unwrap();
    assert_eq!(gs(0x60), mine);
}

static ORDER: Mutex<Vec<u32>> = Mutex::new(Vec::new());

extern "win64" fn first() -> i32 {
    ORDER.lock().unwrap().push(1);
    0
}

extern "win64" fn second() -> i32 {
    ORDER.lock().unwrap().push(2);
    0
}

#[test]
fn tables_of_functions() {
    let w = world();
    let mut table = [0u64; 3];
    let at = table.as_mut_ptr();
    assert_eq!(ucrt!(w, "_initialize_onexit_table", at) as i32, 0);
    ucrt!(w, "_register_onexit_function", at, first as *const ());
    ucrt!(w, "_register_onexit_function", at, second as *const ());
    ucrt!(w, "_execute_onexit_table", at);
    assert_eq!(*ORDER.lock().unwrap(), [2, 1]);
    assert_eq!(ucrt!(w, "_execute_onexit_table", at) as i32, 0);
    let list = [first as *const (), std::ptr::null(), second as *const ()];
    ucrt!(w, "_initterm", list.as_ptr(), list.as_ptr_range().end);
    assert_eq!(*ORDER.lock().unwrap(), [2, 1, 1, 2]);
    let (mut begin, mut end) = (0u64, 0u64);
    for f in [first as *const (), second as *const ()] {
        assert_ne!(call!(w, "msvcrt.dll", "__dllonexit", f, &raw mut begin, &raw mut end), 0);
    }
    assert_eq!(end - begin, 16);
    ucrt!(w, "_initterm", begin, end);
    assert_eq!(ORDER.lock().unwrap().len(), 6);
    ucrt!(w, "free", begin);
}

#[test]
fn text_conversions() {
    let w = world();
    let text = "gr\u{fc}n \u{1f600}";
    let mut wide = [0u16; 16];
    let n = kernel32!(w, "MultiByteToWideChar", 65001, 8, text.as_ptr(), text.len(), wide.as_mut_ptr(), 16)
        as usize;
    assert_eq!(String::from_utf16(&wide[..n]).unwrap(), text);
    assert_eq!(kernel32!(w, "MultiByteToWideChar", 0, 0, c"abc".as_ptr(), u32::MAX, 0, 0) as i32, 4);
    assert_eq!(kernel32!(w, "MultiByteToWideChar", 0, 8, [0xffu8].as_ptr(), 1, 0, 0) as i32, 0);
    assert_eq!(kernel32!(w, "GetLastError") as u32, 1113);
    let mut short = [0u16; 4];
    assert_eq!(
        kernel32!(w, "MultiByteToWideChar", 0, 0, c"abc".as_ptr(), u32::MAX, short.as_mut_ptr(), 3) as i32,
        0
    );
    assert_eq!(short, [0x61, 0x62, 0x63, 0]);
    assert_eq!(kernel32!(w, "GetLastError") as u32, 122);
    let mut bytes = [0u8; 16];
    let n = kernel32!(w, "WideCharToMultiByte", 65001, 0, wide.as_ptr(), 3, bytes.as_mut_ptr(), 16, 0, 0)
        as usize;
    assert_eq!(&bytes[..n], "gr\u{fc}".as_bytes());
}

#[test]
fn virtual_memory() {
    let w = world();
    let base = kernel32!(w, "VirtualAlloc", 0, 0x2000, 0x3000, 4);
    let mut info = [0u64; 6];
    assert_eq!(kernel32!(w, "VirtualQuery", base + 5, info.as_mut_ptr(), 48), 48);
    assert_eq!((info[0], info[1], info[3], info[4] as u32), (base, base, 0x2000, 0x1000));
    let mut old = 0u32;
    assert_eq!(kernel32!(w, "VirtualProtect", base, 1, 2, &raw mut old) as i32, 1);
    assert_eq!(old, 4);
    kernel32!(w, "VirtualQuery", base, info.as_mut_ptr(), 48);
    assert_eq!((info[3], (info[4] >> 32) as u32), (0x1000, 2));
    assert_eq!(kernel32!(w, "VirtualFree", base, 0, 0x8000) as i32, 1);
    assert_eq!(kernel32!(w, "VirtualFree", base, 0, 0x8000) as i32, 0);
    assert_eq!(kernel32!(w, "GetLastError") as u32, 487);
    // The host's own memory is committed, private and, as far as is known, writable.
    kernel32!(w, "VirtualQuery", world as *const (), info.as_mut_ptr(), 48);
    assert_eq!((info[4] as u32, (info[4] >> 32) as u32, info[5] as u32), (0x1000, 4, 0x2_0000));
}

/// What whoever handles faults has to do for `PAGE_GUARD`: the first access is told of, the next one is an ordinary one.
#[test]
fn a_guard_page_tells_once() {
    let w = world();
    let base = kernel32!(w, "VirtualAlloc", 0, 0x2000, 0x3000, 0x104);
    assert!(w.process.guard_hit(Addr(base + 0x1008)) && !w.process.guard_hit(Addr(base + 0x1008)));
    // SAFETY: the page was committed above, and guards nothing any more.
    unsafe { std::ptr::with_exposed_provenance_mut::<u64>(base as usize + 0x1008).write(1) };
    let mut info = [0u64; 6];
    kernel32!(w, "VirtualQuery", base, info.as_mut_ptr(), 48);
    assert_eq!((info[3], (info[4] >> 32) as u32), (0x1000, 0x104), "the other page still does");
    assert_eq!(kernel32!(w, "VirtualFree", base, 0, 0x8000) as i32, 1);
    assert_eq!(w.process.memory_use(), MemoryUse::default());
}

#[test]
fn physical_pages_need_a_privilege() {
    let w = world();
    let mut count = 1u64;
    assert_eq!(kernel32!(w, "AllocateUserPhysicalPages", u64::MAX, &raw mut count, 0) as i32, 0);
    assert_eq!(kernel32!(w, "GetLastError") as u32, 1314);
    assert_eq!(kernel32!(w, "MapUserPhysicalPages", 0, 1, 0) as i32, 0);
    assert_eq!(kernel32!(w, "GetLastError") as u32, 87);
}

#[test]
fn heaps() {
    let w = world();
    let common = kernel32!(w, "GetProcessHeap");
    let block = kernel32!(w, "HeapAlloc", common, 8, 100);
    assert_eq!(kernel32!(w, "HeapSize", common, 0, block), 100);
    assert_eq!(ucrt!(w, "_msize", block), 100);
    let block = ucrt!(w, "realloc", block, 333);
    assert_eq!(kernel32!(w, "HeapFree", common, 0, block) as i32, 1);
    let own = kernel32!(w, "HeapCreate", 0, 0, 0);
    assert_ne!(kernel32!(w, "HeapAlloc", own, 0, 5), 0);
    assert_eq!(kernel32!(w, "HeapDestroy", own) as i32, 1);
    assert_eq!(kernel32!(w, "HeapAlloc", own, 0, 5), 0);
}

/// Every way to a file leads into the folder, or nowhere.
#[test]
fn a_folder_as_the_only_drive() {
    let folder = std::env::temp_dir().join(format!("loader-win32-drive-{}", std::process::id()));
    let inside = folder.join("guest");
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::write(folder.join("secret"), "x").unwrap();
    let w = world_with(Drives::Folder(inside.clone()));
    let open = |name: &std::ffi::CStr, disposition: u32| {
        let file = kernel32!(w, "CreateFileA", name.as_ptr(), 0xc000_0000u32, 0, 0, disposition, 0, 0);
        kernel32!(w, "CloseHandle", file);
        file != u64::MAX
    };
    assert!(open(cr"C:\a.txt", 2), "CREATE_ALWAYS");
    assert!(open(cr"..\..\b.txt", 2), "there is nothing above");
    assert!(inside.join("a.txt").exists() && inside.join("b.txt").exists());
    for outside in [cr"..\secret", cr"C:\..\secret", cr"Z:\etc\passwd", cr"\\?\Z:\etc\passwd", c"/etc/passwd"]
    {
        assert!(!open(outside, 3), "{outside:?}, OPEN_EXISTING");
        assert_eq!(ucrt!(w, "fopen", outside.as_ptr(), c"rb".as_ptr()), 0, "{outside:?}");
        assert_eq!(kernel32!(w, "GetFileAttributesA", outside.as_ptr()) as u32, u32::MAX, "{outside:?}");
        assert_eq!(kernel32!(w, "DeleteFileA", outside.as_ptr()) as i32, 0, "{outside:?}");
        assert_eq!(ucrt!(w, "remove", outside.as_ptr()) as i32, -1, "{outside:?}");
    }
    assert_eq!(kernel32!(w, "MoveFileExA", cr"C:\a.txt".as_ptr(), cr"..\..\c.txt".as_ptr(), 0) as i32, 1);
    assert!(inside.join("c.txt").exists());
    let mut current = [0u8; 8];
    assert_eq!(kernel32!(w, "GetCurrentDirectoryA", 8, current.as_mut_ptr()), 3);
    assert_eq!(&current[..4], b"C:\\\0");
    assert_eq!(
        kernel32!(w, "GetDriveTypeW", [u16::from(b'Z'), 0x3a, 0x5c, 0].as_ptr()) as u32,
        1,
        "no such root"
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn files() {
    let w = world();
    let path = std::env::temp_dir().join(format!("loader-win32-{}", std::process::id()));
    let name = format!("Z:{}\0", path.display()).replace('/', "\\");
    let file = kernel32!(w, "CreateFileA", name.as_ptr(), 0xc000_0000u32, 0, 0, 2, 0, 0);
    let mut n = 0u32;
    assert_eq!(kernel32!(w, "WriteFile", file, c"hello".as_ptr(), 5, &raw mut n, 0) as i32, 1);
    let mut size = 0u64;
    kernel32!(w, "GetFileSizeEx", file, &raw mut size);
    assert_eq!((n, size, kernel32!(w, "GetFileType", file) as u32), (5, 5, 1));
    kernel32!(w, "CloseHandle", file);
    let stream = ucrt!(w, "fopen", name.as_ptr(), c"rb".as_ptr());
    let mut bytes = [0u8; 8];
    assert_eq!(ucrt!(w, "fread", bytes.as_mut_ptr(), 1, 8, stream), 5);
    assert_eq!(&bytes[..5], b"hello");
    ucrt!(w, "fclose", stream);
    assert_eq!(kernel32!(w, "DeleteFileA", name.as_ptr()) as i32, 1);
    assert_eq!(ucrt!(w, "fopen", name.as_ptr(), c"rb".as_ptr()), 0);
    assert_eq!(ucrt!(w, "_open", name.as_ptr(), 0, 0) as i32, -1);
}

#[test]
fn modules_have_functions() {
    let w = world();
    assert!(w.modules.iter().all(|m| m.names().count() > 0));
}

#[test]
fn the_memory_of_a_child_is_its_own_and_goes_with_it() {
    const SUSPENDED: u32 = 4;
    let w = world();
    let program = std::env::temp_dir().join(format!("child-{}.exe", std::process::id()));
    std::fs::write(&program, "MZ").unwrap();
    let command = CString::new(format!("\"{}\" and its arguments", program.display())).unwrap();
    let mut created = [0u64; 3];
    let at = w.at("KERNEL32.dll", "CreateProcessA");
    // SAFETY: `CreateProcessA` has these ten arguments.
    let create: unsafe extern "win64" fn(
        usize,
        *const c_char,
        usize,
        usize,
        i32,
        u32,
        usize,
        usize,
        usize,
        *mut u64,
    ) -> i32 = unsafe { transmute(at) };
    let mut start = |flags| {
        // SAFETY: the command is a string, and there is room for what is created.
        let made = unsafe { create(0, command.as_ptr(), 0, 0, 0, flags, 0, 0, 0, created.as_mut_ptr()) };
        (made == 1).then_some(created)
    };
    assert_eq!((start(0), kernel32!(w, "GetLastError")), (None, 50), "programs are not run");
    let [process, thread, id] = start(SUSPENDED).unwrap();
    let id = id as u32; // the process's number, below the thread's
    assert_eq!(kernel32!(w, "GetProcessId", process) as u32, id);
    assert_ne!(id, std::process::id());

    // A place that is free here is free there, and what is written there is not here.
    let here = kernel32!(w, "VirtualAlloc", 0, 0x10000, 0x3000, 4);
    let at = w.at("KERNEL32.dll", "VirtualAllocEx");
    // SAFETY: `VirtualAllocEx` has these arguments.
    let allocate: unsafe extern "win64" fn(u64, u64, u64, u32, u32) -> u64 = unsafe { transmute(at) };
    // SAFETY: it takes numbers.
    assert_eq!(unsafe { allocate(process, here, 0x1000, 0x3000, 4) }, here);
    let (text, mut read) = (*b"hello", [0u8; 5]);
    let at = w.at("KERNEL32.dll", "WriteProcessMemory");
    // SAFETY: `WriteProcessMemory` has these arguments.
    let write: unsafe extern "win64" fn(u64, u64, *const u8, usize, usize) -> i32 = unsafe { transmute(at) };
    // SAFETY: `ReadProcessMemory` has these arguments.
    let copy: unsafe extern "win64" fn(u64, u64, *mut u8, usize, usize) -> i32 =
        unsafe { transmute(w.at("KERNEL32.dll", "ReadProcessMemory")) };
    // SAFETY: the text is that long.
    assert_eq!(unsafe { write(process, here, text.as_ptr(), 5, 0) }, 1);
    // SAFETY: there is that much room.
    assert_eq!(unsafe { copy(process, here, read.as_mut_ptr(), 5, 0) }, 1);
    assert_eq!(read, text);
    // SAFETY: as above.
    assert_eq!(unsafe { copy(u64::MAX, here, read.as_mut_ptr(), 5, 0) }, 1);
    assert_eq!(read, [0; 5], "this process's own page");

    // One that somebody else ends has no memory any more, and nobody here dies of that.
    let other = start(SUSPENDED).unwrap();
    std::fs::remove_file(program).unwrap();
    // SAFETY: ends a process that this test has started.
    unsafe { libc::kill((other[2] as u32).cast_signed(), libc::SIGKILL) };
    // SAFETY: it takes numbers.
    assert_eq!(unsafe { allocate(other[0], 0, 0x1000, 0x3000, 4) }, 0);
    assert_eq!([other[0], other[1]].map(|handle| kernel32!(w, "CloseHandle", handle) as i32), [1, 1]);

    // The last handle takes the process along.
    let runs = || std::path::Path::new(&format!("/proc/{id}")).exists();
    assert!(runs());
    assert_eq!(kernel32!(w, "WaitForSingleObject", process, 0) as u32, 258, "it has not ended");
    assert_eq!(kernel32!(w, "ResumeThread", thread) as u32, u32::MAX, "and does not begin");
    assert_eq!([process, thread].map(|handle| kernel32!(w, "CloseHandle", handle) as i32), [1, 1]);
    assert!(!runs());
    assert_eq!(kernel32!(w, "VirtualFree", here, 0, 0x8000) as i32, 1);
}

static COUNT: AtomicU32 = AtomicU32::new(0);

extern "win64" fn count(argument: usize, fired: u32) {
    COUNT.fetch_add(argument as u32 + fired, SeqCst);
}

fn until(what: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !what() {
        assert!(Instant::now() < end, "nothing happens");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn timer_queues_and_registered_waits() {
    let w = world();
    let count = count as *const ();
    let error = || kernel32!(w, "GetLastError") as u32;
    let mut made = Box::new(0u64);
    let out = (&raw mut *made).expose_provenance();
    let counted = || COUNT.swap(0, SeqCst);

    // "TRUE if the callback is called because the timer expired" (WaitOrTimerCallback reference): 10 + 1 each time.
    let queue = kernel32!(w, "CreateTimerQueue");
    assert_eq!(kernel32!(w, "CreateTimerQueueTimer", out, queue, count, 10, 1, 0, 0) as i32, 1);
    let once = *made;
    until(|| COUNT.load(SeqCst) == 11);
    assert_eq!(kernel32!(w, "ChangeTimerQueueTimer", queue, once, 1, 1) as i32, 1);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(counted(), 11, "one that has expired is not updated");
    assert_eq!(kernel32!(w, "CreateTimerQueueTimer", out, queue, count, 10, 0, 1, 0) as i32, 1);
    let again = *made;
    until(|| COUNT.load(SeqCst) >= 33);
    assert_eq!(kernel32!(w, "DeleteTimerQueueTimer", 0, again, u64::MAX) as i32, 1, "known by its number");
    assert_eq!(kernel32!(w, "DeleteTimerQueueTimer", queue, again, u64::MAX) as i32, 0, "it is gone");
    assert_eq!(error(), 6);
    assert_eq!(counted() % 11, 0);
    let done = kernel32!(w, "CreateEventA", 0, 1, 0, 0);
    assert_eq!(kernel32!(w, "DeleteTimerQueueEx", queue, done) as i32, 1);
    assert_eq!(kernel32!(w, "WaitForSingleObject", done, 5000) as u32, 0);
    assert_eq!(kernel32!(w, "DeleteTimerQueueTimer", queue, once, 0) as i32, 0);
    assert_eq!(counted(), 0);

    // A wait goes on until it is taken back; it is told whether its time was over.
    let event = kernel32!(w, "CreateEventA", 0, 0, 0, 0);
    assert_eq!(kernel32!(w, "RegisterWaitForSingleObject", out, event, count, 10, u32::MAX, 0) as i32, 1);
    let wait = *made;
    for total in [10, 20] {
        kernel32!(w, "SetEvent", event);
        until(|| COUNT.load(SeqCst) == total);
    }
    assert_eq!(kernel32!(w, "UnregisterWaitEx", wait, u64::MAX) as i32, 1);
    kernel32!(w, "SetEvent", event);
    assert_eq!(kernel32!(w, "UnregisterWait", wait) as i32, 0);
    assert_eq!((error(), counted()), (6, 20));
    kernel32!(w, "ResetEvent", event);
    assert_eq!(kernel32!(w, "RegisterWaitForSingleObject", out, event, count, 10, 1, 8) as i32, 1);
    until(|| COUNT.load(SeqCst) == 11);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(counted(), 11, "only once");
    assert_eq!(kernel32!(w, "UnregisterWaitEx", *made, u64::MAX) as i32, 1);
    assert_eq!(kernel32!(w, "RegisterWaitForSingleObject", out, 0, count, 10, 1, 8) as i32, 0);
}

#[test]
fn a_pulse_is_for_those_who_wait() {
    let w = world();
    for manual in [0, 1] {
        let event = kernel32!(w, "CreateEventA", 0, manual, 0, 0);
        assert_eq!(kernel32!(w, "PulseEvent", event) as i32, 1);
        assert_eq!(kernel32!(w, "WaitForSingleObject", event, 1) as u32, 258, "nobody waited");
        let (waiting, woken) = (AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|t| {
            for _ in 0..2 {
                t.spawn(|| {
                    w.process.enter().unwrap();
                    waiting.fetch_add(1, SeqCst);
                    assert_eq!(kernel32!(w, "WaitForSingleObject", event, 20_000) as u32, 0);
                    woken.fetch_add(1, SeqCst);
                });
            }
            until(|| waiting.load(SeqCst) == 2);
            thread::sleep(Duration::from_millis(50)); // they have come to wait
            kernel32!(w, "PulseEvent", event);
            until(|| woken.load(SeqCst) == 1 + manual as u32);
            if manual == 0 {
                thread::sleep(Duration::from_millis(20));
                assert_eq!(woken.load(SeqCst), 1, "one of them");
                kernel32!(w, "PulseEvent", event);
            }
        });
        assert_eq!(kernel32!(w, "WaitForSingleObject", event, 1) as u32, 258, "it is reset");
    }
    assert_eq!(kernel32!(w, "PulseEvent", 0) as i32, 0);
}

static CALLED: AtomicU32 = AtomicU32::new(0);

extern "win64" fn called(argument: usize, low: u32, high: u32) {
    assert!((u64::from(high) << 32 | u64::from(low)) > 130_000_000_000_000_000); // after 2012
    CALLED.fetch_add(argument as u32, SeqCst);
}

#[test]
fn timers_have_their_thread_make_a_call() {
    let w = world();
    let timer = kernel32!(w, "CreateWaitableTimerW", 0, 0, 0);
    let due = Box::new(-10_000i64); // a millisecond from now
    let due = (&raw const *due).expose_provenance();
    assert_eq!(kernel32!(w, "SetWaitableTimer", timer, due, 0, called as *const (), 5, 0) as i32, 1);
    assert_eq!(kernel32!(w, "SleepEx", 30, 0) as u32, 0);
    assert_eq!(CALLED.load(SeqCst), 0, "not in a wait that is not alertable");
    assert_eq!(kernel32!(w, "SleepEx", 20_000, 1) as u32, 0xc0);
    assert_eq!(CALLED.load(SeqCst), 5);
    assert_eq!(kernel32!(w, "SleepEx", 10, 1) as u32, 0, "once");
    assert_eq!(kernel32!(w, "SetWaitableTimer", timer, due, 1, called as *const (), 5, 0) as i32, 1);
    for total in [10, 15] {
        assert_eq!(kernel32!(w, "SleepEx", 20_000, 1) as u32, 0xc0);
        assert_eq!(CALLED.load(SeqCst), total);
    }
    kernel32!(w, "CancelWaitableTimer", timer);
    assert_eq!(kernel32!(w, "SleepEx", 10, 1) as u32, 0);
    assert_eq!(kernel32!(w, "CloseHandle", timer) as i32, 1);
}

#[test]
fn arguments_in_line_arrive() {
    let w = world();
    let at = w.at("msvcrt.dll", "sprintf");
    // SAFETY: the function takes whatever its format says; floating point arguments of a function with `...` come in both
    // registers, which a caller without a prototype for `...` does not do, so the double goes to the stack here.
    let f: unsafe extern "win64" fn(*mut u8, *const i8, i32, i64, f64, *const i8) -> i32 =
        unsafe { transmute(at) };
    let mut buffer = [0u8; 64];
    // SAFETY: the buffer is longer than the result.
    let n = unsafe { f(buffer.as_mut_ptr(), c"%d %lld %.2f %s".as_ptr(), 7, -1 << 40, 2.5, c"end".as_ptr()) };
    assert_eq!(&buffer[..n as usize], b"7 -1099511627776 2.50 end");
}
