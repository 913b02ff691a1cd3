//! Small shared objects and DLLs, each with its source, how it is built and what must come out of it.
//!
//! A case is a folder (`elf/<name>`, `pe/<name>`; twins share a name) that holds C sources, a `case.txt` and the
//! prebuilt images. A runner needs nothing but [`cases`]; a new case is no new Rust. `README.md` has the line format.
//!
//! Read [`case`] next, then [`hostile`] for the images that no loader may accept (or survive without a word).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub mod case;
pub mod demo;
mod error;
pub mod hostile;
pub mod patch;

pub use case::{Action, Case, ImageRecipe, Open, Refusal, Step, Symbol, Value};
pub use error::{Error, ErrorKind};

/// The two families of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Shared objects; folder `elf`.
    Elf,
    /// Windows DLLs; folder `pe`.
    Pe,
}

impl Format {
    /// Both, in the order in which everything here lists them.
    pub const ALL: [Self; 2] = [Self::Elf, Self::Pe];

    /// The name of the folder that holds the cases of this format.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Elf => "elf",
            Self::Pe => "pe",
        }
    }
}

/// Small images, three of a format, relative to [`root`]: every truncation and every changed byte of them is tried.
pub const FUZZED: [(&str, Format); 6] = [
    ("elf/data-relocations/libdata.so", Format::Elf),
    ("elf/tls/libtls.so", Format::Elf),
    ("elf/versions/libversions.so", Format::Elf),
    ("pe/data-relocations/data.dll", Format::Pe),
    ("pe/forwarder/forwarder.dll", Format::Pe),
    ("pe/tls/tls.dll", Format::Pe),
];

/// The folder of this crate, under which all images lie.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files in a folder and below, sorted.
///
/// # Errors
/// A folder that cannot be read.
pub fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut entries = entries.collect::<io::Result<Vec<PathBuf>>>()?;
    entries.sort();
    let below = |path: PathBuf| match path.is_dir() {
        true => files_below(&path),
        false => Ok(vec![path]),
    };
    Ok(entries.into_iter().map(below).collect::<io::Result<Vec<_>>>()?.concat())
}

/// Every case: ELF first, then PE, each sorted by name.
///
/// # Errors
/// A folder that cannot be read, or a `case.txt` with a line that does not parse.
pub fn cases() -> Result<Vec<Case>, Error> {
    let mut found = Vec::new();
    for format in Format::ALL {
        let folder = root().join(format.folder());
        for entry in fs::read_dir(&folder).map_err(|e| Error::io(&folder, e))? {
            let path = entry.map_err(|e| Error::io(&folder, e))?.path();
            if path.join("case.txt").is_file() {
                found.push(Case::read(format, &path)?);
            }
        }
    }
    found.sort_by(|a, b| (a.format, &a.name).cmp(&(b.format, &b.name)));
    Ok(found)
}

/// The DLLs of the event traces, which have scripts of another kind: `oracle/README.md`.
///
/// # Errors
/// As [`cases`].
pub fn oracle() -> Result<Case, Error> {
    Case::read(Format::Pe, &root().join("oracle"))
}

/// The images whose code is hostile, ELF and PE: what only a sandbox may run. They have no scripts; `mischief/README.md`
/// says what each function does.
///
/// # Errors
/// As [`cases`].
pub fn mischief() -> Result<[Case; 2], Error> {
    let read = |format: Format| Case::read(format, &root().join("mischief").join(format.folder()));
    Ok([read(Format::Elf)?, read(Format::Pe)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_case_is_whole() {
        let cases = cases().unwrap_or_else(|error| panic!("{error}"));
        let (mut files, mut total) = (BTreeSet::new(), 0);
        for case in &cases {
            for file in case.committed() {
                let path = case.path(file);
                let length = fs::metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).len();
                assert!(length < 80 * 1024, "{} is not small", path.display());
                assert!(
                    files.insert((case.format, path.file_name().map(ToOwned::to_owned))),
                    "{file} is there twice"
                );
                total += length;
            }
        }
        assert!(total < 2_000_000, "the corpus has {total} bytes");
        for format in Format::ALL {
            assert!(cases.iter().filter(|case| case.format == format).count() >= 20);
        }
    }

    #[test]
    fn the_dlls_of_the_traces_are_there_and_small() {
        let oracle = oracle().unwrap_or_else(|error| panic!("{error}"));
        for file in oracle.committed() {
            let length = fs::metadata(oracle.path(file)).unwrap_or_else(|e| panic!("{file}: {e}")).len();
            assert!(length < 24 * 1024, "{file} has {length} bytes");
        }
    }

    #[test]
    fn mischief_is_there_and_small() {
        for case in mischief().unwrap_or_else(|error| panic!("{error}")) {
            assert_eq!(case.script, [], "nothing but a sandbox runs it");
            for file in case.committed() {
                let length = fs::metadata(case.path(file)).unwrap_or_else(|e| panic!("{file}: {e}")).len();
                assert!(length < 20 * 1024, "{file} has {length} bytes");
            }
        }
    }

    #[test]
    fn what_is_fuzzed_is_small() {
        for (path, format) in FUZZED {
            assert!(path.starts_with(format.folder()));
            let length = fs::metadata(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}")).len();
            assert!(length < 8 * 1024, "{path} has {length} bytes");
        }
    }
}
