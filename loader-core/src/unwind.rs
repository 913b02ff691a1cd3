//! How the process's unwinder comes to know of unwind data: it asks the [index](crate::index), or it is told.
//!
//! `unsafe` because the unwinder that this program is linked to is handed addresses.
#![allow(unsafe_code)]

use crate::Addr;
use std::{
    ffi::c_void,
    ptr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

static ASKS: AtomicBool = AtomicBool::new(false);

/// The process's unwinder asks the index from now on: nothing has to be registered.
pub fn asks_the_index() {
    ASKS.store(true, Relaxed);
}

/// Whether it does.
#[must_use]
pub fn does_ask_the_index() -> bool {
    ASKS.load(Relaxed)
}

unsafe extern "C" {
    fn __register_frame(frames: *const c_void);
    fn __deregister_frame(frames: *const c_void);
}

/// Unwind data that the unwinder was told of: the second-best way, because every throw of the process searches what was
/// registered first, under a lock, and the first throw sorts all of it.
#[derive(Debug)]
pub struct Registration(Addr);

impl Registration {
    /// Tells the unwinder of the frames at `frames`, unless it asks the index anyway.
    ///
    /// # Safety
    /// Frame descriptions, ended by a zero, are there for as long as the registration lives.
    #[must_use]
    pub unsafe fn where_needed(frames: Addr) -> Option<Self> {
        if does_ask_the_index() {
            return None;
        }
        // SAFETY: the caller's promise.
        unsafe { __register_frame(ptr::with_exposed_provenance(frames.0 as usize)) };
        Some(Self(frames))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: they were registered, and are still there.
        unsafe { __deregister_frame(ptr::with_exposed_provenance(self.0.0 as usize)) };
    }
}
