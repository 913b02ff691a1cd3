//! Opening and closing: groups `open` and `close` (first in a forked child), `again` (both, repeated in one child).

use benches::{ElfLoader, Glibc, Image, Ours, Subject, Way, child, images, results, timed};
use criterion::{BenchmarkId, Criterion, SamplingMode};
use std::{cell::Cell, fs, time::Duration};

fn main() {
    let mut criterion = benches::criterion();
    // Glibc first: the others find the runtime libraries that it loads.
    let glibc = Glibc::new().expect("the runtime libraries are installed");
    let ours = Ours::new().expect("the corpus loads");
    let elf_loader = ElfLoader::new().expect("the corpus loads");
    for image in images::all() {
        let small = images::small(image.format);
        subject(&mut criterion, &image, &small, &ours);
        subject(&mut criterion, &image, &small, &glibc);
        subject(&mut criterion, &image, &small, &elf_loader);
    }
    criterion.final_summary();
}

fn subject<S: Subject>(criterion: &mut Criterion, image: &Image, small: &Image, subject: &S) {
    if !S::FORMATS.contains(&image.format) {
        return;
    }
    for &way in S::WAYS {
        if way != Way::File {
            let _read_before_there_are_children = (image.bytes(), small.bytes());
        }
        first(criterion, image, small, subject, way);
        again(criterion, image, subject, way);
    }
}

/// Opens and closes once, in nanoseconds. The third number is 1 where the image is still there after that.
fn once<S: Subject>(image: &Image, subject: &S, way: Way) -> Result<[u64; 3], String> {
    let before = address_space();
    subject.prepare(image, way);
    let (library, opened) = timed(|| subject.open(image, way));
    let library = library?;
    let (closed, close) = timed(|| subject.close(library));
    closed?;
    let grown = address_space().saturating_sub(before);
    let stays = is_mapped(image) || grown > NOISE && grown >= image.length();
    Ok([opened, close, stays.into()])
}

/// Bytes by which the address space of a process may grow for other reasons than a library that stays.
const NOISE: u64 = 1 << 20;

/// Length of this process's address space in bytes.
fn address_space() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').next().and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn is_mapped(image: &Image) -> bool {
    let (Ok(path), Ok(maps)) = (image.path.canonicalize(), fs::read_to_string("/proc/self/maps")) else {
        return false;
    };
    maps.lines().any(|line| path.to_str().is_some_and(|path| line.ends_with(path)))
}

/// Lets the child have the subject's code and heap before it counts.
fn warmed<S: Subject>(small: &Image, subject: &S) -> Result<(), String> {
    S::WAYS.iter().try_for_each(|&way| once(small, subject, way).map(drop))
}

/// Groups `open` and `close`: each number is of a child that does nothing else.
fn first<S: Subject>(criterion: &mut Criterion, image: &Image, small: &Image, subject: &S, way: Way) {
    let once = || child::run(|| warmed(small, subject).and_then(|()| once(image, subject, way)));
    let label = S::label(way);
    let tries: Result<Vec<_>, _> = (0..3).map(|_| once()).collect();
    for (nth, group) in ["open", "close"].into_iter().enumerate() {
        match &tries {
            Err(why) => {
                eprintln!("{group} {} {label}: fails: {why}", image.name);
                results::note(group, image.name, &label, "fails");
                continue;
            }
            Ok(tries) if group == "close" && tries.iter().any(|t| t[2] == 1) => {
                results::note(group, image.name, &label, "stays");
                continue;
            }
            Ok(_) => results::measurable(group, image.name, &label),
        }
        let measure = || once().map(|t| t[nth]);
        let mut group = criterion.benchmark_group(group);
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function(BenchmarkId::new(image.name, &label), |b| {
            b.iter_custom(|n| {
                Duration::from_nanos((0..n).map(|_| measure().expect("did not fail before")).sum())
            });
        });
    }
}

/// Group `again`: opens and closes as often as it is asked to in one child, after once that does not count.
fn again<S: Subject>(criterion: &mut Criterion, image: &Image, subject: &S, way: Way) {
    let label = S::label(way);
    let often = |n: u64| {
        child::run(|| {
            let mut all = [0, 0];
            all[1] = once(image, subject, way)?[2];
            for _ in 0..n {
                subject.prepare(image, way);
                let (done, took) = timed(|| subject.open(image, way).and_then(|l| subject.close(l)));
                done?;
                all[0] += took;
            }
            Ok(all)
        })
    };
    let stays = Cell::new(false);
    match often(3) {
        Err(why) => {
            eprintln!("again {} {label}: fails: {why}", image.name);
            return results::note("again", image.name, &label, "fails");
        }
        Ok([_, mapped]) => stays.set(mapped == 1),
    }
    if stays.get() {
        return results::note("again", image.name, &label, "stays");
    }
    results::measurable("again", image.name, &label);
    let mut group = criterion.benchmark_group("again");
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(BenchmarkId::new(image.name, &label), |b| {
        b.iter_custom(|n| Duration::from_nanos(often(n).expect("did not fail before")[0]));
    });
}
