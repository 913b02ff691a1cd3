//! One more library beside many: group `modules`, an open and a close while so many others are loaded.

use benches::{child, images, results, timed};
use criterion::{BenchmarkId, Criterion};
use loader::{Engine, Error, Library};
use std::time::Duration;

/// So many are loaded already.
const BESIDE: [usize; 3] = [10, 100, 1_000];
/// Opens and closes in a row, and before these so many that do not count: to load a thousand takes as long as hundreds of them,
/// so a child would else be asked for a few, and these find cold what the thousand pushed out.
const ROW: u64 = 100;
const BEFORE: u64 = 20;

fn main() {
    let mut criterion = benches::criterion();
    let mut group = criterion.benchmark_group("modules");
    for beside in BESIDE {
        let name = format!("beside-{beside}");
        results::measurable("modules", "elf-dependency", &name);
        group.bench_function(BenchmarkId::new("elf-dependency", &name), |b| {
            b.iter_custom(|n| rounds(beside, n).expect("the corpus loads"));
        });
    }
    group.finish();
    Criterion::final_summary(&criterion);
}

/// Opens and closes one more `n` times, by the mean of so many rows.
fn rounds(beside: usize, n: u64) -> Result<Duration, String> {
    child::run(|| {
        let engine = Engine::new().map_err(|e| e.to_string())?;
        let images = images::cases();
        let plain = images.iter().find(|i| i.name == "elf-plain").ok_or("no elf-plain")?;
        let more = images.iter().find(|i| i.name == "elf-dependency").ok_or("no elf-dependency")?;
        // One file under many names is many libraries.
        let all = (0..beside).map(|nth| engine.open_embedded(&format!("beside-{nth}.so"), plain.bytes()));
        let _all = all.collect::<Result<Vec<Library>, Error>>().map_err(|e| e.to_string())?;
        let once = || engine.open(&more.path).and_then(Library::close).map(drop);
        let row = |times: u64| (0..times).try_for_each(|_| once()).map_err(|e| e.to_string());
        row(BEFORE)?;
        let (done, took) = timed(|| row(n * ROW));
        done.map(|()| [took / ROW])
    })
    .map(|[took]| Duration::from_nanos(took))
}
