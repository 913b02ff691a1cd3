//! Copies of files: opened as any program opens them, so that who does not share a file keeps it from being copied, and told of
//! piece by piece to who wants to know.

use super::{
    Bool, FALSE, answer, changes,
    error::code,
    fail,
    file::{self, DELETE, GENERIC_WRITE, Request, on_file, on_path},
    pool,
    sharing::{SHARE_ALL, SHARE_READ, SHARE_WRITE},
    wait::CloseHandle,
};
use crate::{guest::Ptr, teb, text::Text};
use std::{
    fs::{self, FileTimes},
    io::{Read, Write},
    os::unix::fs::MetadataExt,
};

const COPY_FAIL_IF_EXISTS: u32 = 1;
const REQUEST_ABORTED: u32 = 1235;
const SHARING_VIOLATION: u32 = 32;
const PIECE: usize = 0x1_0000;

/// Who is told how far a copy came, and may call it off.
#[derive(Clone, Copy)]
struct Watcher {
    function: usize,
    data: usize,
    cancelled: Ptr<Bool>,
}

/// A handle that is given back.
struct Open(usize);

impl Drop for Open {
    fn drop(&mut self) {
        CloseHandle(self.0);
    }
}

/// What a watcher wants.
#[derive(PartialEq, Eq)]
enum Wish {
    GoOn,
    Quiet,
    /// The copy goes.
    Cancel,
    /// The copy stays as it is.
    Stop,
}

impl Watcher {
    fn ask(&self, reason: u32, sizes: [u64; 2], [from, to]: [&Open; 2]) -> Wish {
        if !self.cancelled.is_null() && self.cancelled.get() != FALSE {
            return Wish::Cancel;
        }
        if self.function == 0 {
            return Wish::GoOn;
        }
        let [total, done] = sizes.map(|n| n as usize);
        let arguments = [total, done, total, done, 1, reason as usize, from.0, to.0, self.data];
        match pool::call_progress(self.function, arguments) {
            0 => Wish::GoOn,
            1 => Wish::Cancel,
            2 => Wish::Stop,
            _ => Wish::Quiet,
        }
    }
}

fn same(from: &str, to: &str) -> bool {
    let place = |name| on_path(name, fs::metadata).ok().map(|m| (m.dev(), m.ino()));
    place(from).is_some_and(|one| place(to) == Some(one))
}

/// Copies what is in a file, its times and whether it may be written to.
fn copy(from: &str, to: &str, flags: u32, mut watcher: Watcher) -> Result<(), u32> {
    const CHUNK_FINISHED: u32 = 0;
    const STREAM_SWITCH: u32 = 1;
    let request =
        Request { access: 0x8000_0000, share: SHARE_ALL, disposition: 3, flags: file::BACKUP_SEMANTICS };
    if on_path(from, fs::metadata).is_ok_and(|m| m.is_dir()) {
        return Err(code::ACCESS_DENIED);
    }
    let source = Open(file::open(from, request)?);
    let disposition = if flags & COPY_FAIL_IF_EXISTS != 0 { 1 } else { 2 };
    if disposition == 2 && same(from, to) {
        return Err(SHARING_VIOLATION);
    }
    // A copy that is called off is deleted, if that may be done.
    let request = |access| Request { access, share: SHARE_READ | SHARE_WRITE, disposition, flags: 0 };
    let (target, deletes) = match file::open(to, request(GENERIC_WRITE | DELETE)) {
        Err(SHARING_VIOLATION) => (Open(file::open(to, request(GENERIC_WRITE))?), false),
        opened => (Open(opened?), true),
    };
    let m = on_file(source.0, fs::File::metadata)?;
    let mut done = 0;
    let mut wish = watcher.ask(STREAM_SWITCH, [m.len(), 0], [&source, &target]);
    let mut piece = vec![0; PIECE];
    while [Wish::GoOn, Wish::Quiet].contains(&wish) {
        if wish == Wish::Quiet {
            watcher.function = 0;
        }
        let n = on_file(source.0, |f| {
            let mut file = f;
            file.read(&mut piece)
        })?;
        if n == 0 {
            break;
        }
        on_file(target.0, |f| {
            let mut file = f;
            file.write_all(&piece[..n])
        })?;
        done += n as u64;
        wish = watcher.ask(CHUNK_FINISHED, [m.len(), done], [&source, &target]);
    }
    if [Wish::Cancel, Wish::Stop].contains(&wish) {
        drop(target);
        if wish == Wish::Cancel && deletes {
            let _ = on_path(to, file::delete); // whoever was quicker
        }
        return Err(REQUEST_ABORTED);
    }
    on_file(target.0, |f| {
        if !f.metadata()?.is_file() {
            return Ok(()); // a device keeps nothing
        }
        let times = FileTimes::new().set_modified(m.modified()?);
        changes::set_times(f, times)?;
        let mut rights = f.metadata()?.permissions();
        rights.set_readonly(m.permissions().readonly());
        changes::set_permissions_of(f, rights)
    })?;
    teb::set_last_error(0);
    Ok(())
}

const NOBODY: Watcher = Watcher { function: 0, data: 0, cancelled: Ptr::NULL };

extern "win64" fn CopyFile<T: Text>(from: Ptr<T>, to: Ptr<T>, refuse: Bool) -> Bool {
    let flags = if refuse == FALSE { 0 } else { COPY_FAIL_IF_EXISTS };
    answer(copy(&T::string(from), &T::string(to), flags, NOBODY))
}

extern "win64" fn CopyFileEx<T: Text>(
    from: Ptr<T>,
    to: Ptr<T>,
    function: usize,
    data: usize,
    cancelled: Ptr<Bool>,
    flags: u32,
) -> Bool {
    answer(copy(&T::string(from), &T::string(to), flags, Watcher { function, data, cancelled }))
}

/// `COPYFILE2_EXTENDED_PARAMETERS`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    size: u32,
    flags: u32,
    cancelled: Ptr<Bool>,
    function: usize,
    data: usize,
}

/// An `HRESULT`. Those who want to be told are not, for their messages are others: they are refused.
extern "win64" fn CopyFile2(from: Ptr<u16>, to: Ptr<u16>, parameters: Ptr<Parameters>) -> u32 {
    const WIN32: u32 = 0x8007_0000;
    let known = (!parameters.is_null()).then(|| parameters.get());
    let result = match known {
        Some(p) if (p.size as usize) < size_of::<Parameters>() => Err(code::INVALID_PARAMETER),
        Some(p) if p.function != 0 => Err(code::NOT_SUPPORTED),
        Some(p) => copy(&from.string(), &to.string(), p.flags, Watcher { cancelled: p.cancelled, ..NOBODY }),
        None => copy(&from.string(), &to.string(), 0, NOBODY),
    };
    match result {
        Ok(()) => 0,
        Err(error) => {
            fail(error);
            WIN32 | error
        }
    }
}

table! {
    /// Copies.
    pub(crate) TABLE:
        CopyFileA = CopyFile::<u8>, CopyFileW = CopyFile::<u16>, CopyFileExA = CopyFileEx::<u8>,
        CopyFileExW = CopyFileEx::<u16>, CopyFile2
}
