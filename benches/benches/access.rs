//! What loaded code does all the time: group `dladdr`, whose an address is, and group `tls`, an access to a thread-local
//! variable by `__tls_get_addr`.
//!
//! `unsafe` because functions of the two loaders and of an image are called by address.
#![allow(unsafe_code)]

use benches::{ElfLoader, Glibc, Image, Ours, Subject, Way, child, images, results, timed};
use criterion::{BenchmarkId, Criterion, Throughput};
use std::{ffi::c_void, hint::black_box, mem::transmute, time::Duration};

/// Calls in a row: a child opens the library before them, which does not count but takes its time.
const ROW: u64 = 2_000;

fn main() {
    let mut criterion = benches::criterion();
    let glibc = Glibc::new().expect("the runtime libraries are installed");
    let ours = Ours::new().expect("the corpus loads");
    let elf_loader = ElfLoader::new().expect("the corpus loads");
    let of_ours = ours.dladdr().expect("every engine has one");
    for image in images::libraries() {
        rows(&mut criterion, "dladdr", &image, Ours::NAME, |n| dladdr(&ours, &image, of_ours, n));
        rows(&mut criterion, "dladdr", &image, Glibc::NAME, |n| {
            dladdr(&glibc, &image, libc::dladdr as *const () as usize, n)
        });
    }
    let image = images::thread_local();
    rows(&mut criterion, "tls", &image, Ours::NAME, |n| thread_local(&ours, &image, n));
    rows(&mut criterion, "tls", &image, Glibc::NAME, |n| thread_local(&glibc, &image, n));
    rows(&mut criterion, "tls", &image, ElfLoader::NAME, |n| thread_local(&elf_loader, &image, n));
    criterion.final_summary();
}

/// One measurement: `measure` makes so many calls in a child, and says how many nanoseconds they took.
fn rows(
    criterion: &mut Criterion,
    group: &str,
    image: &Image,
    label: &str,
    measure: impl Fn(u64) -> Result<u64, String>,
) {
    if let Err(why) = measure(ROW) {
        eprintln!("{group} {} {label}: fails: {why}", image.name);
        return results::note(group, image.name, label, "fails");
    }
    results::measurable(group, image.name, label);
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(ROW));
    group.bench_function(BenchmarkId::new(image.name, label), |b| {
        b.iter_custom(|n| Duration::from_nanos(measure(n * ROW).expect("did not fail before")));
    });
}

/// Opens an image in a child, and times what is done `n` times with a symbol of it.
fn in_a_child<S: Subject>(
    subject: &S,
    image: &Image,
    n: u64,
    with: impl Fn(usize) -> Result<(), String>,
) -> Result<u64, String> {
    child::run(|| {
        subject.prepare(image, Way::File);
        let library = subject.open(image, Way::File)?;
        let symbol = subject.symbol(&library, image.symbol);
        with(symbol)?; // what is made at the first time does not count
        let (done, took) = timed(|| (0..n).try_for_each(|_| with(black_box(symbol))));
        done.map(|()| [took])
    })
    .map(|[took]| took)
}

fn dladdr<S: Subject>(subject: &S, image: &Image, dladdr: usize, n: u64) -> Result<u64, String> {
    type Dladdr = unsafe extern "C" fn(*const c_void, *mut libc::Dl_info) -> i32;
    // SAFETY: the address of a function of that name, which the C library's manual gives this signature.
    let dladdr: Dladdr = unsafe { transmute(dladdr) };
    in_a_child(subject, image, n, |symbol| {
        // SAFETY: a `Dl_info` is plain pointers, for which zeros are valid.
        let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
        let inside = std::ptr::with_exposed_provenance(symbol + 1);
        // SAFETY: any address may be asked for, and the answer has its place.
        let found = unsafe { dladdr(inside, &raw mut info) };
        match found != 0 && info.dli_saddr.addr() == symbol {
            true => Ok(()),
            false => Err("dladdr: another symbol".into()),
        }
    })
}

fn thread_local<S: Subject>(subject: &S, image: &Image, n: u64) -> Result<u64, String> {
    in_a_child(subject, image, n, |symbol| {
        if symbol == 0 {
            return Err("no such symbol".into());
        }
        // SAFETY: the image's function takes nothing and returns a number.
        let next: extern "C" fn() -> i32 = unsafe { transmute(symbol) };
        black_box(next());
        Ok(())
    })
}
