//! Sandboxes one after the other, each with a guest that ends in another way, and servers of many cases: nothing of any is
//! left.
//!
//! Some hundred; `LOADER_ENDURE=full` makes it ten thousand. Alone in its program, because it counts what all of the
//! process has.

use loader::sandbox::{
    Failure, Limit, Output, Sandbox,
    server::{Mode, Server},
};
use std::{collections::BTreeSet, env, fs, path::Path, thread, time::Duration};
use tests::process;

/// Ways to end, and what is said of each.
type Ending = (&'static str, fn(&Failure) -> bool);
const ENDINGS: [Ending; 6] = [
    ("calls_null", |f| matches!(f, Failure::Faulted(_))),
    ("exits", |f| matches!(f, Failure::Exited(_))),
    ("kills_itself", |f| matches!(f, Failure::Died(9) | Failure::Forbidden(_))),
    ("prints", |f| matches!(f, Failure::Killed(Limit::Output))),
    ("sleeps", |f| matches!(f, Failure::Killed(Limit::Wall))),
    ("no_such_function", |f| matches!(f, Failure::Refused(_))),
];
/// Ways to go on: what comes of them is up to the system and the confinement, but nothing is left.
const SURVIVED: [&str; 3] = ["leaves_a_process", "closes_everything", "raw_opens"];

/// The processes that run this program, and those that they left: all that are not there before.
fn processes() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let own = fs::read_link("/proc/self/exe").unwrap();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == own)).collect()
}

/// Children of this process that nobody waited for.
fn children() -> String {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default()).collect()
}

fn case(n: usize, images: &[(String, Vec<u8>)], folder: &Path) {
    let (name, bytes) = &images[n % images.len()];
    let builder = Sandbox::builder().wall(Duration::from_millis(300)).output(Output::Kept(1 << 16));
    let builder = builder.write(folder).current_dir(folder).env("TMPDIR", folder);
    let mut sandbox = builder.start().unwrap();
    sandbox.load_bytes(name, bytes).unwrap();
    let way = n / images.len() % (ENDINGS.len() + SURVIVED.len());
    match ENDINGS.get(way) {
        Some((function, expected)) => {
            let outcome = sandbox.call(*function, []);
            assert!(outcome.as_ref().is_err_and(expected), "case {n}: {function} of {name}: {outcome:?}");
        }
        None => drop(sandbox.call(SURVIVED[way - ENDINGS.len()], ["/etc/hostname".into()])),
    }
}

/// As many cases of one server, some of which fault.
fn serve(mode: Mode, times: usize, (name, bytes): &(String, Vec<u8>)) {
    const EACH: usize = 50;
    let load = |sandbox: &mut Sandbox| sandbox.load_bytes(name, bytes).map(drop);
    let mut server = Server::start(Sandbox::builder(), mode, "planted_check", load).unwrap();
    let inputs: Vec<&[u8]> =
        (1..=times).map(|n| if n % EACH == 0 { &b"PLNT\xa0\xff!"[..] } else { b"PLNT\xa0\x03!" }).collect();
    for (nth, outcome) in (1..).zip(server.run_all(&inputs)) {
        let right = match &outcome {
            Ok(returned) => nth % EACH != 0 && returned.i32() == 2,
            Err(failure) => nth % EACH == 0 && matches!(failure, Failure::Faulted(_) | Failure::Died(11)),
        };
        assert!(right, "case {nth} of {name}, {mode:?}: {outcome:?}");
    }
}

#[test]
fn nothing_is_left_of_ten_thousand_guests() {
    let times = if env::var_os("LOADER_ENDURE").is_some() { 10_000 } else { 360 };
    let read = |path: &str| {
        let name = path.rsplit('/').next().unwrap().to_owned();
        (name, fs::read(corpus::root().join(path)).unwrap())
    };
    let images = ["mischief/elf/libmischief.so", "mischief/pe/mischief.dll"].map(read);
    let planted = ["elf/planted/libplanted.so", "pe/planted/planted.dll"].map(read);
    let folder = tempfile::tempdir().unwrap();
    // In a thread that ends: what the allocator keeps at hand for a thread would count as given out.
    let run = |times| {
        let cases = || {
            (0..times).for_each(|n| case(n, &images, folder.path()));
            for mode in [Mode::Forks, Mode::Restores] {
                planted.iter().for_each(|image| serve(mode, times, image));
            }
        };
        thread::scope(|scope| scope.spawn(cases).join().unwrap());
    };
    run(60); // what the process makes once
    let measure = || (process::mapped().unwrap(), process::descriptors().unwrap());
    let (before, memory) = (measure(), process::allocated());
    run(times);
    let lost = process::allocated().saturating_sub(memory);
    let after = measure();
    let grown = process::difference(&before.0, &after.0);
    assert_eq!(grown, "", "mappings");
    assert_eq!(after.1, before.1, "descriptors");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "files where the guest may write");
    assert_eq!(processes(), BTreeSet::from([std::process::id()]), "processes");
    assert_eq!(children(), "");
    assert!(lost < 2 << 10, "{lost} bytes of memory are lost in {times} times");
}
