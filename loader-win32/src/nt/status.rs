//! Statuses of NT, and the error numbers that Windows programs know them by.

use super::numbers;
use crate::teb;

/// Statuses with their numbers: the first with a number is what that number becomes.
const KNOWN: &[(u32, u32)] = &[
    (0x0000_0000, 0),
    (0x0000_0102, 1460),
    (0x0000_0103, 997),
    (0x8000_0005, 234),
    (0x8000_0006, 18),
    (0x8000_001a, 259),
    (0xc000_0001, 31),
    (0xc000_0002, 1),
    (0xc000_0003, 87),
    (0xc000_0004, 24),
    (0xc000_0005, 998),
    (0xc000_0008, 6),
    (0xc000_000d, 87),
    (0xc000_000e, 433),
    (0xc000_000f, 2),
    (0xc000_0010, 1),
    (0xc000_0011, 38),
    (0xc000_0017, 8),
    (0xc000_0018, 487),
    (0xc000_0019, 487),
    (0xc000_0022, 5),
    (0xc000_0023, 122),
    (0xc000_0024, 6),
    (0xc000_0033, 123),
    (0xc000_0034, 2),
    (0xc000_0035, 183),
    (0xc000_003a, 3),
    (0xc000_003b, 161),
    (0xc000_0043, 32),
    (0xc000_0046, 288),
    (0xc000_0047, 298),
    (0xc000_004a, 156),
    (0xc000_004b, 5),
    (0xc000_0054, 33),
    (0xc000_0055, 33),
    (0xc000_0056, 5),
    (0xc000_0061, 1314),
    (0xc000_007a, 127),
    (0xc000_007b, 193),
    (0xc000_007c, 1008),
    (0xc000_007e, 158),
    (0xc000_007f, 112),
    (0xc000_0095, 534),
    (0xc000_009a, 1450),
    (0xc000_00a2, 19),
    (0xc000_00a3, 21),
    (0xc000_00ab, 231),
    (0xc000_00ac, 231),
    (0xc000_00ad, 230),
    (0xc000_00ae, 231),
    (0xc000_00b0, 233),
    (0xc000_00b1, 232),
    (0xc000_00b2, 535),
    (0xc000_00b3, 536),
    (0xc000_00b5, 121),
    (0xc000_00ba, 5),
    (0xc000_00bb, 50),
    (0xc000_00d4, 17),
    (0xc000_00ef, 87),
    (0xc000_00fd, 1001),
    (0xc000_0101, 145),
    (0xc000_0103, 267),
    (0xc000_0106, 206),
    (0xc000_010a, 5),
    (0xc000_011f, 4),
    (0xc000_0120, 995),
    (0xc000_0121, 5),
    (0xc000_0123, 5),
    (0xc000_012d, 1455),
    (0xc000_0135, 126),
    (0xc000_0138, 182),
    (0xc000_0139, 127),
    (0xc000_0142, 1114),
    (0xc000_014b, 109),
    (0xc000_0184, 22),
    (0xc000_01ac, 1656),
    (0xc000_0185, 1117),
    (0xc000_0225, 1168),
    (0xc000_0275, 4390),
    (0xc000_0279, 1920),
];

/// Several statuses have one number: that which a number without its like becomes first here.
const PREFERRED: &[(u32, u32)] = &[
    (1, 0xc000_0010),
    (2, 0xc000_0034),
    (5, 0xc000_0022),
    (6, 0xc000_0008),
    (80, 0xc000_0035),
    (87, 0xc000_000d),
    (127, 0xc000_0139),
    (131, 0xc000_000d),
    (487, 0xc000_0018),
];

pub(crate) const SUCCESS: u32 = 0;
pub(crate) const INVALID_PARAMETER: u32 = 0xc000_000d;
pub(crate) const ACCESS_VIOLATION: u32 = 0xc000_0005;
pub(crate) const INVALID_INFO_CLASS: u32 = 0xc000_0003;
pub(crate) const INFO_LENGTH_MISMATCH: u32 = 0xc000_0004;
pub(crate) const OBJECT_TYPE_MISMATCH: u32 = 0xc000_0024;
pub(crate) const BUFFER_TOO_SMALL: u32 = 0xc000_0023;
pub(crate) const INVALID_IMAGE_FORMAT: u32 = 0xc000_007b;
pub(crate) const DLL_NOT_FOUND: u32 = 0xc000_0135;
pub(crate) const END_OF_FILE: u32 = 0xc000_0011;
pub(crate) const INVALID_HANDLE: u32 = 0xc000_0008;
pub(crate) const NOT_FOUND: u32 = 0xc000_0225;
pub(crate) const NOT_SUPPORTED: u32 = 0xc000_00bb;
pub(crate) const TIMEOUT: u32 = 0x102;
pub(crate) const PENDING: u32 = 0x103;
pub(crate) const OBJECT_NAME_EXISTS: u32 = 0x4000_0000;
pub(crate) const MORE_ENTRIES: u32 = 0x105;
pub(crate) const NO_MORE_ENTRIES: u32 = 0x8000_001a;
pub(crate) const PRIVILEGE_NOT_HELD: u32 = 0xc000_0061;
pub(crate) const INVALID_CID: u32 = 0xc000_000b;
pub(crate) const CANT_TERMINATE_SELF: u32 = 0xc000_00db;
pub(crate) const ACCESS_DENIED: u32 = 0xc000_0022;
pub(crate) const OBJECT_NAME_INVALID: u32 = 0xc000_0033;
pub(crate) const OBJECT_NAME_NOT_FOUND: u32 = 0xc000_0034;
pub(crate) const OBJECT_NAME_COLLISION: u32 = 0xc000_0035;
pub(crate) const MUTANT_NOT_OWNED: u32 = 0xc000_0046;
pub(crate) const SEMAPHORE_LIMIT_EXCEEDED: u32 = 0xc000_0047;
pub(crate) const INVALID_PARAMETER_1: u32 = 0xc000_00ef;
pub(crate) const OBJECT_PATH_SYNTAX_BAD: u32 = 0xc000_003b;
pub(crate) const OBJECT_PATH_NOT_FOUND: u32 = 0xc000_003a;
pub(crate) const NOT_A_DIRECTORY: u32 = 0xc000_0103;
pub(crate) const FILE_IS_A_DIRECTORY: u32 = 0xc000_00ba;
pub(crate) const NAME_TOO_LONG: u32 = 0xc000_0106;
pub(crate) const NO_MEMORY: u32 = 0xc000_0017;
pub(crate) const BUFFER_OVERFLOW: u32 = 0x8000_0005;
pub(crate) const SOME_NOT_MAPPED: u32 = 0x0000_0107;
pub(crate) const INVALID_PARAMETER_2: u32 = 0xc000_00f0;
pub(crate) const INVALID_PARAMETER_4: u32 = 0xc000_00f2;
pub(crate) const INVALID_PARAMETER_5: u32 = 0xc000_00f3;
pub(crate) const MESSAGE_NOT_FOUND: u32 = 0xc000_0109;
pub(crate) const RESOURCE_DATA_NOT_FOUND: u32 = 0xc000_0089;
pub(crate) const WAS_LOCKED: u32 = 0x4000_0019;
pub(crate) const VARIABLE_NOT_FOUND: u32 = 0xc000_0100;
pub(crate) const TIMER_RESOLUTION_NOT_SET: u32 = 0xc000_0245;
/// `ERROR_MR_MID_NOT_FOUND`, as for every status without a number.
pub(super) const NO_NUMBER: u32 = 317;
pub(crate) const UNSUCCESSFUL: u32 = 0xc000_0001;

/// The error number of a status. A status that was made an `HRESULT` is itself again, and so is an error number that was
/// made a status.
pub(crate) fn dos_error(status: u32) -> u32 {
    const CUSTOMER: u32 = 0x2000_0000;
    const OF_NT: u32 = 0x1000_0000;
    let status = if status >> 28 == 0xd { status & !OF_NT } else { status };
    match status >> 16 {
        _ if status & CUSTOMER != 0 => status,
        0x8007 | 0xc007 | 0xc001 => status & 0xffff,
        _ => numbers::number(status).unwrap_or(NO_NUMBER),
    }
}

/// The status of an error number.
pub(crate) fn of(error: u32) -> u32 {
    let preferred = PREFERRED.iter().find(|known| known.0 == error).map(|known| known.1);
    let known = || KNOWN.iter().find(|known| known.1 == error).map(|known| known.0);
    preferred.or_else(known).or_else(|| numbers::first_with(error)).unwrap_or(UNSUCCESSFUL)
}

/// The status of what a function of KERNEL32 said last.
pub(crate) fn last() -> u32 {
    of(teb::with(|t| t.last_error.get()))
}

pub(crate) extern "win64" fn RtlNtStatusToDosErrorNoTeb(status: u32) -> u32 {
    dos_error(status)
}

/// The thread's block keeps the status that was asked about last.
pub(crate) extern "win64" fn RtlNtStatusToDosError(status: u32) -> u32 {
    teb::set_last_status(status);
    dos_error(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_that_of_its_status() {
        for (status, error) in KNOWN {
            assert_eq!(dos_error(of(*error)), *error, "{status:#x}");
        }
        for (status, error) in KNOWN {
            assert_eq!(dos_error(*status), *error, "{status:#x}");
        }
        assert_eq!(
            [dos_error(0xd000_0034), dos_error(0x8007_0002), dos_error(0xe000_0001)],
            [2, 2, 0xe000_0001]
        );
        assert_eq!(of(15_841), UNSUCCESSFUL);
    }
}
