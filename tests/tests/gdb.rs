//! What tools outside the process see of a library that exists only as bytes: gdb, and readers of perf's map.
//!
//! Expected values come from the library's source, from `nm`, and from what gdb says of a library that it knows.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

const DEBUGGEE: &str = env!("CARGO_BIN_EXE_debuggee");

/// The library, built with what a debugger wants to know. None where there is no compiler.
fn library() -> Option<(TempDir, PathBuf)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/twice.c");
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("twice.so");
    let gcc =
        Command::new("gcc").args(["-g", "-O0", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    match gcc {
        Ok(status) => {
            assert!(status.success(), "gcc: {status}");
            Some((folder, library))
        }
        Err(_) => {
            eprintln!("skipped: needs gcc");
            None
        }
    }
}

/// What gdb prints when it is given these commands. None where it is not there or may not look into processes.
fn gdb(commands: &[&str], target: &[&str]) -> Option<String> {
    // A terminal of no particular width: lines are not to be broken.
    let set = ["set width 0", "set breakpoint pending on", "set debuginfod enabled off"];
    let mut gdb = Command::new("gdb");
    gdb.args(["-q", "-nx", "-batch"]);
    for command in set.iter().chain(commands) {
        gdb.args(["-ex", command]);
    }
    let Ok(output) = gdb.args(target).stdin(Stdio::null()).output() else {
        eprintln!("skipped: needs gdb");
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("ptrace: Operation not permitted") {
        eprintln!("skipped: needs the right to trace processes");
        return None;
    }
    Some(format!("{}{errors}", String::from_utf8_lossy(&output.stdout)))
}

/// Runs a scene of the debuggee and returns what it said.
fn scene(library: &Path, scene: &[&str]) -> String {
    let output = Command::new(DEBUGGEE).arg(library).args(scene).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The text from one mark to the next.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from} in {text}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to} in {text}")).0
}

#[test]
fn gdb_stops_at_a_source_line_of_a_library_from_bytes() {
    let Some((_folder, library)) = library() else { return };
    let commands = [
        "break twice.c:5",
        "break twice.c:11",
        "break debuggee_closed",
        "run",
        "print early",
        "continue",
        "print doubled",
        "echo == while it is loaded\\n",
        "info sharedlibrary",
        "backtrace 2",
        "continue",
        "echo == when it is gone\\n",
        "info sharedlibrary",
        "info breakpoints",
        "echo == end\\n",
        "continue",
    ];
    let target = ["--args", DEBUGGEE, library.to_str().unwrap(), "runs"];
    let Some(said) = gdb(&commands, &target) else { return };

    // Before an initialiser has run, and in a function: the values that the source gives the variables.
    assert!(said.contains("Breakpoint 1, starts () at "), "{said}");
    assert!(said.contains("$1 = 7\n"), "{said}");
    assert!(said.contains("Breakpoint 2, twice (n=21) at "), "{said}");
    assert!(said.contains("$2 = 42\n"), "{said}");
    let loaded = between(&said, "== while it is loaded", "== when it is gone");
    assert!(loaded.lines().any(|l| l.contains(" Yes ") && l.contains("/fd/")), "{said}");
    assert!(loaded.contains("#0  twice (n=21) at "), "{said}");
    assert!(loaded.lines().any(|l| l.starts_with("#1 ") && l.contains("debuggee::call")), "{said}");

    assert!(
        said.lines().any(|l| l.starts_with("Breakpoint 3, ") && l.contains("debuggee_closed ()")),
        "{said}"
    );
    let gone = between(&said, "== when it is gone", "== end");
    assert!(gone.contains("libc.so.6") && !gone.contains("/fd/"), "{said}");
    let pending = gone.lines().filter(|l| l.contains("<PENDING>") && l.contains("twice.c:"));
    assert_eq!(pending.count(), 2, "{said}");
    assert!(said.contains("exited normally"), "{said}");
}

/// A child that is ended with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn gdb_that_comes_later_sees_what_was_shown_to_it() {
    let Some((_folder, library)) = library() else { return };
    let mut child =
        Command::new(DEBUGGEE).arg(&library).arg("waits").stdout(Stdio::piped()).spawn().map(Ended).unwrap();
    let mut said = BufReader::new(child.0.stdout.take().unwrap());
    let mut ready = String::new();
    said.read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");

    let go_on = format!("shell touch {}", library.display());
    let commands = ["info sharedlibrary", "break twice.c:11", &go_on, "continue", "print doubled", "kill"];
    let Some(said) = gdb(&commands, &["-p", &child.0.id().to_string()]) else { return };
    let listed = format!("/proc/{}/fd/", child.0.id());
    assert!(said.lines().any(|l| l.contains(" Yes ") && l.contains(&listed)), "{said}");
    assert!(said.contains("twice (n=21) at "), "{said}");
    assert!(said.contains("$1 = 42\n"), "{said}");
}

#[test]
fn without_a_debugger_there_is_no_descriptor() {
    let Some((_folder, library)) = library() else { return };
    // The mode; descriptors more while the library is open, and after. Only `Always` keeps a copy.
    assert_eq!(scene(&library, &["counts"]), "Never 0 0\nAuto 0 0\nAlways 1 0\n");
}

#[test]
fn the_hosts_own_loading_goes_on() {
    let Some((_folder, library)) = library() else { return };
    assert_eq!(scene(&library, &["lives", "on"]), "answer 42\n");
}

#[test]
fn perfs_map_has_the_functions_of_a_library_from_bytes() {
    let Some((_folder, library)) = library() else { return };
    let nm = Command::new("nm").arg("-S").arg(&library).output().unwrap();
    let nm = String::from_utf8(nm.stdout).unwrap();
    let line = nm.lines().find(|l| l.ends_with(" T twice")).unwrap();
    let size = line.split(' ').nth(1).unwrap().trim_start_matches('0');

    let said = scene(&library, &["profiled"]);
    let (at, map) = said.trim().split_once(' ').unwrap();
    let lines = fs::read_to_string(map).unwrap();
    fs::remove_file(map).unwrap();
    assert!(lines.lines().any(|l| l == format!("{at} {size} twice")), "{at} {size} in\n{lines}");
    assert!(lines.lines().any(|l| l.ends_with(" starts")), "what is not exported too:\n{lines}");
}
