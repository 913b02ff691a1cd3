//! Where libraries are looked for: the flags of `LoadLibraryEx`, and the folders that guest code adds.

use super::{
    Bool, answer,
    datafile::{DATAFILE, EXCLUSIVE, IMAGE_RESOURCE},
    error::code,
    fail,
};
use crate::{DllFolders, guest::Ptr, lock, path, teb, text};
use std::{path::PathBuf, sync::Mutex};

/// It changes nothing here: a library's own folder always comes first for what it needs.
const ALTERED_SEARCH_PATH: u32 = 0x8;
const DLL_LOAD_DIR: u32 = 0x100;
/// `LOAD_LIBRARY_SEARCH_APPLICATION_DIR`, `USER_DIRS`, `SYSTEM32`, `DEFAULT_DIRS`: what `SetDefaultDllDirectories` takes.
const DEFAULTS: u32 = 0x1e00;
/// All flags that say where to look; they come without `ALTERED_SEARCH_PATH`.
const SEARCH: u32 = DLL_LOAD_DIR | DEFAULTS;
/// All flags that there are.
const KNOWN: u32 = 0xffff & !0x4;

/// A path that says where it begins: with a drive, or with the root of one.
fn is_whole(path: &str) -> bool {
    matches!(path.as_bytes(), [_, b':', b'\\' | b'/', ..] | [b'\\' | b'/', ..])
}

/// Whether these flags load a library of that name as data; an error where they contradict each other, or the name.
pub(crate) fn as_data(name: &str, flags: u32) -> Result<bool, u32> {
    let both = |one, other| flags & one != 0 && flags & other != 0;
    match () {
        () if flags & !KNOWN != 0 => Err(code::INVALID_PARAMETER),
        () if both(ALTERED_SEARCH_PATH, SEARCH) || both(DATAFILE, EXCLUSIVE) => Err(code::INVALID_PARAMETER),
        () if flags & DLL_LOAD_DIR != 0 && !is_whole(name) => Err(code::INVALID_PARAMETER),
        () => Ok(flags & (DATAFILE | EXCLUSIVE | IMAGE_RESOURCE) != 0),
    }
}

/// The folders that guest code wants searched, and how it knows those that it added.
#[derive(Debug, Default)]
pub(crate) struct DllSearch(Mutex<Folders>);

#[derive(Debug, Default)]
struct Folders {
    own: Option<PathBuf>,
    added: Vec<(usize, PathBuf)>,
    cookies: usize,
    default: u32,
}

/// Changes the folders and tells the engine of it.
fn change<R>(f: impl FnOnce(&mut Folders) -> Result<R, u32>) -> Result<R, u32> {
    let process = teb::process();
    let mut folders = lock(&process.search.0);
    let result = f(&mut folders)?;
    let added = folders.added.iter().rev().map(|(_, folder)| folder.clone()).collect();
    let now = DllFolders { own: folders.own.clone(), added, default: folders.default };
    drop(folders);
    process.services().iter().for_each(|s| s.look_in(now.clone()));
    Ok(result)
}

extern "win64" fn SetDefaultDllDirectories(flags: u32) -> Bool {
    answer(match flags {
        f if f == 0 || f & !DEFAULTS != 0 => Err(code::INVALID_PARAMETER),
        _ => change(|folders| {
            folders.default = flags;
            Ok(())
        }),
    })
}

/// A folder, by its whole path, where something has to be; the answer is what [`RemoveDllDirectory`] takes.
extern "win64" fn AddDllDirectory(name: Ptr<u16>) -> usize {
    let name = name.string();
    let add = || {
        let name = is_whole(&name).then_some(&name).ok_or(code::INVALID_PARAMETER)?;
        let folder = path::to_host(name).map(PathBuf::from).filter(|folder| folder.exists());
        let folder = folder.ok_or(code::FILE_NOT_FOUND)?;
        change(|folders| {
            folders.cookies += 1;
            folders.added.push((folders.cookies, folder));
            Ok(folders.cookies)
        })
    };
    add().unwrap_or_else(|e| fail(e) as usize)
}

extern "win64" fn RemoveDllDirectory(cookie: usize) -> Bool {
    answer(change(|folders| {
        let at = folders.added.iter().position(|&(known, _)| known == cookie);
        folders.added.remove(at.ok_or(code::INVALID_PARAMETER)?);
        Ok(())
    }))
}

/// One folder that takes the place of the last one; null or an empty name is none.
pub(crate) fn set_own(name: &str) -> Bool {
    answer(change(|folders| {
        let some = Some(name).filter(|name| !name.is_empty());
        let host = some.map(|name| path::to_host(name).ok_or(code::INVALID_PARAMETER));
        folders.own = host.transpose()?.map(PathBuf::from);
        Ok(())
    }))
}

extern "win64" fn SetDllDirectoryA(name: Ptr<u8>) -> Bool {
    set_own(&name.string())
}

extern "win64" fn SetDllDirectoryW(name: Ptr<u16>) -> Bool {
    set_own(&name.string())
}

pub(crate) fn own() -> String {
    let own = lock(&teb::process().search.0).own.clone();
    own.map(|folder| path::to_guest(&folder.to_string_lossy())).unwrap_or_default()
}

extern "win64" fn GetDllDirectoryA(room: u32, to: Ptr<u8>) -> u32 {
    text::answer(own().as_bytes(), to, room)
}

extern "win64" fn GetDllDirectoryW(room: u32, to: Ptr<u16>) -> u32 {
    text::answer(&text::wide(&own()), to, room)
}

table! {
    /// Folders.
    pub(crate) TABLE:
        SetDefaultDllDirectories, AddDllDirectory, RemoveDllDirectory, SetDllDirectoryA, SetDllDirectoryW,
        GetDllDirectoryA, GetDllDirectoryW
}
