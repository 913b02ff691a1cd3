//! Symbols whose meaning a corpus script cannot ask for; where glibc can be asked, it is.
//!
//! `unsafe` because the C library is called.
#![allow(unsafe_code)]

use loader::{Engine, ErrorKind, dl};
use loader_core::Query;
use object::{Object, ObjectSection};
use std::{
    ffi::{CStr, CString},
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};
use tests::process;

fn image(path: &str) -> PathBuf {
    corpus::root().join("elf").join(path)
}

/// What the system's `dlopen` says of a file: nothing, or its error. What it opens stays open.
fn system(path: &Path) -> Result<*mut libc::c_void, String> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with a zero byte; the images of the corpus may run in this process.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if !handle.is_null() {
        return Ok(handle);
    }
    // SAFETY: after a failure there is a text, which ends with a zero byte.
    let text = unsafe { libc::dlerror() };
    // SAFETY: as above; it is copied before anything else is called.
    Err(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

#[test]
fn an_absolute_symbol_of_value_0_is_found_and_is_null() {
    let _alone = process::alone();
    let library = image("absolute/libabsolute.so");
    let engine = Engine::new().unwrap();
    let opened = engine.open(&library).unwrap();
    assert_eq!(opened.find(&Query::name(b"absolute_null")).unwrap().at.0, 0);
    assert_eq!(opened.find(&Query::name(b"absolute_far")).unwrap().at.0, 0x1_2345_6789);
    let handle = opened.handle().to_bits();
    assert_eq!((dl::dlsym(&engine, handle, c"absolute_null"), dl::dlerror()), (0, None));

    let handle = system(&library).unwrap();
    // SAFETY: the handle is open, the name ends with a zero byte.
    let null = unsafe { libc::dlsym(handle, c"absolute_null".as_ptr()) };
    assert!(null.is_null());
    // SAFETY: asks for this thread's last error.
    assert!(unsafe { libc::dlerror() }.is_null(), "no error for glibc either");
}

/// `VER_FLG_WEAK`, which linkers set only where every reference of a version is weak, and this one's not even then.
const WEAK: u16 = 2;

#[test]
fn a_version_that_is_needed_weakly_may_be_missing() {
    let _alone = process::alone();
    let folder = std::env::temp_dir().join(format!("weak-version-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::copy(image("version-needs/libverneeds.so"), folder.join("libverneeds.so")).unwrap();
    let user = folder.join("libverneeds-user.so");
    let mut bytes = fs::read(image("version-needs/libverneeds-user.so")).unwrap();
    fs::write(&user, &bytes).unwrap();
    let engine = Engine::new().unwrap();
    let refused = engine.open(&user).unwrap_err();
    let lacks = ErrorKind::VersionNotFound { version: "N2".into(), of: "libverneeds.so".into() };
    assert_eq!(refused.kind, lacks);
    assert!(system(&user).unwrap_err().contains("version `N2' not found"));

    // A needed version begins with the ELF hash of its name; its flags follow.
    let hash = (u32::from(b'N') << 4) + u32::from(b'2');
    let at = bytes.windows(8).position(|w| w[..4] == hash.to_le_bytes() && w[4..6] == [0, 0]).unwrap();
    bytes[at + 4..at + 6].copy_from_slice(&WEAK.to_le_bytes());
    fs::remove_file(&user).unwrap();
    fs::write(&user, &bytes).unwrap();
    let opened = engine.open(&user).unwrap();
    // SAFETY: the source says so.
    let null = unsafe { opened.get::<extern "C" fn() -> bool>(c"needs_extra_is_null") }.unwrap();
    assert!(null(), "the weak reference");
    assert!(system(&user).is_ok());
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_name_that_the_filter_denies_is_not_there_whoever_listens() {
    let _alone = process::alone();
    let folder = tempfile::tempdir().unwrap();
    let [leaf, user] = ["libdependency-leaf.so", "libdependency.so"].map(|name| {
        fs::copy(image("dependency").join(name), folder.path().join(name)).unwrap();
        folder.path().join(name)
    });
    let mut bytes = fs::read(&leaf).unwrap();
    let (hash, _) =
        object::File::parse(&*bytes).unwrap().section_by_name(".gnu.hash").unwrap().file_range().unwrap();
    let [hash, words] = [hash as usize, hash as usize + 8];
    let count = u32::from_le_bytes(bytes[words..words + 4].try_into().unwrap()) as usize;
    bytes[hash + 16..][..8 * count].fill(0);
    fs::remove_file(&leaf).unwrap();
    fs::write(&leaf, bytes).unwrap();

    let silent = Engine::new().unwrap();
    let listens = Engine::builder().observe(|_: &loader::Event<'_>| {}).build().unwrap();
    for engine in [&silent, &listens] {
        let refused = engine.open(&user).unwrap_err();
        assert!(matches!(refused.kind, ErrorKind::Undefined { .. }), "{refused}");
        let leaf = engine.open(&leaf).unwrap();
        assert!(leaf.find(&Query::name(b"dependency_leaf")).is_err());
    }
    assert!(system(&user).unwrap_err().contains("undefined symbol: dependency_leaf"));
}

#[test]
fn ten_thousand_failing_lookups_keep_nothing() {
    let _alone = process::alone();
    let engine = Engine::new().unwrap();
    let opened = engine.open(image("plain/libplain.so")).unwrap();
    let name = |n: usize| format!("nobody_has_{n:06}");
    let miss = |n: usize| {
        let error = opened.find(&Query::name(name(n).as_bytes())).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::SymbolNotFound { .. }));
    };
    (0..100).for_each(miss);
    let before = process::allocated();
    (0..10_000).for_each(miss);
    let more = process::allocated().saturating_sub(before);
    assert!(more < 64 << 10, "{more} bytes more: 10,000 names are 170,000");
}
