//! Fibers, where the corpus' script cannot show what comes of them: fibers that fail, and what is left when a thread, a
//! library or the engine goes.
//!
//! `unsafe` because exports are called by address.
#![allow(unsafe_code)]

use loader::{Arg, Convention, Engine, ErrorKind, Exception, Format, Library, invoke};
use loader_core::Query;
use std::{path::PathBuf, process::Command, sync::mpsc, thread};
use tests::cores::COUNTED;

/// The ways of `failing.c`.
const RAISES: u64 = 0;
const READS: u64 = 1;
const CALLS: u64 = 2;
const RETURNS: u64 = 3;
const DELETES: u64 = 4;
const SWITCHES: u64 = 5;
const RECURSES: u64 = 6;
const COMES_BACK: u64 = 7;

const RAISED: u32 = 0xe000_0042;
/// What `fails_in_thread` has raised.
const RAISED_IN_THREAD: u32 = 0xe000_0077;
const ACCESS_VIOLATION: u32 = 0xc000_0005;
const STACK_OVERFLOW: u32 = 0xc000_00fd;
const THREAD_IS_TERMINATING: u32 = 0xc000_004b;
const INVALID_THREAD: u32 = 0xc000_071c;
/// Where nothing is.
const NOWHERE: u64 = 0x1230;

struct Failing {
    engine: Engine,
    library: Library,
}

fn image(name: &str) -> PathBuf {
    corpus::root().join("pe/fibers").join(name)
}

fn failing() -> Failing {
    let engine = tests::subject::engine(Engine::builder()).unwrap();
    let library = engine.open(image("fibers-failing.dll")).unwrap();
    Failing { engine, library }
}

impl Failing {
    fn call(&self, name: &str, arguments: &[u64]) -> Result<u64, ErrorKind> {
        self.engine.load_set().enter(Format::Pe)?;
        let at = self.library.find(&Query::name(name.as_bytes())).unwrap().at;
        let arguments: Vec<_> = arguments.iter().map(|&word| Arg::Word(word)).collect();
        // SAFETY: the exports take integers and pointers, and every test passes what they ask for.
        unsafe { invoke(at, Convention::Windows, &arguments) }.map(|(rax, _)| rax)
    }

    fn exception(&self, name: &str, arguments: &[u64]) -> Exception {
        match self.call(name, arguments) {
            Err(ErrorKind::Exception(exception)) => *exception,
            other => panic!("{name} {arguments:x?}: {other:?}"),
        }
    }

    /// The number of the exception that comes of a call, and what is said with it.
    fn code(&self, name: &str, arguments: &[u64]) -> (u32, Vec<u64>) {
        let e = self.exception(name, arguments);
        (e.code, e.information)
    }
}

/// Runs a test that is ignored otherwise in a process of its own.
fn child(test: &str) {
    let arguments = ["--exact", test, "--ignored", "--nocapture"];
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(arguments).env(COUNTED.0, COUNTED.1).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_nobody_handles_in_a_fiber_is_an_error_of_the_call_that_led_there() {
    let f = failing();
    for _ in 0..20 {
        let e = f.exception("fails", &[RAISES, RAISED.into()]);
        assert_eq!((e.code, e.place), (RAISED, None)); // raised by a function of the host
        let e = f.exception("fails", &[READS, 16]);
        assert_eq!((e.code, &*e.information), (ACCESS_VIOLATION, &[0, 16][..]));
        assert_eq!(&*e.place.unwrap().0, "fibers-failing.dll");
        assert_eq!(f.code("fails", &[CALLS, NOWHERE]), (ACCESS_VIOLATION, vec![8, NOWHERE]));
        assert_eq!(f.exception("fails", &[RECURSES, 0]).code, STACK_OVERFLOW);
        assert_eq!(f.call("fails", &[COMES_BACK, 0]), Ok(1), "the thread is as it was");
    }
}

#[test]
fn a_fiber_that_begins_nowhere_is_an_access_violation() {
    let f = failing();
    assert_eq!(f.code("begins", &[0]), (ACCESS_VIOLATION, vec![8, 0]));
    assert_eq!(f.code("begins", &[NOWHERE]), (ACCESS_VIOLATION, vec![8, NOWHERE]));
    assert_eq!(f.call("fails", &[COMES_BACK, 0]), Ok(1));
}

#[test]
fn a_fiber_that_ends_ends_a_thread_of_the_librarys_but_fails_the_call_of_one_of_the_hosts() {
    let f = failing();
    assert_eq!(f.call("in_thread", &[RETURNS]), Ok(1)); // as under Wine
    assert_eq!(f.call("in_thread", &[COMES_BACK]), Ok(1));
    for way in [RETURNS, DELETES] {
        assert_eq!(f.code("fails", &[way, 0]), (THREAD_IS_TERMINATING, vec![]));
        assert_eq!(f.call("fails", &[COMES_BACK, 0]), Ok(1));
    }
    let own = f.call("first_of_thread", &[]).unwrap();
    assert_eq!(f.code("deletes_left", &[own]), (THREAD_IS_TERMINATING, vec![]));
}

#[test]
fn a_fiber_that_fails_in_a_thread_of_the_librarys_own_ends_that_and_is_reported() {
    let (engine, failed) = tests::subject::reporting().unwrap();
    let library = engine.open(image("fibers-failing.dll")).unwrap();
    let f = Failing { engine, library };
    assert_eq!(f.call("in_thread", &[RAISES]), Ok(RAISED_IN_THREAD.into()));
    let failed = failed.lock().unwrap();
    assert!(failed.len() == 1 && failed[0].contains("exception 0xe0000077"), "{failed:?}");
}

#[test]
fn going_on_in_what_is_no_fiber_or_in_a_thread_that_is_none_is_an_access_violation() {
    let f = failing();
    assert_eq!(f.code("goes_on_in", &[NOWHERE, 0]), (ACCESS_VIOLATION, vec![1, 0x1e00]), "never was a fiber");
    assert_eq!(f.code("goes_on_in", &[NOWHERE, 1]), (ACCESS_VIOLATION, vec![0, NOWHERE]));
    assert_eq!(f.code("fails", &[SWITCHES, NOWHERE]), (ACCESS_VIOLATION, vec![0, NOWHERE]));
    let left = f.call("leaves", &[]).unwrap();
    assert_eq!(f.call("deletes_left", &[left]), Ok(1));
    assert_eq!(f.code("goes_on_in", &[left, 1]), (ACCESS_VIOLATION, vec![0, left]), "it was deleted");
    assert_eq!(f.code("goes_on_in", &[left, 0]), (ACCESS_VIOLATION, vec![1, 0]), "is none any more");
    // Nor has another engine any business with it.
    let left = f.call("leaves", &[]).unwrap();
    assert_eq!(failing().code("goes_on_in", &[left, 1]), (ACCESS_VIOLATION, vec![0, left]));
}

/// The fibers of a thread that waits until it is told to end: its first one, one that was left where it may be run by all,
/// and one that was left in an entry point.
fn elsewhere(f: &Failing, look: impl FnOnce([u64; 3])) {
    let (tell, hear) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let entering = std::ffi::CString::new(image("entering.dll").to_str().unwrap()).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let first = f.call("first_of_thread", &[]).unwrap();
            let left = f.call("leaves", &[]).unwrap();
            let inside = f.call("stays_in_entry", &[entering.as_ptr().addr() as u64]).unwrap();
            tell.send([first, left, inside]).unwrap();
            let _ = ended.recv();
            // The entry point comes to its end, and the fiber ends the thread, which is the host's.
            assert_eq!(f.code("goes_on_in", &[inside, 1]), (THREAD_IS_TERMINATING, vec![]));
        });
        look(hear.recv().unwrap());
        drop(end);
    });
}

#[test]
fn what_belongs_to_a_thread_is_gone_on_in_by_no_other() {
    let f = failing();
    elsewhere(&f, |[first, left, inside]| {
        assert_eq!(f.code("goes_on_in", &[first, 1]), (ACCESS_VIOLATION, vec![0, first]));
        assert_eq!(f.code("goes_on_in", &[inside, 1]), (INVALID_THREAD, vec![inside, 0]));
        assert_eq!(f.code("goes_on_in", &[left, 1]), (THREAD_IS_TERMINATING, vec![]), "it ends");
    });
}

/// How many bytes this process has mapped.
fn mapped() -> u64 {
    let sizes = std::fs::read_to_string("/proc/self/statm").unwrap();
    sizes.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 4096
}

/// Looks at the memory of the whole process.
#[test]
#[ignore = "run in a process of its own by the next one"]
fn fibers_go() {
    const TIMES: u64 = 40;
    // With the engine, fibers that nobody deleted; with the thread, its first one. Some six at a time, with a stack of a
    // megabyte each.
    let once = || {
        let f = failing();
        for way in [RAISES, READS, RETURNS, DELETES, RECURSES, COMES_BACK] {
            let _ = f.call("fails", &[way, 0]);
            f.call("in_thread", &[way]).unwrap();
        }
        f.call("leaves", &[]).unwrap();
        elsewhere(&f, |_| {});
        f.call("fails", &[COMES_BACK, 0]).unwrap();
    };
    (0..4).for_each(|_| thread::spawn(once).join().unwrap());
    let before = mapped();
    (0..TIMES).for_each(|_| thread::spawn(once).join().unwrap());
    // The C library keeps stacks of threads that ended, now more, now fewer.
    let grown = mapped().saturating_sub(before);
    assert!(grown < TIMES << 20, "{} MB more than before", grown >> 20);
}

#[test]
fn fibers_go_with_their_engine_and_their_threads() {
    child("fibers_go");
}

#[test]
fn a_fiber_that_was_left_in_a_library_that_went_is_an_access_violation() {
    let f = failing();
    let bytes = std::fs::read(image("fibers-failing.dll")).unwrap();
    let other = f.engine.open_bytes("other.dll", bytes).unwrap();
    let left = f.call("leaves", &[]).unwrap();
    let Failing { engine, library } = f;
    library.close().unwrap();
    let f = Failing { engine, library: other };
    let e = f.exception("goes_on_in", &[left, 1]);
    assert_eq!((e.code, e.information[0], e.place), (ACCESS_VIOLATION, 8, None));
    assert_eq!(f.call("fails", &[COMES_BACK, 0]), Ok(1));
}
