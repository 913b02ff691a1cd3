//! Libraries of the system from bytes, at their work (`tests::real`), each in a process of its own.

use std::{path::Path, time::Duration};
use tests::{cores::child, real::LIBRARIES};

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn libraries_from_bytes_do_their_work_and_leave_nothing_mapped() {
    for library in &LIBRARIES {
        match library.is_there() {
            true => child(Path::new(env!("CARGO_BIN_EXE_run-case")), &["real", library.name], LIMIT)
                .unwrap_or_else(|what| panic!("{}: {what}", library.name)),
            false => println!("skipped: needs {}", library.name),
        }
    }
}
