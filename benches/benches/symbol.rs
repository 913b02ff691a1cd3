//! Looking a name up in an open library: group `symbol`, a name that is there and one that nobody has.

use benches::{ElfLoader, Glibc, Image, Ours, Subject, Way, child, images, results, timed};
use criterion::{BenchmarkId, Criterion, Throughput};
use std::{ffi::CStr, hint::black_box, time::Duration};

/// A name that nobody has.
const NOBODYS: &CStr = c"symbol_that_nobody_defines";
/// Lookups in a row: a child opens the library before them, which does not count but takes its time.
const ROW: u64 = 2_000;

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
    for (what, name, there) in [("hit", image.symbol, true), ("miss", NOBODYS, false)] {
        let label = format!("{}-{what}", S::NAME);
        let rows = |n: u64| {
            child::run(|| {
                subject.prepare(image, Way::File);
                let library = subject.open(image, Way::File)?;
                if (subject.symbol(&library, name) != 0) != there {
                    return Err(format!(
                        "{}: {}",
                        name.to_string_lossy(),
                        if there { "not found" } else { "found" }
                    ));
                }
                let row =
                    || (0..n * ROW).for_each(|_| _ = black_box(subject.symbol(&library, black_box(name))));
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
        group.throughput(Throughput::Elements(ROW));
        group.bench_function(BenchmarkId::new(image.name, &label), |b| {
            b.iter_custom(|n| Duration::from_nanos(rows(n).expect("did not fail before")[0]));
        });
    }
}
