//! What confinement refuses, what it lets through, and whether what is said of it is true: each scene is played in a
//! process that is confined (`confined`), and tries what is forbidden.
//!
//! Machines differ. Where this one does not have what a test is about, the test says so and is skipped; whether it has it
//! is found out without asking the engine. Kernels that refuse namespaces, Landlock or filters, and ordinary users, are
//! shown to the same code by taking these things away first.

use loader::sandbox::{Failure, Sandbox};
use loader_sandbox::{
    Child, Ending,
    confine::{Enforced, Measure, Require, State},
};
use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tests::{
    confined::{Account, FOLDER, PORT},
    cores::COUNTED,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Plays a scene, with words that take something away first. The allocator has no cache for each thread there: whoever answers
/// refused calls in the same process must not need it, for a `fork` that is refused holds its locks.
fn scene_in(folder: &Path, port: u16, scene: &str, words: &[&str]) -> Account {
    let child = Child::new(env!("CARGO_BIN_EXE_confined")).args([scene]).args(words);
    let child = child.env(FOLDER, folder).env(PORT, port.to_string()).env(COUNTED.0, COUNTED.1);
    let report = child.no_longer_than(LIMIT).run().unwrap();
    let errors = String::from_utf8_lossy(&report.stderr).into_owned();
    assert_eq!(report.ending, Ending::Exit(0), "{scene}: {errors}");
    serde_json::from_slice(&report.stdout).unwrap_or_else(|_| panic!("{scene}: {report:?}"))
}

fn scene(name: &str, words: &[&str]) -> Account {
    scene_in(Path::new("/"), 9, name, words)
}

/// As [`scene`], for one that plays to its end.
fn played(name: &str) -> Account {
    let account = scene(name, &[]);
    assert_eq!((account.exit, account.signal), (Some(0), None), "{account:#?}");
    account
}

/// What a scene that went on had enforced.
fn enforced(account: &Account) -> &Enforced {
    account.enforced.as_ref().unwrap()
}

/// The numbers and names of the calls that were refused.
fn refused(account: &Account) -> Vec<&str> {
    account.refused.iter().map(|call| call.strip_prefix("refused by confinement: ").unwrap()).collect()
}

/// Whether this machine lets somebody have namespaces, by a tool of the system.
fn has_namespaces() -> bool {
    let words = ["--user", "--map-current-user", "--mount", "--net", "true"];
    quiet("unshare").args(words).status().is_ok_and(|status| status.success())
}

fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|this| std::os::unix::fs::MetadataExt::uid(&this) == 0)
}

#[test]
fn sockets_are_refused_in_all_threads_and_by_name() {
    let account = played("sockets");
    let said =
        ["tcp: EPERM", "unix: EPERM", "udp in a thread: EPERM", "pair: ok", "pair of datagrams: EPERM"];
    assert_eq!(account.said, said);
    let socket = "syscall 41 (socket)"; // arch/x86/entry/syscalls/syscall_64.tbl
    assert_eq!(refused(&account), [socket, socket, socket, "syscall 53 (socketpair)"]);
}

#[test]
fn a_policy_with_network_lets_sockets_through() {
    let account = played("network");
    assert_eq!(account.said[..3], ["tcp: ok", "unix: ok", "udp in a thread: ok"]);
    assert_eq!(enforced(&account).finding(Measure::Network).unwrap().state, State::NotAsked);
}

#[test]
fn without_a_supervisor_calls_are_refused_all_the_same() {
    let account = played("unsupervised");
    assert_eq!(account.said[..3], ["tcp: EPERM", "unix: EPERM", "udp in a thread: EPERM"]);
    assert_eq!(account.refused, [""; 0]);
}

#[test]
fn code_with_its_own_syscall_instruction_meets_the_same_rules() {
    let account = played("raw");
    assert_eq!(account.said, ["here: EPERM", "in a thread: EPERM"]);
    assert_eq!(refused(&account), ["syscall 41 (socket)"; 2]);
}

#[test]
fn calls_by_the_rules_of_other_programs_are_refused() {
    let account = played("foreign");
    assert_eq!(account.said, ["i386: EPERM", "x32: EPERM", "usual: ok"]);
    assert_eq!(refused(&account), ["i386 syscall 20", "x32 syscall 39 (getpid)"]);
}

#[test]
fn processes_and_programs_are_refused_and_threads_are_not() {
    let account = played("processes");
    assert_eq!(
        account.said,
        ["fork: EPERM", "spawn: EPERM", "exec: EPERM", "namespace: EPERM", "thread: ok"]
    );
    let clone = "syscall 56 (clone)";
    assert_eq!(refused(&account), [clone, clone, "syscall 59 (execve)", clone]);
}

#[test]
fn a_copy_gives_up_the_right_to_make_more() {
    let account = played("copies");
    let said =
        ["fork: ok", "fork again: EPERM", "thread: ok", "signal to itself: ok", "signal to init: EPERM"];
    assert_eq!(account.said, said);
}

#[test]
fn nobody_else_can_be_signalled_traced_or_limited() {
    let account = played("signals");
    let (others, itself) = account.said.split_at(account.said.len() - 2);
    assert!(others.iter().all(|said| said.ends_with(": EPERM")), "{others:#?}");
    assert_eq!(itself, ["itself: ok", "raise: ok"]);
    assert_eq!(account.refused.len(), others.len(), "each of them was heard of");
}

#[test]
fn abort_ends_as_anywhere_else() {
    assert_eq!(scene("abort", &[]).signal, Some(6));
}

#[test]
fn memory_is_written_or_executed_but_not_both() {
    let account = played("code");
    let said = [
        "both at once: EPERM",
        "both later: EPERM",
        "execute after write: ok",
        "write after execute: ok",
        "execute, when all is loaded: EPERM",
        "code of a file, when all is loaded: EPERM",
        "write, when all is loaded: ok",
    ];
    assert_eq!(account.said, said);
    assert_eq!(refused(&account)[..2], ["syscall 9 (mmap)", "syscall 10 (mprotect)"]);
    assert_eq!(played("writable-code").said[..2], ["both at once: ok", "both later: ok"]);
}

#[test]
fn only_the_files_of_the_policy_can_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("allowed");
    fs::create_dir(&inside).unwrap();
    let account = scene_in(&inside, 9, "files", &[]);
    let result = |what: &str| {
        let line = account.said.iter().find_map(|said| said.strip_prefix(what)).unwrap();
        line.strip_prefix(": ").unwrap()
    };
    for allowed in ["write inside", "read inside", "folder inside", "rename inside", "read a library"] {
        assert_eq!(result(allowed), "ok", "{allowed}");
    }
    assert_eq!(result("mode inside"), "EPERM");
    assert_eq!(refused(&account), ["syscall 90 (chmod)"]);
    assert_eq!(fs::read(inside.join("sub/moved")).unwrap(), b"text");
    if !enforced(&account).is_on(Measure::Files) {
        return eprintln!("skipped: needs Landlock or namespaces");
    }
    for forbidden in ["write outside", "read outside", "rename outside"] {
        assert_ne!(result(forbidden), "ok", "{forbidden}");
    }
    assert!(!folder.path().join("outside").exists());
}

#[test]
fn where_nothing_may_be_written_the_filter_refuses_it_by_name() {
    let account = played("read-only");
    assert_eq!(account.said, ["read: ok", "write: EPERM", "remove: EPERM"]);
    assert_eq!(refused(&account), ["syscall 257 (openat)", "syscall 87 (unlink)"]);
    let account = played("nothing-to-read");
    assert_eq!(account.said[0], "read: EPERM");
}

#[test]
fn no_privilege_is_left() {
    let account = played("privileges");
    let (status, attempts) = account.said.split_at(6);
    assert!(
        status[..5]
            .iter()
            .filter(|line| !line.starts_with("CapBnd"))
            .all(|line| line.ends_with(": 0000000000000000"))
    );
    assert_eq!(status[5], "NoNewPrivs: 1");
    assert!(attempts.iter().all(|said| said.ends_with(": EPERM")), "{attempts:#?}");
}

#[test]
fn descriptors_that_are_not_meant_to_be_open_are_closed() {
    assert_eq!(played("descriptors").said, ["output: ok", "leaked: EBADF"]);
}

#[test]
fn limits_hold() {
    assert_eq!(played("memory").said, ["64 MiB: ok", "2 GiB: ENOMEM"]);
    assert_eq!(played("open-files").said, ["many: EMFILE", "highest: 63"]);
    let large = scene("file-size", &[]);
    assert_eq!((&large.said[..], large.signal), (&["1 MiB: ok".to_owned()][..], Some(libc::SIGXFSZ)));
    assert_eq!(scene("spin", &[]).signal, Some(libc::SIGXCPU));
}

#[test]
fn threads_are_limited_for_an_ordinary_user() {
    let words: &[&str] = if is_root() { &["as-nobody"] } else { &[] };
    let account = scene("threads", words);
    match has_namespaces() {
        true => assert_eq!(account.said, ["threads: 15", "one more: EAGAIN"], "16 with the first"),
        false => assert_eq!(enforced(&account).finding(Measure::Tasks).unwrap().state, State::Absent),
    }
    if is_root() {
        let account = scene("threads", &[]);
        assert_eq!(account.said, ["threads: 100", "one more: ok"], "root is exempt");
        assert_eq!(enforced(&account).finding(Measure::Tasks).unwrap().state, State::Absent);
    }
}

#[test]
fn a_confined_process_dies_with_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let mut parent = quiet(env!("CARGO_BIN_EXE_confined"));
    let mut parent = parent.arg("orphan").env(FOLDER, folder.path()).spawn().unwrap();
    let until = Instant::now() + LIMIT;
    let wait_for = |what: &dyn Fn() -> bool| {
        while !what() {
            assert!(Instant::now() < until, "nothing came of it");
            thread::sleep(Duration::from_millis(5));
        }
    };
    let pid = || fs::read_to_string(folder.path().join("pid")).ok().filter(|text| !text.is_empty());
    wait_for(&|| pid().is_some());
    let process = format!("/proc/{}/stat", pid().unwrap());
    assert!(fs::exists(&process).unwrap());
    parent.kill().unwrap();
    parent.wait().unwrap();
    // Gone, or waiting for somebody else's parent to take notice.
    wait_for(&|| fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z ")));
}

#[test]
fn libraries_of_both_formats_work_as_ever() {
    let account = played("engine");
    assert!(account.said.iter().all(|said| said.ends_with(": ok")), "{:#?}", account.said);
    assert_eq!(account.said.len(), 13);
    assert_eq!(account.refused, [""; 0], "nothing that a library needs is refused");
}

/// What is taken away from a process, in all combinations.
fn machines() -> Vec<Vec<&'static str>> {
    let users: &[&[&str]] = if is_root() { &[&[], &["as-nobody"]] } else { &[&[]] };
    let kernels = (0..8).map(|bits| {
        let words = ["without-namespaces", "without-landlock", "without-filter"];
        words.into_iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1).map(|(_, word)| word)
    });
    kernels
        .flat_map(|kernel| {
            users.iter().map(move |user| [user, &*kernel.clone().collect::<Vec<_>>()].concat())
        })
        .collect()
}

#[test]
fn what_is_said_is_true_on_every_machine() {
    let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = somebody.local_addr().unwrap().port();
    for words in machines() {
        let account = scene_in(Path::new("/"), port, "claims", &words);
        let enforced = enforced(&account);
        let effects = [
            ("files", Measure::Files),
            ("network", Measure::Network),
            ("signals", Measure::Signals),
            ("processes", Measure::Processes),
            ("code", Measure::WriteXorExecute),
        ];
        for (what, measure) in effects {
            let done = account.said.contains(&format!("{what}: ok"));
            let finding = enforced.finding(measure).unwrap();
            match finding.state {
                State::On => assert!(!done, "{words:?}: {what} is said to be {finding:?}"),
                // The attempt starts a program, whose file is not there or cannot be read; a copy can be made all the same.
                State::Absent if what == "processes" && enforced.is_on(Measure::Files) => {}
                State::Absent => assert!(done, "{words:?}: {what} is said to be {finding:?}"),
                State::Partial | State::NotAsked => {}
            }
        }
        for (word, measure) in [
            ("without-namespaces", Measure::UserNamespace),
            ("without-namespaces", Measure::MountNamespace),
            ("without-namespaces", Measure::NetworkNamespace),
            ("without-landlock", Measure::Landlock),
            ("without-filter", Measure::Filter),
            ("without-filter", Measure::Reports),
        ] {
            if words.contains(&word) {
                let finding = enforced.finding(measure).unwrap();
                assert_eq!(finding.state, State::Absent, "{words:?}: {measure}");
                assert!(!finding.detail.is_empty());
            } else if measure != Measure::Landlock && has_namespaces() {
                assert!(enforced.is_on(measure), "{words:?}: {measure} {:?}", enforced.finding(measure));
            }
        }
    }
}

#[test]
fn what_is_required_and_not_there_is_named() {
    let hindered = ["without-namespaces", "without-landlock", "without-filter"];
    for word in hindered {
        let account = scene("all-required", &[word]);
        assert_eq!(account.said, [""; 0], "it did not go on");
        let refusal = account.enforced.unwrap_err().to_string();
        let reason = match word {
            "without-namespaces" => "user namespace: the system refuses: Operation not permitted",
            "without-landlock" => "Landlock: the kernel does not have it",
            _ => "system call filter: the system refuses: ",
        };
        assert!(refusal.starts_with("confinement is required and absent here: "), "{refusal}");
        assert!(refusal.contains(reason), "{refusal}");
    }
    let words: &[&str] = if is_root() { &["as-nobody"] } else { &[] };
    let account = scene("all-required", words);
    match account.enforced {
        Ok(_) => assert_eq!(account.said, ["alive: ok"]),
        Err(refusal) => eprintln!("skipped: needs a machine with everything: {refusal}"),
    }
}

/// A sandbox with a library of mischief.
fn guest(file: &str) -> Sandbox {
    let bytes = fs::read(corpus::root().join("mischief").join(file)).unwrap();
    let mut sandbox = Sandbox::builder().start().unwrap();
    sandbox.load_bytes(file.rsplit('/').next().unwrap(), &bytes).unwrap();
    sandbox
}

#[test]
fn a_sandbox_tells_which_calls_it_refused_to_code_of_both_formats() {
    for file in ["elf/libmischief.so", "pe/mischief.dll"] {
        let mut sandbox = guest(file);
        assert_eq!(sandbox.refused(), [], "loading needs nothing that is refused");
        assert!(sandbox.call("raw_socket", []).unwrap().i32() < 0);
        assert!(sandbox.call("raw_forks", []).unwrap().i32() < 0);
        let refused = sandbox.refused();
        let names: Vec<_> = refused.iter().filter_map(|call| call.name()).collect();
        assert_eq!(names[0], "socket", "{file}");
        assert!(names[1..].iter().all(|name| ["fork", "clone", "vfork"].contains(name)), "{file}: {names:?}");
        let images = sandbox.modules().iter().map(|module| module.at);
        let inside =
            |at: u64| images.clone().any(|image| (image.base.0..image.base.0 + image.len).contains(&at));
        assert!(inside(refused[0].at), "{file}: the instruction is the library's own");
        assert_eq!(sandbox.refused(), []);
    }
}

#[test]
fn a_sandbox_has_processes_of_its_own_where_the_machine_allows() {
    let mut sandbox = Sandbox::builder().start().unwrap();
    let enforced = sandbox.enforced();
    assert!(
        [Measure::Memory, Measure::OpenFiles, Measure::Filter, Measure::Reports]
            .iter()
            .all(|&m| enforced.is_on(m))
    );
    let own = enforced.is_on(Measure::ProcessNamespace);
    assert!(own || !has_namespaces(), "{enforced}");
    sandbox.load("libc.so.6").unwrap();
    let number = sandbox.call("getpid", []).unwrap().i32();
    match own {
        true => {
            assert_eq!(number, 2, "the first is its warden");
            let exists = |sandbox: &mut Sandbox, path: &str| {
                sandbox.call("access", [path.into(), 0.into()]).unwrap().i32() == 0
            };
            assert!(exists(&mut sandbox, "/proc/2/maps"), "and /proc is of the same namespace");
            assert!(!exists(&mut sandbox, &format!("/proc/{}", std::process::id())), "this one is not in it");
        }
        false => eprintln!("skipped: needs namespaces"),
    }
}

#[test]
fn a_guest_that_may_read_everything_shares_the_hosts_names_of_files_and_processes() {
    let mut sandbox = Sandbox::builder().read("/").start().unwrap();
    let state = |measure| sandbox.enforced().finding(measure).unwrap().state;
    let shared = [Measure::Files, Measure::MountNamespace, Measure::ProcessNamespace];
    assert_eq!(shared.map(state), [State::NotAsked; 3]);
    sandbox.load("libc.so.6").unwrap();
    let number = sandbox.call("getpid", []).unwrap().i32();
    assert!(fs::exists(format!("/proc/{number}/maps")).unwrap());
    let made = sandbox.call("open", ["/tmp/made".into(), libc::O_CREAT.into(), 0o600.into()]).unwrap().i32();
    assert_eq!(made, -1, "nothing may be written all the same");
}

#[test]
fn the_end_of_a_confined_guest_is_told_as_it_was() {
    let mut sandbox = guest("elf/libmischief.so");
    assert!(matches!(sandbox.call("exits", []), Err(Failure::Exited(7))), "its source says exit(7)");
}

#[test]
fn a_sandbox_that_requires_more_than_there_is_does_not_start() {
    let wanted = Require::These(vec![Measure::Tasks, Measure::Filter]);
    assert!(
        Sandbox::builder().require(wanted).start().is_ok(),
        "what the policy does not ask for is not missing"
    );
    let all = Sandbox::builder().require(Require::All).start();
    match all {
        Ok(sandbox) => assert_eq!(sandbox.enforced().missing().count(), 0),
        Err(failure) => assert!(failure.to_string().starts_with("confinement is required and "), "{failure}"),
    }
}

#[test]
fn windows_code_in_a_sandbox_has_a_drive_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(corpus::root().join("mischief/pe/mischief.dll")).unwrap();
    let mut sandbox = Sandbox::builder().windows_root(folder.path()).start().unwrap();
    sandbox.load_bytes("mischief.dll", &bytes).unwrap();
    let mut call = |function, path: &str| sandbox.call(function, [path.into()]).unwrap().i64();
    assert_eq!(call("writes_file", r"C:\made.txt"), 0);
    assert_eq!(call("reads_file", r"\made.txt"), 0);
    assert_eq!(call("reads_file", r"Z:\etc\ld.so.cache"), -3, "ERROR_PATH_NOT_FOUND");
    assert!(folder.path().join("made.txt").exists());
}
