//! Files as NT knows them: names that begin at its root or at an open folder, and outcomes in a block of their own.

use super::status::{self, SUCCESS};
use crate::{
    guest::Ptr,
    kernel32::{
        file::{self, BACKUP_SEMANTICS, Request, on_file, on_path},
        named::SetEvent,
        opened,
        transfer::{read, write},
        wait::object,
    },
    object::Call,
    rtl::counted::Text,
    teb,
};
use std::{
    fs,
    io::{Seek, SeekFrom},
    path::Path,
};

/// `OBJECT_ATTRIBUTES`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Attributes {
    pub(super) length: u32,
    pub(super) root: usize,
    pub(super) name: Ptr<Text>,
    pub(super) flags: u32,
    descriptor: usize,
    quality: usize,
}

const _: () = assert!(size_of::<Attributes>() == 48);

/// `IO_STATUS_BLOCK`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    status: u64,
    information: u64,
}

impl Outcome {
    pub(crate) fn new(status: u32, information: u64) -> Self {
        Self { status: status.into(), information }
    }
}

/// The Windows path that the attributes name: below an open folder, or from the root of all names, where `\??\` has the
/// drives. Of devices none can be opened.
pub(super) fn named(attributes: Ptr<Attributes>) -> Result<String, u32> {
    if attributes.is_null() {
        return Err(status::INVALID_PARAMETER);
    }
    let Attributes { length, root, name, .. } = attributes.get();
    if length as usize != size_of::<Attributes>() {
        return Err(status::INVALID_PARAMETER);
    }
    let name = if name.is_null() { String::new() } else { name.get().string() };
    if root != 0 {
        let folder = object(root).map_err(|_| status::INVALID_HANDLE)?;
        let folder = opened::guest_path(&folder).ok_or(status::INVALID_HANDLE)?;
        return match name.as_str() {
            "" => Ok(folder),
            name if name.starts_with('\\') => Err(status::INVALID_PARAMETER),
            name => Ok(format!(r"{}\{name}", folder.trim_end_matches('\\'))),
        };
    }
    let drives = [r"\??\", r"\DosDevices\", r"\GLOBAL??\"];
    let path = drives.iter().find_map(|prefix| {
        let head = name.get(..prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then(|| name[prefix.len()..].to_owned())
    });
    match path {
        Some(path) => Ok(path),
        None if name.starts_with('\\') => Err(status::OBJECT_PATH_NOT_FOUND),
        None => Err(status::OBJECT_PATH_SYNTAX_BAD),
    }
}

const DIRECTORY_FILE: u32 = 1;
const NON_DIRECTORY_FILE: u32 = 0x40;
const DELETE_ON_CLOSE: u32 = 0x1000;
const OPEN_REPARSE_POINT: u32 = 0x20_0000;
const MAXIMUM_ALLOWED: u32 = 0x200_0000;

/// What happened to the file: the second number of the outcome.
const OPENED: u64 = 1;
const CREATED: u64 = 2;
const OVERWRITTEN: u64 = 3;
const SUPERSEDED: u64 = 0;

/// Opens or makes a file or folder.
fn create(name: &str, access: u32, share: u32, disposition: u32, options: u32) -> Result<(usize, u64), u32> {
    // As `CreateFile` counts: create always, open existing, create new, open always, truncate existing, create always.
    let usual = *[2, 3, 1, 4, 5, 2].get(disposition as usize).ok_or(status::INVALID_PARAMETER)?;
    let place = file::host(name).map_err(status::of)?;
    let place = Path::new(&place);
    let (link, existed) = (options & OPEN_REPARSE_POINT != 0 && place.is_symlink(), place.exists());
    let folder = place.is_dir() && !link;
    if options & DIRECTORY_FILE != 0 {
        match (usual, existed) {
            (1 | 4, false) => on_path(name, fs::create_dir).map_err(status::of)?,
            (1, true) => return Err(status::of(183)),
            (3 | 4, _) if !existed || place.is_dir() => {}
            (3 | 4, _) => return Err(status::NOT_A_DIRECTORY),
            _ => return Err(status::INVALID_PARAMETER),
        }
    } else if options & NON_DIRECTORY_FILE != 0 && folder {
        return Err(status::FILE_IS_A_DIRECTORY);
    }
    let access = if access & MAXIMUM_ALLOWED != 0 { access | file::GENERIC_ALL } else { access };
    let as_folder = options & DIRECTORY_FILE != 0 || folder;
    let request = Request {
        share,
        // A folder is opened to be looked at, whatever else may be done to what is in it.
        access: if as_folder { access & !(file::GENERIC_WRITE | file::GENERIC_ALL | 6) } else { access },
        disposition: if options & DIRECTORY_FILE != 0 { 3 } else { usual },
        flags: BACKUP_SEMANTICS
            | if options & DELETE_ON_CLOSE != 0 { file::DELETE_ON_CLOSE } else { 0 }
            | if options & OPEN_REPARSE_POINT != 0 { file::OPEN_REPARSE_POINT } else { 0 },
    };
    let handle = file::open(name, request).map_err(status::of)?;
    Ok((
        handle,
        match (existed, disposition) {
            (false, _) => CREATED,
            (true, 0) => SUPERSEDED,
            (true, 4 | 5) => OVERWRITTEN,
            (true, _) => OPENED,
        },
    ))
}

extern "win64" fn NtCreateFile(
    out: Ptr<usize>,
    access: u32,
    attributes: Ptr<Attributes>,
    outcome: Ptr<Outcome>,
    _size: Ptr<i64>,
    _file_attributes: u32,
    share: u32,
    disposition: u32,
    options: u32,
    _extended: usize,
    _extended_length: u32,
) -> u32 {
    if out.is_null() || outcome.is_null() {
        return status::ACCESS_VIOLATION;
    }
    match named(attributes).and_then(|name| create(&name, access, share, disposition, options)) {
        Ok((handle, happened)) => {
            out.set(handle);
            outcome.set(Outcome::new(SUCCESS, happened));
            SUCCESS
        }
        Err(status) => status,
    }
}

extern "win64" fn NtOpenFile(
    out: Ptr<usize>,
    access: u32,
    attributes: Ptr<Attributes>,
    outcome: Ptr<Outcome>,
    share: u32,
    options: u32,
) -> u32 {
    NtCreateFile(out, access, attributes, outcome, Ptr::NULL, 0, share, 1, options, 0, 0)
}

/// Where a transfer begins: nowhere named and -2 are where the file stands, -1 is its end.
fn place(handle: usize, offset: Ptr<i64>) -> Result<Option<u64>, u32> {
    match (!offset.is_null()).then(|| offset.get()) {
        None | Some(-2) => Ok(None),
        Some(-1) => on_file(handle, |f| Ok(Some(f.metadata()?.len()))).map_err(status::of),
        Some(at) => u64::try_from(at).map(Some).map_err(|_| status::INVALID_PARAMETER),
    }
}

/// A transfer at a place leaves the file standing behind it.
fn stand_behind(handle: usize, offset: Option<u64>, n: usize) {
    if let Some(at) = offset {
        let _ = on_file(handle, |f| {
            let mut file = f;
            file.seek(SeekFrom::Start(at.saturating_add(n as u64)))
        });
    }
}

/// How the caller of a transfer wants to learn of its end.
struct Notice {
    event: usize,
    routine: usize,
    context: usize,
    outcome: Ptr<Outcome>,
}

impl Notice {
    /// All is done: the block, the event and the call say so.
    fn tell(&self, done: Result<usize, u32>) -> u32 {
        let status = done.err().unwrap_or(SUCCESS);
        // What is refused was never begun.
        if done.is_err() && status != status::END_OF_FILE {
            return status;
        }
        self.outcome.set(Outcome::new(status, done.unwrap_or(0) as u64));
        if self.event != 0 {
            SetEvent(self.event);
        }
        if self.routine != 0 && status == SUCCESS {
            let thread = teb::process().objects.current_thread();
            let arguments = [self.context, self.outcome.addr(), 0];
            thread.call(Call { function: self.routine, arguments });
        }
        status
    }
}

extern "win64" fn NtReadFile(
    handle: usize,
    event: usize,
    routine: usize,
    context: usize,
    outcome: Ptr<Outcome>,
    to: Ptr<u8>,
    len: u32,
    offset: Ptr<i64>,
    _key: usize,
) -> u32 {
    if outcome.is_null() || to.is_null() && len != 0 {
        return status::ACCESS_VIOLATION;
    }
    let done = place(handle, offset).and_then(|place| {
        let n = read(handle, to, len, place).map_err(status::of)?;
        stand_behind(handle, place, n);
        if n == 0 && len != 0 { Err(status::END_OF_FILE) } else { Ok(n) }
    });
    Notice { event, routine, context, outcome }.tell(done)
}

extern "win64" fn NtWriteFile(
    handle: usize,
    event: usize,
    routine: usize,
    context: usize,
    outcome: Ptr<Outcome>,
    from: Ptr<u8>,
    len: u32,
    offset: Ptr<i64>,
    _key: usize,
) -> u32 {
    if outcome.is_null() || from.is_null() && len != 0 {
        return status::ACCESS_VIOLATION;
    }
    let done = place(handle, offset).and_then(|place| {
        let n = write(handle, from, len, place).map_err(status::of)?;
        stand_behind(handle, place, n);
        Ok(n)
    });
    Notice { event, routine, context, outcome }.tell(done)
}

/// Nothing is under way that could be found.
extern "win64" fn NtCancelIoFileEx(handle: usize, _which: usize, outcome: Ptr<Outcome>) -> u32 {
    if on_file(handle, |_| Ok(())).is_err() {
        return status::INVALID_HANDLE;
    }
    outcome.put(Outcome::new(status::NOT_FOUND, 0));
    status::NOT_FOUND
}

/// Nothing of this thread's is under way.
extern "win64" fn NtCancelIoFile(handle: usize, outcome: Ptr<Outcome>) -> u32 {
    if on_file(handle, |_| Ok(())).is_err() {
        return status::INVALID_HANDLE;
    }
    outcome.put(Outcome::new(SUCCESS, 0));
    SUCCESS
}

/// There is no file system of pipes.
extern "win64" fn NtCreateNamedPipeFile(
    _out: Ptr<usize>,
    _access: u32,
    _attributes: Ptr<Attributes>,
    _outcome: Ptr<Outcome>,
    _share: u32,
    _disposition: u32,
    _options: u32,
    _kind: u32,
    _mode: u32,
    _completion: u32,
    _instances: u32,
    _in_quota: u32,
    _out_quota: u32,
    _timeout: Ptr<i64>,
) -> u32 {
    status::NOT_SUPPORTED
}

extern "win64" fn NtClose(handle: usize) -> u32 {
    match teb::process().objects.close(handle) {
        Some(_) => SUCCESS,
        None => status::INVALID_HANDLE,
    }
}

table! {
    /// Files, below KERNEL32.
    pub(crate) TABLE:
        NtCreateFile, NtOpenFile, NtReadFile, NtWriteFile, NtCancelIoFile, NtCancelIoFileEx, NtCreateNamedPipeFile, NtClose,
        ZwCreateFile = NtCreateFile, ZwOpenFile = NtOpenFile, ZwReadFile = NtReadFile, ZwWriteFile = NtWriteFile,
        ZwClose = NtClose
}
