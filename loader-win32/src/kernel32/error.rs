//! Error numbers.

use crate::teb;

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
    pub(crate) const BROKEN_PIPE: u32 = 109;
    pub(crate) const INSUFFICIENT_BUFFER: u32 = 122;
    pub(crate) const MOD_NOT_FOUND: u32 = 126;
    pub(crate) const PROC_NOT_FOUND: u32 = 127;
    pub(crate) const NOT_LOCKED: u32 = 158;
    pub(crate) const ALREADY_EXISTS: u32 = 183;
    pub(crate) const BAD_EXE_FORMAT: u32 = 193;
    pub(crate) const ENVVAR_NOT_FOUND: u32 = 203;
    pub(crate) const MORE_DATA: u32 = 234;
    pub(crate) const NO_WORK_DONE: u32 = 235;
    pub(crate) const PARTIAL_COPY: u32 = 299;
    pub(crate) const MR_MID_NOT_FOUND: u32 = 317;
    pub(crate) const INVALID_ADDRESS: u32 = 487;
    pub(crate) const NOACCESS: u32 = 998;
    pub(crate) const INVALID_FLAGS: u32 = 1004;
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
        libc::ENOSPC => 112, // ERROR_DISK_FULL
        libc::EPIPE => code::BROKEN_PIPE,
        libc::EBUSY => 32,         // ERROR_SHARING_VIOLATION
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

pub(crate) extern "win64" fn GetLastError() -> u32 {
    teb::with(|t| t.last_error.get())
}

pub(crate) extern "win64" fn SetLastError(code: u32) {
    teb::set_last_error(code);
}

table! {
    /// Errors.
    pub(crate) TABLE: GetLastError, SetLastError, RestoreLastError = SetLastError
}
