//! The system's own loader, to compare with: `dlopen` and `dlclose`.
//!
//! `unsafe` because they are C functions that run whatever code the library brings.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// Opens a library with all symbols bound, and closes it; an error is what `dlerror` says.
pub(super) fn come_and_go(path: &Path) -> Result<(), String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: the name ends in a zero. The library's code runs, which is what this process was started for.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    if handle.is_null() {
        return Err(last_error());
    }
    // SAFETY: the handle came from `dlopen` and is given back once.
    match unsafe { libc::dlclose(handle) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

fn last_error() -> String {
    // SAFETY: `dlerror` gives null or a text that stays until this thread's next call of the family.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "no reason given".into();
    }
    // SAFETY: as above; the text is copied before anything else is called.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
