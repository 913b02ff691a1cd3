//! Reports of faults. The libraries are assembly in which the source marks each instruction that faults with the function
//! and the distance from its beginning, which the assembler checked, and each call that leads to one: that is what reports
//! are held against. The shape of the text is held where `loader call` prints it.

use loader::{
    Addr, MissingPolicy, Stage,
    sandbox::{
        Failure, Sandbox,
        report::{AccessKind, Cause, End, Fault, Place, Report},
    },
};
use std::{
    collections::BTreeMap,
    fs,
    sync::{Mutex, PoisonError},
};

const ELF: &str = "elf/fault-report/libfault-report.so";
const PE: &str = "pe/fault-report/fault-report.dll";
const FAULTS: [&str; 5] = ["null_write", "sealed_write", "null_jump", "stack_overflow", "division"];

/// One that sees the corpus.
fn empty() -> Sandbox {
    Sandbox::builder().read(corpus::root()).start().unwrap()
}

fn sandbox(library: &str) -> Sandbox {
    let mut sandbox = empty();
    sandbox.load(corpus::root().join(library)).unwrap();
    sandbox
}

fn fault(sandbox: &mut Sandbox, symbol: &str) -> Box<Fault> {
    match sandbox.call(symbol, []) {
        Err(Failure::Faulted(fault)) => fault,
        other => panic!("{symbol}: {other:?}"),
    }
}

/// The report of a call in a sandbox of its own. Each is made once: the program's own debug information is large.
fn report(library: &'static str, symbol: &'static str) -> Report {
    static MADE: Mutex<BTreeMap<(&str, &str), Report>> = Mutex::new(BTreeMap::new());
    let made = || fault(&mut sandbox(library), symbol).report();
    MADE.lock().unwrap_or_else(PoisonError::into_inner).entry((library, symbol)).or_insert_with(made).clone()
}

/// A line of the source that has a mark.
#[derive(Debug, PartialEq, Eq)]
struct Marked {
    line: u32,
    instruction: String,
}

fn source(library: &str) -> String {
    fs::read_to_string(corpus::root().join(library).with_file_name("faults.s")).unwrap()
}

/// The line of the source with this mark.
fn marked(library: &str, mark: &str) -> Marked {
    let source = source(library);
    let mut lines = (1..).zip(source.lines()).filter(|(_, line)| line.ends_with(&format!("# {mark}")));
    let (line, text) = lines.next().unwrap_or_else(|| panic!("{mark}"));
    assert_eq!(lines.next(), None, "{mark}");
    Marked { line, instruction: text.split('#').next().unwrap().trim().into() }
}

/// What the mark of a place says: the symbol and the distance.
fn mark(place: &Place) -> String {
    place.symbol.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn line(place: &Place) -> u32 {
    let line = place.line.as_ref().unwrap_or_else(|| panic!("no line: {place}"));
    assert_eq!(line.file, "./faults.s");
    line.line
}

/// The function that faults in this call, and the calls before it, the innermost first.
fn chain(symbol: &str) -> (&str, &[&str]) {
    match symbol {
        "null_write" => ("writes+0x6", &["passes_on", "null_write"]),
        "sealed_write" => ("sealed_write+0x7", &[]),
        "null_jump" => ("", &["null_jump"]),
        "stack_overflow" => ("stack_overflow+0x7", &["stack_overflow"]),
        "division" => ("division+0x9", &[]),
        _ => unreachable!(),
    }
}

#[test]
fn symbol_line_and_instruction_are_those_that_the_source_marks() {
    for library in [ELF, PE] {
        for symbol in FAULTS {
            let report = report(library, symbol);
            let (fault, calls) = chain(symbol);
            assert_eq!(mark(&report.place), fault, "{symbol}");
            assert_eq!(report.stack.frames[0], report.place);
            if !fault.is_empty() {
                let marked = marked(library, &format!("fault: {fault}"));
                let current: Vec<_> = report.code.iter().filter(|line| line.current).collect();
                assert_eq!((line(&report.place), current.len()), (marked.line, 1), "{symbol}");
                assert_eq!(current[0].text, marked.instruction, "{symbol}");
            }
            for (frame, call) in report.stack.frames[1..].iter().zip(calls) {
                assert_eq!(line(frame), marked(library, &format!("calls: {call}")).line, "{symbol}: {frame}");
                assert_eq!(frame.symbol.as_ref().unwrap().name, **call);
            }
        }
    }
}

#[test]
fn disassembly_is_what_the_source_says() {
    for library in [ELF, PE] {
        // Of a function without labels and prologue: what stands between its first line and its end.
        let source = source(library);
        let function = source.split("function division, exported\n").nth(1).unwrap();
        let instruction = |line: &str| line.split('#').next().unwrap().trim().to_string();
        let written = function.lines().take_while(|line| !line.starts_with("done")).map(instruction);
        let written: Vec<_> = written.filter(|line| !line.starts_with('.')).collect();
        let shown: Vec<_> = report(library, "division").code.into_iter().map(|line| line.text).collect();
        assert_eq!(shown, written, "{library}");
        assert_eq!(shown.len(), 5);
        // A call by its name, in the frame's own function.
        let report = report(library, "stack_overflow");
        let call = report.code.iter().find(|line| line.text.starts_with("call")).unwrap();
        assert_eq!(call.target.as_deref(), Some("stack_overflow"));
    }
}

#[test]
fn the_sentence_says_what_was_tried_and_what_is_there() {
    let sentences = |library: &'static str| FAULTS.map(|symbol| report(library, symbol).message);
    let [write, sealed, jump, full, division] = sentences(ELF);
    assert_eq!(write, "SIGSEGV: write to 0x10, which is not mapped");
    assert!(sealed.ends_with(", which is r-- since seal (.data.rel.ro of libfault-report.so)"), "{sealed}");
    assert_eq!(jump, "SIGSEGV: jump to 0x0, which is not mapped");
    assert!(
        full.starts_with("SIGSEGV: write to 0x") && full.ends_with(", where the stack is full"),
        "{full}"
    );
    assert_eq!(division, "SIGFPE: a division by zero, or one whose quotient is too long");
    let [write, sealed, jump, full, division] = sentences(PE);
    let violation = "Windows exception 0xc0000005: access violation: ";
    assert_eq!(write, format!("{violation}write to 0x10, which is not mapped"));
    assert!(sealed.ends_with(", which is r-- since seal (.rdata of fault-report.dll)"), "{sealed}");
    assert_eq!(jump, format!("{violation}jump to 0x0, which is not mapped"));
    assert_eq!(full, "Windows exception 0xc00000fd: the stack is full");
    assert_eq!(division, "Windows exception 0xc0000094: an integer division by zero");
}

#[test]
fn the_failure_itself_is_typed() {
    let segv = |fault: &Fault| matches!(fault.cause, Cause::Signal { signal: libc::SIGSEGV, .. });
    let fault_of = |library, symbol| fault(&mut sandbox(library), symbol);
    let fault = fault_of(ELF, "null_write");
    assert!(segv(&fault) && !fault.is_survived(), "{fault}");
    // `writes` is at 0x1006 of the image, as `nm` says.
    assert_eq!(fault.to_string(), "SIGSEGV (address 0x10) at libfault-report.so+0x100c");
    let access = fault.report().access.unwrap();
    assert_eq!((access.kind, access.address, access.page.rights), (AccessKind::Write, 0x10, None));
    let fault = fault_of(PE, "null_write");
    let Cause::Exception(exception) = &fault.cause else { panic!("{fault}") };
    assert_eq!((exception.code, &*exception.information), (0xc000_0005, &[1, 0x10][..]));
    assert!(fault.is_survived());
}

#[test]
fn registers_are_those_of_the_instruction_and_say_what_they_point_to() {
    for (library, sealed) in
        [(ELF, "libfault-report.so+0x3ee8 (sealed)"), (PE, "fault-report.dll+0x2000 (sealed)")]
    {
        let value = |report: &Report, name: &str| {
            let register = report.registers.iter().find(|register| register.name == name).unwrap();
            (register.value, register.points_to.clone())
        };
        let null = report(library, "null_write");
        assert_eq!(value(&null, "rbx"), (0x10, None));
        assert_eq!(value(&null, "rsp").1.as_deref(), Some("stack"));
        let written = report(library, "sealed_write");
        let (rax, points_to) = value(&written, "rax");
        assert_eq!((rax, points_to.as_deref()), (written.access.unwrap().address, Some(sealed)));
        let division = report(library, "division");
        assert_eq!(["rax", "rcx", "rdx"].map(|name| value(&division, name).0), [1, 0, 0]);
    }
}

#[test]
fn the_stack_is_walked_through_both_formats_to_the_first_frame() {
    for (library, name) in [(ELF, "libfault-report.so"), (PE, "fault-report.dll")] {
        let stack = report(library, "null_write").stack;
        assert_eq!(stack.end, End::Outermost);
        let modules = stack.frames.iter().map(|frame| frame.module.as_ref().unwrap().name.as_str());
        let guest = modules.clone().take_while(|module| *module == name).count();
        assert_eq!(guest, 3, "then the host, which called it");
        assert!(
            modules.clone().any(|module| module.starts_with("libc.so")),
            "to where the program was started"
        );
        let served = stack.frames.iter().any(|frame| mark(frame).contains("serve::if_asked"));
        assert!(served, "with the host's own symbols");
        let deep = report(library, "stack_overflow").stack;
        assert_eq!((deep.frames.len(), deep.end), (64, End::Limit), "there is an end to that");
        assert!(deep.frames.iter().all(|frame| frame.module.as_ref().unwrap().name == name));
    }
}

#[test]
fn an_exceptions_stack_is_the_one_that_it_had() {
    let mut sandbox = sandbox(PE);
    let first = fault(&mut sandbox, "null_write");
    let second = fault(&mut sandbox, "division");
    let third = fault(&mut sandbox, "null_write");
    // The helper went on in between, and is asked last.
    assert_eq!(sandbox.call("calm", []).unwrap().i32(), 7);
    let frames = |fault: &Fault| fault.report().stack.frames.iter().map(mark).take(3).collect::<Vec<_>>();
    assert_eq!(frames(&first), frames(&third));
    assert_eq!(frames(&first), ["writes+0x6", "passes_on+0x9", "null_write+0xa"]);
    assert_eq!(frames(&second)[0], "division+0x9");
}

#[test]
fn a_library_that_came_as_bytes_has_symbols_too() {
    for library in [ELF, PE] {
        let mut sandbox = Sandbox::builder().start().unwrap();
        sandbox.load_bytes("nowhere.so", &fs::read(corpus::root().join(library)).unwrap()).unwrap();
        let report = fault(&mut sandbox, "null_write").report();
        assert_eq!(report.place.module.as_ref().unwrap().name, "nowhere.so");
        assert_eq!((&*mark(&report.place), report.stack.end), ("writes+0x6", End::Outermost));
        assert_eq!(line(&report.place), marked(library, "fault: writes+0x6").line);
    }
}

#[test]
fn programs_get_the_same_as_json() {
    let report = report(ELF, "null_write");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["message"], report.message);
    assert_eq!(json["cause"]["signal"]["signal"], libc::SIGSEGV);
    assert_eq!(json["access"]["kind"], "write");
    assert_eq!(json["access"]["address"], 0x10);
    assert_eq!(json["place"]["symbol"]["name"], "writes");
    assert_eq!(json["place"]["line"]["file"], "./faults.s");
    assert_eq!(json["code"].as_array().unwrap().len(), report.code.len());
    assert_eq!(json["stack"]["frames"][1]["symbol"]["name"], "passes_on");
    assert_eq!(json["stack"]["end"], "outermost");
    assert_eq!(json["registers"][3]["name"], "rbx");
}

#[test]
fn a_page_that_lost_its_rights_says_what_it_had() {
    const NO_ACCESS: u32 = 1; // PAGE_NOACCESS
    let mut sandbox = sandbox(PE);
    let before = fault(&mut sandbox, "sealed_write").report().access.unwrap();
    assert_eq!((before.page.rights.as_deref(), before.page.sealed.as_deref()), (Some("r--"), Some("r--")));
    sandbox.memory().protect(Addr(before.address), 4096, NO_ACCESS).unwrap();
    let message = fault(&mut sandbox, "sealed_write").report().message;
    let history =
        ", which is --- since the code changed it, and was r-- at seal (.rdata of fault-report.dll)";
    assert!(message.ends_with(history), "{message}");
}

#[test]
fn the_last_events_are_told_though_somebody_took_them() {
    let mut sandbox = sandbox(ELF);
    let taken = sandbox.events();
    let events = fault(&mut sandbox, "null_write").report().events;
    assert_eq!(events, taken.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert!(events.last().unwrap().starts_with("attached "), "{events:?}");
}

#[test]
fn a_fault_of_an_initialiser_is_told_with_who_was_called() {
    let born =
        [("mischief/elf/libborn-faults.so", None), ("mischief/pe/born-faults.dll", Some(Stage::Attach))];
    for (library, stage) in born {
        let loaded = empty().load(corpus::root().join(library));
        let Err(Failure::Faulted(fault)) = loaded else { panic!("it faults when it is attached") };
        let report = fault.report();
        // It jumps to null instead of calling it, so it has no frame; but it is known what was called.
        let called = |event: &String| event.starts_with("calling ") && event.contains(library);
        assert!(report.events.iter().any(called), "{report}");
        assert_eq!((report.stack.end, fault.error.map(|error| error.stage)), (End::Outermost, stage));
    }
}

#[test]
fn frames_of_the_guest_and_of_the_host_between_them_are_one_stack() {
    // `sorts` of the DLL calls the host's `qsort`, which calls `compares` of the DLL, which reads at 0x10.
    let mut sandbox = Sandbox::builder().read(corpus::root()).missing(MissingPolicy::Trap).start().unwrap();
    sandbox.load(corpus::root().join("pe/faults/faults.dll")).unwrap();
    let report = fault(&mut sandbox, "in_callback_uncaught").report();
    let is_guest = |place: &Place| place.module.as_ref().is_some_and(|m| m.name == "faults.dll");
    let runs: Vec<_> = report.stack.frames.chunk_by(|a, b| is_guest(a) == is_guest(b)).collect();
    assert_eq!(runs.iter().map(|run| is_guest(&run[0])).collect::<Vec<_>>(), [true, false, true, false]);
    assert!(runs[1].iter().any(|place| mark(place).contains("qsort")), "{report}");
    assert_eq!(report.stack.end, End::Outermost);
}
