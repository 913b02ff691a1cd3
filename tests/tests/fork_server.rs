//! Many cases of one function: each finds the library as it was when it had been loaded, whatever the others did to it.

use corpus::Format;
use loader::sandbox::{
    Failure, Limit, Outcome, Returned, Sandbox,
    server::{Mode, Server},
};
use std::{
    cell::Cell,
    fs,
    time::{Duration, Instant},
};
use tests::process;

const MODES: [Mode; 2] = [Mode::Forks, Mode::Restores];
/// Gets past the magic word, and then where nothing is.
const CRASHES: &[u8] = b"PLNT\xa0\xff!";
const HARMLESS: &[u8] = b"PLNT\xa0\x03!";

fn image(format: Format, elf: &str, pe: &str) -> (String, Vec<u8>) {
    let path = if format == Format::Elf { elf } else { pe };
    (path.rsplit('/').next().unwrap().into(), fs::read(corpus::root().join(path)).unwrap())
}

fn server(mode: Mode, format: Format, symbol: &str) -> Server<'static> {
    let planted = symbol.starts_with("planted");
    let (name, bytes) = match planted {
        true => image(format, "elf/planted/libplanted.so", "pe/planted/planted.dll"),
        false => image(format, "mischief/elf/libmischief.so", "mischief/pe/mischief.dll"),
    };
    let builder = Sandbox::builder().wall(Duration::from_millis(600)).memory(128 << 20);
    Server::start(builder, mode, symbol, move |sandbox| sandbox.load_bytes(&name, &bytes).map(drop)).unwrap()
}

fn each(test: impl Fn(Mode, Format)) {
    MODES.iter().for_each(|&mode| Format::ALL.iter().for_each(|&format| test(mode, format)));
}

fn is_fault(outcome: &Outcome<Returned>) -> bool {
    matches!(outcome, Err(Failure::Faulted(_) | Failure::Died(11)))
}

#[test]
fn every_case_finds_the_library_as_it_was() {
    let _alone = process::alone();
    each(|mode, format| {
        let mut server = server(mode, format, "planted_counts");
        let inputs = vec![&b"x"[..]; 300];
        let counts: Vec<i32> = server.run_all(&inputs).into_iter().map(|o| o.unwrap().i32()).collect();
        assert_eq!(counts, [1; 300], "{mode:?} {format:?}");
        assert_eq!(server.run(b"y").unwrap().i32(), 1, "{mode:?} {format:?}");
    });
    // What it is held against: without a server the calls are counted.
    let (name, bytes) = image(Format::Elf, "elf/planted/libplanted.so", "");
    let mut sandbox = Sandbox::builder().start().unwrap();
    sandbox.load_bytes(&name, &bytes).unwrap();
    let mut count = || sandbox.call("planted_counts", [0.into(), 0.into()]).unwrap().i32();
    assert_eq!((count(), count()), (1, 2));
}

#[test]
fn a_case_that_faults_is_told_of_and_the_others_have_their_answers() {
    let _alone = process::alone();
    each(|mode, format| {
        let mut server = server(mode, format, "planted_check");
        let inputs = [b"nothing", CRASHES, HARMLESS, CRASHES, b"PLNT\x00\xff!", HARMLESS];
        let outcomes = server.run_all(&inputs);
        let answers: Vec<Option<i32>> =
            outcomes.iter().map(|o| o.as_ref().ok().map(|answer| answer.i32())).collect();
        assert_eq!(answers, [Some(0), None, Some(2), None, Some(1), Some(2)], "{mode:?} {outcomes:?}");
        assert!(is_fault(&outcomes[1]) && is_fault(&outcomes[3]), "{mode:?} {format:?} {outcomes:?}");
        let explained = server.explain(CRASHES);
        assert!(matches!(explained, Err(Failure::Faulted(_))), "{mode:?} {format:?} {explained:?}");
        assert_eq!(server.run(HARMLESS).unwrap().i32(), 2, "{mode:?} {format:?}");
    });
}

#[test]
fn whatever_a_case_does_the_next_one_runs() {
    let _alone = process::alone();
    let descriptors = process::descriptors().unwrap();
    type Is = fn(&Outcome<Returned>) -> bool;
    let over: Is = |o| matches!(o, Err(Failure::Killed(Limit::Wall)));
    let exited: Is = |o| matches!(o, Err(Failure::Exited(7)));
    let left: Is = |o| matches!(o, Err(Failure::Exited(0)));
    let killed: Is = |o| matches!(o, Err(Failure::Died(9)));
    let closed: Is = |o| o.as_ref().is_ok_and(|answer| answer.i32() == 0);
    let cases = [
        ("spins", over),
        ("exits", exited),
        ("raw_exits", left),
        ("kills_itself", killed),
        ("closes_everything", closed),
        ("writes_sealed", is_fault),
        ("fills_stack", is_fault),
    ];
    each(|mode, format| {
        for (symbol, is) in cases {
            let mut server = server(mode, format, symbol);
            for nth in 0..2 {
                let outcome = server.run(b"x");
                assert!(is(&outcome), "{symbol} {nth} {mode:?} {format:?}: {outcome:?}");
            }
        }
    });
    assert_eq!(process::descriptors().unwrap(), descriptors);
}

#[test]
fn each_case_has_limits_of_its_own() {
    let _alone = process::alone();
    let quick = Duration::from_millis(300);
    let limited = [
        (b"memory", Limit::Memory, Sandbox::builder().memory(64 << 20)),
        (b"time  ", Limit::Cpu, Sandbox::builder().cpu(quick)),
        (b"time  ", Limit::Wall, Sandbox::builder().wall(quick)),
        (b"sleep ", Limit::Wall, Sandbox::builder().wall(quick).cpu(quick)),
    ];
    for format in Format::ALL {
        let (name, bytes) = image(format, "mischief/elf/libmischief.so", "mischief/pe/mischief.dll");
        for (takes, limit, builder) in limited.clone() {
            let load = |sandbox: &mut Sandbox| sandbox.load_bytes(&name, &bytes).map(drop);
            let mut server = Server::start(builder, Mode::Forks, "takes", load).unwrap();
            let inputs = [b"nothing", &takes[..], b"nothing", takes, b"nothing"];
            let start = Instant::now();
            let outcomes = server.run_all(&inputs);
            let is = |outcome: &Outcome<Returned>| match outcome {
                Ok(answer) => answer.i32() == 0,
                Err(failure) => matches!(failure, Failure::Killed(over) if *over == limit),
            };
            let failed: Vec<bool> = outcomes.iter().map(Result::is_err).collect();
            assert_eq!(failed, [false, true, false, true, false], "{format:?} {limit}: {outcomes:?}");
            assert!(outcomes.iter().all(is), "{format:?} {limit}: {outcomes:?}");
            assert!(start.elapsed() < Duration::from_secs(20), "{format:?} {limit}");
        }
    }
}

/// Processor time is each case's own, however many there are: together these use more than one may.
#[test]
fn cases_do_not_use_up_each_others_limits() {
    let _alone = process::alone();
    let (name, bytes) = image(Format::Elf, "elf/planted/libplanted.so", "");
    let load = |sandbox: &mut Sandbox| sandbox.load_bytes(&name, &bytes).map(drop);
    let builder = Sandbox::builder().cpu(Duration::from_millis(50));
    let mut server = Server::start(builder, Mode::Forks, "planted_counts", load).unwrap();
    let outcomes = server.run_all(&vec![&b"x"[..]; 500]);
    assert!(outcomes.iter().all(|o| o.as_ref().is_ok_and(|answer| answer.i32() == 1)), "{outcomes:?}");
}

#[test]
fn a_helper_that_cannot_be_started_again_is_said_of_every_case() {
    let _alone = process::alone();
    let (name, bytes) = image(Format::Elf, "mischief/elf/libmischief.so", "");
    for mode in MODES {
        let there = Cell::new(true);
        let load = |sandbox: &mut Sandbox| match there.get() {
            true => sandbox.load_bytes(&name, &bytes).map(drop),
            false => sandbox.load("no-such.so").map(drop),
        };
        let builder = Sandbox::builder().wall(Duration::from_millis(300));
        let mut server = Server::start(builder, mode, "takes", load).unwrap();
        assert_eq!(server.run(b"nothing").unwrap().i32(), 0);
        assert!(matches!(server.run(b"sleep"), Err(Failure::Killed(Limit::Wall))));
        there.set(false);
        let outcomes = server.run_all(&[&b"nothing"[..]; 3]);
        let text = |outcome: &Outcome<Returned>| outcome.as_ref().unwrap_err().to_string();
        assert_eq!(outcomes.len(), 3, "{mode:?} {outcomes:?}");
        assert!(outcomes.iter().all(|o| text(o).contains("no-such.so")), "{mode:?} {outcomes:?}");
        there.set(true);
        assert_eq!(server.run(b"nothing").unwrap().i32(), 0, "{mode:?}: and when it can, it goes on");
    }
}

#[test]
fn a_process_that_cannot_be_started_again_is_said_of_every_case() {
    let _alone = process::alone();
    let (name, bytes) = image(Format::Elf, "mischief/elf/libmischief.so", "");
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let builder = Sandbox::builder().wall(Duration::from_millis(300)).current_dir(folder.path());
        let load = |sandbox: &mut Sandbox| sandbox.load_bytes(&name, &bytes).map(drop);
        let mut server = Server::start(builder, mode, "takes", load).unwrap();
        assert!(matches!(server.run(b"sleep"), Err(Failure::Killed(Limit::Wall))));
        folder.close().unwrap(); // and without its folder no process begins
        let outcomes = server.run_all(&[&b"nothing"[..]; 3]);
        let said = |o: &Outcome<Returned>| matches!(o, Err(Failure::System { what: "start a helper", .. }));
        assert!(outcomes.len() == 3 && outcomes.iter().all(said), "{mode:?} {outcomes:?}");
    }
}

#[test]
fn what_cannot_be_loaded_or_found_is_said() {
    let _alone = process::alone();
    for mode in MODES {
        let nothing =
            Server::start(Sandbox::builder(), mode, "f", |sandbox| sandbox.load("no-such.so").map(drop));
        assert!(matches!(nothing, Err(Failure::Refused(_))), "{nothing:?}");
        let mut server = server(mode, Format::Elf, "planted_nothing");
        assert!(matches!(server.run(b"x"), Err(Failure::Refused(_))));
        assert_eq!(server.run_all(&[]).len(), 0);
    }
}
