//! What is promised when loaded code does what it should not, each in a child process: this test binary once more,
//! told by an environment variable what its initialiser shall do.
#![allow(missing_docs, unsafe_code)]

use loader::{Engine, HostModule};
use loader_sandbox::{Child, Ending, behave_as_child};
use std::time::Duration;

const DEED: &str = "FOREIGN_DEED";

/// What the image's initialiser calls to log: here it does the deed.
extern "C-unwind" fn write(_: i32, _: *const u8, len: usize) -> isize {
    match std::env::var(DEED).as_deref() {
        Ok("panic") => panic!("through loaded code"),
        Ok("exit") => std::process::exit(7),
        Ok("fault") => {
            // SAFETY: it is not: the fault is the deed.
            unsafe { std::ptr::null_mut::<u8>().write_volatile(1) };
        }
        Ok("thread") => std::thread::spawn(|| println!("a thread of an initialiser"))
            .join()
            .expect("the thread ends while the initialiser still runs: no lock is in its way"),
        _ => {}
    }
    len.cast_signed()
}

#[test]
fn child() {
    if std::env::var_os(DEED).is_none() {
        return; // only the tests below want it
    }
    behave_as_child();
    let lines = HostModule::new("lines").global().function("write", write as *const ());
    let engine = Engine::builder().host(lines).build().unwrap();
    let path = corpus::root().join("elf/init-arguments/libinit-arguments.so");
    engine.open(path).unwrap().close().unwrap();
    println!("opened and closed");
}

fn doing(deed: &str) -> (Ending, String) {
    let me = std::env::current_exe().unwrap();
    let child = Child::new(me).args(["child", "--exact", "--nocapture"]).env(DEED, deed);
    let report = child.no_longer_than(Duration::from_secs(20)).run().unwrap();
    (report.ending, String::from_utf8_lossy(&report.stdout).into_owned())
}

#[test]
fn what_unwinds_through_loaded_code_ends_the_process_and_does_not_hang() {
    assert_eq!(doing("panic").0, Ending::Signal(6)); // SIGABRT: this library was built without unwind tables
}

#[test]
fn an_initialiser_may_end_the_process() {
    assert_eq!(doing("exit").0, Ending::Exit(7));
}

#[test]
fn a_fault_in_an_initialiser_is_the_processs_own() {
    assert_eq!(doing("fault").0, Ending::Signal(11));
}

#[test]
fn an_initialiser_may_start_a_thread_and_wait_for_it() {
    let (ending, output) = doing("thread");
    assert_eq!(ending, Ending::Exit(0));
    assert!(
        output.contains("a thread of an initialiser") && output.contains("opened and closed"),
        "{output}"
    );
}
