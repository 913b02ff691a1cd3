//! The calling thread's last error and last status, and what it does about errors.

use crate::{
    guest::Ptr,
    kernel32::error::{GetLastError, SetLastError},
    nt::status::{INVALID_PARAMETER_1, RtlNtStatusToDosError, RtlNtStatusToDosErrorNoTeb, SUCCESS},
    teb,
};

extern "win64" fn RtlGetLastNtStatus() -> u32 {
    teb::with(|t| t.last_status.get())
}

extern "win64" fn RtlSetLastWin32ErrorAndNtStatusFromNtStatus(status: u32) {
    SetLastError(RtlNtStatusToDosError(status));
}

/// The failures that the thread is not to be bothered with; no box is shown for any.
const KINDS: u32 = 0x70;

extern "win64" fn RtlGetThreadErrorMode() -> u32 {
    teb::with(|t| t.error_mode.get())
}

extern "win64" fn RtlSetThreadErrorMode(mode: u32, old: Ptr<u32>) -> u32 {
    if mode & !KINDS != 0 {
        return INVALID_PARAMETER_1;
    }
    old.put(teb::with(|t| t.error_mode.replace(mode)));
    SUCCESS
}

table! {
    /// Errors.
    pub(crate) TABLE:
        RtlGetLastWin32Error = GetLastError, RtlSetLastWin32Error = SetLastError, RtlRestoreLastWin32Error = SetLastError,
        RtlGetLastNtStatus, RtlNtStatusToDosError, RtlNtStatusToDosErrorNoTeb, RtlSetLastWin32ErrorAndNtStatusFromNtStatus,
        RtlGetThreadErrorMode, RtlSetThreadErrorMode
}
