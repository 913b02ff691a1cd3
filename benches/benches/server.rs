//! Cases of one small function: a process that forks, calls and waits (`bare`: nothing loaded, nothing but that), the fork
//! server, and the server that puts memory back instead of forking.
//!
//! Each number is nanoseconds for one case.
//!
//! `unsafe` because the process is doubled.
#![allow(unsafe_code)]

use benches::{child, timed};
use criterion::{BenchmarkId, Criterion};
use loader::sandbox::{
    Sandbox,
    server::{Mode, Server},
};
use std::{fs, hint::black_box, time::Duration};

/// What all are given.
const INPUT: &[u8] = b"PLNT\xa0\x03!";

fn main() {
    let mut criterion = benches::criterion();
    let mut group = criterion.benchmark_group("server");
    group.bench_function("bare", |b| {
        b.iter_custom(|cases| child::run(|| bare(cases)).map(nanoseconds).unwrap())
    });
    group.finish();
    for (format, file) in [("elf", "elf/planted/libplanted.so"), ("pe", "pe/planted/planted.dll")] {
        for mode in [Mode::Forks, Mode::Restores] {
            server(&mut criterion, format, file, mode);
        }
    }
    criterion.final_summary();
}

fn nanoseconds([time]: [u64; 1]) -> Duration {
    Duration::from_nanos(time)
}

fn server(criterion: &mut Criterion, format: &str, file: &str, mode: Mode) {
    let bytes = fs::read(corpus::root().join(file)).expect("the corpus is there");
    let load =
        |sandbox: &mut Sandbox| sandbox.load_bytes(file.rsplit('/').next().unwrap_or(file), &bytes).map(drop);
    let mut server =
        Server::start(Sandbox::builder(), mode, "planted_check", load).expect("the helper starts");
    let run = |cases: u64| {
        let inputs = vec![INPUT; cases as usize];
        let (outcomes, time) = timed(|| server.run_all(&inputs));
        assert!(outcomes.into_iter().all(|outcome| outcome.is_ok_and(|answer| answer.i32() == 2)));
        Duration::from_nanos(time)
    };
    let mut run = run;
    let mut group = criterion.benchmark_group("server");
    group.bench_function(BenchmarkId::new(format!("{mode:?}").to_lowercase(), format), |b| {
        b.iter_custom(&mut run)
    });
    group.finish();
}

/// A copy of this process for each case, which returns a value that the parent looks at.
fn bare(cases: u64) -> Result<[u64; 1], String> {
    let (ended, time) = timed(|| (0..cases).all(|_| one()));
    if ended { Ok([time]) } else { Err("a copy did not come to its end".into()) }
}

fn one() -> bool {
    // SAFETY: the process has one thread.
    match unsafe { libc::fork() } {
        -1 => false,
        // SAFETY: never returns.
        0 => unsafe { libc::_exit(black_box(INPUT)[0].into()) },
        copy => {
            let mut status = 0;
            // SAFETY: `status` is written to.
            let waited = unsafe { libc::waitpid(copy, &raw mut status, 0) };
            waited == copy && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == i32::from(INPUT[0])
        }
    }
}
