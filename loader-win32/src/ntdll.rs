//! ntdll: mostly KERNEL32 under its older names.
#![allow(non_snake_case)]

use crate::{
    exception::{functions::*, registers::*, scope::__C_specific_handler, vectored::*, walk},
    guest::Ptr,
    kernel32::{
        code::*, delay, heaps::*, list::*, module, processors::GetCurrentProcessorNumber, sync::*, system,
    },
    ldr::{LdrRegisterDllNotification, LdrUnregisterDllNotification},
    nt,
};
use loader_core::HostTable;

/// All of it.
pub(crate) const TABLES: &[HostTable] = &[
    TABLE,
    nt::calls::TABLE,
    nt::completion::TABLE,
    nt::file::TABLE,
    nt::handles::TABLE,
    nt::keyed::TABLE,
    nt::objects::TABLE,
    nt::paths::TABLE,
    nt::resource::TABLE,
    nt::thread::TABLE,
    crate::kernel32::pool_functions::NTDLL,
    crate::kernel32::queues::NTDLL,
    RTL_HEAPS,
    crate::kernel32::suspend::NT,
    nt::image::TABLE,
    nt::ldr::TABLE,
    nt::memory::TABLE,
    nt::section::TABLE,
];

/// `RTL_OSVERSIONINFOW`: a status instead of a `BOOL`.
extern "win64" fn RtlGetVersion(out: Ptr<system::VersionInfo>) -> u32 {
    if system::GetVersionExW(out) == 0 { 0xc000_000d } else { 0 }
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
        RtlInterlockedPopEntrySList = InterlockedPopEntrySList, RtlInterlockedPushListSList = InterlockedPushListSListEx,
        RtlInterlockedPushListSListEx = InterlockedPushListSListEx, RtlFirstEntrySList, RtlInterlockedPushEntrySList = InterlockedPushEntrySList,
        RtlLeaveCriticalSection = LeaveCriticalSection, RtlLookupFunctionEntry,
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
        DbgBreakPoint = DebugBreak, NtGetContextThread, ZwGetContextThread = NtGetContextThread, NtSetContextThread,
        ZwSetContextThread = NtSetContextThread, NtRaiseException = walk::NtRaiseException,
        ZwRaiseException = walk::NtRaiseException, RtlSetUnhandledExceptionFilter = SetUnhandledExceptionFilter, NtContinue = walk::NtContinue, ZwContinue = walk::NtContinue
}
