//! The `loader` command, run as a user runs it.

use serde_json::Value;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// How a command ended.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn loader<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ran {
    with_input("", arguments)
}

fn with_input<S: AsRef<std::ffi::OsStr>>(input: &str, arguments: impl IntoIterator<Item = S>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loader"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()); // not every subcommand reads it
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Ran {
    /// What a command that did well wrote.
    #[track_caller]
    fn fine(self) -> String {
        assert_eq!((self.code, &*self.err), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// The one sentence of a command that was refused.
    #[track_caller]
    fn refused(self) -> String {
        assert_eq!((self.code, &*self.out), (Some(1), ""), "{}", self.err);
        let sentence = self.err.strip_prefix("loader: ").and_then(|s| s.strip_suffix('\n'));
        let sentence = sentence.unwrap_or_else(|| panic!("{:?} is no sentence of the command", self.err));
        assert!(!sentence.contains('\n'), "{sentence} is more than one line");
        sentence.into()
    }
}

fn image(path: &str) -> String {
    corpus::root().join(path).into_os_string().into_string().unwrap()
}

/// `loader call`, with an image of the corpus and the other arguments in one text.
fn call(path: &str, rest: &str) -> Ran {
    let path = image(path);
    loader(["call", &path].into_iter().chain(rest.split(' ')))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn the_demonstration_needs_nothing_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loader"));
    let output = command.arg("demo").current_dir(&folder).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "found      libdemodep.so (ELF), needed by libdemo.so",
        "found      demodep.dll (PE), needed by demo.dll",
        "demo_add(40, 2)    = 42",
        "hello from an ELF shared object",
        "hello from a Windows DLL",
        "12.566370614359172",
        "unmapped   libdemodep.so",
        "unmapped   demodep.dll",
        "nothing left",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    assert!(!text.contains('\x1b'), "no colour where nobody looks on");

    let record = json(&loader(["demo", "--json"]).fine());
    assert_eq!(record["before"], record["after"]);
    assert_eq!(record["calls"][4]["value"], "hello from a Windows DLL");
    assert_eq!(record["left"], Value::Array(Vec::new()));
    let brought = |set: &Value| set.as_array().unwrap().iter().filter(|m| m["origin"] == "open").count();
    assert_eq!((brought(&record["before"]), brought(&record["during"])), (0, 4));
}

#[test]
fn functions_of_both_formats_are_called_from_files_and_from_memory() {
    for path in ["elf/plain/libplain.so", "pe/plain/plain.dll"] {
        for memory in ["", " --memory"] {
            let value = |rest: &str| call(path, &format!("{rest}{memory}")).fine();
            assert_eq!(value("plain_add i32:2 i32:-5"), "-3\n");
            assert_eq!(value("plain_scale f64:2.5 f32:4 --ret f64"), "10\n");
            assert_eq!(value("plain_half f32:3 --ret f32"), "1.5\n");
            assert_eq!(value("plain_length str:hello --ret u32"), "5\n");
            assert_eq!(value("plain_name --ret str"), "plain\n");
            assert_eq!(value("plain_even i64:-4 --ret bool"), "true\n");
            assert_eq!(value("plain_wide u64:0x5555555555555555 --ret u64"), "18446744073709551615\n");
            assert_eq!(value("plain_keep i32:9 --ret void"), "");
            let eight = "plain_weigh i32:1 i64:2 u32:3 u64:4 i32:5 i64:6 i32:7 i32:-8 --ret i64";
            assert_eq!(value(eight), "76\n");
            assert!(value("plain_name --ret ptr").starts_with("0x"));
        }
    }
}

#[test]
fn a_function_is_found_by_its_ordinal() {
    assert_eq!(call("pe/ordinals/ordinals.dll", "#90").fine(), "90\n");
    assert_eq!(call("pe/ordinals/ordinals-user.dll", "ordinals_sum").fine(), "96\n");
    let none = call("pe/ordinals/ordinals.dll", "#91").refused();
    assert!(none.ends_with("ordinals.dll: symbol: symbol not found: #91"), "{none}");
}

#[test]
fn a_pointer_to_a_result_is_an_argument_too() {
    let frexp = ["call", "libm.so.6", "frexp", "f64:10", "out:i32", "--ret", "f64"];
    assert_eq!(loader(frexp).fine(), "0.625\nout 2: 4\n");
    let object = json(&loader(frexp.into_iter().chain(["--json"])).fine());
    assert_eq!((&object["value"], &object["out"]["2"]), (&0.625.into(), &4.into()));
}

#[test]
fn the_check_sum_of_libz_is_right_from_file_and_from_memory() {
    let libz = "/usr/lib/x86_64-linux-gnu/libz.so.1";
    if !Path::new(libz).exists() {
        println!("skipped: needs libz.so.1");
        return;
    }
    let crc = ["call", libz, "crc32", "u64:0", "str:hello", "u32:5", "--ret", "u32"];
    assert_eq!(loader(crc).fine(), "907060870\n");
    assert_eq!(loader(crc.into_iter().chain(["--memory"])).fine(), "907060870\n");
}

#[test]
fn nothing_of_the_file_is_open_or_mapped_while_a_library_runs_from_memory() {
    // The C library's `system`, found because the corpus's library needs it, runs a shell whose parent is the process
    // in which the library is loaded.
    let path = image("elf/dependency/libdependency-leaf.so");
    let look = "str:cat /proc/$PPID/maps; ls -l /proc/$PPID/fd";
    let from_file = loader(["call", &path, "system", look]).fine();
    let from_memory = loader(["call", &path, "system", look, "--memory"]).fine();
    assert!(from_file.contains("libdependency-leaf.so"), "{from_file}");
    assert!(!from_memory.contains("libdependency-leaf.so"), "{from_memory}");
    assert!(from_memory.contains("[heap]") && from_memory.contains(" -> "), "{from_memory}");
}

#[test]
fn a_missing_function_stops_the_call_and_not_the_load() {
    let refused = call("elf/undefined/libundefined.so", "undefined_call").refused();
    assert!(refused.ends_with("bind: undefined symbol: undefined_nobody_has_this"), "{refused}");
    let stopped = call("elf/undefined/libundefined.so", "undefined_call --missing trap").refused();
    let expected = "call: called a function that nobody defines: undefined_nobody_has_this";
    assert!(stopped.ends_with(expected), "{stopped}");
    // A library that is not found, of which a function is called while the image attaches.
    let stopped = call("pe/dependency/dependency-leaf.dll", "dependency_leaf --missing trap").refused();
    let expected = "attach: called a function that nobody defines: tlog (of tlog.dll)";
    assert!(stopped.ends_with(expected), "{stopped}");
}

#[test]
fn a_dll_is_looked_for_in_the_folders_that_are_named() {
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("demo.dll");
    fs::copy(image("pe/demo/demo.dll"), &copy).unwrap();
    let copy = copy.to_str().unwrap();
    let refused = loader(["call", copy, "demo_area", "f64:2", "--ret", "f64"]).refused();
    assert!(refused.starts_with("demodep.dll: find: not found (needed by "), "{refused}");
    let named = image("pe/demo");
    let found = loader(["call", copy, "demo_area", "f64:2", "--ret", "f64", "--dll-path", &named]);
    assert_eq!(found.fine(), "12.566370614359172\n");
}

/// Files that are no library for this machine, and what is said of each.
fn bad_input(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let changed = |path: &str, at: usize, to: &[u8]| {
        let mut bytes = fs::read(image(path)).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let (elf, pe) = ("elf/plain/libplain.so", "pe/plain/plain.dll");
    let bytes = fs::read(image(pe)).unwrap();
    let header = u32::from_le_bytes(bytes[0x3c..0x40].try_into().unwrap()) as usize;
    vec![
        (folder.join("missing.so"), "find: not found"),
        (folder.to_path_buf(), "find: not a loadfile: a directory"),
        (file("empty.so", b""), "find: not a loadfile: an empty file"),
        (file("text.so", b"GROUP ( libc.so.6 )\n"), "parse: not a loadfile: a text file"),
        (file("archive.so", b"!<arch>\nx"), "parse: not a loadfile: an archive"),
        (file("noise.so", &[7; 99]), "parse: not a loadfile: neither an ELF nor a PE file"),
        (file("arm.so", &changed(elf, 18, &[183, 0])), "parse: wrong machine: AARCH64 (0xb7), not x86-64"),
        (file("32.so", &changed(elf, 4, &[1])), "parse: not supported: 32-bit image (0x1)"),
        (
            file("arm.dll", &changed(pe, header + 4, &[0x64, 0xaa])),
            "parse: wrong machine: arm64 (0xaa64), not x86-64",
        ),
        (
            file("32.dll", &changed(pe, header + 4, &[0x4c, 1])),
            "parse: wrong machine: i386 (0x14c), not x86-64",
        ),
    ]
}

#[test]
fn what_is_no_library_is_refused_in_one_sentence() {
    let folder = TempDir::new().unwrap();
    for (path, expected) in bad_input(folder.path()) {
        let path = path.to_str().unwrap();
        for arguments in [&["call", path, "f"][..], &["trace", path], &["deps", path]] {
            let ran = loader(arguments);
            let ran = if arguments[0] == "trace" { Ran { out: String::new(), ..ran } } else { ran };
            assert_eq!(ran.refused(), format!("{path}: {expected}"), "{arguments:?}");
        }
        let by_memory = loader(["call", path, "f", "--memory"]).refused();
        let said = expected.split_once(": ").unwrap().1;
        assert!(by_memory.ends_with(said), "{by_memory} does not end with {said}");
    }
}

#[test]
fn inspect_looks_into_files_for_other_machines_too() {
    let folder = TempDir::new().unwrap();
    for (path, expected) in bad_input(folder.path()) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let ran = loader(["inspect", path.to_str().unwrap()]);
        let (_, said) = expected.split_once(": ").unwrap();
        match ran.code {
            Some(0) => {
                let text = ran.fine();
                assert!(text.contains(&format!("loadable    no: {said}")), "{name}: {text}");
            }
            _ => assert!(!name.starts_with("arm") && !ran.refused().is_empty(), "{name}"),
        }
    }
}

#[test]
fn inspect_shows_what_both_formats_have() {
    let elf = loader(["inspect", &image("elf/tls/libtls.so")]).fine();
    for expected in [
        "loadable    yes",
        "libtlsdep.so",
        "168 bytes a thread",
        "PT_GNU_RELRO",
        ".dynsym",
        "X86_64_DTPMOD64",
        "imports: 2",
        "tls_next",
    ] {
        assert!(elf.contains(expected), "{expected} is not in {elf}");
    }
    let pe = loader(["inspect", &image("pe/demo/demo.dll")]).fine();
    for expected in
        ["loadable    yes", "DllMain", ".text", "imports from demodep.dll: 2", "#3     demo_greeting"]
    {
        assert!(pe.contains(expected), "{expected} is not in {pe}");
    }
    let elf =
        json(&loader(["inspect", "--json", &image("elf/initialiser-order/libinitialiser-order.so")]).fine());
    assert_eq!(elf["entry_points"][1]["what"], "DT_INIT_ARRAY, 4 entries");
    assert_eq!(elf["pages"][0]["rights"], "r-x");
    let pe = json(&loader(["inspect", "--json", &image("pe/ordinals/ordinals.dll")]).fine());
    assert!(pe["exports"].as_array().unwrap().iter().any(|e| e["ordinal"] == 90 && e["name"].is_null()));
}

#[test]
fn deps_lists_breadth_first_what_is_there_and_what_is_not() {
    let text = loader(["deps", &image("elf/diamond/libdiamond.so")]).fine();
    let names: Vec<&str> = text.lines().map(|l| l.split(' ').next().unwrap()).collect();
    let expected = ["libdiamond-left.so", "libdiamond-right.so", "libc.so.6", "libdiamond-bottom.so"];
    assert_eq!(names[1..], expected, "{text}");
    assert!(text.contains("libc.so.6 (already in the process, "), "{text}");
    assert!(text.ends_with("libdiamond-bottom.so), needed by libdiamond-left.so\n"), "{text}");

    let gone = loader(["deps", &image("elf/missing-dependency/libmissing.so")]).fine();
    assert!(gone.contains("libmissing-gone.so (not found), needed by libmissing.so"), "{gone}");

    let list = json(&loader(["deps", "--json", &image("pe/diamond/diamond.dll")]).fine());
    let places: Vec<_> = list["load_list"].as_array().unwrap().iter().map(|p| &p["place"]).collect();
    assert_eq!(places, ["file", "not found", "file", "file", "file"]);
}

#[test]
fn trace_prints_every_event() {
    let text = loader(["trace", &image("pe/demo/demo.dll")]).fine();
    for expected in
        ["trying ", "found ", "mapped ", "asked ", "bound ", "calling    DllMain of ", "unmapped "]
    {
        assert!(text.lines().any(|l| l.starts_with(expected)), "{expected} is not in {text}");
    }
    let events: Vec<Value> = loader(["trace", "--json", "--memory", &image("elf/plain/libplain.so")])
        .fine()
        .lines()
        .map(json)
        .collect();
    assert_eq!(events[0]["event"], "found");
    assert_eq!(events[events.len() - 1]["event"], "unmapped");
    assert!(events.iter().all(|e| e["us"].is_u64() && e["text"].is_string()));
}

#[test]
fn limits_of_a_call_end_it() {
    let mischief = "mischief/elf/libmischief.so";
    let killed = |rest: &str| {
        let killed = call(mischief, rest);
        assert_eq!((killed.code, &*killed.out), (Some(128 + 9), ""), "{}", killed.err);
        killed.err
    };
    assert!(killed("spins --time 0.2").ends_with("libmischief.so: killed: over the limit of time\n"));
    assert!(killed("eats_memory --max-memory 64").ends_with("killed: over the limit of memory\n"));
    assert_eq!(call(mischief, "exits").code, Some(7));
    let reads = |rest: &str| call(mischief, &format!("reads_file str:/etc/hostname --ret i64{rest}")).fine();
    assert!(!reads("").starts_with('-'));
    assert!(reads(" --confine").starts_with('-'), "what it is depends on the machine");
}

/// Descriptors that a shell hands down, at the numbers that a helper would like to have.
#[test]
fn what_is_open_already_is_in_nobodys_way() {
    let script = r#"exec "$0" call libc.so.6 fcntl i32:9 i32:1 3</dev/null 4</dev/null 9</dev/null"#;
    let ran = Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_loader")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "-1\n", "{}", String::from_utf8_lossy(&ran.stderr));
}

/// Processes that run a program.
fn running(program: &Path) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)).collect()
}

/// Nobody is there to drop the sandbox.
#[test]
fn the_guest_goes_with_a_process_that_is_killed() {
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("loader"); // its processes are told from those of other tests
    fs::copy(env!("CARGO_BIN_EXE_loader"), &program).unwrap();
    let program = program.canonicalize().unwrap();
    let mut command = Command::new(&program);
    command.args(["call", &image("mischief/elf/libmischief.so"), "sleeps"]).stdin(Stdio::null());
    let mut user = command.spawn().unwrap();
    let until = |wanted: fn(usize) -> bool| {
        let start = std::time::Instant::now();
        while !wanted(running(&program).len()) {
            assert!(start.elapsed().as_secs() < 20, "{:?}", running(&program));
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    };
    until(|n| n >= 3); // the user, the warden, the guest
    user.kill().unwrap();
    user.wait().unwrap();
    until(|n| n == 0);
}

#[test]
fn a_death_by_signal_is_a_sentence_and_a_number() {
    let died = call("elf/plain/libplain.so", "plain_length ptr:1");
    assert_eq!((died.code, &*died.out), (Some(128 + 11), ""));
    let (sentence, report) = died.err.split_once("\n\n").unwrap();
    assert!(sentence.ends_with("libplain.so: died of SIGSEGV while its code ran"), "{}", died.err);
    assert!(report.starts_with("SIGSEGV: read of 0x1, which is not mapped\n"), "{}", died.err);
    let died = loader(["call", "libc.so.6", "abort", "--json"]);
    assert_eq!(died.code, Some(128 + 6));
    let error = &json(&died.out)["error"];
    assert_eq!(error["signal"], 6);
    assert_eq!(error["fault"]["message"], "SIGABRT: the code gave up");
}

#[test]
fn a_refusal_is_an_object_too() {
    let ran = call("elf/plain/libplain.so", "plain_missing --json");
    assert_eq!(ran.code, Some(1));
    let error = &json(&ran.out)["error"];
    assert_eq!((&error["stage"], &error["dlresultcode"]), (&"symbol".into(), &(100 << 16 | 2).into()));
    assert_eq!(ran.err, format!("loader: {}\n", error["message"].as_str().unwrap()));
}

#[test]
fn a_wrong_command_line_is_told_from_a_refusal() {
    let wrong: [&[&str]; 8] = [
        &[],
        &["fly"],
        &["call"],
        &["call", "x.so", "f", "5"],
        &["call", "x.so", "f", "--ret", "int"],
        &["call", "x.so", "#70000"],
        &["sweep"],
        &["sweep", ".", "--timeout", "0"],
    ];
    for arguments in wrong {
        let ran = loader(arguments);
        assert_eq!((ran.code, &*ran.out), (Some(2), ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains("Usage") || ran.err.contains("--help"), "{}", ran.err);
    }
    assert_eq!(loader(["--help"]).code, Some(0));
}

#[test]
fn logging_goes_to_standard_error() {
    let ran = call("elf/plain/libplain.so", "plain_add i32:1 i32:2 -v");
    assert_eq!((ran.code, &*ran.out), (Some(0), "3\n"));
    assert!(ran.err.contains("INFO  mapped "), "{}", ran.err);
}

#[test]
fn a_sweep_over_the_corpus_finds_nothing_worse_than_refusals() {
    let ran = loader(["sweep", &image("elf"), &image("pe"), "--jobs", "2", "--reasons"]);
    assert_eq!(ran.code, Some(1), "some cases are there to be refused");
    let lines: Vec<&str> = ran.out.lines().collect();
    let (last, lines) = lines.split_last().unwrap();
    assert!(last.contains(", crashed 0, hung 0, residue 0, of "), "{}", ran.out);
    assert!(last.starts_with("ok ") && last.ends_with(&format!("of {}", lines.len())), "{last}");
    let path = |line: &str| line.split(" ms  ").nth(1).unwrap().split(": ").next().unwrap().to_owned();
    let elf: Vec<String> = lines.iter().map(|l| path(l)).take_while(|p| p.contains("/elf/")).collect();
    assert!(elf.is_sorted_by_key(PathBuf::from) && elf.len() > 40, "{elf:?}");
    let refused = |name: &str| lines.iter().any(|l| l.starts_with("refused ") && path(l).ends_with(name));
    assert!(refused("libundefined.so") && refused("libmissing.so") && !refused("libplain.so"), "{}", ran.out);
    let most: Vec<usize> =
        ran.err.lines().map(|l| l.split_whitespace().next().unwrap().parse().unwrap()).collect();
    assert!(most.is_sorted_by(|a, b| a >= b) && !most.is_empty(), "{}", ran.err);
}

#[test]
fn a_sweep_tells_crashes_hangs_and_exits_apart() {
    let folder = TempDir::new().unwrap();
    let source = image("elf/initialiser-order/libinitialiser-order.so");
    let report = json(&loader(["inspect", "--json", &source]).fine());
    let at = report["entry_points"][0]["at"].as_u64().unwrap() as usize; // DT_INIT, in a segment that starts the file
    let broken = |name: &str, code: &[u8]| {
        let mut bytes = fs::read(&source).unwrap();
        bytes[at..at + code.len()].copy_from_slice(code);
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let crash = broken("crash.so", &[0x0f, 0x0b]); // ud2
    let hang = broken("hang.so", &[0xeb, 0xfe]); // a jump to itself
    // mov edi, 7; mov eax, exit_group; syscall
    let exit = broken("exit.so", &[0xbf, 7, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 5]);
    let fine = image("pe/plain/plain.dll");
    let list = format!("{crash}\n{hang}\n\n{exit}\n{fine}\n");

    let ran = with_input(&list, ["sweep", "--list", "-", "--timeout", "2", "--json"]);
    assert_eq!((ran.code, &*ran.err), (Some(1), ""));
    let lines: Vec<Value> = ran.out.lines().map(json).collect();
    let statuses: Vec<_> = lines[..4].iter().map(|l| &l["status"]).collect();
    assert_eq!(statuses, ["crashed", "hung", "exited", "ok"]);
    let reason = lines[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("died of SIGILL, after: calling initialiser of "), "{reason}");
    let reason = lines[2]["reason"].as_str().unwrap();
    assert!(reason.starts_with("exited with code 7, after: calling initialiser of "), "{reason}");
    assert_eq!(lines[4]["summary"]["hung"], 1);
    assert_eq!(lines[4]["of"], 4);

    let file = folder.path().join("list.txt");
    fs::write(&file, format!("{fine}\n")).unwrap();
    let ran = loader(["sweep", "--list", file.to_str().unwrap()]);
    assert!(ran.fine().ends_with("\nok 1, refused 0, exited 0, crashed 0, hung 0, residue 0, of 1\n"));
    let trace = loader(["trace", &crash]);
    assert_eq!(trace.code, Some(128 + 4));
}

#[test]
fn a_sweep_can_hold_the_systems_loader_beside_this_one() {
    let files =
        [image("elf/plain/libplain.so"), image("elf/undefined/libundefined.so"), image("pe/plain/plain.dll")];
    let list = files.join("\n");
    let ran = with_input(&list, ["sweep", "--list", "-", "--beside-system"]);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(
        lines[3..],
        [
            "the system's dlopen: ok 1, refused 1, exited 0, crashed 0, hung 0, residue 0, of 2; 0 are ok only there",
            "ok 2, refused 1, exited 0, crashed 0, hung 0, residue 0, of 3",
        ]
    );
    let ran = with_input(&list, ["sweep", "--list", "-", "--beside-system", "--json"]);
    let lines: Vec<Value> = ran.out.lines().map(json).collect();
    assert_eq!(lines[0]["system"]["status"], "ok");
    let reason = lines[1]["system"]["reason"].as_str().unwrap();
    assert!(reason.contains("undefined symbol"), "{reason}");
    assert_eq!(lines[2].get("system"), None, "no DLL is given to it");
    assert_eq!((&lines[3]["system"]["of"], &lines[3]["only_system"]), (&2.into(), &0.into()));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loader"));
    command.args(["inspect", &image("elf/plain/libplain.so")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_windows_program_has_arguments_input_output_and_an_exit_code() {
    let program = image("pe/program/program.exe");
    let ran = with_input("20 22\n", ["run", &program, "one", "two words", "--three"]);
    let who = std::env::var("WHO").unwrap_or_else(|_| "nobody".into());
    let said =
        format!("argument 1: one\nargument 2: two words\nargument 3: --three\nhello {who}\n42\nat exit\n");
    let lines = |text: &str| text.replace('\r', "");
    assert_eq!((ran.code, lines(&ran.out), lines(&ran.err)), (Some(44), said, "an error\n".into()));
    let refused = loader(["run", &image("pe/program/nothing.exe")]).refused();
    assert!(refused.contains("nothing.exe"), "{refused}");
}

#[test]
fn however_a_windows_program_ends_its_dlls_are_told_unless_it_is_terminated() {
    let program = image("pe/program/with-dll.exe");
    let ends = |how| {
        let ran = with_input("", ["run", &program, how]);
        (ran.code, ran.out.replace('\r', ""))
    };
    let told = |code, said: &str| (Some(code), said.to_owned());
    assert_eq!(ends("_exit"), told(2, "the process ends\n"));
    assert_eq!(ends("ExitProcess"), told(3, "the process ends\n"));
    assert_eq!(ends("TerminateProcess"), told(4, ""));
    assert_eq!(ends("return"), told(5, "at exit\nthe process ends\n"));
}

#[test]
fn sandbox_says_of_each_measure_how_far_it_goes() {
    let lines = loader(["sandbox"]).fine();
    let json: Value = serde_json::from_str(&loader(["sandbox", "--json"]).fine()).unwrap();
    let measures = json.as_array().unwrap();
    assert_eq!(lines.lines().count(), measures.len(), "a measure a line");
    // Any kernel that runs the suites has these.
    for measure in ["Memory", "OpenFiles", "NoNewPrivileges", "Descriptors", "Filter"] {
        let found = measures.iter().find(|row| row["measure"] == measure).unwrap();
        assert_eq!(found["state"], "On", "{found}");
    }
    assert!(
        lines.lines().any(|line| line.starts_with("system call filter ") && line.contains(" on ")),
        "{lines}"
    );
}
