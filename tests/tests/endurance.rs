//! What holds for a long time: ten thousand opens leave nothing, threads that load at random meet no error and no
//! deadlock, signals or none, a fork while others load gives a child that can load too, and a crowd of
//! threads that load DLLs and have them make threads loses no notice.
//!
//! All but the first two run for a few seconds; `LOADER_ENDURE=full` makes it a minute each, or a thousand times.

use std::{env, path::Path, time::Duration};
use tests::cores::child;

const LIMIT: Duration = Duration::from_secs(300);

fn run(args: &[&str]) {
    child(Path::new(env!("CARGO_BIN_EXE_run-case")), args, LIMIT).unwrap();
}

fn seconds() -> &'static str {
    match env::var_os("LOADER_ENDURE") {
        Some(_) => "60",
        None => "4",
    }
}

#[test]
fn ten_thousand_opens_from_files_leave_nothing() {
    run(&["cycles", "files", "10000"]);
}

#[test]
fn ten_thousand_opens_from_bytes_leave_nothing() {
    run(&["cycles", "bytes", "10000"]);
}

#[test]
fn threads_that_open_call_and_close_at_random_meet_no_error_and_no_deadlock() {
    run(&["threads", seconds()]);
}

#[test]
fn threads_that_signals_interrupt_all_the_time_do_just_as_well() {
    run(&["signals", seconds()]);
}

#[test]
fn a_child_of_fork_can_load_whatever_other_threads_of_its_parent_were_loading() {
    run(&["forks", seconds()]);
}

/// One fork for each process: what a process makes once is being made at that moment, in one of these runs or another.
#[test]
fn a_child_of_a_fork_in_the_first_moments_of_a_process_can_load_too() {
    let processes = if env::var_os("LOADER_ENDURE").is_some() { 1000 } else { 100 };
    (0..processes).for_each(|_| run(&["forks", "0"]));
}

#[test]
fn a_hundred_threads_that_load_dlls_and_have_them_make_threads_lose_no_notice_and_leave_nothing() {
    let times = if env::var_os("LOADER_ENDURE").is_some() { "1000" } else { "100" };
    run(&["crowd", "100", times]);
}
