//! Where a DLL may be, and under which name modules are compared.
//!
//! Windows names have no case, and an image may ask for an *API set*: a name that stands for whichever library has the
//! functions on this version of Windows. Both are settled here, in [`key`], so that nobody else needs to know.

use loader_core::Requester;
use std::{
    borrow::Cow,
    fs, iter,
    path::{Path, PathBuf},
};

/// The library behind each family of API sets; the first that fits counts. Where Windows puts the functions of a family
/// into a library of its own making (KERNELBASE, SECHOST), the one that programs know them from stands here.
const FAMILIES: &[(&str, &str)] = &[
    ("crt-", "ucrtbase.dll"),
    ("core-com-", "combase.dll"),
    ("core-winrt-", "combase.dll"),
    ("core-crt-", "msvcrt.dll"),
    ("core-registry-", "advapi32.dll"),
    ("core-rtlsupport-", "ntdll.dll"),
    ("core-shlwapi-", "shlwapi.dll"),
    ("core-version-", "version.dll"),
    ("core-", "kernel32.dll"),
    ("appmodel-", "kernel.appcore.dll"),
    ("devices-", "cfgmgr32.dll"),
    ("dx-d3dkmt-", "gdi32.dll"),
    ("eventing-", "advapi32.dll"),
    ("eventlog-", "advapi32.dll"),
    ("gdi-", "gdi32.dll"),
    ("mm-", "winmm.dll"),
    ("ntuser-", "user32.dll"),
    ("perf-", "advapi32.dll"),
    ("power-", "powrprof.dll"),
    ("rtcore-gdi-", "gdi32.dll"),
    ("rtcore-ntuser-", "user32.dll"),
    ("security-", "advapi32.dll"),
    ("service-", "advapi32.dll"),
    ("shcore-", "shcore.dll"),
    ("shell-", "shell32.dll"),
];

/// Libraries that have API sets of their own name: `api-ms-win-downlevel-shlwapi-l1-1-0`, `ext-ms-win-shell32-shellcom-l1-1-0`.
const OF_ONE_LIBRARY: &[&str] = &[
    "advapi32",
    "authz",
    "bluetooth",
    "cng",
    "comctl32",
    "comdlg32",
    "crypt32",
    "dnsapi",
    "dwmapi",
    "gdi32",
    "gdiplus",
    "imm32",
    "iphlpapi",
    "kernel32",
    "netapi32",
    "normaliz",
    "ntdsapi",
    "ole32",
    "oleacc",
    "oleaut32",
    "propsys",
    "rpcrt4",
    "secur32",
    "setupapi",
    "shell32",
    "shlwapi",
    "urlmon",
    "user32",
    "userenv",
    "uxtheme",
    "version",
    "wer",
    "winhttp",
    "wininet",
    "winmm",
    "ws2_32",
    "wtsapi32",
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
        Some(library) => library.into(),
        None => plain,
    }
}

/// A [`key`] that leaves API sets alone: the name that a file has for itself.
pub(crate) fn plain_key(name: &str) -> Box<str> {
    let folders = name.bytes().rposition(|b| matches!(b, b'/' | b'\\')).map_or(0, |at| at + 1);
    let mut key = with_extension(&name[folders..]);
    key.make_ascii_lowercase();
    key.into()
}

/// The library behind an API set; `None` for any other name, and for an API set that this version of Windows has not.
fn api_set(key: &str) -> Option<Cow<'static, str>> {
    let contract = ["api-ms-win-", "ext-ms-win-"].iter().find_map(|prefix| key.strip_prefix(prefix))?;
    let family = FAMILIES.iter().find(|(family, _)| contract.starts_with(family));
    family.map(|&(_, library)| library.into()).or_else(|| {
        let own = contract.strip_prefix("downlevel-").unwrap_or(contract).split('-').next()?;
        OF_ONE_LIBRARY.contains(&own).then(|| format!("{own}.dll").into())
    })
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
        let (exact, bare) = match slashed.contains('/') {
            true => (Some(PathBuf::from(slashed)), None),
            false => match api_set(&plain_key(name)) {
                Some(library) => (None, Some(library.into_owned())),
                None => (None, Some(with_extension(&slashed))),
            },
        };
        let other_case = exact.clone().into_iter().filter_map(|path| {
            let found = on_disk(&path);
            (found != path).then_some(found)
        });
        let in_dirs = bare.into_iter().flat_map(move |file| {
            let dirs = folder.clone().into_iter().chain(self.dirs.iter().cloned());
            dirs.flat_map(move |dir| {
                let (spelled, file) = (dir.join(&file), file.clone());
                iter::once(spelled).chain(iter::once_with(move || other_cases(&dir, &file)).flatten())
            })
        });
        exact.into_iter().chain(other_case).chain(in_dirs)
    }
}

/// A path as the host spells it: what is there in another case only is called by its own name, and what is not there at all
/// stays as it is.
#[must_use]
pub fn on_disk(path: &Path) -> PathBuf {
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    if is_there(path) {
        return path.into();
    }
    path.components().fold(PathBuf::new(), |folder, part| {
        let spelled = folder.join(part);
        let name = part.as_os_str().to_str().filter(|_| !is_there(&spelled));
        let other = name.and_then(|name| other_cases(&folder, name).into_iter().next());
        other.unwrap_or(spelled)
    })
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
