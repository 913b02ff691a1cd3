//! Error numbers.

use crate::{guest::Ptr, teb, text};

/// Numbers of `winerror.h`.
#[allow(missing_docs)]
pub(crate) mod code {
    pub(crate) const FILE_NOT_FOUND: u32 = 2;
    pub(crate) const PATH_NOT_FOUND: u32 = 3;
    pub(crate) const ACCESS_DENIED: u32 = 5;
    pub(crate) const INVALID_HANDLE: u32 = 6;
    pub(crate) const NOT_ENOUGH_MEMORY: u32 = 8;
    pub(crate) const NO_MORE_FILES: u32 = 18;
    pub(crate) const BAD_LENGTH: u32 = 24;
    pub(crate) const GEN_FAILURE: u32 = 31;
    pub(crate) const HANDLE_EOF: u32 = 38;
    pub(crate) const NOT_SUPPORTED: u32 = 50;
    pub(crate) const FILE_EXISTS: u32 = 80;
    pub(crate) const INVALID_PARAMETER: u32 = 87;
    pub(crate) const INSUFFICIENT_BUFFER: u32 = 122;
    pub(crate) const MOD_NOT_FOUND: u32 = 126;
    pub(crate) const PROC_NOT_FOUND: u32 = 127;
    pub(crate) const NOT_LOCKED: u32 = 158;
    pub(crate) const ALREADY_EXISTS: u32 = 183;
    pub(crate) const BAD_EXE_FORMAT: u32 = 193;
    pub(crate) const ENVVAR_NOT_FOUND: u32 = 203;
    pub(crate) const NOT_OWNER: u32 = 288;
    pub(crate) const TOO_MANY_POSTS: u32 = 298;
    pub(crate) const PARTIAL_COPY: u32 = 299;
    pub(crate) const INVALID_ADDRESS: u32 = 487;
    pub(crate) const NOACCESS: u32 = 998;
    pub(crate) const FILE_INVALID: u32 = 1006;
    pub(crate) const NO_UNICODE_TRANSLATION: u32 = 1113;
    pub(crate) const MAPPED_ALIGNMENT: u32 = 1132;
    pub(crate) const OLD_WIN_VERSION: u32 = 1150;
    pub(crate) const USER_MAPPED_FILE: u32 = 1224;
    pub(crate) const PRIVILEGE_NOT_HELD: u32 = 1314;
    pub(crate) const WORKING_SET_QUOTA: u32 = 1453;
    pub(crate) const COMMITMENT_LIMIT: u32 = 1455;
    pub(crate) const TIMEOUT: u32 = 1460;
    pub(crate) const RESOURCE_DATA_NOT_FOUND: u32 = 1812;
    pub(crate) const RESOURCE_TYPE_NOT_FOUND: u32 = 1813;
    pub(crate) const RESOURCE_NAME_NOT_FOUND: u32 = 1814;
    pub(crate) const RESOURCE_LANG_NOT_FOUND: u32 = 1815;
    pub(crate) const RESOURCE_ENUM_USER_STOP: u32 = 15106;
}

/// The Windows number for one of Linux.
pub(crate) fn from_os(errno: i32) -> u32 {
    match errno {
        libc::ENOENT => code::FILE_NOT_FOUND,
        libc::ENOTDIR => code::PATH_NOT_FOUND,
        libc::EMFILE | libc::ENFILE => 4, // ERROR_TOO_MANY_OPEN_FILES
        libc::EACCES | libc::EPERM | libc::EISDIR | libc::EROFS => code::ACCESS_DENIED,
        libc::EBADF => code::INVALID_HANDLE,
        libc::ENOMEM => code::NOT_ENOUGH_MEMORY,
        libc::EEXIST => code::ALREADY_EXISTS,
        libc::ENOSPC => 112,       // ERROR_DISK_FULL
        libc::EPIPE => 109,        // ERROR_BROKEN_PIPE
        libc::ENOTEMPTY => 145,    // ERROR_DIR_NOT_EMPTY
        libc::ENAMETOOLONG => 206, // ERROR_FILENAME_EXCED_RANGE
        libc::EXDEV => 17,         // ERROR_NOT_SAME_DEVICE
        libc::EINVAL => code::INVALID_PARAMETER,
        _ => code::GEN_FAILURE,
    }
}

/// As [`from_os`], for an error of the standard library.
pub(crate) fn from_io(error: &std::io::Error) -> u32 {
    from_os(error.raw_os_error().unwrap_or(libc::EINVAL))
}

extern "win64" fn GetLastError() -> u32 {
    teb::with(|t| t.last_error.get())
}

extern "win64" fn SetLastError(code: u32) {
    teb::set_last_error(code);
}

const ALLOCATE_BUFFER: u32 = 0x100;
const IGNORE_INSERTS: u32 = 0x200;
const FROM_STRING: u32 = 0x400;
const FROM_SYSTEM: u32 = 0x1000;

/// What the system says of an error number, as far as it is known here.
fn message(id: u32) -> Option<String> {
    let text = match id {
        0 => "The operation completed successfully.",
        1 => "Incorrect function.",
        code::FILE_NOT_FOUND => "The system cannot find the file specified.",
        code::PATH_NOT_FOUND => "The system cannot find the path specified.",
        4 => "The system cannot open the file.",
        code::ACCESS_DENIED => "Access is denied.",
        code::INVALID_HANDLE => "The handle is invalid.",
        code::NOT_ENOUGH_MEMORY => "Not enough memory resources are available to process this command.",
        code::NO_MORE_FILES => "There are no more files.",
        code::GEN_FAILURE => "A device attached to the system is not functioning.",
        code::HANDLE_EOF => "Reached the end of the file.",
        code::FILE_EXISTS => "The file exists.",
        code::INVALID_PARAMETER => "The parameter is incorrect.",
        109 => "The pipe has been ended.",
        112 => "There is not enough space on the disk.",
        code::INSUFFICIENT_BUFFER => "The data area passed to a system call is too small.",
        code::MOD_NOT_FOUND => "The specified module could not be found.",
        code::PROC_NOT_FOUND => "The specified procedure could not be found.",
        145 => "The directory is not empty.",
        code::ALREADY_EXISTS => "Cannot create a file when that file already exists.",
        193 => "%1 is not a valid Win32 application.",
        code::ENVVAR_NOT_FOUND => "The system could not find the environment option that was entered.",
        code::INVALID_ADDRESS => "Attempt to access invalid address.",
        code::NOT_SUPPORTED => "The request is not supported.",
        code::NOT_LOCKED => "The segment is already unlocked.",
        code::PARTIAL_COPY => "Only part of a ReadProcessMemory or WriteProcessMemory request was completed.",
        code::PRIVILEGE_NOT_HELD => "A required privilege is not held by the client.",
        code::COMMITMENT_LIMIT => "The paging file is too small for this operation to complete.",
        code::NOACCESS => "Invalid access to memory location.",
        1114 => "A dynamic link library (DLL) initialization routine failed.",
        code::TIMEOUT => "This operation returned because the timeout period expired.",
        code::RESOURCE_DATA_NOT_FOUND => "The specified image file did not contain a resource section.",
        code::RESOURCE_TYPE_NOT_FOUND => "The specified resource type cannot be found in the image file.",
        code::RESOURCE_NAME_NOT_FOUND => "The specified resource name cannot be found in the image file.",
        code::RESOURCE_LANG_NOT_FOUND => {
            "The specified resource language ID cannot be found in the image file."
        }
        _ => return None,
    };
    Some(format!("{text}\r\n"))
}

/// The text that `FormatMessage` gives, or the error. Inserts are not made: a text that asks for them is refused unless
/// the caller wants it as it is.
fn format_message(flags: u32, template: impl FnOnce() -> String, id: u32) -> Result<String, u32> {
    let text = match flags & (FROM_STRING | FROM_SYSTEM) {
        FROM_SYSTEM => message(id).ok_or(317u32)?, // ERROR_MR_MID_NOT_FOUND
        FROM_STRING => template(),
        _ => return Err(code::INVALID_PARAMETER),
    };
    let wants_inserts = text.contains('%') && flags & (IGNORE_INSERTS | FROM_SYSTEM) == 0;
    if wants_inserts { Err(code::INVALID_PARAMETER) } else { Ok(text) }
}

/// Hands a message to the caller: into its buffer, or as a new block.
fn deliver<T: Copy + Default>(flags: u32, text: &[T], to: Ptr<T>, room: u32) -> u32 {
    if flags & ALLOCATE_BUFFER != 0 {
        let len = (text.len() + 1).max(room as usize) * size_of::<T>();
        let block = crate::heap::alloc(len, true).cast::<T>();
        if block.is_null() {
            return super::fail(code::NOT_ENOUGH_MEMORY) as u32;
        }
        block.fill(text);
        to.cast::<usize>().put(block.addr());
        return text::length(text.len());
    }
    if text.len() >= room as usize {
        return super::fail(code::INSUFFICIENT_BUFFER) as u32;
    }
    text::answer(text, to, room)
}

extern "win64" fn FormatMessageA(
    flags: u32,
    source: Ptr<u8>,
    id: u32,
    _language: u32,
    to: Ptr<u8>,
    room: u32,
    _arguments: usize,
) -> u32 {
    match format_message(flags, || source.string(), id) {
        Ok(text) => deliver(flags, text.as_bytes(), to, room),
        Err(code) => super::fail(code) as u32,
    }
}

extern "win64" fn FormatMessageW(
    flags: u32,
    source: Ptr<u16>,
    id: u32,
    _language: u32,
    to: Ptr<u16>,
    room: u32,
    _arguments: usize,
) -> u32 {
    match format_message(flags, || source.string(), id) {
        Ok(text) => deliver(flags, &text::wide(&text), to, room),
        Err(code) => super::fail(code) as u32,
    }
}

table! {
    /// Errors.
    pub(crate) TABLE: GetLastError, SetLastError, RestoreLastError = SetLastError, FormatMessageA, FormatMessageW
}
