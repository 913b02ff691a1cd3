//! Resources of modules and of files that are loaded as data. The directory is read where it lies in memory; a broken one
//! gives an error number, whatever it says. Unsafe because enumerations call the guest.
#![allow(unsafe_code)]

use super::{
    Bool, FALSE, TRUE,
    datafile::{self, DataFile},
    error::code,
    fail,
};
use crate::{ImagePages, guest::Ptr, teb, text};
use loader_core::{Addr, Rights, Rva};
use loader_pe::resources::{self, Missing, Resource, ResourceFile, ResourceId, Tree};

/// `MAKEINTRESOURCE`: smaller than this is a number, no pointer.
const NAMES: usize = 0x1_0000;
/// The longest name there is, in UTF-16 units and a zero.
const LONGEST: usize = 1025;

/// The memory that a module's resources are in.
pub(crate) enum Home {
    /// An image: positions in it are distances from its base.
    Image { base: u64, len: u64, tree: Tree<'static> },
    /// A file: positions are looked up in its sections.
    File { base: u64, file: ResourceFile<'static> },
}

impl Home {
    /// Where a module's resources are.
    pub(crate) fn of(module: usize) -> Result<Self, u32> {
        match module & datafile::TAG {
            0 => of_image(module),
            _ => of_data(module),
        }
    }

    fn tree(&self) -> Result<Tree<'static>, u32> {
        match self {
            Self::Image { tree, .. } => Ok(*tree),
            Self::File { file, .. } => file.tree().ok_or(code::RESOURCE_DATA_NOT_FOUND),
        }
    }

    /// The address of `len` bytes at a position, where all of them are there.
    fn address(&self, at: Rva, len: u64) -> Option<u64> {
        match self {
            Self::Image { base, len: all, .. } => (at.0.checked_add(len)? <= *all).then_some(base + at.0),
            Self::File { base, file } => {
                let start = file.offset(at)?;
                (start.checked_add(len)? <= file.len() as u64).then_some(base + start)
            }
        }
    }

    pub(crate) fn find(&self, kind: &ResourceId, name: &ResourceId, language: u16) -> Result<Resource, u32> {
        self.tree()?.find(kind, name, language).map_err(number)
    }

    /// The bytes of a resource.
    pub(crate) fn bytes(&self, resource: &Resource) -> Result<&'static [u8], u32> {
        let len = resource.data.end.0 - resource.data.start.0;
        let at = self.address(resource.data.start, len).ok_or(code::RESOURCE_DATA_NOT_FOUND)?;
        Ok(Ptr::of_pages(at).bytes(len as usize))
    }
}

/// The error number for what is missing.
pub(crate) fn number(missing: Missing) -> u32 {
    match missing {
        Missing::Data => code::RESOURCE_DATA_NOT_FOUND,
        Missing::Kind => code::RESOURCE_TYPE_NOT_FOUND,
        Missing::Name => code::RESOURCE_NAME_NOT_FOUND,
        Missing::Language => code::RESOURCE_LANG_NOT_FOUND,
    }
}

fn of_data(handle: usize) -> Result<Home, u32> {
    let base = (handle & !datafile::TAG) as u64;
    let broken = code::RESOURCE_DATA_NOT_FOUND;
    match datafile::get(handle)? {
        DataFile::Flat { len } => {
            let bytes = Ptr::of_pages(base).bytes(len as usize);
            Ok(Home::File { base, file: ResourceFile::parse(bytes).map_err(|_| broken)? })
        }
        DataFile::Image { len, resources } => {
            let at = resources.filter(|at| at.0 < len).ok_or(broken)?;
            let root = Ptr::of_pages(base + at.0).bytes((len - at.0) as usize);
            Ok(Home::Image { base, len, tree: Tree::new(root, at) })
        }
    }
}

/// The directory of a loaded image, as its headers in memory say. Built-in modules, and the program, have none.
fn of_image(module: usize) -> Result<Home, u32> {
    const NEW_HEADER: u64 = 0x3c;
    const RESOURCES: u64 = 0x88 + 2 * 8;
    let services = teb::process().services().ok_or(code::RESOURCE_DATA_NOT_FOUND)?;
    let base = match module {
        0 => services.module_handle(None).unwrap_or(Addr(0)),
        _ => Addr(module as u64),
    };
    let pages = services.image_pages(base).filter(|pages| pages.base == base);
    let pages = pages.ok_or(code::RESOURCE_DATA_NOT_FOUND)?;
    let found = || {
        let head = readable(&pages, base.0)?;
        let word = |at: u64| {
            let at = usize::try_from(at).ok()?;
            Some(u32::from_le_bytes(*head.get(at..)?.first_chunk()?))
        };
        head.starts_with(b"MZ").then_some(())?;
        let at = u64::from(word(u64::from(word(NEW_HEADER)?) + RESOURCES)?);
        let root = readable(&pages, base.0 + at).filter(|_| at != 0)?;
        Some(Home::Image { base: base.0, len: pages.len, tree: Tree::new(root, Rva(at)) })
    };
    found().ok_or(code::RESOURCE_DATA_NOT_FOUND)
}

/// The bytes of an image from an address to where it has the next page that cannot be read.
fn readable(pages: &ImagePages, at: u64) -> Option<&'static [u8]> {
    let parts = || pages.rights.iter().filter(|(_, rights)| rights.contains(Rights::READ));
    let first = parts().find(|(range, _)| range.contains(&at))?;
    let end = parts().fold(first.0.end, |end, (range, _)| if range.start == end { range.end } else { end });
    Some(Ptr::of_pages(at).bytes((end - at) as usize))
}

/// An id that guest code passed, by number or by name.
trait Id {
    fn id(self) -> ResourceId;
}

impl Id for Ptr<u8> {
    fn id(self) -> ResourceId {
        if self.addr() < NAMES {
            ResourceId::Number(self.addr() as u16)
        } else {
            ResourceId::of(&self.string())
        }
    }
}

impl Id for Ptr<u16> {
    fn id(self) -> ResourceId {
        if self.addr() < NAMES {
            ResourceId::Number(self.addr() as u16)
        } else {
            ResourceId::of(&self.string())
        }
    }
}

/// The handle of a resource: where its entry is.
fn find(module: usize, kind: impl Id, name: impl Id, language: u16) -> usize {
    let found = Home::of(module).and_then(|home| {
        let resource = home.find(&kind.id(), &name.id(), language)?;
        home.address(resource.entry, ENTRY_LEN).ok_or(code::RESOURCE_DATA_NOT_FOUND)
    });
    found.map_or_else(|e| fail(e) as usize, |at| at as usize)
}

extern "win64" fn FindResourceA(module: usize, name: Ptr<u8>, kind: Ptr<u8>) -> usize {
    find(module, kind, name, 0)
}

extern "win64" fn FindResourceW(module: usize, name: Ptr<u16>, kind: Ptr<u16>) -> usize {
    find(module, kind, name, 0)
}

extern "win64" fn FindResourceExA(module: usize, kind: Ptr<u8>, name: Ptr<u8>, language: u16) -> usize {
    find(module, kind, name, language)
}

extern "win64" fn FindResourceExW(module: usize, kind: Ptr<u16>, name: Ptr<u16>, language: u16) -> usize {
    find(module, kind, name, language)
}

/// An entry, as the directory has it.
#[repr(C)]
#[derive(Clone, Copy)]
struct DataEntry {
    at: u32,
    len: u32,
    code_page: u32,
    reserved: u32,
}

const ENTRY_LEN: u64 = size_of::<DataEntry>() as u64;

/// The entry that a handle of a resource leads to. Null is none; any other is the caller's word.
fn entry(handle: Ptr<DataEntry>) -> Result<DataEntry, u32> {
    if handle.is_null() { Err(code::INVALID_PARAMETER) } else { Ok(handle.get()) }
}

extern "win64" fn LoadResource(module: usize, handle: Ptr<DataEntry>) -> u64 {
    let address = entry(handle).and_then(|entry| {
        let at = Home::of(module)?.address(Rva(entry.at.into()), entry.len.into());
        at.ok_or(code::RESOURCE_DATA_NOT_FOUND)
    });
    address.unwrap_or_else(|e| fail(e) as u64)
}

extern "win64" fn SizeofResource(_module: usize, handle: Ptr<DataEntry>) -> u32 {
    entry(handle).map_or_else(|e| fail(e) as u32, |entry| entry.len)
}

/// A resource is in memory as long as its module.
extern "win64" fn LockResource(at: usize) -> usize {
    at
}

/// Nothing to do, and false says that it worked.
extern "win64" fn FreeResource(_at: usize) -> Bool {
    FALSE
}

/// An enumeration's function of the guest. All of them take the module first and the guest's own number last; what they
/// do not take is not looked at.
type Each = unsafe extern "win64" fn(usize, usize, usize, usize, usize) -> Bool;

/// Which text a function takes.
#[derive(Clone, Copy)]
enum Texts {
    Ansi,
    Wide,
}

/// Calls `f` for every id below a path, with the arguments that `arguments` makes of it, until it answers false. While it
/// runs nothing is held here.
fn each<const N: usize>(
    module: usize,
    path: [ResourceId; N],
    texts: Texts,
    f: Each,
    arguments: impl Fn(usize) -> [usize; 5],
) -> Bool {
    let ids = Home::of(module).and_then(|home| home.tree()?.ids(&path).map_err(number));
    drop(path);
    let ids = match ids {
        Ok(ids) => ids,
        Err(error) => return fail(error),
    };
    for id in ids {
        let mut name = Name::default();
        let Some(id) = id.ok().and_then(|id| name.take(id, texts)) else {
            return fail(code::RESOURCE_DATA_NOT_FOUND);
        };
        let [a, b, c, d, e] = arguments(id);
        // SAFETY: the guest passed a function that takes these, as the enumeration asks.
        if unsafe { f(a, b, c, d, e) } == FALSE {
            return fail(code::RESOURCE_ENUM_USER_STOP);
        }
    }
    TRUE
}

/// Room for a name while the guest looks at it: on the stack, because the guest may never return.
struct Name {
    ansi: [u8; 3 * LONGEST],
    wide: [u16; LONGEST],
}

impl Default for Name {
    fn default() -> Self {
        Self { ansi: [0; 3 * LONGEST], wide: [0; LONGEST] }
    }
}

impl Name {
    /// An id as the guest gets it: a number, or a pointer to the name in here.
    fn take(&mut self, id: ResourceId, texts: Texts) -> Option<usize> {
        let name = match id {
            ResourceId::Number(n) => return Some(n.into()),
            ResourceId::Name(name) => name,
        };
        match texts {
            Texts::Ansi => {
                self.ansi.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
                Some(self.ansi.as_ptr().expose_provenance())
            }
            Texts::Wide => {
                let units = text::wide(&name);
                self.wide.get_mut(..units.len())?.copy_from_slice(&units);
                Some(self.wide.as_ptr().expose_provenance())
            }
        }
    }
}

extern "win64" fn EnumResourceTypesA(module: usize, f: Each, own: usize) -> Bool {
    each(module, [], Texts::Ansi, f, |kind| [module, kind, own, 0, 0])
}

extern "win64" fn EnumResourceTypesW(module: usize, f: Each, own: usize) -> Bool {
    each(module, [], Texts::Wide, f, |kind| [module, kind, own, 0, 0])
}

extern "win64" fn EnumResourceNamesA(module: usize, kind: Ptr<u8>, f: Each, own: usize) -> Bool {
    each(module, [kind.id()], Texts::Ansi, f, |name| [module, kind.addr(), name, own, 0])
}

extern "win64" fn EnumResourceNamesW(module: usize, kind: Ptr<u16>, f: Each, own: usize) -> Bool {
    each(module, [kind.id()], Texts::Wide, f, |name| [module, kind.addr(), name, own, 0])
}

extern "win64" fn EnumResourceLanguagesA(
    module: usize,
    kind: Ptr<u8>,
    name: Ptr<u8>,
    f: Each,
    own: usize,
) -> Bool {
    each(module, [kind.id(), name.id()], Texts::Ansi, f, |language| {
        [module, kind.addr(), name.addr(), language, own]
    })
}

extern "win64" fn EnumResourceLanguagesW(
    module: usize,
    kind: Ptr<u16>,
    name: Ptr<u16>,
    f: Each,
    own: usize,
) -> Bool {
    each(module, [kind.id(), name.id()], Texts::Wide, f, |language| {
        [module, kind.addr(), name.addr(), language, own]
    })
}

/// The units of a text of a module's string tables.
fn string(module: usize, id: u32) -> Result<&'static [[u8; 2]], u32> {
    let id = id as u16; // the upper half never counted
    let home = Home::of(module)?;
    let block = home.find(&resources::STRINGS, &resources::string_block(id), 0)?;
    let text = resources::string(home.bytes(&block)?, id).filter(|text| !text.is_empty());
    text.ok_or(code::RESOURCE_NAME_NOT_FOUND)
}

/// What does not fit is cut off. Without room, the caller wants to know where the text is: it ends by its length.
extern "win64" fn LoadStringW(module: usize, id: u32, to: Ptr<u16>, room: i32) -> i32 {
    let units = match string(module, id) {
        Ok(units) => units,
        Err(error) => return fail(error),
    };
    let len = match usize::try_from(room) {
        Ok(0) => {
            to.cast::<usize>().put(units.as_ptr().expose_provenance());
            units.len()
        }
        Ok(room) => {
            let text: Vec<u16> =
                units.iter().take(room - 1).map(|&u| u16::from_le_bytes(u)).chain([0]).collect();
            to.fill(&text);
            text.len() - 1
        }
        Err(_) => return fail(code::INVALID_PARAMETER),
    };
    len as i32
}

extern "win64" fn LoadStringA(module: usize, id: u32, to: Ptr<u8>, room: i32) -> i32 {
    let Some(room) = usize::try_from(room).ok().filter(|&room| room != 0) else {
        return fail(code::INVALID_PARAMETER);
    };
    match string(module, id) {
        Ok(units) => {
            let units = units.iter().map(|&u| u16::from_le_bytes(u));
            let text: String =
                char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
            let fits = text.floor_char_boundary(room - 1);
            to.fill(&text.as_bytes()[..fits]);
            to.at(fits).put(0);
            fits as i32
        }
        Err(error) => fail(error),
    }
}

table! {
    /// Resources.
    pub(crate) TABLE:
        FindResourceA, FindResourceW, FindResourceExA, FindResourceExW, LoadResource, SizeofResource, LockResource,
        FreeResource, EnumResourceTypesA, EnumResourceTypesW, EnumResourceNamesA, EnumResourceNamesW,
        EnumResourceLanguagesA, EnumResourceLanguagesW, LoadStringA, LoadStringW
}

table! {
    /// The part of it that is USER32's.
    pub(crate) USER32: LoadStringA, LoadStringW
}
