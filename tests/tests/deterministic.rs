//! Runs that are alike: with one seed, code finds the same addresses, times and random numbers in every sandbox.
//!
//! What it asks for is in the corpus' case `chance`. The system is what it is held against: without a seed, runs differ.

use corpus::Format;
use loader::sandbox::{
    Builder, Sandbox,
    server::{Mode, Server},
};
use std::{collections::BTreeMap, fs};

const BOTH: [&str; 8] = ["code", "stack", "heap", "pages", "date", "uptime", "random", "guard"];
const ELF: [&str; 7] = ["used", "seconds", "clock", "day", "entropy", "start", "random"];
const PE: [&str; 3] = ["ticks", "clock", "random"];
/// 2000-01-01 00:00 as each format's clock has it: nanoseconds since 1970, and hundreds of them since 1601.
const YEAR_2000: [u64; 2] = [946_684_800_000_000_000, 125_911_584_000_000_000];

fn image(format: Format) -> (String, Vec<u8>) {
    let path = match format {
        Format::Elf => "elf/chance/libchance.so",
        Format::Pe => "pe/chance/chance.dll",
    };
    (path.rsplit('/').next().unwrap().into(), fs::read(corpus::root().join(path)).unwrap())
}

/// The answers to all questions, and, by name, the first to each.
fn answers(builder: Builder, format: Format) -> (Vec<u64>, BTreeMap<&'static str, u64>) {
    let mut sandbox = builder.start().unwrap();
    let (name, bytes) = image(format);
    sandbox.load_bytes(&name, &bytes).unwrap();
    let own: &[&str] = if format == Format::Elf { &ELF } else { &PE };
    let mut first = BTreeMap::new();
    let all = BOTH.iter().chain(own).map(|name| {
        let answer = sandbox.call(&*format!("chance_{name}"), []).unwrap().u64();
        first.entry(*name).or_insert(answer);
        answer
    });
    let all = all.collect();
    sandbox.end().unwrap();
    (all, first)
}

fn fixed(seed: u64) -> Builder {
    Sandbox::builder().deterministic(seed)
}

#[test]
fn runs_with_one_seed_are_alike() {
    for (format, year) in Format::ALL.into_iter().zip(YEAR_2000) {
        let (all, first) = answers(fixed(7), format);
        assert!(all.iter().all(|&answer| answer != 0), "{format:?} {first:?}");
        for _ in 0..3 {
            assert_eq!(answers(fixed(7), format), (all.clone(), first.clone()), "{format:?}");
        }
        assert!((0..1_000_000_000).contains(&(first["date"] - year)), "{format:?} {first:?}");
    }
}

#[test]
fn another_seed_gives_other_numbers_at_the_same_time_and_places() {
    for format in Format::ALL {
        let (one, other) = (answers(fixed(7), format).1, answers(fixed(8), format).1);
        for (name, answer) in &one {
            let is_chance = ["random", "entropy", "guard", "start"].contains(name);
            assert_eq!(other[name] != *answer, is_chance, "{format:?} {name}");
        }
    }
}

/// What the rest is worth: without a seed, little of it is the same.
#[test]
fn runs_without_a_seed_differ() {
    for format in Format::ALL {
        let (one, other) = (answers(Sandbox::builder(), format).1, answers(Sandbox::builder(), format).1);
        for name in ["stack", "heap", "date", "uptime", "random", "guard"] {
            assert_ne!(one[name], other[name], "{format:?} {name}");
        }
        // A DLL goes where its linker wanted it.
        assert_eq!(one["code"] == other["code"], format == Format::Pe);
    }
}

#[test]
fn time_passes_while_code_sleeps() {
    for format in Format::ALL {
        let mut sandbox = fixed(7).start().unwrap();
        let (name, bytes) = image(format);
        sandbox.load_bytes(&name, &bytes).unwrap();
        assert!(sandbox.call("chance_passes", []).unwrap().bool(), "{format:?}");
        assert!(sandbox.call("chance_differs", []).unwrap().bool(), "{format:?}");
    }
}

#[test]
fn each_case_of_a_server_finds_the_same() {
    for format in Format::ALL {
        let (name, bytes) = image(format);
        for symbol in ["chance_random", "chance_date", "chance_heap", "chance_stack", "chance_guard"] {
            let each = [Mode::Forks, Mode::Restores].map(|mode| {
                let load = |sandbox: &mut Sandbox| sandbox.load_bytes(&name, &bytes).map(drop);
                let mut server = Server::start(fixed(7), mode, symbol, load).unwrap();
                let ran = server.run_all(&[&b"x"[..]; 5]);
                ran.into_iter().map(|outcome| outcome.unwrap().u64()).collect::<Vec<_>>()
            });
            let [forks, restores] = &each;
            assert!(forks.iter().all(|answer| *answer == forks[0]), "{format:?} {symbol}: {forks:x?}");
            // The allocator's memory is not put back.
            if symbol != "chance_heap" {
                assert!(
                    restores.iter().all(|answer| *answer == restores[0]),
                    "{format:?} {symbol}: {restores:x?}"
                );
            }
        }
    }
}
