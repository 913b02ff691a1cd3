//! What this process has of the things that a loader may leave behind: mappings, descriptors, memory of the allocator.
//!
//! The numbers come from the system, not from the engine: they are what the engine's own word is held against.

use std::{
    collections::BTreeMap,
    fs, io,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Bytes of address space by what is mapped there: a file's path, or nothing for anonymous memory. Neighbours that the
/// kernel merges or splits make no difference; the heap and the stack, which grow as they like, are left out.
pub type Mapped = BTreeMap<String, u64>;

/// One line of `/proc/self/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its first address.
    pub start: u64,
    /// The address after its last.
    pub end: u64,
    /// `r-xp` and the like.
    pub rights: String,
    /// What it is mapped from; empty for anonymous memory.
    pub path: String,
}

/// What keeps the tests of one binary apart that look at what the whole process has: who holds it is the only one at
/// work. A test that opens as much as a file holds it too, where another one of its binary counts.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that is mapped, lowest address first.
///
/// # Errors
/// Only if the system does not say.
pub fn mappings() -> io::Result<Vec<Mapping>> {
    let odd = || io::Error::other("a line of /proc/self/maps that is not one");
    let line = |line: &str| {
        let mut words = line.splitn(6, ' ');
        let (range, rights) = (words.next()?, words.next()?);
        let (start, end) = range.split_once('-')?;
        Some(Mapping {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            rights: rights.into(),
            path: words.nth(3).unwrap_or_default().trim().into(),
        })
    };
    fs::read_to_string("/proc/self/maps")?.lines().map(|text| line(text).ok_or_else(odd)).collect()
}

/// What is mapped, summed up.
///
/// # Errors
/// As [`mappings`].
pub fn mapped() -> io::Result<Mapped> {
    let mut sums = Mapped::new();
    for mapping in mappings()? {
        if !mapping.path.starts_with("[heap") && !mapping.path.starts_with("[stack") {
            *sums.entry(mapping.path).or_default() += mapping.end - mapping.start;
        }
    }
    Ok(sums)
}

/// The rights of the page at an address as a script writes them: `r-x`. None where nothing is mapped.
///
/// # Errors
/// As [`mappings`].
pub fn rights(at: u64) -> io::Result<Option<String>> {
    let found = mappings()?.into_iter().find(|mapping| (mapping.start..mapping.end).contains(&at));
    Ok(found.map(|mapping| mapping.rights[..3].into()))
}

/// What differs between two sums, one line each; empty where nothing does.
#[must_use]
pub fn difference(before: &Mapped, after: &Mapped) -> String {
    let paths = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
    let of = |sums: &Mapped, path: &str| sums.get(path).copied().unwrap_or(0);
    let lines = paths.map(|path| (path, of(before, path), of(after, path))).filter(|(_, b, a)| b != a);
    let name = |path: &str| if path.is_empty() { "anonymous".to_owned() } else { path.to_owned() };
    lines.map(|(path, b, a)| format!("\n  {}: {b:#x} bytes before, {a:#x} after", name(path))).collect()
}

/// How many descriptors are open.
///
/// # Errors
/// Only if the system does not say.
pub fn descriptors() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

/// Bytes that the C allocator has given out and not got back.
#[must_use]
#[allow(unsafe_code)]
pub fn allocated() -> usize {
    // SAFETY: mallinfo2 takes no argument and only reads the allocator's own counters, under its own lock.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_itself_is_mapped_with_the_rights_of_code() {
        let here = the_program_itself_is_mapped_with_the_rights_of_code as *const () as u64;
        assert_eq!(rights(here).unwrap().as_deref(), Some("r-x"));
        assert_eq!(rights(0).unwrap(), None);
    }

    #[test]
    fn a_difference_names_what_came_and_what_went() {
        let (before, after) =
            (Mapped::from([("a".into(), 1), ("b".into(), 2)]), Mapped::from([("b".into(), 3)]));
        let text = difference(&before, &after);
        assert!(text.contains("a: 0x1 bytes before, 0x0 after"), "{text}");
        assert!(text.contains("b: 0x2 bytes before, 0x3 after"), "{text}");
        assert_eq!(difference(&before, &before), "");
    }
}
