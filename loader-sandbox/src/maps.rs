//! What a process has mapped, as `/proc/<pid>/maps` says.

use std::{fmt::Display, fs, io, ops::Range};

/// A run of pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) at: Range<u64>,
    /// As in `r-xp`.
    pub(crate) rights: String,
    /// Where in its file it begins.
    pub(crate) offset: u64,
    /// The number of its file; 0 without one.
    pub(crate) inode: u64,
    /// The file, or a name in brackets, or nothing.
    pub(crate) name: String,
}

/// All mappings of a process, in the order of their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Maps(pub(crate) Vec<Mapping>);

impl Maps {
    /// Those of a process: its number, or `self`. None where the system does not show them.
    pub(crate) fn of(process: impl Display) -> Self {
        Self::read(process).unwrap_or_default()
    }

    /// The same, or why the system does not show them.
    pub(crate) fn read(process: impl Display) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{process}/maps"))?;
        Ok(Self::parse(&String::from_utf8_lossy(&text))) // a file may have any name
    }

    /// Where the rights are these.
    pub(crate) fn with(self, rights: &str) -> impl Iterator<Item = Range<u64>> {
        self.0.into_iter().filter(move |mapping| mapping.rights == rights).map(|mapping| mapping.at)
    }

    /// What the kernel lists. Lines of another form are left out.
    pub(crate) fn parse(text: &str) -> Self {
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
    pub(crate) fn find(&self, at: u64) -> Option<&Mapping> {
        self.0.iter().find(|m| m.at.contains(&at))
    }

    /// The first one above an address.
    pub(crate) fn above(&self, at: u64) -> Option<&Mapping> {
        self.0.iter().filter(|m| m.at.start > at).min_by_key(|m| m.at.start)
    }

    /// Whether an address is one of code.
    pub(crate) fn runs(&self, at: u64) -> bool {
        self.find(at).is_some_and(|m| m.rights.contains('x'))
    }
}
