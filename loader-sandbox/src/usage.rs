//! How much memory a process has, as `/proc/<pid>/statm` says.

use std::{fs::File, os::unix::fs::FileExt};

/// Bytes of memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// What can be written to and is its own.
    pub(crate) data: u64,
    /// What is there of files and of shared memory.
    pub(crate) shared: u64,
}

impl Usage {
    /// As an open file says now; none when the process is gone.
    pub(crate) fn read(statm: &File) -> Option<Self> {
        let mut text = [0; 256];
        let len = statm.read_at(&mut text, 0).ok()?;
        let page = rustix::param::page_size() as u64;
        let text = str::from_utf8(&text[..len]).ok()?;
        let pages = |nth| Some(text.split_whitespace().nth(nth)?.parse::<u64>().ok()? * page);
        Some(Self { data: pages(5)?, shared: pages(2)? })
    }
}
