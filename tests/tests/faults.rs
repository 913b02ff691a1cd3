//! Faults of Windows code, where the corpus' scripts cannot show what comes of them: errors of calls, many threads at once,
//! and whoever else wants to be told of a fault.
//!
//! `unsafe` because exports are called by address, and because some of these tests fault and handle signals themselves.
#![allow(unsafe_code)]

use loader::{Addr, Arg, Convention, Engine, ErrorKind, Exception, Format, Library, invoke};
use loader_core::Query;
use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, Output},
    ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering::SeqCst},
    thread,
};

/// The ways to fault of `faults.c`.
const READS: u64 = 0x10;
const WRITES: u64 = 0x20;
const DIVIDES: u64 = 51;
const ILLEGAL: u64 = 53;
const COPIES_FROM: u64 = 0x40;

const ACCESS_VIOLATION: u32 = 0xc000_0005;
const DIVIDED_BY_ZERO: u32 = 0xc000_0094;
const STACK_OVERFLOW: u32 = 0xc000_00fd;

fn faults() -> (Engine, Library) {
    let engine = tests::subject::engine(Engine::builder()).unwrap();
    let library = engine.open(corpus::root().join("pe/faults/faults.dll")).unwrap();
    (engine, library)
}

/// Calls an export, with the calling thread made ready for Windows code.
fn call(engine: &Engine, library: &Library, name: &str, argument: u64) -> Result<u32, ErrorKind> {
    engine.load_set().enter(Format::Pe)?;
    let at = library.find(&Query::name(name.as_bytes())).unwrap().at;
    // SAFETY: every export of the library takes an `int` or nothing, and returns one or nothing.
    unsafe { invoke(at, Convention::Windows, &[Arg::Word(argument)]) }.map(|(rax, _)| rax as u32)
}

fn exception(result: Result<u32, ErrorKind>) -> Exception {
    match result {
        Err(ErrorKind::Exception(exception)) => *exception,
        other => panic!("{other:?}"),
    }
}

/// Runs a test that is ignored otherwise in a process of its own.
fn child(test: &str) -> Output {
    let arguments = ["--exact", test, "--ignored", "--nocapture"];
    Command::new(std::env::current_exe().unwrap()).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{:?}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn succeeds(test: &str) {
    let output = child(test);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn an_exception_that_nobody_handles_is_an_error_with_place_and_registers() {
    let (engine, library) = faults();
    let module = library.module().unwrap().at;
    let e = exception(call(&engine, &library, "uncaught", WRITES));
    let (name, offset) = e.place.clone().unwrap();
    assert_eq!((e.code, &*e.information, &*name), (ACCESS_VIOLATION, &[1, WRITES][..], "faults.dll"));
    assert_eq!((e.registers.rip, module.addr(offset)), (e.at.0, e.at));
    assert_eq!(
        ErrorKind::Exception(Box::new(e)).to_string(),
        format!("exception 0xc0000005 (writing 0x20) at faults.dll+{:#x}, which nobody handled", offset.0)
    );
    // In the host's code, which is in no module of the engine.
    let e = exception(call(&engine, &library, "uncaught", COPIES_FROM));
    assert_eq!((e.code, &*e.information, e.place), (ACCESS_VIOLATION, &[0, COPIES_FROM][..], None));
    // What is said and what is in RCX is the reason (`__fastfail`); nobody is asked.
    let e = exception(call(&engine, &library, "fails_fast", 7));
    assert_eq!((e.code, &*e.information, e.registers.integers[1]), (0xc000_0409, &[7][..], 7));
    // A last filter that does not want it, either.
    assert_eq!(exception(call(&engine, &library, "no_resort", 0)).code, 0xc000_001d);
    // From a callback of the host's, whose caller does not guard itself either.
    assert_eq!(exception(call(&engine, &library, "in_callback_uncaught", 0)).code, ACCESS_VIOLATION);
    // A stack of which nothing can be made out.
    let e = exception(call(&engine, &library, "gets_lost", 0));
    assert_eq!((e.code, &*e.information, e.registers.rip), (ACCESS_VIOLATION, &[8, 0x7777][..], 0x7777));
    // After a jump out of a guarded call within, this one is the innermost again.
    assert_eq!(call(&engine, &library, "jumps_over_host", 0), Ok(7));
    assert_eq!(
        exception(call(&engine, &library, "jumps_over_host_and_faults", READS)).code,
        ACCESS_VIOLATION
    );
    assert_eq!(call(&engine, &library, "uncaught", 0), Ok(u32::MAX), "and all goes on");
}

#[test]
fn a_page_that_its_file_no_longer_has_is_an_error_of_its_own() {
    const PAGE: u64 = 4096;
    let (engine, library) = faults();
    let file = tempfile::tempfile().unwrap();
    file.set_len(2 * PAGE).unwrap();
    let (prot, fd) = (libc::PROT_READ, std::os::fd::AsRawFd::as_raw_fd(&file));
    // SAFETY: new memory, of which nothing but this test knows.
    let at = unsafe { libc::mmap(ptr::null_mut(), 2 * PAGE as usize, prot, libc::MAP_SHARED, fd, 0) };
    let second = at.expose_provenance() as u64 + PAGE;
    assert_eq!(call(&engine, &library, "reads_at", second), Ok(0));
    file.set_len(PAGE).unwrap();
    let e = exception(call(&engine, &library, "reads_at", second + 7));
    // EXCEPTION_IN_PAGE_ERROR: what was done, where, and why it failed (STATUS_END_OF_FILE).
    assert_eq!((e.code, &*e.information), (0xc000_0006, &[0, second + 7, 0xc000_0011][..]));
    // SAFETY: nobody uses it any more.
    unsafe { libc::munmap(at, 2 * PAGE as usize) };
}

#[test]
fn a_stack_that_overflows_is_an_error_every_time() {
    let (engine, library) = faults();
    for _ in 0..3 {
        let e = exception(call(&engine, &library, "overflow_uncaught", 0));
        assert_eq!(e.code, STACK_OVERFLOW);
        assert_eq!(e.place.unwrap().0.as_ref(), "faults.dll");
        assert_eq!(call(&engine, &library, "overflow", 1), Ok(STACK_OVERFLOW));
        assert_eq!(
            call(&engine, &library, "overflow", 0),
            Ok(STACK_OVERFLOW),
            "nothing is kept back after this one"
        );
    }
    // Without an entry in between there is nowhere for a handler to run: the call fails at once.
    assert_eq!(call(&engine, &library, "overflow", 0), Ok(STACK_OVERFLOW));
    let at = library.find(&Query::name(b"overflow")).unwrap().at;
    // SAFETY: as for `call`.
    let again = unsafe { invoke(at, Convention::Windows, &[Arg::Word(0)]) };
    assert_eq!(exception(again.map(|_| 0)).code, STACK_OVERFLOW);
    assert_eq!(call(&engine, &library, "uncaught", 0), Ok(u32::MAX));
}

#[test]
fn faults_of_many_threads_at_once_are_all_dispatched() {
    const THREADS: u64 = 8;
    const TIMES: u64 = 500;
    let (engine, library) = faults();
    call(&engine, &library, "silence", 0).unwrap();
    thread::scope(|scope| {
        for n in 0..THREADS {
            let (engine, library) = (&engine, &library);
            scope.spawn(move || {
                for time in 0..TIMES {
                    let (way, code) = [
                        (READS, ACCESS_VIOLATION),
                        (WRITES, ACCESS_VIOLATION),
                        (DIVIDES, DIVIDED_BY_ZERO),
                        (ILLEGAL, 0xc000_001d),
                        (COPIES_FROM, ACCESS_VIOLATION),
                    ][((n + time) % 5) as usize];
                    assert_eq!(call(engine, library, "registers_are_kept", way), Ok(code));
                    assert_eq!(exception(call(engine, library, "uncaught", way)).code, code);
                }
            });
        }
    });
}

#[test]
fn a_thread_of_the_librarys_own_that_fails_is_reported() {
    let (engine, failed) = tests::subject::reporting().unwrap();
    let library = engine.open(corpus::root().join("pe/faults/faults.dll")).unwrap();
    assert_eq!(call(&engine, &library, "in_thread", WRITES), Ok(ACCESS_VIOLATION));
    assert_eq!(
        call(&engine, &library, "in_thread", DIVIDES),
        Ok(DIVIDED_BY_ZERO),
        "its exit code is the exception's"
    );
    let failed = failed.lock().unwrap();
    assert!(failed.len() == 2 && failed[0].contains("(writing 0x20) at faults.dll+"), "{failed:?}");
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 100]);
    if frame[50] == u64::MAX { 0 } else { deeper(depth + 1) + frame[depth as usize % 100] }
}

#[test]
#[ignore = "dies; another test runs it in a child"]
fn overflows_in_rust() {
    let thread = thread::Builder::new().name("deep".into()).spawn(|| {
        let (engine, library) = faults();
        assert_eq!(call(&engine, &library, "caught", READS), Ok(ACCESS_VIOLATION));
        assert_eq!(call(&engine, &library, "overflow", 0), Ok(STACK_OVERFLOW));
        println!("{}", deeper(0));
    });
    let _ = thread.unwrap().join();
}

#[test]
fn an_overflow_in_rust_is_reported_as_ever() {
    let output = child("overflows_in_rust");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{}", text(&output));
    assert!(
        text(&output).contains("thread 'deep'") && text(&output).contains("has overflowed its stack"),
        "{}",
        text(&output)
    );
}

#[test]
#[ignore = "dies; another test runs it in a child"]
fn faults_in_rust() {
    let (engine, library) = faults();
    assert_eq!(call(&engine, &library, "caught", READS), Ok(ACCESS_VIOLATION));
    // SAFETY: it is not; the process is to end here.
    println!("{}", unsafe { std::hint::black_box(16 as *const u8).read_volatile() });
}

#[test]
fn a_fault_in_rust_ends_the_process_as_ever() {
    let output = child("faults_in_rust");
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{}", text(&output));
}

/// A handler of the embedder's: makes one page readable, and counts. What it knows nothing of it must not be asked.
mod embedder {
    use super::{AtomicPtr, AtomicU32, SeqCst, ptr};

    pub static PAGE: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());
    pub static ASKED: AtomicU32 = AtomicU32::new(0);

    extern "C" fn handle(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        ASKED.fetch_add(1, SeqCst);
        // SAFETY: the kernel hands a handler of this kind what it knows of the fault.
        let info = unsafe { &*info };
        // SAFETY: of a SIGSEGV it knows the address.
        let at = unsafe { info.si_addr() };
        if at != PAGE.load(SeqCst) {
            std::process::abort();
        }
        // SAFETY: the page is the test's own.
        unsafe { libc::mprotect(at, 4096, libc::PROT_READ) };
    }

    /// From now on it is asked.
    pub fn install() {
        // SAFETY: zeros are a valid `sigaction`.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler does only what a signal handler may.
        unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut()) };
    }

    /// Faults, and finds that the handler was asked that often by now.
    pub fn fault(times: u32) {
        // SAFETY: new memory.
        let page =
            unsafe { libc::mmap(ptr::null_mut(), 4096, 0, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        PAGE.store(page, SeqCst);
        // SAFETY: the handler makes the page readable.
        assert_eq!(unsafe { page.cast::<u8>().read_volatile() }, 0);
        assert_eq!(ASKED.load(SeqCst), times);
    }
}

/// Both kinds of faults, turn by turn.
fn each_to_its_own(engine: &Engine, library: &Library) {
    for time in 1..=3 {
        embedder::fault(2 * time - 1);
        assert_eq!(call(engine, library, "caught", READS), Ok(ACCESS_VIOLATION));
        assert_eq!(call(engine, library, "caught", COPIES_FROM), Ok(ACCESS_VIOLATION));
        assert_eq!(exception(call(engine, library, "uncaught", WRITES)).code, ACCESS_VIOLATION);
        // In a thread that never entered Windows code, too.
        thread::scope(|scope| scope.spawn(|| embedder::fault(2 * time)).join().unwrap());
    }
}

#[test]
#[ignore = "handles signals; another test runs it in a child"]
fn a_handler_from_before() {
    embedder::install();
    let (engine, library) = faults();
    each_to_its_own(&engine, &library);
}

#[test]
#[ignore = "handles signals; another test runs it in a child"]
fn a_handler_from_before_and_reports_of_use_after_unload_from_before() {
    embedder::install();
    loader::report_use_after_unload();
    let (engine, library) = faults();
    each_to_its_own(&engine, &library);
}

#[test]
#[ignore = "handles signals; another test runs it in a child"]
fn a_handler_from_before_and_reports_of_use_after_unload_from_afterwards() {
    embedder::install();
    let (engine, library) = faults();
    loader::report_use_after_unload();
    each_to_its_own(&engine, &library);
}

#[test]
fn faults_of_others_go_to_whoever_handled_them_before() {
    succeeds("a_handler_from_before");
    succeeds("a_handler_from_before_and_reports_of_use_after_unload_from_before");
    succeeds("a_handler_from_before_and_reports_of_use_after_unload_from_afterwards");
}

#[test]
#[ignore = "dies; another test runs it in a child"]
fn nobody_guards() {
    let (engine, library) = faults();
    engine.load_set().enter(Format::Pe).unwrap();
    // SAFETY: it takes an `int` and returns one.
    let uncaught = unsafe { library.get::<extern "win64" fn(u64) -> i32>(c"uncaught") }.unwrap();
    uncaught(READS);
}

#[test]
fn a_fault_that_nobody_handles_and_nobody_guards_against_is_the_processs() {
    let output = child("nobody_guards");
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{}", text(&output));
}

#[test]
fn a_signal_that_somebody_sends_is_no_fault() {
    assert_eq!(child("is_sent_a_signal").status.signal(), Some(libc::SIGFPE));
}

#[test]
#[ignore = "dies; another test runs it in a child"]
fn is_sent_a_signal() {
    let (engine, library) = faults();
    assert_eq!(call(&engine, &library, "caught", READS), Ok(ACCESS_VIOLATION));
    // SAFETY: the process is to end here.
    unsafe { libc::raise(libc::SIGFPE) };
    println!("went on at {}", Addr(0));
}
