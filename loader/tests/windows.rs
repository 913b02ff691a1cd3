//! Windows code of the corpus that calls back into the engine through KERNEL32.
#![allow(missing_docs, unsafe_code)]

use loader::{Engine, Event, HostModule, SymbolName, win32};
use std::{
    ffi::c_char,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

static LOAD_LIBRARY: AtomicU64 = AtomicU64::new(0);

type LoadLibraryA = unsafe extern "win64" fn(*const c_char) -> usize;

/// What the image's DllMain calls to log: here it makes the call that a DllMain must not make.
extern "win64" fn tlog(_: *const c_char) {
    let at = LOAD_LIBRARY.load(SeqCst) as *const ();
    // SAFETY: the test stored the address of KERNEL32's LoadLibraryA, which has this type.
    let load = unsafe { std::mem::transmute::<*const (), LoadLibraryA>(at) };
    // SAFETY: the name is a string; the thread runs Windows code, so it is ready for more.
    assert_ne!(unsafe { load(c"kernel32".as_ptr()) }, 0);
}

#[test]
fn load_library_in_dll_main_works_and_is_reported() {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let ear = heard.clone();
    let engine = Engine::builder()
        .host(HostModule::new("tlog.dll").function("tlog", tlog as *const ()))
        .observe(move |event: &Event<'_>| {
            if let Event::Advice { name, what, occasion, .. } = event {
                ear.lock().unwrap().push(format!("{name}: {what}, {occasion}"));
            }
        })
        .build()
        .unwrap();
    let kernel = win32::get_module_handle(&engine, Some("KERNEL32")).unwrap();
    let name = SymbolName::Name(b"LoadLibraryA"[..].into());
    let at = win32::get_proc_address(&engine, kernel, &name).unwrap();
    LOAD_LIBRARY.store(at.0, SeqCst);

    let image = std::fs::read(corpus::root().join("pe/init-arguments/init-arguments.dll")).unwrap();
    engine.open_bytes("init-arguments.dll", image).unwrap().close().unwrap();
    let heard = heard.lock().unwrap();
    assert!(heard.contains(&"init-arguments.dll: LoadLibraryA, loaded".into()), "{heard:?}");
    assert!(heard.contains(&"init-arguments.dll: LoadLibraryA, unloaded".into()), "{heard:?}");
}

#[test]
fn the_runtime_is_built_in_where_the_real_one_is_not_found() {
    let engine = Engine::new().unwrap();
    let at = win32::load_library(&engine, "vcruntime140.dll").unwrap();
    let name = SymbolName::Name(b"memcpy"[..].into());
    assert!(win32::get_proc_address(&engine, at, &name).is_ok());
    assert_eq!(win32::free_library(&engine, at), Ok(()));
    assert_eq!(win32::get_module_handle(&engine, Some("vcruntime140")), None, "it came and went like a file");
}

#[test]
fn windows_code_sees_one_folder_where_it_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let guest = folder.path().join("guest");
    std::fs::create_dir(&guest).unwrap();
    std::fs::write(guest.join("inside"), "x").unwrap();
    std::fs::write(folder.path().join("outside"), "x").unwrap();
    let engine = Engine::builder().windows_root(&guest).build().unwrap();
    let image = std::fs::read(corpus::root().join("mischief/pe/mischief.dll")).unwrap();
    let library = engine.open_bytes("mischief.dll", image).unwrap();
    // SAFETY: the library's source says `i64 reads_file(const char *path)`, of a Windows function.
    let reads = unsafe { library.get::<extern "win64" fn(*const c_char) -> i64>(c"reads_file") }.unwrap();
    assert!(reads(cr"C:\inside".as_ptr()) >= 0);
    assert!(reads(cr"inside".as_ptr()) >= 0);
    assert_eq!(reads(cr"C:\..\outside".as_ptr()), -2, "ERROR_FILE_NOT_FOUND");
    assert_eq!(reads(cr"Z:\etc\passwd".as_ptr()), -3, "ERROR_PATH_NOT_FOUND");
    assert!(win32::load_library(&engine, r"Z:\mischief").is_err());

    let missing = Engine::builder().windows_root(folder.path().join("none")).build().unwrap_err();
    assert!(missing.to_string().contains("No such file or directory"), "{missing}");
}
