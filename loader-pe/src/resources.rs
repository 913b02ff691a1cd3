//! The resource tree: kinds, names, languages. Read only, for those who ask; a load does not need it.

use crate::{
    image::Directory,
    malformed,
    view::{Span, View},
};
use loader_core::{ErrorKind, Rva};
use object::{LittleEndian as LE, pe};
use std::{fmt, ops::Range};

/// Windows has three levels and no more.
const LEVELS: usize = 3;

/// A tree of more entries goes round in circles.
const MOST_ENTRIES: usize = 1 << 16;

/// The longest name that is believed, in UTF-16 units.
const LONGEST_NAME: usize = 1024;

/// A name or a number: how kinds, names and languages are told apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceId {
    /// A number, such as 16 for a version.
    Number(u16),
    /// A name.
    Name(String),
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => write!(f, "#{n}"),
            Self::Name(n) => f.write_str(n),
        }
    }
}

/// A leaf of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What the way to it is called: kind, name, language; shorter in a tree with fewer levels.
    pub path: Vec<ResourceId>,
    /// Its bytes.
    pub data: Range<Rva>,
    /// The code page of text in it.
    pub code_page: u32,
}

/// The leaves of the tree, in file order.
pub(crate) fn resources(view: View<'_>, at: Option<Directory>) -> Result<Vec<Resource>, ErrorKind> {
    let Some(at) = at else { return Ok(Vec::new()) };
    let mut walk = Walk {
        root: view.at(at.at, "resource directory")?,
        path: Vec::new(),
        entries_left: MOST_ENTRIES,
        leaves: Vec::new(),
    };
    walk.table(0)?;
    Ok(walk.leaves)
}

struct Walk<'a> {
    root: Span<'a>,
    path: Vec<ResourceId>,
    entries_left: usize,
    leaves: Vec<Resource>,
}

impl Walk<'_> {
    /// Visits a table and all below it.
    fn table(&mut self, at: u32) -> Result<(), ErrorKind> {
        for entry in table_entries(self.root, at)? {
            self.entries_left = match self.entries_left.checked_sub(1) {
                Some(left) => left,
                None => return malformed("resources without an end", at),
            };
            self.path.push(id(self.root, entry.name_or_id.get(LE))?);
            match branch(entry.offset_to_data_or_directory.get(LE)) {
                (true, below) if self.path.len() < LEVELS => self.table(below)?,
                (true, below) => return malformed("resource directory too deep", below),
                (false, leaf) => self.leaves.push(resource(self.root, leaf, &self.path)?),
            }
            self.path.pop();
        }
        Ok(())
    }
}

/// The highest bit says "a table" or "a name", the others say where.
fn branch(word: u32) -> (bool, u32) {
    (word & pe::IMAGE_RESOURCE_DATA_IS_DIRECTORY != 0, word & !pe::IMAGE_RESOURCE_DATA_IS_DIRECTORY)
}

fn table_entries<'a>(
    root: Span<'a>,
    at: u32,
) -> Result<impl Iterator<Item = &'a pe::ImageResourceDirectoryEntry>, ErrorKind> {
    let start = at as usize;
    let Some(head) = root.pod::<pe::ImageResourceDirectory>(start) else {
        return malformed("resource directory", at);
    };
    let count =
        u32::from(head.number_of_named_entries.get(LE)) + u32::from(head.number_of_id_entries.get(LE));
    let first = start.saturating_add(size_of::<pe::ImageResourceDirectory>());
    let entry = size_of::<pe::ImageResourceDirectoryEntry>();
    Ok((0..count as usize).map_while(move |i| root.pod(first.checked_add(i * entry)?)))
}

fn id(root: Span<'_>, word: u32) -> Result<ResourceId, ErrorKind> {
    let (named, at) = branch(word);
    if !named {
        return Ok(ResourceId::Number(at as u16));
    }
    let text = || {
        let text = root.skip(at as usize)?;
        let len = usize::from(u16::from_le_bytes(text.get(0)?));
        let len = (len <= LONGEST_NAME).then_some(2 * len)?;
        let units = text.skip(2)?.first(len)?.as_chunks().0;
        let units: Vec<u16> = units.iter().map(|&u| u16::from_le_bytes(u)).collect();
        Some(ResourceId::Name(String::from_utf16_lossy(&units)))
    };
    text().map_or_else(|| malformed("name of a resource", at), Ok)
}

fn resource(root: Span<'_>, at: u32, path: &[ResourceId]) -> Result<Resource, ErrorKind> {
    let Some(leaf) = root.pod::<pe::ImageResourceDataEntry>(at as usize) else {
        return malformed("resource", at);
    };
    let start = u64::from(leaf.offset_to_data.get(LE));
    Ok(Resource {
        path: path.to_vec(),
        data: Rva(start)..Rva(start + u64::from(leaf.size.get(LE))),
        code_page: leaf.code_page.get(LE),
    })
}
