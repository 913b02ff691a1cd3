//! What can be wrong with the corpus itself; every sentence names the file, and the line where there is one.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// A fault in the corpus: where, and what.
#[derive(Debug)]
pub struct Error {
    /// The file or folder at fault.
    pub file: PathBuf,
    /// The line in it, counted from 1; 0 speaks of the file as a whole.
    pub line: usize,
    /// What is wrong there.
    pub kind: ErrorKind,
}

/// What can be wrong.
#[derive(Debug)]
pub enum ErrorKind {
    /// The file cannot be read.
    Io(io::Error),
    /// A line that is not `key: text`.
    NoKey,
    /// A key that means nothing.
    UnknownKey(String),
    /// A line whose text does not have the form that its key asks for.
    Expected(&'static str),
    /// A value such as `i32:five`.
    BadValue(String),
    /// A line that speaks of the action before it, but there is none, or none that it can speak of.
    NothingBefore(&'static str),
    /// An image that no `image:` line makes.
    NotAnImage(String),
    /// A name that no `open:` line has given, or that is closed already.
    NotOpen(String),
    /// A name that is open already.
    OpenAlready(String),
    /// A root that the script never closes.
    LeftOpen(String),
    /// A key that must stand in every case and does not.
    Missing(&'static str),
}

impl Error {
    pub(crate) fn io(file: &Path, error: io::Error) -> Self {
        Self { file: file.into(), line: 0, kind: ErrorKind::Io(error) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        match &self.kind {
            ErrorKind::Io(error) => write!(f, " {error}"),
            ErrorKind::NoKey => write!(f, " expected `key: text`"),
            ErrorKind::UnknownKey(key) => write!(f, " unknown key `{key}`"),
            ErrorKind::Expected(form) => write!(f, " expected `{form}`"),
            ErrorKind::BadValue(text) => write!(
                f,
                " `{text}` is not a value such as `i32:5`, `f64:1.5`, `str:hi`, `bool:true` or `void`"
            ),
            ErrorKind::NothingBefore(key) => {
                write!(f, " `{key}:` speaks of the action before it, and there is none that it fits")
            }
            ErrorKind::NotAnImage(file) => write!(f, " no `image:` line makes {file}"),
            ErrorKind::NotOpen(name) => write!(f, " {name} is not open here"),
            ErrorKind::OpenAlready(name) => {
                write!(f, " {name} is open already; give it another name with `as`")
            }
            ErrorKind::LeftOpen(name) => write!(f, " {name} is never closed"),
            ErrorKind::Missing(key) => write!(f, " has no `{key}:` line"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ErrorKind::Io(error) => Some(error),
            _ => None,
        }
    }
}
