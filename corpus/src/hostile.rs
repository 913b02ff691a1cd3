//! Images that ask for trouble: each is a sound one with one thing wrong, named after what it teaches.
//!
//! Some need what the sound image needs, and only a loader that has it gets as far as what is wrong: `libdatadep.so`,
//! `libversions.so`, `datadep.dll`, `forward-end.dll`, `forward-middle.dll` and `ordinals.dll` are in the corpus, `libc.so.6` is
//! the process's own and `tlog.dll` the runner's.
//!
//! They are made, not stored: [`images`] gives the same bytes every time. Two more sources of bad input need only a sound
//! image to start from: [`truncations`] and [`single_byte_changes`]. The makers are in `hostile/{elf,pe,other}.rs`,
//! one line an image.

mod elf;
mod other;
mod pe;

use crate::Format;

/// An image that a loader must survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hostile {
    /// What it is called; unique, and fit for a file name.
    pub name: &'static str,
    /// What is wrong with it.
    pub teaches: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
    /// Whose reader gets it; none if neither format would claim it.
    pub format: Option<Format>,
    /// Whether it must be refused before any of its code runs. Otherwise a loader may take it, as long as nothing it does
    /// with it (looking up every name included) panics, loops or leaves the image.
    pub refuse: bool,
}

/// A line of a table of hostile images.
struct Row<T: 'static> {
    name: &'static str,
    refuse: bool,
    /// The sound image to start from.
    base: &'static [u8],
    /// The one thing that goes wrong.
    change: fn(&mut T),
    teaches: &'static str,
}

/// The row must be refused, or may be taken.
const REFUSE: bool = true;
const EITHER: bool = false;

const fn row<T>(
    name: &'static str,
    refuse: bool,
    base: &'static [u8],
    change: fn(&mut T),
    teaches: &'static str,
) -> Row<T> {
    Row { name, refuse, base, change, teaches }
}

/// All hostile images: ELF, PE, then files that are neither.
pub fn images() -> Vec<Hostile> {
    elf::images().chain(pe::images()).chain(other::images()).collect()
}

/// Every proper beginning of a file, from none of it to all but the last byte.
pub fn truncations(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..bytes.len()).map(|end| &bytes[..end])
}

/// Every way to change one byte of a file that is worth a try: to zero, to all ones, by one, and in its sign.
///
/// A change is a place and a value; nothing is copied until [`Change::on`] or [`Change::swap`] is called.
pub fn single_byte_changes(bytes: &[u8]) -> impl Iterator<Item = Change> {
    bytes.iter().enumerate().flat_map(|(at, &old)| {
        let values = [0, 0xff, old ^ 1, old ^ 0x80, old.wrapping_add(1), old.wrapping_sub(1)];
        let fresh = move |i: usize| values[i] != old && !values[..i].contains(&values[i]);
        (0..values.len()).filter(move |&i| fresh(i)).map(move |i| Change { at, value: values[i] })
    })
}

/// One byte to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place in the file.
    pub at: usize,
    /// Its new value.
    pub value: u8,
}

impl Change {
    /// A changed copy of the file.
    pub fn on(self, bytes: &[u8]) -> Vec<u8> {
        let mut changed = bytes.to_vec();
        changed[self.at] = self.value;
        changed
    }

    /// Changes the file in place; the second call undoes the first.
    pub fn swap(&mut self, bytes: &mut [u8]) {
        std::mem::swap(&mut self.value, &mut bytes[self.at]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn images_are_many_distinct_and_always_the_same() {
        let images = images();
        assert_eq!(images, super::images());
        let names: BTreeSet<_> = images.iter().map(|image| image.name).collect();
        let contents: BTreeSet<_> = images.iter().map(|image| &image.bytes).collect();
        assert_eq!((names.len(), contents.len()), (images.len(), images.len()));
        assert!(
            names.iter().all(|name| {
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            })
        );
        for format in Format::ALL {
            assert!(images.iter().filter(|image| image.format == Some(format)).count() > 50);
        }
    }

    #[test]
    fn every_truncation_and_every_change() {
        assert_eq!(truncations(b"abc").collect::<Vec<_>>(), [&b""[..], b"a", b"ab"]);
        let changes: Vec<_> = single_byte_changes(&[0, 7]).collect();
        let values = |at| changes.iter().filter(|c| c.at == at).map(|c| c.value).collect::<Vec<_>>();
        assert_eq!((values(0), values(1)), (vec![0xff, 1, 0x80], vec![0, 0xff, 6, 0x87, 8]));
        let mut bytes = [0, 7];
        let mut change = changes[0];
        change.swap(&mut bytes);
        assert_eq!((bytes, change.on(&[0, 7])), ([0xff, 7], vec![0, 7]));
        change.swap(&mut bytes);
        assert_eq!(bytes, [0, 7]);
    }
}
