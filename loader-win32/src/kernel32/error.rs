//! Error numbers.

use crate::{
    format::{self, Arguments, Style, Width},
    guest::Ptr,
    teb, text,
};

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
    pub(crate) const NOT_OWNER: u32 = 288;
    pub(crate) const TOO_MANY_POSTS: u32 = 298;
    pub(crate) const PARTIAL_COPY: u32 = 299;
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
const ARGUMENT_ARRAY: u32 = 0x2000;

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
        7 => "The storage control blocks were destroyed.",
        11 => "An attempt was made to load a program with an incorrect format.",
        12 => "The access code is invalid.",
        13 => "The data is invalid.",
        14 => "Not enough memory resources are available to complete this operation.",
        15 => "The system cannot find the drive specified.",
        17 => "The system cannot move the file to a different disk drive.",
        19 => "The media is write protected.",
        21 => "The device is not ready.",
        32 => "The process cannot access the file because it is being used by another process.",
        120 => "This function is not supported on this system.",
        123 => "The filename, directory name, or volume label syntax is incorrect.",
        131 => "An attempt was made to move the file pointer before the beginning of the file.",
        206 => "The filename or extension is too long.",
        234 => "More data is available.",
        258 => "The wait operation timed out.",
        259 => "No more data is available.",
        267 => "The directory name is invalid.",
        code::INVALID_FLAGS => "Invalid flags.",
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

/// The text that `FormatMessage` gives, or the error. Lines are not wrapped to a width.
fn format_message(
    flags: u32,
    template: impl FnOnce() -> String,
    id: u32,
    arguments: Ptr<u64>,
    width: Width,
) -> Result<String, u32> {
    let text = match flags & (FROM_STRING | FROM_SYSTEM) {
        FROM_SYSTEM => return message(id).ok_or(317), // ERROR_MR_MID_NOT_FOUND
        FROM_STRING => template(),
        _ => return Err(code::INVALID_PARAMETER),
    };
    let slots = match () {
        () if flags & IGNORE_INSERTS != 0 => None,
        () if flags & ARGUMENT_ARRAY != 0 || arguments.is_null() => Some(arguments),
        () => Some(arguments.cast::<Ptr<u64>>().get()), // the place of a `va_list`
    };
    fill_in(&text, slots, width).ok_or(code::INVALID_PARAMETER)
}

/// A message with its line ends, and with what it asks for in place of `%1`, `%2!d!` and so on; without arguments those
/// stay. `None` where an argument is asked for and there are none.
fn fill_in(text: &str, slots: Option<Ptr<u64>>, width: Width) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['%', '\n', '\r']) {
        out.push_str(&rest[..at]);
        let (sign, after) = rest[at..].split_at(1);
        rest = after;
        if sign != "%" {
            rest = if sign == "\r" { rest.strip_prefix('\n').unwrap_or(rest) } else { rest };
            out.push_str("\r\n");
            continue;
        }
        let digits = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
        let number: usize = rest[..digits].parse().unwrap_or(0);
        match rest.chars().next() {
            Some('0') => return Some(out),
            Some('1'..='9') => {
                let tail = &rest[digits..];
                let spec = tail.strip_prefix('!').and_then(|t| t.split_once('!'));
                let (spec, tail) = spec.unwrap_or(("s", tail));
                match slots {
                    Some(slots) => out.push_str(&insert(spec, slots, number, width)?),
                    None => out.push_str(&text[text.len() - rest.len() - 1..text.len() - tail.len()]),
                }
                rest = tail;
            }
            Some('n') => out.push_str("\r\n"),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('b') => out.push(' '),
            Some(other) => out.push(other),
            None => return None,
        }
        rest = match digits {
            0 => rest.strip_prefix(|_| true).unwrap_or(rest),
            _ => rest,
        };
    }
    Some(out + rest)
}

/// One argument, as `printf` writes it.
fn insert(spec: &str, slots: Ptr<u64>, number: usize, width: Width) -> Option<String> {
    if slots.is_null() {
        return None;
    }
    let style = Style::msvcrt(width);
    let bytes = format::format(format!("%{spec}").as_bytes(), Arguments::new(slots.at(number - 1)), style)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
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
    arguments: Ptr<u64>,
) -> u32 {
    match format_message(flags, || source.string(), id, arguments, Width::Narrow) {
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
    arguments: Ptr<u64>,
) -> u32 {
    match format_message(flags, || source.string(), id, arguments, Width::Wide) {
        Ok(text) => deliver(flags, &text::wide(&text), to, room),
        Err(code) => super::fail(code) as u32,
    }
}

table! {
    /// Errors.
    pub(crate) TABLE: GetLastError, SetLastError, RestoreLastError = SetLastError, FormatMessageA, FormatMessageW
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;

    #[test]
    fn messages_with_inserts() {
        let text = c"one".as_ptr().expose_provenance() as u64;
        let slots = [text, 2, text];
        // SAFETY: the slots outlive the calls, and the texts take no more than are there.
        let slots = Some(unsafe { Ptr::new(slots.as_ptr().cast_mut()) });
        let of = |text| fill_in(text, slots, Width::Narrow).unwrap();
        assert_eq!(of("%1 and %2!04d!, %3!5s!"), "one and 0002,   one");
        assert_eq!(of("a%nb\nc\r\nd"), "a\r\nb\r\nc\r\nd");
        assert_eq!(of("100%% of %1%0 and no more"), "100% of one");
        assert_eq!(
            fill_in("%1 a%n", None, Width::Narrow).unwrap(),
            "%1 a\r\n",
            "inserts that are not wanted stay"
        );
        assert_eq!(fill_in("%1", Some(Ptr::NULL), Width::Narrow), None);
    }
}
