//! `FormatMessage`: messages of the system, of a module's table, or of the caller.

use super::{
    error::code::{
        INSUFFICIENT_BUFFER, INVALID_PARAMETER, MR_MID_NOT_FOUND, NO_WORK_DONE, NOT_ENOUGH_MEMORY,
    },
    fail,
    strings::from_ansi,
};
use crate::{
    guest::Ptr,
    nt::status::BUFFER_OVERFLOW,
    rtl::message::{Message, lookup},
    text::{self, Text},
};

const ALLOCATE_BUFFER: u32 = 0x100;
const IGNORE_INSERTS: u32 = 0x200;
const FROM_STRING: u32 = 0x400;
const FROM_HMODULE: u32 = 0x800;
const FROM_SYSTEM: u32 = 0x1000;
const ARGUMENT_ARRAY: u32 = 0x2000;
const WIDTH: u32 = 0xff;
/// `RT_MESSAGETABLE`.
const MESSAGE_TABLE: u16 = 11;
/// A narrow message is shorter.
const LONGEST_NARROW: usize = 32_767;

/// What the system says of an error number, as far as it is known here, by number.
const KNOWN: &[(u32, &str)] = &[
    (0, "The operation completed successfully."),
    (1, "Incorrect function."),
    (2, "The system cannot find the file specified."),
    (3, "The system cannot find the path specified."),
    (4, "The system cannot open the file."),
    (5, "Access is denied."),
    (6, "The handle is invalid."),
    (7, "The storage control blocks were destroyed."),
    (8, "Not enough memory resources are available to process this command."),
    (9, "The storage control block address is invalid."),
    (10, "The environment is incorrect."),
    (11, "An attempt was made to load a program with an incorrect format."),
    (12, "The access code is invalid."),
    (13, "The data is invalid."),
    (14, "Not enough memory resources are available to complete this operation."),
    (15, "The system cannot find the drive specified."),
    (16, "The directory cannot be removed."),
    (17, "The system cannot move the file to a different disk drive."),
    (18, "There are no more files."),
    (19, "The media is write protected."),
    (20, "The system cannot find the device specified."),
    (21, "The device is not ready."),
    (22, "The device does not recognize the command."),
    (23, "Data error (cyclic redundancy check)."),
    (24, "The program issued a command but the command length is incorrect."),
    (25, "The drive cannot locate a specific area or track on the disk."),
    (26, "The specified disk or diskette cannot be accessed."),
    (27, "The drive cannot find the sector requested."),
    (29, "The system cannot write to the specified device."),
    (30, "The system cannot read from the specified device."),
    (31, "A device attached to the system is not functioning."),
    (32, "The process cannot access the file because it is being used by another process."),
    (33, "The process cannot access the file because another process has locked a portion of the file."),
    (36, "Too many files opened for sharing."),
    (38, "Reached the end of the file."),
    (39, "The disk is full."),
    (50, "The request is not supported."),
    (53, "The network path was not found."),
    (64, "The specified network name is no longer available."),
    (65, "Network access is denied."),
    (67, "The network name cannot be found."),
    (80, "The file exists."),
    (82, "The directory or file cannot be created."),
    (87, "The parameter is incorrect."),
    (109, "The pipe has been ended."),
    (110, "The system cannot open the device or file specified."),
    (111, "The file name is too long."),
    (112, "There is not enough space on the disk."),
    (120, "This function is not supported on this system."),
    (121, "The semaphore timeout period has expired."),
    (122, "The data area passed to a system call is too small."),
    (123, "The filename, directory name, or volume label syntax is incorrect."),
    (124, "The system call level is not correct."),
    (126, "The specified module could not be found."),
    (127, "The specified procedure could not be found."),
    (128, "There are no child processes to wait for."),
    (130, "Attempt to use a file handle to an open disk partition for an operation other than raw disk I/O."),
    (131, "An attempt was made to move the file pointer before the beginning of the file."),
    (132, "The file pointer cannot be set on the specified device or file."),
    (145, "The directory is not empty."),
    (158, "The segment is already unlocked."),
    (161, "The specified path is invalid."),
    (170, "The requested resource is in use."),
    (182, "The operating system cannot run %1."),
    (183, "Cannot create a file when that file already exists."),
    (186, "The flag passed is not correct."),
    (187, "The specified system semaphore name was not found."),
    (193, "%1 is not a valid Win32 application."),
    (203, "The system could not find the environment option that was entered."),
    (205, "No process in the command subtree has a signal handler."),
    (206, "The filename or extension is too long."),
    (230, "The pipe state is invalid."),
    (231, "All pipe instances are busy."),
    (232, "The pipe is being closed."),
    (233, "No process is on the other end of the pipe."),
    (234, "More data is available."),
    (240, "The session was canceled."),
    (258, "The wait operation timed out."),
    (259, "No more data is available."),
    (267, "The directory name is invalid."),
    (288, "Attempt to release mutex not owned by caller."),
    (298, "Too many posts were made to a semaphore."),
    (299, "Only part of a ReadProcessMemory or WriteProcessMemory request was completed."),
    (317, "The system cannot find message text for message number 0x%1 in the message file for %2."),
    (487, "Attempt to access invalid address."),
    (534, "Arithmetic result exceeded 32 bits."),
    (535, "There is a process on other end of the pipe."),
    (536, "Waiting for a process to open the other end of the pipe."),
    (995, "The I/O operation has been aborted because of either a thread exit or an application request."),
    (996, "Overlapped I/O event is not in a signaled state."),
    (997, "Overlapped I/O operation is in progress."),
    (998, "Invalid access to memory location."),
    (999, "Error performing inpage operation."),
    (1001, "Recursion too deep; the stack overflowed."),
    (1004, "Invalid flags."),
    (
        1005,
        "The volume does not contain a recognized file system.\r\nPlease make sure that all required file system drivers are loaded and that the volume is not corrupted.",
    ),
    (1006, "The volume for a file has been externally altered so that the opened file is no longer valid."),
    (1008, "An attempt was made to reference a token that does not exist."),
    (1018, "Illegal operation attempted on a registry key that has been marked for deletion."),
    (1053, "The service did not respond to the start or control request in a timely fashion."),
    (1060, "The specified service does not exist as an installed service."),
    (1062, "The service has not been started."),
    (1113, "No mapping for the Unicode character exists in the target multi-byte code page."),
    (1114, "A dynamic link library (DLL) initialization routine failed."),
    (1117, "The request could not be performed because of an I/O device error."),
    (1130, "Not enough server storage is available to process this command."),
    (1132, "The base address or the file offset specified does not have the proper alignment."),
    (1150, "The specified program requires a newer version of Windows."),
    (1157, "One of the library files needed to run this application cannot be found."),
    (1168, "Element not found."),
    (1223, "The operation was canceled by the user."),
    (1224, "The requested operation cannot be performed on a file with a user-mapped section open."),
    (1225, "The remote computer refused the network connection."),
    (
        1231,
        "The network location cannot be reached. For information about network troubleshooting, see Windows Help.",
    ),
    (1235, "The request was aborted."),
    (1312, "A specified logon session does not exist. It may already have been terminated."),
    (1314, "A required privilege is not held by the client."),
    (1326, "The user name or password is incorrect."),
    (1332, "No mapping between account names and security IDs was done."),
    (1336, "The access control list (ACL) structure is invalid."),
    (1337, "The security ID structure is invalid."),
    (1338, "The security descriptor structure is invalid."),
    (1344, "No more memory is available for security information updates."),
    (1400, "Invalid window handle."),
    (1407, "Cannot find window class."),
    (1410, "Class already exists."),
    (1411, "Class does not exist."),
    (1413, "Invalid index."),
    (1421, "Control ID not found."),
    (1450, "Insufficient system resources exist to complete the requested service."),
    (1453, "Insufficient quota to complete the requested service."),
    (1454, "Insufficient quota to complete the requested service."),
    (1455, "The paging file is too small for this operation to complete."),
    (1460, "This operation returned because the timeout period expired."),
    (1722, "The RPC server is unavailable."),
    (1747, "The authentication service is unknown."),
    (1784, "The supplied user buffer is not valid for the requested operation."),
    (1812, "The specified image file did not contain a resource section."),
    (1813, "The specified resource type cannot be found in the image file."),
    (1814, "The specified resource name cannot be found in the image file."),
    (1815, "The specified resource language ID cannot be found in the image file."),
    (1816, "Not enough quota is available to process this command."),
    (1920, "The file cannot be accessed by the system."),
    (4390, "The file or directory is not a reparse point."),
    (10_004, "A blocking operation was interrupted by a call to WSACancelBlockingCall."),
    (10_013, "An attempt was made to access a socket in a way forbidden by its access permissions."),
    (
        10_014,
        "The system detected an invalid pointer address in attempting to use a pointer argument in a call.",
    ),
    (10_022, "An invalid argument was supplied."),
    (10_024, "Too many open sockets."),
    (10_035, "A non-blocking socket operation could not be completed immediately."),
    (10_038, "An operation was attempted on something that is not a socket."),
    (10_048, "Only one usage of each socket address (protocol/network address/port) is normally permitted."),
    (10_049, "The requested address is not valid in its context."),
    (10_050, "A socket operation encountered a dead network."),
    (10_051, "A socket operation was attempted to an unreachable network."),
    (10_053, "An established connection was aborted by the software in your host machine."),
    (10_054, "An existing connection was forcibly closed by the remote host."),
    (
        10_057,
        "A request to send or receive data was disallowed because the socket is not connected and (when sending on a datagram socket using a sendto call) no address was supplied.",
    ),
    (
        10_060,
        "A connection attempt failed because the connected party did not properly respond after a period of time, or established connection failed because connected host has failed to respond.",
    ),
    (10_061, "No connection could be made because the target machine actively refused it."),
    (10_065, "A socket operation was attempted to an unreachable host."),
    (11_001, "No such host is known."),
    (0x8000_4001, "Not implemented"),
    (0x8000_4002, "No such interface supported"),
    (0x8000_4003, "Invalid pointer"),
    (0x8000_4004, "Operation aborted"),
    (0x8000_4005, "Unspecified error"),
    (0x8000_ffff, "Catastrophic failure"),
    (0x8001_0106, "Cannot change thread mode after it is set."),
    (0x8004_0154, "Class not registered"),
    (0x8004_01f0, "CoInitialize has not been called."),
    (0x8004_01f3, "Invalid class string"),
    (0x800b_0100, "No signature was present in the subject."),
    (
        0x887a_0001,
        "The application made a call that is invalid. Either the parameters of the call or the state of some object was incorrect.\r\nEnable the D3D debug layer in order to see details via debug messages.",
    ),
    (0x887a_0022, "A resource is not available at the time of the call, but may become available later."),
];

/// The text of the system. An error number that was made an `HRESULT` is that error.
fn known(id: u32) -> Option<String> {
    let of = |id: u32| KNOWN.binary_search_by_key(&id, |known| known.0).ok().map(|at| KNOWN[at].1);
    let text = of(id).or_else(|| of(id & 0xffff).filter(|_| id >> 16 == 0x8007));
    text.map(|text| format!("{text}\r\n"))
}

/// The message as it is written down, before anything is filled in.
fn source<T: Text>(flags: u32, from: Ptr<T>, id: u32, language: u32) -> Result<Vec<u16>, u32> {
    if flags & FROM_STRING != 0 {
        return if from.is_null() { Err(INVALID_PARAMETER) } else { Ok(T::units(from)) };
    }
    let of_module = if flags & FROM_HMODULE == 0 {
        Err(INVALID_PARAMETER)
    } else {
        lookup(from.addr(), MESSAGE_TABLE, language as u16, id).map(|entry| {
            let units = match entry.wide {
                true => entry.bytes.as_chunks().0.iter().map(|two| u16::from_le_bytes(*two)).collect(),
                false => from_ansi(entry.bytes),
            };
            let len = units.iter().position(|&unit| unit == 0).unwrap_or(units.len());
            units[..len].to_vec()
        })
    };
    match of_module {
        Err(_) if flags & FROM_SYSTEM != 0 => known(id).map(|text| text::wide(&text)).ok_or(MR_MID_NOT_FOUND),
        found => found,
    }
}

fn message<T: Text>(
    flags: u32,
    from: Ptr<T>,
    id: u32,
    language: u32,
    room: usize,
    arguments: Ptr<Ptr<u64>>,
) -> Result<Vec<u16>, u32> {
    let text = source(flags, from, id, language)?;
    let narrow = size_of::<T>() == 1;
    let message = Message {
        text: &text,
        width: flags & WIDTH,
        ignore_inserts: flags & IGNORE_INSERTS != 0,
        narrow,
        room,
    };
    match message.write_from(flags & ARGUMENT_ARRAY != 0, arguments) {
        (mut out, Err(BUFFER_OVERFLOW)) if !narrow => {
            out.resize(room, 0);
            Ok(out)
        }
        (_, Err(_)) => Err(INVALID_PARAMETER),
        (out, Ok(())) if out.is_empty() => Err(NO_WORK_DONE),
        (out, Ok(())) if narrow && out.len() >= LONGEST_NARROW => Err(INVALID_PARAMETER),
        (out, Ok(())) => Ok(out),
    }
}

/// Hands a message to the caller: into its buffer, or as a new block.
fn deliver<T: Text>(flags: u32, text: &[T], to: Ptr<T>, room: u32) -> Result<u32, u32> {
    if flags & ALLOCATE_BUFFER != 0 {
        let len = (text.len() + 1).max(room as usize) * size_of::<T>();
        let block = crate::heap::alloc(len, true).cast::<T>();
        if block.is_null() {
            return Err(NOT_ENOUGH_MEMORY);
        }
        block.fill(text);
        to.cast::<usize>().put(block.addr());
        return Ok(text::length(text.len()));
    }
    if text.len() < room as usize {
        return Ok(text::answer(text, to, room));
    }
    // As much as there is room for, of a wide text.
    if room > 0 && size_of::<T>() == 2 {
        text::answer(text.get(..room as usize - 1).unwrap_or(text), to, room);
    }
    Err(INSUFFICIENT_BUFFER)
}

fn format_message<T: Text>(
    flags: u32,
    from: Ptr<T>,
    id: u32,
    language: u32,
    to: Ptr<T>,
    room: u32,
    arguments: Ptr<Ptr<u64>>,
) -> u32 {
    let allocate = flags & ALLOCATE_BUFFER != 0;
    if to.is_null() && (allocate || size_of::<T>() == 2) {
        return fail(if size_of::<T>() == 2 { INVALID_PARAMETER } else { NOT_ENOUGH_MEMORY }) as u32;
    }
    if allocate {
        to.cast::<usize>().set(0);
    }
    // What there is no room for takes no argument of a wide message.
    let most = match size_of::<T>() {
        1 => LONGEST_NARROW,
        _ if allocate => usize::MAX,
        _ => room as usize,
    };
    let written = message(flags, from, id, language, most, arguments);
    if written == Err(NO_WORK_DONE) && !allocate && room > 0 && size_of::<T>() == 2 {
        to.set(T::default());
    }
    let delivered = written.and_then(|units| deliver(flags, &T::of_units(&units), to, room));
    delivered.unwrap_or_else(|code| fail(code) as u32)
}

extern "win64" fn FormatMessageA(
    flags: u32,
    from: Ptr<u8>,
    id: u32,
    language: u32,
    to: Ptr<u8>,
    room: u32,
    arguments: Ptr<Ptr<u64>>,
) -> u32 {
    format_message(flags, from, id, language, to, room, arguments)
}

extern "win64" fn FormatMessageW(
    flags: u32,
    from: Ptr<u16>,
    id: u32,
    language: u32,
    to: Ptr<u16>,
    room: u32,
    arguments: Ptr<Ptr<u64>>,
) -> u32 {
    format_message(flags, from, id, language, to, room, arguments)
}

table! {
    /// Messages.
    pub(crate) TABLE: FormatMessageA, FormatMessageW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_messages_are_sorted() {
        assert!(KNOWN.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(known(2), known(0x8007_0002));
        assert_eq!(known(0x0007_0002), None);
    }
}
