//! Looking a name up in an open library: group `symbol`, a name that is there, and names that nobody has.

use benches::{ElfLoader, Glibc, Image, Ours, Subject, Way, child, images, results, timed};
use criterion::{BenchmarkId, Criterion, Throughput};
use std::{ffi::CString, hint::black_box, time::Duration};

/// So many names in turn: a library's filter lets some pass that nobody has, and whether it does for one is chance.
const NAMES: u64 = 64;
/// How often all of them are looked up: a child opens the library before that, which does not count but takes its time.
const ROUNDS: u64 = 32;

fn main() {
    let mut criterion = benches::criterion();
    let glibc = Glibc::new().expect("the runtime libraries are installed");
    let ours = Ours::new().expect("the corpus loads");
    let elf_loader = ElfLoader::new().expect("the corpus loads");
    for image in images::all() {
        subject(&mut criterion, &image, &ours);
        subject(&mut criterion, &image, &glibc);
        subject(&mut criterion, &image, &elf_loader);
    }
    criterion.final_summary();
}

fn subject<S: Subject>(criterion: &mut Criterion, image: &Image, subject: &S) {
    if !S::FORMATS.contains(&image.format) {
        return;
    }
    let there: Vec<_> = (0..NAMES).map(|_| image.symbol.to_owned()).collect();
    let nobodys =
        (0..NAMES).map(|n| CString::new(format!("symbol_{n}_that_nobody_defines")).expect("no zero"));
    for (what, names, there) in [("hit", there, true), ("miss", nobodys.collect(), false)] {
        let label = format!("{}-{what}", S::NAME);
        let rows = |n: u64| {
            child::run(|| {
                subject.prepare(image, Way::File);
                let library = subject.open(image, Way::File)?;
                let odd = names.iter().find(|name| (subject.symbol(&library, name) != 0) != there);
                if let Some(name) = odd {
                    let what = if there { "not found" } else { "found" };
                    return Err(format!("{}: {what}", name.to_string_lossy()));
                }
                let look_up = |name| _ = black_box(subject.symbol(&library, black_box(name)));
                let row = || (0..n * ROUNDS).for_each(|_| names.iter().map(|name| &**name).for_each(look_up));
                Ok([timed(row).1])
            })
        };
        if let Err(why) = rows(1) {
            eprintln!("symbol {} {label}: fails: {why}", image.name);
            results::note("symbol", image.name, &label, "fails");
            continue;
        }
        results::measurable("symbol", image.name, &label);
        let mut group = criterion.benchmark_group("symbol");
        group.throughput(Throughput::Elements(NAMES * ROUNDS));
        group.bench_function(BenchmarkId::new(image.name, &label), |b| {
            b.iter_custom(|n| Duration::from_nanos(rows(n).expect("did not fail before")[0]));
        });
    }
}
