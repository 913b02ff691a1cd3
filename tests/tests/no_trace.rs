//! What is opened and closed again leaves no trace: not a mapping, not a descriptor, not a block of memory, however often
//! it is done.

use std::{path::Path, time::Duration};
use tests::{
    cores::{child, nothing_wrong, on_all_cores},
    subject::{Ours, OursBuffer, OursMemory, Subject},
};

const LIMIT: Duration = Duration::from_secs(300);

fn over_and_over<S: Subject>() {
    let cases = corpus::cases().unwrap();
    let results = on_all_cores(&cases, |case| {
        let name = format!("{}/{}", case.format.folder(), case.name);
        child(Path::new(env!("CARGO_BIN_EXE_run-case")), &["again", S::NAME, &name], LIMIT)
            .map_err(|what| format!("{name} on {}: {what}", S::NAME))
    });
    nothing_wrong(&format!("{} over and over", S::NAME), results);
}

#[test]
fn from_files() {
    over_and_over::<Ours>();
}

#[test]
fn from_bytes() {
    over_and_over::<OursMemory>();
}

#[test]
fn from_buffers() {
    over_and_over::<OursBuffer>();
}
