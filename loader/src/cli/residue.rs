//! What a load left mapped in a process, or took from it.

use loader_core::maps::{Mapping, Maps};
use std::{collections::HashMap, fmt, ops::Range};

/// What a load left behind, given where its images were, and what it took that was not its own. Memory that may be read and
/// written, or not at all, counts only where an image was: elsewhere it is the allocator's, a stack, or shared with other
/// processes.
pub(super) fn of(before: &Maps, after: &Maps, homes: &[Range<u64>]) -> Vec<Residue> {
    let left = beyond(before, after).into_iter().filter(|m| is_telling(m) || m.is_in(homes));
    let gone = beyond(after, before).into_iter().filter(|m| is_of_a_file(m) || m.rights.contains('x'));
    left.map(Residue::Left).chain(gone.map(Residue::Gone)).collect()
}

fn is_of_a_file(mapping: &Mapping) -> bool {
    mapping.name.starts_with('/') && !is_shared_memory(mapping)
}

/// Semaphores and other memory with a name (`sem_open(3)`, `shm_open(3)`), which code asks the C library for as it does for
/// memory without one: libcapi20's initialiser leaves a semaphore with every loader. No image is ever in there.
fn is_shared_memory(mapping: &Mapping) -> bool {
    mapping.rights == "rw-" && mapping.name.starts_with("/dev/shm/")
}

/// A kind that the C library's allocator, threads and stacks never have: pages of a file, code, constants.
fn is_telling(mapping: &Mapping) -> bool {
    is_of_a_file(mapping) || mapping.rights.contains('x') || mapping.rights == "r--"
}

/// What was not there before: neighbours that became one, or one that was split, are no difference.
fn beyond(before: &Maps, after: &Maps) -> Vec<Mapping> {
    let mut known: HashMap<(&str, &str), Vec<&Range<u64>>> = HashMap::new();
    for m in &before.0 {
        known.entry((&m.rights, &m.name)).or_default().push(&m.at);
    }
    let mut fresh = Vec::new();
    for m in &after.0 {
        let mut from = m.at.start;
        let here = known.get(&(&*m.rights, &*m.name)).into_iter().flatten();
        let inside = here.filter(|old| old.start < m.at.end && m.at.start < old.end);
        for old in inside {
            if from < old.start {
                fresh.push(Mapping { at: from..old.start, ..m.clone() });
            }
            from = old.end;
        }
        if from < m.at.end {
            fresh.push(Mapping { at: from..m.at.end, ..m.clone() });
        }
    }
    fresh
}

/// A difference that a load made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Residue {
    /// It is there, and was not before.
    Left(Mapping),
    /// It was there before.
    Gone(Mapping),
}

impl Residue {
    /// The same without addresses: what residues of many loads have in common.
    pub(super) fn kind(&self) -> String {
        let (m, what) = match self {
            Self::Left(m) => (m, "left"),
            Self::Gone(m) => (m, "gone"),
        };
        format!("{what}: {} {}", m.rights, if m.name.is_empty() { "anonymous" } else { &m.name })
    }
}

impl fmt::Display for Residue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left(m) => write!(f, "left: {m}"),
            Self::Gone(m) => write!(f, "gone: {m}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "\
1000-3000 r--p 00000000 08:01 42                         /lib/a b.so
3000-4000 r-xp 00002000 08:01 42                         /lib/a b.so
8000-9000 rw-p 00000000 00:00 0                          [heap]
a000-c000 r--p 00000000 00:00 0 
c000-d000 rw-p 00000000 00:00 0 
";

    fn residue(after: &str, homes: &[Range<u64>]) -> Vec<String> {
        let found = of(&Maps::parse(BEFORE), &Maps::parse(after), homes);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_allocator_may_grow_and_pages_may_be_split() {
        let after = BEFORE.replace("8000-9000", "8000-a000") + "f000-ff000 rw-p 00000000 00:00 0 \n";
        let after = after.replace("a000-c000 r--p", "a000-b000 r--p 00000000 00:00 0 \nb000-c000 r--p");
        assert_eq!(residue(&after, &[]), [""; 0]);
    }

    #[test]
    fn memory_that_processes_share_is_no_images() {
        let semaphore = "f000-10000 rw-s 00000000 00:1a 5 /dev/shm/sem.name\n";
        assert_eq!(residue(&(BEFORE.to_owned() + semaphore), &[]), [""; 0]);
        let inside = std::slice::from_ref(&(0xf000..0x10000));
        let left = "left: 0xf000-0x10000 rw- /dev/shm/sem.name";
        assert_eq!(residue(&(BEFORE.to_owned() + semaphore), inside), [left]);
        let code = semaphore.replace("rw-s", "r-xs");
        assert_eq!(residue(&(BEFORE.to_owned() + &code), &[]), [left.replace("rw-", "r-x")]);
    }

    #[test]
    fn what_an_image_left_is_named() {
        let after = BEFORE.to_owned()
            + "10000-11000 r-xp 00000000 00:00 0 \n11000-12000 rw-p 00000000 00:00 0 \n20000-21000 rw-p 00000000 08:01 7 /x.so\n";
        let left = ["left: 0x10000-0x11000 r-x anonymous", "left: 0x20000-0x21000 rw- /x.so"];
        assert_eq!(residue(&after, &[]), left);
        assert_eq!(
            residue(&after, std::slice::from_ref(&(0x11fff..0x13000)))[1],
            "left: 0x11000-0x12000 rw- anonymous"
        );
        assert_eq!(
            residue(&after.replace("a000-c000", "a000-e000"), &[])[0],
            "left: 0xc000-0xe000 r-- anonymous"
        );
    }

    #[test]
    fn what_is_gone_is_named() {
        let after = BEFORE.replace("3000-4000 r-xp", "3000-4000 r--p");
        let named = ["left: 0x3000-0x4000 r-- /lib/a b.so", "gone: 0x3000-0x4000 r-x /lib/a b.so"];
        assert_eq!(residue(&after, &[]), named);
    }
}
