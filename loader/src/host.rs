//! The libraries that the host process has loaded itself, as part of a load set.

use loader_core::{Adopted, LoadSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is known of them: how often the process had loaded and unloaded when they were last taken in.
#[derive(Debug, Default)]
pub(crate) struct HostLibraries {
    changes: AtomicU64,
}

impl HostLibraries {
    /// Takes in what the host process has loaded since this was last done.
    pub(crate) fn adopt_into(&self, set: &LoadSet) {
        let (loaded, unloaded) = loader_elf::host::generation();
        let changes = loaded + unloaded; // both only grow, and the program itself counts
        if self.changes.load(Relaxed) == changes {
            return;
        }
        loader_elf::unwinder::connect(); // whatever unwinders have come meanwhile
        let adopted = loader_elf::host::adopt().into_iter().map(|m| Adopted {
            at: m.at,
            path: m.path,
            file: m.id,
            keys: m.names.into_iter().map(Into::into).collect(),
            image: m.image,
            tls: m.tls,
        });
        set.adopt(adopted.collect());
        self.changes.store(changes, Relaxed); // two threads may both have done it: the second finds nothing new
    }
}
