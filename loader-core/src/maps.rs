//! What a process has mapped, as `/proc/<pid>/maps` says.

use std::{
    fmt::{self, Display},
    fs, io,
    ops::Range,
};

/// A run of pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its addresses.
    pub at: Range<u64>,
    /// As in `r-x`.
    pub rights: String,
    /// Where in its file it begins.
    pub offset: u64,
    /// The number of its file; 0 without one.
    pub inode: u64,
    /// The file, or a name in brackets, or nothing.
    pub name: String,
}

impl Mapping {
    /// Whether any of its pages lies in one of these places.
    #[must_use]
    pub fn is_in(&self, places: &[Range<u64>]) -> bool {
        places.iter().any(|p| p.start < self.at.end && self.at.start < p.end)
    }
}

impl Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "anonymous" } else { &self.name };
        write!(f, "{:#x}-{:#x} {} {name}", self.at.start, self.at.end, self.rights)
    }
}

/// All mappings of a process, in the order of their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maps(pub Vec<Mapping>);

impl Maps {
    /// Those of a process: its number, or `self`. None where the system does not show them.
    #[must_use]
    pub fn of(process: impl Display) -> Self {
        Self::read(process).unwrap_or_default()
    }

    /// The same, or why the system does not show them.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(process: impl Display) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{process}/maps"))?;
        Ok(Self::parse(&String::from_utf8_lossy(&text))) // a file may have any name
    }

    /// Where the rights are these.
    pub fn with(self, rights: &str) -> impl Iterator<Item = Range<u64>> {
        self.0.into_iter().filter(move |mapping| mapping.rights == rights).map(|mapping| mapping.at)
    }

    /// What the kernel lists. Lines of another form are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mapping = |line: &str| {
            let mut fields = line.splitn(6, ' ');
            let hex = |digits| u64::from_str_radix(digits, 16).ok();
            let (from, to) = fields.next()?.split_once('-')?;
            let (rights, offset, _, inode) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            Some(Mapping {
                at: hex(from)?..hex(to)?,
                rights: rights.get(..3)?.into(),
                offset: hex(offset)?,
                inode: inode.parse().ok()?,
                name: fields.next().unwrap_or_default().trim_start().into(),
            })
        };
        Self(text.lines().filter_map(mapping).collect())
    }

    /// The one that an address lies in.
    #[must_use]
    pub fn find(&self, at: u64) -> Option<&Mapping> {
        self.0.iter().find(|m| m.at.contains(&at))
    }

    /// The first one above an address.
    #[must_use]
    pub fn above(&self, at: u64) -> Option<&Mapping> {
        self.0.iter().filter(|m| m.at.start > at).min_by_key(|m| m.at.start)
    }

    /// Whether an address is one of code.
    #[must_use]
    pub fn runs(&self, at: u64) -> bool {
        self.find(at).is_some_and(|m| m.rights.contains('x'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_and_none_are_read() {
        let maps = Maps::parse(
            "\
3000-4000 r-xp 00002000 08:01 42                         /lib/a b.so
a000-c000 r--p 00000000 00:00 0 
what is no line of the kernel's
",
        );
        let file = Mapping {
            at: 0x3000..0x4000,
            rights: "r-x".into(),
            offset: 0x2000,
            inode: 42,
            name: "/lib/a b.so".into(),
        };
        let plain =
            Mapping { at: 0xa000..0xc000, rights: "r--".into(), offset: 0, inode: 0, name: String::new() };
        assert_eq!(maps.0, [file, plain]);
        assert_eq!(maps.0[1].to_string(), "0xa000-0xc000 r-- anonymous");
        assert_eq!(maps.find(0x3fff), Some(&maps.0[0]));
        assert_eq!((maps.find(0x4000), maps.above(0x4000)), (None, Some(&maps.0[1])));
        assert!(maps.runs(0x3000) && !maps.runs(0xa000));
    }
}
