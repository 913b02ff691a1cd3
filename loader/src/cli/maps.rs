//! What this process has mapped, from `/proc/self/maps`, and what of it was not there before.

use super::{Failure, Outcome};
use std::{collections::HashMap, fmt, fs, ops::Range};

/// A run of pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) at: Range<u64>,
    /// As in `r-xp`.
    pub(super) rights: String,
    /// The file, or a name in brackets, or nothing.
    pub(super) name: String,
}

impl Mapping {
    fn of_a_file(&self) -> bool {
        self.name.starts_with('/')
    }

    fn is_in(&self, places: &[Range<u64>]) -> bool {
        places.iter().any(|p| p.start < self.at.end && self.at.start < p.end)
    }

    /// A kind that the C library's allocator, threads and stacks never have: pages of a file, code, constants.
    fn is_telling(&self) -> bool {
        self.of_a_file() || self.rights.contains('x') || self.rights.starts_with("r-")
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "anonymous" } else { &self.name };
        write!(f, "{:#x}-{:#x} {} {name}", self.at.start, self.at.end, self.rights)
    }
}

/// All mappings, in the order of their addresses.
#[derive(Debug, Default)]
pub(super) struct Maps(Vec<Mapping>);

impl Maps {
    /// The mappings as they are now.
    pub(super) fn now() -> Outcome<Self> {
        let text = fs::read_to_string("/proc/self/maps");
        let text = text.map_err(|e| Failure::Other(format!("cannot read /proc/self/maps: {e}")))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mapping = |line: &str| {
            let mut fields = line.splitn(6, ' ');
            let (from, to) = fields.next()?.split_once('-')?;
            let address = |digits| u64::from_str_radix(digits, 16).ok();
            Some(Mapping {
                at: address(from)?..address(to)?,
                rights: fields.next()?.into(),
                name: fields.nth(3).unwrap_or_default().trim_start().into(),
            })
        };
        Self(text.lines().filter_map(mapping).collect())
    }

    /// What lies in any of these places.
    pub(super) fn overlapping(&self, places: &[Range<u64>]) -> impl Iterator<Item = &Mapping> {
        self.0.iter().filter(|m| m.is_in(places))
    }

    /// What was not there before: neighbours that became one, or one that was split, are no difference.
    pub(super) fn beyond(&self, before: &Self) -> Vec<Mapping> {
        let mut known: HashMap<(&str, &str), Vec<&Range<u64>>> = HashMap::new();
        for m in &before.0 {
            known.entry((&m.rights, &m.name)).or_default().push(&m.at);
        }
        let mut fresh = Vec::new();
        for m in &self.0 {
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

    /// What a load left behind, given where its images were, and what it took that was not its own. Memory that may
    /// be read and written, or not at all, counts only where an image was: elsewhere it is the allocator's, or a
    /// stack.
    pub(super) fn residue(&self, before: &Self, homes: &[Range<u64>]) -> Vec<Residue> {
        let left = self.beyond(before).into_iter().filter(|m| m.is_telling() || m.is_in(homes));
        let gone = before.beyond(self).into_iter().filter(|m| m.of_a_file() || m.rights.contains('x'));
        left.map(Residue::Left).chain(gone.map(Residue::Gone)).collect()
    }
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
        let found = Maps::parse(after).residue(&Maps::parse(BEFORE), homes);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_with_spaces_and_none_are_read() {
        let maps = Maps::parse(BEFORE);
        assert_eq!((maps.0[0].name.as_str(), maps.0[4].name.as_str()), ("/lib/a b.so", ""));
        assert_eq!((&maps.0[1].rights[..], maps.0[1].at.clone()), ("r-xp", 0x3000..0x4000));
    }

    #[test]
    fn the_allocator_may_grow_and_pages_may_be_split() {
        let after = BEFORE.replace("8000-9000", "8000-a000") + "f000-ff000 rw-p 00000000 00:00 0 \n";
        let after = after.replace("a000-c000 r--p", "a000-b000 r--p 00000000 00:00 0 \nb000-c000 r--p");
        assert_eq!(residue(&after, &[]), [""; 0]);
    }

    #[test]
    fn what_an_image_left_is_named() {
        let after = BEFORE.to_owned()
            + "10000-11000 r-xp 00000000 00:00 0 \n11000-12000 rw-p 00000000 00:00 0 \n20000-21000 rw-p 00000000 08:01 7 /x.so\n";
        let left = ["left: 0x10000-0x11000 r-xp anonymous", "left: 0x20000-0x21000 rw-p /x.so"];
        assert_eq!(residue(&after, &[]), left);
        assert_eq!(
            residue(&after, std::slice::from_ref(&(0x11fff..0x13000)))[1],
            "left: 0x11000-0x12000 rw-p anonymous"
        );
        assert_eq!(
            residue(&after.replace("a000-c000", "a000-e000"), &[])[0],
            "left: 0xc000-0xe000 r--p anonymous"
        );
    }

    #[test]
    fn what_is_gone_is_named() {
        let after = BEFORE.replace("3000-4000 r-xp", "3000-4000 r--p");
        let named = ["left: 0x3000-0x4000 r--p /lib/a b.so", "gone: 0x3000-0x4000 r-xp /lib/a b.so"];
        assert_eq!(residue(&after, &[]), named);
    }
}
