//! What is opened: a few small images of the corpus, and six libraries of Debian.

use std::{
    ffi::CStr,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The format of an image.
pub use corpus::Format;

/// Where Debian and its kin have the libraries.
const SYSTEM: &str = "/usr/lib/x86_64-linux-gnu";

/// File name, a symbol that the library defines, and the package that has it.
const LIBRARIES: [(&str, &CStr, &str); 6] = [
    ("libz.so.1", c"crc32", "zlib1g"),
    ("libsqlite3.so.0", c"sqlite3_open", "libsqlite3-0"),
    ("libstdc++.so.6", c"_ZSt9terminatev", "libstdc++6"),
    ("libcrypto.so.3", c"EVP_sha256", "libssl3"),
    ("libpython3.11.so.1.0", c"Py_Initialize", "libpython3.11"),
    ("libLLVM-14.so.1", c"LLVMContextCreate", "libllvm14"), // last: a fork is slow once its bytes are read
];

/// The name of [`thread_local`].
const THREAD_LOCAL: &str = "elf-tls";

/// Name, file, a symbol, and the file that it needs.
const CASES: [(&str, &str, &CStr, Option<&str>); 5] = [
    ("elf-plain", "elf/plain/libplain.so", c"plain_add", None),
    (
        "elf-dependency",
        "elf/dependency/libdependency.so",
        c"dependency_root",
        Some("elf/dependency/libdependency-leaf.so"),
    ),
    (
        "elf-data-relocations",
        "elf/data-relocations/libdata.so",
        c"data_word",
        Some("elf/data-relocations/libdatadep.so"),
    ),
    ("pe-plain", "pe/plain/plain.dll", c"plain_add", None),
    (
        "pe-dependency",
        "pe/dependency/dependency.dll",
        c"dependency_root",
        Some("pe/dependency/dependency-leaf.dll"),
    ),
];

/// An image that is measured.
#[derive(Debug)]
pub struct Image {
    /// What results call it.
    pub name: &'static str,
    /// Its format.
    pub format: Format,
    /// Its file.
    pub path: PathBuf,
    /// A symbol that it defines.
    pub symbol: &'static CStr,
    /// What it needs and the system has not.
    pub needs: Option<PathBuf>,
    bytes: OnceLock<&'static [u8]>,
}

impl Image {
    fn new(name: &'static str, format: Format, path: PathBuf, symbol: &'static CStr) -> Self {
        Self { name, format, path, symbol, needs: None, bytes: OnceLock::new() }
    }

    /// Its bytes, read when they are first asked for and kept for as long as the process lives.
    ///
    /// # Panics
    /// Where the file cannot be read.
    pub fn bytes(&self) -> &'static [u8] {
        self.bytes.get_or_init(|| read(&self.path).leak())
    }

    /// The length of its file in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |m| m.len())
    }

    /// The name of its file.
    #[must_use]
    pub fn file_name(&self) -> &str {
        file_name(&self.path)
    }
}

/// The bytes of a file that is known to be there.
///
/// # Panics
/// Where it cannot be read.
#[must_use]
pub fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The name of a file.
#[must_use]
pub fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|n| n.to_str()).unwrap_or_default()
}

/// The images of the corpus.
#[must_use]
pub fn cases() -> Vec<Image> {
    let image = |(name, file, symbol, needs): (&'static str, &str, &'static CStr, Option<&str>)| {
        let format = if file.starts_with("pe/") { Format::Pe } else { Format::Elf };
        let needs = needs.map(|n| corpus::root().join(n));
        Image { needs, ..Image::new(name, format, corpus::root().join(file), symbol) }
    };
    CASES.map(image).into()
}

/// A small image with a dependency.
///
/// # Panics
/// Never: there is one of each format.
#[must_use]
pub fn small(format: Format) -> Image {
    let mut with_needs = cases().into_iter().filter(|i| i.needs.is_some());
    with_needs.find(|i| i.format == format).expect("there is one of each format")
}

/// An image with thread-local variables; its symbol is a function that counts one of them up.
#[must_use]
pub fn thread_local() -> Image {
    let file = corpus::root().join("elf/tls/libtls.so");
    Image::new(THREAD_LOCAL, Format::Elf, file, c"tls_next")
}

/// The libraries of the system that are installed. The others are named, with what they need.
#[must_use]
pub fn libraries() -> Vec<Image> {
    let image = |(name, symbol, package): (&'static str, &'static CStr, &str)| {
        let path = Path::new(SYSTEM).join(name);
        if path.is_file() {
            return Some(Image::new(name, Format::Elf, path, symbol));
        }
        eprintln!("{name}: skipped: needs {} (Debian's package {package})", path.display());
        None
    };
    LIBRARIES.into_iter().filter_map(image).collect()
}

/// Everything that is measured.
#[must_use]
pub fn all() -> Vec<Image> {
    cases().into_iter().chain(libraries()).collect()
}

/// The names of everything that could be measured, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|c| c.0).chain([THREAD_LOCAL]).chain(LIBRARIES.iter().map(|l| l.0))
}
