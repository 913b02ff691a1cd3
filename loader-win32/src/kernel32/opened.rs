//! What was said about an open file since it was opened: where its completions go, whether its name goes with it, how far
//! its folder was read.

use super::changes;
use crate::{
    lock,
    nt::types,
    object::{Kind, Object},
    teb,
};
use std::{
    fs,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed},
    },
};

/// No completion is sent to the port for what is done when the call returns.
pub(crate) const SKIP_PORT_ON_SUCCESS: u8 = 1;

/// Who learns of what was done with a file.
pub(crate) enum Told {
    /// A port, and the number by which it knows the file.
    Port(Arc<Object>, usize),
    /// An item of the thread pool.
    Item(usize),
}

/// The state of an open file, beside the host's own.
#[derive(Default)]
pub(crate) struct Opened {
    /// The rights that it was opened with, as they were asked for.
    pub access: AtomicU32,
    /// What it lets others do: see `sharing`.
    pub share: AtomicU32,
    /// It was opened for transfers that may be pending.
    pub overlapped: AtomicBool,
    /// It is a console's input, and not its screen.
    pub input: AtomicBool,
    /// Who learns of completions.
    pub told: OnceLock<Told>,
    /// When completions are not told: once said, it stays.
    pub modes: AtomicU8,
    /// The host path whose name goes when nobody has the file open any more.
    pub doomed: Mutex<Option<String>>,
    /// What is left of its folder to be listed.
    pub listing: Mutex<Option<super::find::Search>>,
    /// The same by ntdll.
    pub queried: Mutex<Option<crate::query::Listing>>,
}

impl Opened {
    /// Whether its name goes with it.
    pub(crate) fn is_doomed(&self) -> bool {
        lock(&self.doomed).is_some()
    }

    /// Nobody has it open any more.
    pub(crate) fn end(&self) {
        if let Some(path) = lock(&self.doomed).take() {
            let _ = changes::remove_file(&path).or_else(|_| fs::remove_dir(&path)); // whoever was quicker
        }
    }

    /// Whether it was opened with one of these rights, by whatever name.
    pub(crate) fn grants(&self, file: &Kind, any: u32) -> bool {
        types::of(file).granted(self.access.load(Relaxed)) & any != 0
    }

    /// Whether it was opened with one of these rights.
    pub(crate) fn may(&self, any: u32) -> bool {
        self.access.load(Relaxed) & any != 0
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.end();
    }
}

/// Removes the name of the file, or takes that back.
pub(crate) fn doom(object: &Object, path: Option<String>) {
    *lock(&object.opened.doomed) = path;
}

/// The host path of an open file, if it has one.
pub(crate) fn path(object: &Object) -> Option<String> {
    use std::os::fd::AsRawFd;
    let Kind::File(file) = &object.kind else { return None };
    let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    let path = link.into_os_string().into_string().ok()?;
    path.starts_with('/').then_some(path)
}

/// The Windows path of an open file, if it has one.
pub(crate) fn guest_path(object: &Object) -> Option<String> {
    path(object).map(|path| teb::process().drives.to_guest(&path))
}
