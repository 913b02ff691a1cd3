//! What modules have in memory that they can write to, and its return.
//!
//! Unsafe because memory is copied that nobody here owns: it is the modules' own, and they run in between.
#![allow(unsafe_code)]

use loader_core::Placement;
use loader_core::maps::Maps;
use std::{io, ops::Range, ptr};

/// Writable memory of modules as it was.
#[derive(Debug)]
pub struct Snapshot {
    kept: Vec<(u64, Box<[u8]>)>,
}

impl Snapshot {
    /// Keeps what can be written to in these places.
    ///
    /// # Errors
    /// Only if the system does not say what is mapped.
    ///
    /// # Safety
    /// Until the snapshot is dropped the places stay what they are, and nobody uses their memory while it is taken or put
    /// back; they bear to have, at any such time, what they have now.
    pub unsafe fn take(places: &[Placement]) -> io::Result<Self> {
        let kept = Maps::read("self")?.with("rw-").flat_map(|range| {
            let inside = move |place: &Placement| {
                let (start, end) = (place.base.0, place.base.0 + place.len);
                range.start.max(start)..range.end.min(end)
            };
            places.iter().map(inside).filter(|range| range.start < range.end)
        });
        Ok(Self { kept: kept.map(|range| (range.start, copy(&range))).collect() })
    }

    /// How many bytes are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Puts it back.
    pub fn restore(&self) {
        for (at, bytes) in &self.kept {
            let to = ptr::with_exposed_provenance_mut(*at as usize);
            // SAFETY: the memory was writable when the copy was made and still is, and nobody uses it: who took the snapshot
            // said so.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        }
    }
}

fn copy(range: &Range<u64>) -> Box<[u8]> {
    let mut bytes = vec![0; (range.end - range.start) as usize].into_boxed_slice();
    let from = ptr::with_exposed_provenance(range.start as usize);
    // SAFETY: the system lists the range as readable, and the caller of `take` says that it stays and nobody uses it.
    unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
    bytes
}
