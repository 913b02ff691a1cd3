//! Who shares a file with whom: what one opening of a file lets the others do that there are, and come. Files are told apart by
//! the host's numbers, so that a file is one under all its names. Only openings by this process count: the host's own programs
//! share everything.

use super::file::{DELETE, GENERIC_ALL, GENERIC_WRITE};
use crate::{lock, object::Object, teb};
use std::{
    collections::HashMap,
    fs::Metadata,
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, Weak, atomic::Ordering::Relaxed},
};

pub(crate) const SHARE_READ: u32 = 1;
pub(crate) const SHARE_WRITE: u32 = 2;
pub(crate) const SHARE_DELETE: u32 = 4;
/// What openings have that keep nobody from anything.
pub(crate) const SHARE_ALL: u32 = 7;
const SHARING_VIOLATION: u32 = 32;
const READS: u32 = 0xa000_0000 | 1 | 0x20; // generic reading and executing, reading and executing what is in it
const WRITES: u32 = GENERIC_WRITE | 2 | 4;

/// The openings of a process, by the device and the number of what they opened.
pub(crate) type Openings = Mutex<HashMap<(u64, u64), Vec<Weak<Object>>>>;

/// What an access does, as the shares say what others may do.
fn does(access: u32) -> u32 {
    let bit = |rights: u32, share: u32| if access & (rights | GENERIC_ALL) != 0 { share } else { 0 };
    bit(READS, SHARE_READ) | bit(WRITES, SHARE_WRITE) | bit(DELETE, SHARE_DELETE)
}

/// Whether a file may be opened for this while others have it open.
pub(crate) fn check(m: &Metadata, access: u32, share: u32) -> Result<(), u32> {
    let wanted = does(access);
    let process = teb::process();
    let openings = lock(&process.openings);
    let others = openings.get(&(m.dev(), m.ino())).map(Vec::as_slice).unwrap_or_default();
    let collides = |other: &Arc<Object>| {
        let opened = &other.opened;
        let theirs = does(opened.access.load(Relaxed));
        theirs != 0 && (wanted & !opened.share.load(Relaxed) | theirs & !share) != 0
    };
    match wanted != 0 && others.iter().filter_map(Weak::upgrade).any(|other| collides(&other)) {
        true => Err(SHARING_VIOLATION),
        false => Ok(()),
    }
}

/// Notes an opening, which has its access and its shares already.
pub(crate) fn note(m: &Metadata, object: &Arc<Object>) {
    if does(object.opened.access.load(Relaxed)) == 0 {
        return;
    }
    let process = teb::process();
    let mut openings = lock(&process.openings);
    let of_file = openings.entry((m.dev(), m.ino())).or_default();
    of_file.retain(|other| other.strong_count() > 0);
    of_file.push(Arc::downgrade(object));
    // Files that nobody has open any more are forgotten now and then.
    if openings.len().is_power_of_two() {
        openings.retain(|_, all| all.iter().any(|other| other.strong_count() > 0));
    }
}
