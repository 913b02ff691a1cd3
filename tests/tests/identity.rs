//! When two names mean one library: the same file by whatever path, and the name that a library gives itself. The
//! system's loader is asked the same questions.
//!
//! `unsafe` because the C library is called.
#![allow(unsafe_code)]

use loader::{Engine, Library};
use std::{
    ffi::{CString, c_void},
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
};

/// The system's handle: the same for the same library. It stays open for as long as the process.
fn system(path: &Path) -> *mut c_void {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with a zero byte; the images of the corpus may run in this process.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!handle.is_null(), "{path:?}");
    handle
}

fn ours(library: &Library) -> u64 {
    library.module().unwrap().at.base.0
}

/// A folder with copies of one image of the corpus.
struct Shelf {
    folder: tempfile::TempDir,
    engine: Engine,
}

impl Shelf {
    fn with(image: &str, names: &[&str]) -> Self {
        let shelf = Self { folder: tempfile::tempdir().unwrap(), engine: Engine::new().unwrap() };
        for name in names {
            let to = shelf.path(name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(corpus::root().join(image), to).unwrap();
        }
        shelf
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether two names mean one library, and whether the system says so too.
    fn is_one(&self, one: &Path, other: &Path) -> bool {
        let (first, second) = (self.engine.open(one).unwrap(), self.engine.open(other).unwrap());
        let same = ours(&first) == ours(&second);
        assert_eq!(
            same,
            system(one) == system(other),
            "the system on {} and {}",
            one.display(),
            other.display()
        );
        same
    }
}

#[test]
fn every_path_to_a_file_is_the_same_library_and_a_copy_is_another() {
    let shelf = Shelf::with("elf/plain/libplain.so", &["lib.so", "copy.so", "below/lib.so"]);
    let lib = shelf.path("lib.so");
    fs::hard_link(&lib, shelf.path("hard.so")).unwrap();
    symlink("lib.so", shelf.path("soft.so")).unwrap();
    for same in ["lib.so", "hard.so", "soft.so", "below/../lib.so", "./lib.so"] {
        assert!(shelf.is_one(&lib, &shelf.path(same)), "{same}");
        assert!(shelf.is_one(&shelf.path(same), &lib), "{same} first");
    }
    for other in ["copy.so", "below/lib.so"] {
        assert!(!shelf.is_one(&lib, &shelf.path(other)), "{other}");
    }
}

#[test]
fn a_library_answers_to_the_name_that_it_gives_itself_but_a_copy_by_its_path_is_another() {
    let shelf = Shelf::with("elf/runpath/below/librunpath-dep.so", &["found.so", "again.so"]);
    let (found, again) = (shelf.path("found.so"), shelf.path("again.so"));
    let own_name = Path::new("librunpath-dep.so");
    assert!(shelf.engine.open(own_name).is_err(), "nobody has the name yet");
    let held = shelf.engine.open(&found).unwrap();
    assert!(shelf.is_one(&found, own_name));
    assert!(!shelf.is_one(&found, &again), "the same name of its own, another file");
    assert!(shelf.is_one(&found, own_name), "the first that has the name");
    held.close().unwrap();
}

#[test]
fn a_path_means_what_is_loaded_from_it_though_another_file_is_there_now() {
    let shelf = Shelf::with("elf/plain/libplain.so", &["lib.so", "new.so"]);
    let (lib, new) = (shelf.path("lib.so"), shelf.path("new.so"));
    let (held, handle) = (shelf.engine.open(&lib).unwrap(), system(&lib));
    fs::rename(&new, &lib).unwrap();
    assert_eq!(ours(&shelf.engine.open(&lib).unwrap()), ours(&held));
    assert_eq!(system(&lib), handle);
}
