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
