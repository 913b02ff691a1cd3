//! Which handle is behind a file's number: one and the same as long as the file is open, and it goes with it.
#![allow(unsafe_code)] // asks the host about a number

use super::{
    files::{BINARY, TEXT, set_mode},
    keep_errno, set_errno,
};
use crate::{
    lock,
    object::{Kind, Object, STD_HANDLES},
    teb,
};
use std::{
    collections::HashMap,
    os::fd::{BorrowedFd, IntoRawFd},
    sync::{Arc, Mutex, Weak},
};

/// The handles of files, by number, with what each was when it was noted: the program may have closed it.
#[derive(Default)]
pub(crate) struct Handles(Mutex<HashMap<i32, (usize, Weak<Object>)>>);

/// Notes the handle of a file.
fn note(file: i32, handle: usize, object: &Arc<Object>) {
    lock(&teb::process().runtime.handles.0).insert(file, (handle, Arc::downgrade(object)));
}

/// The handle that was noted, if it still is what it was.
fn known((handle, was): &(usize, Weak<Object>)) -> Option<usize> {
    let now = teb::process().objects.get(*handle)?;
    (Arc::as_ptr(&now) == was.as_ptr()).then_some(*handle)
}

/// A file is closed, and its handle with it.
pub(super) fn forget(file: i32) {
    let process = teb::process();
    let noted = lock(&process.runtime.handles.0).remove(&file);
    noted.as_ref().and_then(known).into_iter().for_each(|handle| drop(process.objects.close(handle)));
}

/// The handle of a standard file, or one that leads to the same open file.
extern "win64" fn _get_osfhandle(file: i32) -> usize {
    if let Some(&handle) = usize::try_from(file).ok().and_then(|n| STD_HANDLES.get(n)) {
        return handle;
    }
    // SAFETY: only asks whether the file is open.
    if unsafe { libc::fcntl(file, libc::F_GETFD) } < 0 {
        set_errno(libc::EBADF);
        return usize::MAX;
    }
    let process = teb::process();
    if let Some(handle) = lock(&process.runtime.handles.0).get(&file).and_then(known) {
        return handle;
    }
    // SAFETY: the file is open, as was just asked, and is borrowed for a moment.
    let copy = unsafe { BorrowedFd::borrow_raw(file) }.try_clone_to_owned();
    let Ok(copy) = copy else {
        keep_errno();
        return usize::MAX;
    };
    let object = process.objects.make(Kind::File(copy.into()));
    let handle = process.objects.add(Arc::clone(&object));
    note(file, handle, &object);
    handle
}

/// A number for the file behind a handle, which belongs to it from now on.
extern "win64" fn _open_osfhandle(handle: usize, windows: i32) -> i32 {
    let object = teb::process().objects.get(handle);
    let copy = object.as_ref().and_then(|object| match &object.kind {
        Kind::File(file) => Some((object, file.try_clone().ok()?.into_raw_fd())),
        _ => None,
    });
    let Some((object, file)) = copy else {
        set_errno(libc::EBADF);
        return -1;
    };
    note(file, handle, object);
    set_mode(file, if windows & TEXT != 0 { TEXT } else { BINARY });
    file
}

table! {
    /// Handles of files.
    pub(crate) TABLE: _get_osfhandle, _open_osfhandle
}
