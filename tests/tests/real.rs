//! Libraries of the system from bytes, at their work (`tests::real`), and the OpenBLAS DLLs below the folder that
//! `LOADER_DLLS` names, if it names one, at theirs (`tests::blas`); each in a process of its own.

use std::{env, path::Path, time::Duration};
use tests::{blas, cores::child, real::LIBRARIES};

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

#[test]
fn openblas_for_windows_multiplies_in_several_threads_at_once() {
    let Some(folder) = env::var_os("LOADER_DLLS") else {
        return println!("skipped: needs LOADER_DLLS, a folder of Windows DLLs");
    };
    let folder = Path::new(&folder);
    let mut files = corpus::files_below(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    files.retain(|file| blas::is_openblas(file));
    if files.is_empty() {
        println!("skipped: needs the wheel numpy or scipy below LOADER_DLLS");
    }
    for file in files {
        child(
            Path::new(env!("CARGO_BIN_EXE_run-case")),
            &["blas", file.to_str().expect("its name is text")],
            LIMIT,
        )
        .unwrap_or_else(|what| panic!("{}: {what}", file.display()));
    }
}
