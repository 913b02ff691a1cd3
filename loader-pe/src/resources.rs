//! The resource tree: kinds, names, languages. Read only, for those who ask; a load does not need it.
//!
//! A [`Tree`] reads the directory wherever its bytes are: in a file, or in an image. [`ResourceFile`] is the way to it
//! through a file of any machine, programs as well as libraries. Nothing is believed: a position outside the directory is
//! an error, and a tree that goes round in circles comes to an end.

use crate::malformed;
use loader_core::{ErrorKind, Rva};
use object::{
    LittleEndian as LE, pe, pod,
    read::pe::{ImageNtHeaders, ImageOptionalHeader, PeFile, PeFile32, PeFile64, SectionTable},
};
use std::{fmt, ops::Range};

/// Windows has three levels and no more.
const LEVELS: usize = 3;

/// The longest name that is believed, in UTF-16 units.
const LONGEST_NAME: usize = 1024;

/// The kind of the resource that has the version.
pub const VERSION: ResourceId = ResourceId::Number(16);
/// The kind of resources that are sixteen texts each.
pub const STRINGS: ResourceId = ResourceId::Number(6);

/// American English, which is where the search for a language goes last.
const ENGLISH: u16 = 0x409;

/// A name or a number: how kinds, names and languages are told apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceId {
    /// A number, such as 16 for a version.
    Number(u16),
    /// A name, in upper case as resource compilers write it.
    Name(String),
}

impl ResourceId {
    /// What a text means for `FindResource`: `#12` is a number, and names have no lower case.
    ///
    /// ```
    /// use loader_pe::resources::ResourceId;
    /// assert_eq!(ResourceId::of("#16"), ResourceId::Number(16));
    /// assert_eq!(ResourceId::of("Logo"), ResourceId::Name("LOGO".into()));
    /// ```
    #[must_use]
    pub fn of(text: &str) -> Self {
        let number = text.strip_prefix('#').and_then(|digits| digits.parse().ok());
        number.map_or_else(|| Self::Name(text.to_uppercase()), Self::Number)
    }
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
    /// Where the tree has its entry (16 bytes), which is what Windows calls a resource's handle.
    pub entry: Rva,
    /// Its bytes.
    pub data: Range<Rva>,
    /// The code page of text in it.
    pub code_page: u32,
}

/// At which level a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is no such kind.
    Kind,
    /// There is no such name of that kind.
    Name,
    /// It is not there in that language.
    Language,
    /// The tree contradicts itself.
    Data,
}

/// A resource directory.
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    /// The bytes from the directory on, as far as anything of it can be.
    root: &'a [u8],
    at: Rva,
}

/// One entry of one level.
#[derive(Clone, Copy)]
struct Entry {
    name_or_id: u32,
    below: u32,
}

impl<'a> Tree<'a> {
    /// The tree whose directory begins with these bytes, at that position of its image.
    #[must_use]
    pub const fn new(root: &'a [u8], at: Rva) -> Self {
        Self { root, at }
    }

    /// Finds a resource. Without a language, or with a neutral one, any will do: neutral, English, or the first there is. One
    /// that is asked for may be there for all its countries, or for all languages.
    ///
    /// # Errors
    /// At which level there is nothing.
    pub fn find(&self, kind: &ResourceId, name: &ResourceId, language: u16) -> Result<Resource, Missing> {
        let names = self.below(0, kind).and_then(table).ok_or(Missing::Kind)?;
        let languages = self.below(names, name).and_then(table).ok_or(Missing::Name)?;
        let found = self.language(languages, language).ok_or(Missing::Language)?;
        let path = vec![kind.clone(), name.clone(), ResourceId::Number(found.name_or_id as u16)];
        let leaf = leaf(found.below).and_then(|at| self.resource(at, &path).ok());
        leaf.ok_or(Missing::Data)
    }

    /// The ids on the level below a path: of no id all kinds, of a kind all its names, of both their languages. They are read
    /// as they are asked for.
    ///
    /// # Errors
    /// At which level the path leads nowhere.
    pub fn ids(
        &self,
        path: &[ResourceId],
    ) -> Result<impl Iterator<Item = Result<ResourceId, ErrorKind>> + use<'a>, Missing> {
        let missing = [Missing::Kind, Missing::Name, Missing::Language];
        let mut at = 0;
        for (id, missing) in path.iter().zip(missing) {
            at = self.below(at, id).and_then(table).ok_or(missing)?;
        }
        let tree = *self;
        let entries = tree.entries(at).map_err(|_| Missing::Data)?;
        Ok(entries.map(move |entry| tree.id(entry.name_or_id)))
    }

    /// The leaves, in file order.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`].
    pub fn leaves(&self) -> Result<Vec<Resource>, ErrorKind> {
        let room = self.root.len().saturating_mul(4); // a tree without an end uses the same bytes again
        let mut walk = Walk { tree: *self, path: Vec::new(), room, leaves: Vec::new() };
        walk.table(0)?;
        Ok(walk.leaves)
    }

    fn below(&self, table: u32, id: &ResourceId) -> Option<u32> {
        let mut entries = self.entries(table).ok()?;
        entries.find(|entry| self.is(entry.name_or_id, id)).map(|entry| entry.below)
    }

    fn language(&self, table: u32, wanted: u16) -> Option<Entry> {
        let everywhere = |language| language & 0x3ff;
        let entry = |wanted: u16| self.entries(table).ok()?.find(|entry| entry.name_or_id == wanted.into());
        let asked = [wanted, everywhere(wanted), 0].into_iter().find_map(entry);
        if everywhere(wanted) != 0 {
            return asked;
        }
        let english = || [ENGLISH, everywhere(ENGLISH)].into_iter().find_map(entry);
        asked.or_else(english).or_else(|| self.entries(table).ok()?.next())
    }

    fn entries(&self, at: u32) -> Result<impl Iterator<Item = Entry> + use<'a>, ErrorKind> {
        let Some((head, rest)) = self.pod::<pe::ImageResourceDirectory>(at) else {
            return malformed("resource directory", at);
        };
        let count =
            u32::from(head.number_of_named_entries.get(LE)) + u32::from(head.number_of_id_entries.get(LE));
        let entries = rest.chunks_exact(size_of::<pe::ImageResourceDirectoryEntry>());
        let entries = entries.filter_map(|e| pod::from_bytes::<pe::ImageResourceDirectoryEntry>(e).ok());
        Ok(entries.take(count as usize).map(|(e, _)| Entry {
            name_or_id: e.name_or_id.get(LE),
            below: e.offset_to_data_or_directory.get(LE),
        }))
    }

    fn pod<T: pod::Pod>(&self, at: u32) -> Option<(&'a T, &'a [u8])> {
        pod::from_bytes(self.root.get(at as usize..)?).ok()
    }

    fn is(&self, word: u32, id: &ResourceId) -> bool {
        match (branch(word), id) {
            ((false, number), ResourceId::Number(wanted)) => number == u32::from(*wanted),
            ((true, at), ResourceId::Name(wanted)) => {
                self.units(at).is_some_and(|units| wanted.encode_utf16().eq(units))
            }
            _ => false,
        }
    }

    fn id(&self, word: u32) -> Result<ResourceId, ErrorKind> {
        match branch(word) {
            (false, number) => Ok(ResourceId::Number(number as u16)),
            (true, at) => match self.units(at) {
                Some(units) => Ok(ResourceId::Name(
                    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
                )),
                None => malformed("name of a resource", at),
            },
        }
    }

    fn units(&self, at: u32) -> Option<impl Iterator<Item = u16> + use<'a>> {
        let text = self.root.get(at as usize..)?;
        let (len, text) = text.split_first_chunk()?;
        let len = usize::from(u16::from_le_bytes(*len));
        let len = (len <= LONGEST_NAME).then_some(2 * len)?;
        Some(text.get(..len)?.as_chunks().0.iter().map(|&unit| u16::from_le_bytes(unit)))
    }

    fn resource(&self, at: u32, path: &[ResourceId]) -> Result<Resource, ErrorKind> {
        let Some((leaf, _)) = self.pod::<pe::ImageResourceDataEntry>(at) else {
            return malformed("resource", at);
        };
        let start = u64::from(leaf.offset_to_data.get(LE));
        Ok(Resource {
            path: path.to_vec(),
            entry: Rva(self.at.0 + u64::from(at)),
            data: Rva(start)..Rva(start + u64::from(leaf.size.get(LE))),
            code_page: leaf.code_page.get(LE),
        })
    }
}

struct Walk<'a> {
    tree: Tree<'a>,
    path: Vec<ResourceId>,
    /// How many bytes of entries and names may still be read.
    room: usize,
    leaves: Vec<Resource>,
}

impl Walk<'_> {
    /// Visits a table and all below it.
    fn table(&mut self, at: u32) -> Result<(), ErrorKind> {
        for entry in self.tree.entries(at)? {
            let id = self.tree.id(entry.name_or_id)?;
            let name = if let ResourceId::Name(name) = &id { name.len() } else { 0 };
            let used = size_of::<pe::ImageResourceDirectoryEntry>() + name;
            self.room = match self.room.checked_sub(used) {
                Some(room) => room,
                None => return malformed("resources without an end", at),
            };
            self.path.push(id);
            match branch(entry.below) {
                (true, below) if self.path.len() < LEVELS => self.table(below)?,
                (true, below) => return malformed("resource directory too deep", below),
                (false, leaf) => self.leaves.push(self.tree.resource(leaf, &self.path)?),
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

fn table(word: u32) -> Option<u32> {
    Some(branch(word)).filter(|(table, _)| *table).map(|(_, at)| at)
}

fn leaf(word: u32) -> Option<u32> {
    Some(branch(word)).filter(|(table, _)| !table).map(|(_, at)| at)
}

/// A file of any machine, whose resources are wanted and nothing else.
///
/// ```
/// use loader_pe::resources::{ResourceFile, VERSION};
///
/// let bytes = corpus_image();
/// let file = ResourceFile::parse(&bytes)?;
/// assert!(file.tree().is_none_or(|tree| tree.ids(&[VERSION]).is_err()));
/// # fn corpus_image() -> Vec<u8> { include_bytes!("../../corpus/pe/plain/plain.dll").into() }
/// # Ok::<(), loader_core::ErrorKind>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ResourceFile<'a> {
    bytes: &'a [u8],
    sections: SectionTable<'a>,
    directory: Option<u32>,
    headers: usize,
    image_len: u64,
}

impl<'a> ResourceFile<'a> {
    /// Reads the headers.
    ///
    /// # Errors
    /// [`ErrorKind::NotALoadfile`] for what is no Windows executable, [`ErrorKind::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ErrorKind> {
        let broken = |_| ErrorKind::Malformed { what: "headers", at: 0 };
        match object::FileKind::parse(bytes) {
            Ok(object::FileKind::Pe64) => Ok(Self::of(&PeFile64::parse(bytes).map_err(broken)?)),
            Ok(object::FileKind::Pe32) => Ok(Self::of(&PeFile32::parse(bytes).map_err(broken)?)),
            _ => Err(ErrorKind::NotALoadfile { found: "not a Windows image" }),
        }
    }

    fn of<Pe: ImageNtHeaders>(file: &PeFile<'a, Pe>) -> Self {
        let directory = file.data_directory(pe::IMAGE_DIRECTORY_ENTRY_RESOURCE);
        let at = directory.map(|d| d.virtual_address.get(LE)).filter(|&at| at != 0);
        let optional = file.nt_headers().optional_header();
        Self {
            bytes: file.data(),
            sections: file.section_table(),
            directory: at,
            headers: optional.size_of_headers() as usize,
            image_len: optional.size_of_image().into(),
        }
    }

    /// Its resources, where it has a section for them.
    #[must_use]
    pub fn tree(&self) -> Option<Tree<'a>> {
        let at = self.directory?;
        Some(Tree::new(self.sections.pe_data_at(self.bytes, at)?, Rva(at.into())))
    }

    /// The bytes of a resource: `None` where the file has not all of them.
    #[must_use]
    pub fn bytes(&self, resource: &Resource) -> Option<&'a [u8]> {
        let start = usize::try_from(self.offset(resource.data.start)?).ok()?;
        let len = usize::try_from(resource.data.end.0 - resource.data.start.0).ok()?;
        self.bytes.get(start..start.checked_add(len)?)
    }

    /// The sections: where each is in the image, and what the file has of it.
    pub fn sections(&self) -> impl Iterator<Item = (Rva, &'a [u8])> {
        let bytes = self.bytes;
        self.sections
            .iter()
            .filter_map(move |s| Some((Rva(s.virtual_address.get(LE).into()), s.pe_data(bytes).ok()?)))
    }

    /// Where the image has the directory.
    #[must_use]
    pub fn directory(&self) -> Option<Rva> {
        self.directory.map(|at| Rva(at.into()))
    }

    /// Length of the file.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it has headers")]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The headers, as far as the image has them.
    #[must_use]
    pub fn headers(&self) -> &'a [u8] {
        &self.bytes[..self.bytes.len().min(self.headers)]
    }

    /// Length of the image in memory.
    #[must_use]
    pub const fn image_len(&self) -> u64 {
        self.image_len
    }

    /// Where the file has what is at a position of the image.
    #[must_use]
    pub fn offset(&self, at: Rva) -> Option<u64> {
        let (start, _) = self.sections.pe_file_range_at(u32::try_from(at.0).ok()?)?;
        Some(start.into())
    }
}

/// One text of a resource of kind [`STRINGS`], which has sixteen: the one with the number `id`, as UTF-16.
#[must_use]
pub fn string(block: &[u8], id: u16) -> Option<&[[u8; 2]]> {
    let mut rest = block;
    for n in 0..=id % 16 {
        let (len, after) = rest.split_first_chunk()?;
        let (text, after) = after.split_at_checked(2 * usize::from(u16::from_le_bytes(*len)))?;
        if n == id % 16 {
            return Some(text.as_chunks().0);
        }
        rest = after;
    }
    None
}

/// The name of the resource that has the text with that number.
#[must_use]
pub const fn string_block(id: u16) -> ResourceId {
    ResourceId::Number(id / 16 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of these entries: an id or a name, and what is below it.
    fn table(named: u16, entries: &[(u32, u32)]) -> Vec<u8> {
        let numbered = entries.len() as u16 - named;
        let head = [[0; 12].as_slice(), &named.to_le_bytes(), &numbered.to_le_bytes()].concat();
        let entries = entries.iter().flat_map(|&(id, below)| [id, below]).flat_map(u32::to_le_bytes);
        head.into_iter().chain(entries).collect()
    }

    const TABLE: u32 = 1 << 31;
    const KIND: ResourceId = ResourceId::Number(10);

    #[test]
    fn a_tree_that_is_its_own_branch_comes_to_an_end() {
        let round = table(0, &[(10, TABLE), (11, TABLE)]);
        let tree = Tree::new(&round, Rva(0));
        assert_eq!(tree.find(&KIND, &KIND, 10), Err(Missing::Data));
        assert_eq!(tree.ids(&[KIND, KIND, KIND]).map(Iterator::count), Ok(2), "three levels and no more");
        assert!(matches!(
            tree.leaves(),
            Err(ErrorKind::Malformed { what: "resource directory too deep", .. })
        ));
    }

    #[test]
    fn a_tree_whose_branches_meet_is_not_read_for_ever() {
        // A table of 256 entries that all lead to itself would have 256³ leaves.
        let mut meeting = table(0, &vec![(1, TABLE); 256]);
        let leaf = u32::try_from(meeting.len()).unwrap();
        let table = table(0, &vec![(1, leaf); 256]);
        meeting.extend(&table);
        let at = (TABLE | leaf).to_le_bytes();
        meeting[16..16 + 8 * 256].chunks_exact_mut(8).for_each(|entry| entry[4..].copy_from_slice(&at));
        let leaves = Tree::new(&meeting, Rva(0)).leaves();
        assert!(
            matches!(leaves, Err(ErrorKind::Malformed { what: "resources without an end", .. })),
            "{leaves:?}"
        );
    }

    #[test]
    fn what_lies_outside_is_not_there() {
        let far = table(1, &[(TABLE | 0x7fff_fff0, TABLE), (10, TABLE | 0x7fff_fff0)]);
        for len in 0..=far.len() {
            let tree = Tree::new(&far[..len], Rva(0));
            assert!(tree.find(&KIND, &KIND, 0).is_err());
            assert!(tree.find(&ResourceId::of("far"), &KIND, 0).is_err());
        }
        let ids: Vec<_> = Tree::new(&far, Rva(0)).ids(&[]).unwrap().collect();
        assert_eq!(ids, [malformed("name of a resource", 0x7fff_fff0_u32), Ok(KIND)]);
    }

    #[test]
    fn texts_are_counted_not_searched_for() {
        let block: Vec<u8> =
            [0_u16, 2, 0x41, 0x42, 1, 0x43, 9, 0x44].iter().flat_map(|u| u.to_le_bytes()).collect();
        assert_eq!(string(&block, 16), Some([].as_slice()));
        assert_eq!(string(&block, 17), Some([[0x41, 0], [0x42, 0]].as_slice()));
        assert_eq!(string(&block, 18 + 32), Some([[0x43, 0]].as_slice()));
        assert_eq!((string(&block, 19), string(&block, 31), string(&[], 0)), (None, None, None));
        assert_eq!(string_block(17), ResourceId::Number(2));
    }
}
