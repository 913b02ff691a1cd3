//! The libraries that the host process has loaded itself, as part of a load set.

use loader_core::{Adopted, LoadSet};
use std::sync::{Mutex, PoisonError};

/// What is known of them: how often the process had loaded and unloaded when they were last taken in.
#[derive(Debug, Default)]
pub(crate) struct HostLibraries {
    generation: Mutex<Option<(u64, u64)>>,
}

impl HostLibraries {
    /// Takes in what the host process has loaded since this was last done.
    pub(crate) fn adopt_into(&self, set: &LoadSet) {
        let known = || self.generation.lock().unwrap_or_else(PoisonError::into_inner);
        let now = loader_elf::host::generation();
        if *known() == Some(now) {
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
        *known() = Some(now); // two threads may both have done it: the second finds nothing new
    }
}
