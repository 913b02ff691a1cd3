//! Where a DLL may be, and under which name modules are compared.
//!
//! Windows names have no case, and an image may ask for an *API set*: a name that stands for whichever library has the
//! functions on this version of Windows. Both are settled here, in [`key`], so that nobody else needs to know.

use loader_core::Requester;
use std::{
    fs, iter,
    path::{Path, PathBuf},
};

/// The library behind each family of API sets; the first prefix that fits counts.
const API_SETS: &[(&str, &str)] = &[
    ("api-ms-win-crt-", "ucrtbase.dll"),
    ("api-ms-win-core-com-", "combase.dll"),
    ("api-ms-win-core-winrt-", "combase.dll"),
    ("api-ms-win-core-", "kernel32.dll"),
    ("api-ms-win-security-", "advapi32.dll"),
    ("api-ms-win-service-", "advapi32.dll"),
    ("api-ms-win-eventing-", "advapi32.dll"),
    ("api-ms-win-shcore-", "shcore.dll"),
    ("api-ms-win-gdi-", "gdi32.dll"),
    ("api-ms-win-ntuser-", "user32.dll"),
    ("ext-ms-win-gdi-", "gdi32.dll"),
    ("ext-ms-win-ntuser-", "user32.dll"),
    ("api-ms-", "kernel32.dll"),
    ("ext-ms-", "kernel32.dll"),
];

/// A library's name in the form in which modules are compared: without folder, in lower case, with `.dll` where it has
/// no extension, and the real library for an API set.
///
/// ```
/// use loader_pe::key;
/// assert_eq!(&*key("KERNEL32"), "kernel32.dll");
/// assert_eq!(&*key("api-ms-win-crt-runtime-l1-1-0.dll"), "ucrtbase.dll");
/// assert_eq!(&*key("winspool.drv"), "winspool.drv");
/// ```
#[must_use]
pub fn key(name: &str) -> Box<str> {
    let plain = plain_key(name);
    match api_set(&plain) {
        Some(host) => host.into(),
        None => plain,
    }
}

/// A [`key`] that leaves API sets alone: the name that a file has for itself.
pub(crate) fn plain_key(name: &str) -> Box<str> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    with_extension(last).to_ascii_lowercase().into()
}

/// The library behind an API set.
fn api_set(key: &str) -> Option<&'static str> {
    let host = API_SETS.iter().find(|(prefix, _)| key.starts_with(prefix));
    host.map(|&(_, host)| host)
}

/// A library's name or path as its file is called: forward slashes, and `.dll` where it has no extension.
///
/// ```
/// use loader_pe::search::file_name;
/// assert_eq!(file_name(r"lib.d\foo"), "lib.d/foo.dll");
/// assert_eq!(file_name("foo."), "foo");
/// ```
#[must_use]
pub fn file_name(name: &str) -> String {
    let slashed = name.replace('\\', "/");
    match slashed.rfind('/') {
        Some(at) => format!("{}{}", &slashed[..=at], with_extension(&slashed[at + 1..])),
        None => with_extension(&slashed),
    }
}

/// `foo` is `foo.dll`, and `foo.` is `foo`.
fn with_extension(name: &str) -> String {
    match name.strip_suffix('.') {
        Some(bare) => bare.into(),
        None if name.contains('.') => name.into(),
        None => format!("{name}.dll"),
    }
}

/// The folders in which DLLs are looked for, besides that of the image that needs one.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The folders, in order.
    pub dirs: Vec<PathBuf>,
}

impl Search {
    /// The files that may be meant, best first; they are looked for as they are asked for, and not all of them exist.
    ///
    /// A name with a folder in it is that file only. Any other is looked for in the folder of the image that needs it,
    /// then in [`Search::dirs`]; in each as it is spelled, then with any other case.
    pub fn candidates(&self, name: &str, by: &Requester<'_>) -> impl Iterator<Item = PathBuf> {
        let folder = by.path.and_then(Path::parent).map(Path::to_path_buf);
        let slashed = name.replace('\\', "/");
        let (exact, dirs) = match slashed.rfind('/') {
            Some(_) => (Some(PathBuf::from(&slashed)), [].iter()),
            None => (None, self.dirs.iter()),
        };
        let folder = folder.filter(|_| exact.is_none());
        let split = exact.as_deref().and_then(split);
        let file = match api_set(&plain_key(name)) {
            Some(host) => host.to_owned(),
            None => with_extension(&slashed),
        };
        let other_case = split.into_iter().flat_map(|(dir, file)| other_cases(&dir, &file));
        let in_dirs = folder.into_iter().chain(dirs.cloned());
        let in_dirs = in_dirs.flat_map(move |dir| {
            let (spelled, file) = (dir.join(&file), file.clone());
            iter::once(spelled).chain(iter::once_with(move || other_cases(&dir, &file)).flatten())
        });
        exact.into_iter().chain(other_case).chain(in_dirs)
    }
}

fn split(path: &Path) -> Option<(PathBuf, String)> {
    Some((path.parent()?.into(), path.file_name()?.to_str()?.into()))
}

/// The files of a folder whose names differ from `file` in nothing but case, in alphabetical order.
fn other_cases(dir: &Path, file: &str) -> Vec<PathBuf> {
    let here = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let entries = fs::read_dir(here).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|e| {
            let name = e.file_name();
            name.eq_ignore_ascii_case(file) && name != file
        })
        .map(|e| e.path())
        .collect();
    found.sort();
    found
}
