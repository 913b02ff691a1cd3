//! ntdll: mostly KERNEL32 under its older names.
#![allow(non_snake_case)]

use crate::{
    exception::{functions::*, registers::*, scope::__C_specific_handler, vectored::*, walk},
    guest::Ptr,
    kernel32::{
        code::*, delay, heaps::*, list::*, module, processors::GetCurrentProcessorNumber, sync::*, system,
    },
    ldr::{LdrRegisterDllNotification, LdrUnregisterDllNotification},
};
use loader_core::HostTable;

/// All of it.
pub(crate) const TABLES: &[HostTable] = &[TABLE];

/// `RTL_OSVERSIONINFOW`: a status instead of a `BOOL`.
extern "win64" fn RtlGetVersion(out: Ptr<system::VersionInfo>) -> u32 {
    if system::GetVersionExW(out) == 0 { 0xc000_000d } else { 0 }
}

/// The DOS error for a status: the few that this crate's own functions return.
extern "win64" fn RtlNtStatusToDosError(status: u32) -> u32 {
    match status {
        0 => 0,
        0xc000_0005 => 998,
        0xc000_0008 => 6,
        0xc000_000d => 87,
        0xc000_0017 => 8,
        0xc000_0022 => 5,
        0xc000_0034 => 2,
        0xc000_0225 => 1168,
        _ => 317, // ERROR_MR_MID_NOT_FOUND, as for every status without a number
    }
}

table! {
    /// ntdll.
    TABLE:
        LdrResolveDelayLoadedAPI = delay::ResolveDelayLoadedAPI,
        RtlAcquireSRWLockExclusive = AcquireSRWLockExclusive, RtlAcquireSRWLockShared = AcquireSRWLockShared,
        RtlAddFunctionTable, RtlAddVectoredContinueHandler = AddVectoredContinueHandler,
        RtlAddVectoredExceptionHandler = AddVectoredExceptionHandler, RtlAllocateHeap = HeapAlloc,
        RtlCaptureContext = crate::jump::RtlCaptureContext, RtlCaptureStackBackTrace,
        RtlDecodePointer = DecodePointer, RtlDeleteCriticalSection = DeleteCriticalSection, RtlDeleteFunctionTable,
        RtlEncodePointer = EncodePointer, RtlEnterCriticalSection = EnterCriticalSection, RtlFreeHeap = HeapFree,
        RtlGetVersion, LdrRegisterDllNotification, LdrUnregisterDllNotification, RtlInitializeConditionVariable = InitializeConditionVariable,
        RtlInitializeCriticalSection = InitializeCriticalSection, RtlInitializeSListHead = InitializeSListHead,
        RtlInitializeSRWLock = InitializeSRWLock, RtlInterlockedFlushSList = InterlockedFlushSList,
        RtlInterlockedPopEntrySList = InterlockedPopEntrySList, RtlInterlockedPushEntrySList = InterlockedPushEntrySList,
        RtlLeaveCriticalSection = LeaveCriticalSection, RtlLookupFunctionEntry, RtlNtStatusToDosError,
        RtlInstallFunctionTableCallback, RtlPcToFileHeader = module::RtlPcToFileHeader, RtlRaiseException,
        RtlReAllocateHeap = HeapReAlloc, RtlRemoveVectoredContinueHandler = RemoveVectoredContinueHandler,
        RtlRestoreContext = walk::RtlRestoreContext, RtlUnwind, RtlUnwindEx, RtlVirtualUnwind, __C_specific_handler,
        RtlQueryDepthSList = QueryDepthSList, RtlReleaseSRWLockExclusive = ReleaseSRWLockExclusive,
        RtlReleaseSRWLockShared = ReleaseSRWLockShared,
        RtlRemoveVectoredExceptionHandler = RemoveVectoredExceptionHandler, RtlSizeHeap = HeapSize,
        RtlTryAcquireSRWLockExclusive = TryAcquireSRWLockExclusive,
        RtlTryEnterCriticalSection = TryEnterCriticalSection, RtlWakeAllConditionVariable = WakeAllConditionVariable,
        RtlWakeConditionVariable = WakeConditionVariable, NtGetCurrentProcessorNumber = GetCurrentProcessorNumber,
        VerSetConditionMask = system::VerSetConditionMask,
        DbgBreakPoint = DebugBreak, NtContinue = walk::NtContinue, ZwContinue = walk::NtContinue
}
