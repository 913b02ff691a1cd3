//! Where a library's bytes come from: who looks for it, what was found, and how to tell that it is loaded already.

use crate::{Buffer, ErrorKind, HostModule, Image, Need};
use rustix::{buffer::spare_capacity, io::Errno};
use std::{
    fmt,
    fs::{File, FileType, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The bytes of one loadfile: a read-only file mapping, or a buffer.
///
/// A mapped file that another process truncates while it is in use raises SIGBUS, as with every memory-mapped
/// library; bytes that must survive that are given as a buffer.
pub struct Source {
    bytes: Bytes,
}

/// Up to this many bytes, a read costs less than a mapping and its page faults.
const SMALL: u64 = 16 << 10;

enum Bytes {
    Mapped(memmap2::Mmap),
    Pages(memmap2::Mmap, File),
    Read(Vec<u8>),
    Owned(Arc<[u8]>),
    Static(&'static [u8]),
}

impl Source {
    /// A buffer that is shared with the caller.
    #[must_use]
    pub fn owned(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self { bytes: Bytes::Owned(bytes.into()) }
    }

    /// A buffer that lives as long as the program.
    #[must_use]
    pub fn embedded(bytes: &'static [u8]) -> Self {
        Self { bytes: Bytes::Static(bytes) }
    }

    /// A buffer that is handed over: images are mapped out of it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] where the system does not protect it from writing.
    pub fn pages(buffer: Buffer) -> Result<Self, ErrorKind> {
        let (pages, file) = buffer.into_parts()?;
        Ok(Self { bytes: Bytes::Pages(pages, file) })
    }

    /// Maps a whole file for reading; a small one is read, which is quicker.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], or [`ErrorKind::NotALoadfile`] for an empty file and for what is no regular file.
    pub fn mapped(file: &File) -> Result<Self, ErrorKind> {
        let meta = metadata(file)?;
        Self::mapped_as(file, meta.file_type(), meta.len())
    }

    fn mapped_as(file: &File, kind: FileType, len: u64) -> Result<Self, ErrorKind> {
        let found = |found| Err(ErrorKind::NotALoadfile { found });
        match () {
            () if kind.is_dir() => return found("a directory"),
            () if !kind.is_file() => return found("not a regular file"),
            () if len == 0 => return found("an empty file"),
            () => {}
        }
        if len <= SMALL {
            return Ok(Self { bytes: Bytes::Read(read(file, len as usize).map_err(io("read the file"))?) });
        }
        Ok(Self { bytes: Bytes::Mapped(map_file(file, len).map_err(io("map the file"))?) })
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(m) | Bytes::Pages(m, _) => m,
            Bytes::Read(b) => b,
            Bytes::Owned(b) => b,
            Bytes::Static(b) => b,
        }
    }

    /// The file that has the same bytes and that nobody else has, where there is one.
    pub(crate) fn file(&self) -> Option<&File> {
        match &self.bytes {
            Bytes::Pages(_, file) => Some(file),
            Bytes::Mapped(_) | Bytes::Read(_) | Bytes::Owned(_) | Bytes::Static(_) => None,
        }
    }
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> ErrorKind {
    move |e| ErrorKind::Io { what, os: e.raw_os_error().unwrap_or(0) }
}

fn metadata(file: &File) -> Result<Metadata, ErrorKind> {
    file.metadata().map_err(io("stat the file"))
}

/// The first `len` bytes of a file.
fn read(file: &File, len: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    bytes.truncate(len); // of a file that grows
    Ok(bytes)
}

#[allow(unsafe_code)]
fn map_file(file: &File, len: u64) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the mapping is private and read-only; that nobody truncates a library in use is the same promise that
    // every program gives the system's loader, and `Source` says so.
    unsafe { memmap2::MmapOptions::new().len(len as usize).map(file) }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.bytes {
            Bytes::Mapped(_) | Bytes::Read(_) => "file",
            Bytes::Pages(..) | Bytes::Owned(_) | Bytes::Static(_) => "buffer",
        };
        write!(f, "Source({kind}, {} bytes)", self.bytes().len())
    }
}

/// Which file on which device: the same for every path that leads to one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }

    /// The identity of the file that a path leads to now.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        path.metadata().ok().map(|m| Self::of(&m))
    }
}

/// A file, opened but not read.
#[derive(Debug)]
pub struct FoundFile {
    /// The file.
    pub file: File,
    /// Where it was found.
    pub path: PathBuf,
    /// Which file it is.
    pub id: FileId,
    kind: FileType,
    len: u64,
}

impl FoundFile {
    /// Opens a path.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] (needed by nobody), [`ErrorKind::Io`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ErrorKind> {
        let path = path.into();
        let file = File::open(&path).map_err(|e| match e.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => ErrorKind::NotFound { needed_by: "".into() },
            os => ErrorKind::Io { what: "open the file", os: os.unwrap_or(0) },
        })?;
        let meta = metadata(&file)?;
        let (id, kind, len) = (FileId::of(&meta), meta.file_type(), meta.len());
        Ok(Self { file, path, id, kind, len })
    }

    /// Its bytes, as [`Source::mapped`] gives them.
    ///
    /// # Errors
    /// As [`Source::mapped`].
    pub fn source(&self) -> Result<Source, ErrorKind> {
        Source::mapped_as(&self.file, self.kind, self.len)
    }
}

/// What a search came to.
#[derive(Debug)]
pub enum Found {
    /// A file.
    File(FoundFile),
    /// Bytes that the embedder provided under that name.
    Bytes(Arc<Source>),
    /// No file, but functions of the host that take its place.
    Host(Arc<HostModule>),
}

/// Who needs a library: what search rules are relative to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Requester<'a> {
    /// The requester's name, empty for the embedder.
    pub name: &'a str,
    /// The requester's file, where it has one.
    pub path: Option<&'a Path>,
    /// The requester's image, `None` for the embedder.
    pub image: Option<&'a dyn Image>,
}

/// Looks for libraries and understands them. The front door's implementation knows both formats.
pub trait Locator: Send + Sync {
    /// Looks for a library; `trying` is told each place before it is looked at.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Io`].
    fn locate(
        &self,
        need: &Need,
        by: &Requester<'_>,
        trying: &mut dyn FnMut(&Path),
    ) -> Result<Found, ErrorKind>;

    /// Understands the bytes of one file.
    ///
    /// # Errors
    /// Whatever is wrong with them.
    fn parse(&self, source: &Arc<Source>) -> Result<Arc<dyn Image>, ErrorKind>;
}
