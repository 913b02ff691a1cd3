//! Destructors of thread-specific data that are code of a loaded module: their keys go with the module, or the end of
//! some thread would call into what is no longer there.
//!
//! `unsafe` because they are C functions: their arguments are the word of foreign code.
#![allow(unsafe_code)]

use super::Guest;
use crate::HostModule;
use loader_core::Addr;
use std::{
    ffi::{c_int, c_void},
    sync::{Mutex, MutexGuard, PoisonError},
};

pub(super) fn offer(module: HostModule) -> HostModule {
    module
        .function("pthread_key_create", pthread_key_create as *const ())
        .function("__pthread_key_create", pthread_key_create as *const ())
        .function("pthread_key_delete", pthread_key_delete as *const ())
}

type Destructor = unsafe extern "C" fn(*mut c_void);

/// A key, and where the module of its destructor starts.
struct Key {
    key: libc::pthread_key_t,
    base: Addr,
}

static KEYS: Mutex<Vec<Key>> = Mutex::new(Vec::new());

/// For the time of a `fork`.
pub(super) fn hold() -> impl Sized + use<> {
    keys()
}

fn keys() -> MutexGuard<'static, Vec<Key>> {
    KEYS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The module at `base` goes.
pub(super) fn withdraw(base: Addr) {
    keys().retain(|key| {
        if key.base == base {
            // SAFETY: the key was made for this module and not deleted since; no thread calls the destructor now.
            unsafe { libc::pthread_key_delete(key.key) };
        }
        key.base != base
    });
}

unsafe extern "C" fn pthread_key_create(
    key: *mut libc::pthread_key_t,
    destructor: Option<Destructor>,
) -> c_int {
    // SAFETY: the caller's own arguments.
    let result = unsafe { libc::pthread_key_create(key, destructor) };
    let module = destructor.and_then(|d| Guest::at(d as *const c_void)?.module);
    if let (0, Some(module)) = (result, module) {
        // SAFETY: the C library has just written it.
        let key = unsafe { key.read() };
        keys().push(Key { key, base: module.at().base });
    }
    result
}

unsafe extern "C" fn pthread_key_delete(key: libc::pthread_key_t) -> c_int {
    keys().retain(|known| known.key != key);
    // SAFETY: the caller's own argument.
    unsafe { libc::pthread_key_delete(key) }
}
