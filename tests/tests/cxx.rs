//! C++ exceptions of Microsoft's compiler through Microsoft's own runtime: thrown and caught within GEOS (`geos.dll` and
//! `geos_c.dll` of the `shapely` wheel), with `vcruntime140.dll` and `vcruntime140_1.dll` of the `msvc-runtime` wheel, which
//! find handlers (`__CxxFrameHandler4`), unwind and call destructors.
//!
//! The DLLs are looked for below the folder that `LOADER_DLLS` names.
//!
//! `unsafe` because exports are called by address.
#![allow(unsafe_code)]

use loader::{Arg, Convention, Engine, ErrorKind, Format, Library, MissingPolicy, invoke};
use loader_core::Query;
use std::{
    env,
    ffi::{CStr, c_char, c_void},
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
};

/// The first file below a folder whose name begins and ends so.
fn find(folder: &Path, begin: &str, end: &str) -> Option<PathBuf> {
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        name.starts_with(begin) && name.ends_with(end)
    };
    corpus::files_below(folder).ok()?.into_iter().find(named)
}

/// GEOS, and the runtime that it needs beside it.
fn geos() -> Option<(Engine, Library)> {
    let folder = env::var_os("LOADER_DLLS")?;
    let (geos, runtime) =
        (find(folder.as_ref(), "geos_c-", ".dll")?, find(folder.as_ref(), "vcruntime140_1", ".dll")?);
    let engine = Engine::builder().missing(MissingPolicy::Trap).dll_path(runtime.parent()?).build().unwrap();
    let library = engine.open(geos).unwrap();
    engine.load_set().enter(Format::Pe).unwrap();
    Some((engine, library))
}

type Pointer = *mut c_void;

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What GEOS calls with the text of an exception that it caught.
extern "win64" fn says(text: *const c_char, _: Pointer) {
    // SAFETY: GEOS passes text.
    let text = unsafe { CStr::from_ptr(text) };
    SAID.lock().unwrap().push(text.to_string_lossy().into_owned());
}

/// Reads a geometry as text ("well-known text"); says whether it could.
fn reads(library: &Library, text: &CStr) -> bool {
    macro_rules! export {
        ($name:literal: $type:ty) => {
            // SAFETY: as `geos_c.h` has it.
            *unsafe { library.get::<$type>($name) }.unwrap()
        };
    }
    let context = export!(c"GEOS_init_r": extern "win64" fn() -> Pointer)();
    export!(c"GEOSContext_setErrorMessageHandler_r": extern "win64" fn(Pointer, extern "win64" fn(*const c_char, Pointer), Pointer) -> Pointer)(
        context,
        says,
        std::ptr::null_mut(),
    );
    let reader = export!(c"GEOSWKTReader_create_r": extern "win64" fn(Pointer) -> Pointer)(context);
    let geometry = export!(c"GEOSWKTReader_read_r": extern "win64" fn(Pointer, Pointer, *const c_char) -> Pointer)(
        context,
        reader,
        text.as_ptr(),
    );
    if !geometry.is_null() {
        export!(c"GEOSGeom_destroy_r": extern "win64" fn(Pointer, Pointer))(context, geometry);
    }
    export!(c"GEOSWKTReader_destroy_r": extern "win64" fn(Pointer, Pointer))(context, reader);
    export!(c"GEOS_finish_r": extern "win64" fn(Pointer))(context);
    !geometry.is_null()
}

#[test]
fn exceptions_of_microsofts_compiler_pass_through_its_own_runtime() {
    let Some((engine, library)) = geos() else {
        println!("skipped: needs LOADER_DLLS, a folder with the DLLs of the wheels shapely and msvc-runtime");
        return;
    };
    for runtime in ["vcruntime140.dll", "vcruntime140_1.dll"] {
        let real = |m: &loader::ModuleInfo| m.path.as_ref().is_some_and(|p| p.ends_with(runtime));
        assert!(engine.modules().iter().any(real), "{runtime} is the real one");
    }
    assert!(reads(&library, c"LINESTRING (0 0, 1 1)"));
    assert_eq!(*SAID.lock().unwrap(), [""; 0]);
    // Thrown three calls deep in `geos.dll`, caught in `geos_c.dll`.
    assert!(!reads(&library, c"LINESTRING (0 0, 1 1"));
    assert!(!reads(&library, c"NOTHING (1 2)"));
    // Thrown while a geometry is made, which is destroyed on the way.
    assert!(!reads(&library, c"LINESTRING (0 0)"));
    let said = std::mem::take(&mut *SAID.lock().unwrap());
    for (text, kind) in said.iter().zip(["ParseException", "ParseException", "IllegalArgumentException"]) {
        assert!(text.starts_with(kind), "{said:?}");
    }
    assert_eq!(said.len(), 3);
    // Many at once, each of its own thread.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                engine.load_set().enter(Format::Pe).unwrap();
                assert!((0..500).all(|_| !reads(&library, c"POINT (1")));
            });
        }
    });
    assert_eq!(SAID.lock().unwrap().len(), 2000);
}

#[test]
fn a_cxx_exception_that_nobody_catches_is_an_error() {
    let Some(folder) = env::var_os("LOADER_DLLS") else {
        println!("skipped: needs LOADER_DLLS, a folder with the DLLs of the wheel msvc-runtime");
        return;
    };
    let Some(runtime) = find(folder.as_ref(), "vcruntime140_1", ".dll") else {
        println!("skipped: needs the DLLs of the wheel msvc-runtime");
        return;
    };
    let engine = Engine::builder().missing(MissingPolicy::Trap).build().unwrap();
    let library = engine.open(runtime.with_file_name("msvcp140.dll")).unwrap();
    engine.load_set().enter(Format::Pe).unwrap();
    let throws = library.find(&Query::name(b"?_Xout_of_range@std@@YAXPEBD@Z")).unwrap().at;
    let text = Arg::Word(c"too far".as_ptr().addr() as u64);
    for _ in 0..3 {
        // SAFETY: `void std::_Xout_of_range(const char *)`.
        match unsafe { invoke(throws, Convention::Windows, &[text]) } {
            // What the runtime raises for `throw`, and its magic number ("ehdata.h").
            Err(ErrorKind::Exception(e)) => {
                assert_eq!((e.code, e.information[0]), (0xe06d_7363, 0x1993_0520))
            }
            other => panic!("{other:?}"),
        }
    }
}
