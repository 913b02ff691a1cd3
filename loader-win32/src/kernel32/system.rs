//! The machine and the process: processors, memory, versions, ends.

use super::{Bool, FALSE, TRUE, child::Child, error::code, fail, wait::object};
use crate::{
    guest::Ptr,
    object::{Kind, PROCESS_ALL_ACCESS},
    path::SYSTEM_FOLDER,
    peb::VERSION,
    process, teb,
    text::{self, length},
};
use std::{
    arch::x86_64::{__cpuid, __cpuid_count},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

/// `SYSTEM_INFO`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemInfo {
    architecture: u16,
    reserved: u16,
    page_size: u32,
    lowest: u64,
    highest: u64,
    processors_mask: u64,
    processors: u32,
    processor_type: u32,
    granularity: u32,
    level: u16,
    revision: u16,
}

const _: () = assert!(size_of::<SystemInfo>() == 48);

/// A mask of that many processors, at most 64.
fn mask(n: u32) -> u64 {
    1u64.checked_shl(n).map_or(u64::MAX, |bit| bit - 1)
}

extern "win64" fn GetSystemInfo(out: Ptr<SystemInfo>) {
    let n = process::processors();
    let signature = __cpuid(1).eax;
    out.put(SystemInfo {
        architecture: 9, // AMD64
        reserved: 0,
        page_size: 4096,
        lowest: 0x1_0000,
        highest: 0x7fff_fffe_ffff,
        processors_mask: mask(n),
        processors: n,
        processor_type: 8664,
        granularity: 0x1_0000,
        level: (signature >> 8 & 0xf) as u16
            + if signature >> 8 & 0xf == 0xf { (signature >> 20 & 0xff) as u16 } else { 0 },
        revision: ((signature >> 4 & 0xf | signature >> 12 & 0xf0) << 8 | signature & 0xf) as u16,
    });
}

/// Which of Windows' processor features this processor has; unknown numbers are absent features.
pub(crate) extern "win64" fn IsProcessorFeaturePresent(feature: u32) -> Bool {
    let one = __cpuid(1);
    let seven = __cpuid_count(7, 0);
    let bit = |register: u32, n: u32| register >> n & 1 != 0;
    let here = match feature {
        2 | 8 | 14 | 23 => true, // compare-exchange, time stamp, 16-byte compare-exchange, fast fail
        3 => bit(one.edx, 23),   // MMX
        6 => bit(one.edx, 25),   // SSE
        9 => bit(one.edx, 6),    // physical address extension
        10 => bit(one.edx, 26),  // SSE2
        12 => true,              // no-execute
        13 => bit(one.ecx, 0),   // SSE3
        17 => bit(one.ecx, 26),  // XSAVE
        20 => false,             // second-level translation says nothing to a process
        22 => bit(seven.ebx, 0), // FSGSBASE
        28 => bit(one.ecx, 30),  // RDRAND
        32 => true,              // RDTSCP
        36 => bit(one.ecx, 9),   // SSSE3
        37 => bit(one.ecx, 19),  // SSE4.1
        38 => bit(one.ecx, 20),  // SSE4.2
        39 => std::is_x86_feature_detected!("avx"),
        40 => std::is_x86_feature_detected!("avx2"),
        41 => std::is_x86_feature_detected!("avx512f"),
        _ => false,
    };
    here.into()
}

/// `OSVERSIONINFOEXW`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct VersionInfo {
    size: u32,
    major: u32,
    minor: u32,
    build: u32,
    platform: u32,
    service_pack: [u16; 128],
    service_pack_major: u16,
    service_pack_minor: u16,
    suite: u16,
    product: u8,
    reserved: u8,
}

/// What both forms say; texts of `T` make up most of the structure. No service pack; single-user terminal services, and a
/// workstation.
fn version<T: Copy + Default>(out: Ptr<VersionInfo>) -> Bool {
    const NUMBERS: usize = 20;
    let text = 128 * size_of::<T>();
    let (plain, longer) = (NUMBERS + text, NUMBERS + text + 8);
    let size = out.cast::<u32>().get() as usize;
    if size != plain && size != longer {
        return fail(code::INSUFFICIENT_BUFFER);
    }
    let head = out.cast::<u32>();
    let (major, minor, build) = VERSION;
    [major, minor, build, 2].iter().zip(1..).for_each(|(&n, i)| head.at(i).set(n));
    head.at(5).cast::<[T; 128]>().set([T::default(); 128]);
    if size == longer {
        let rest = out.cast::<u8>().at(plain);
        rest.cast::<[u16; 3]>().set([0, 0, 0x100]);
        rest.at(6).set(1);
    }
    TRUE
}

pub(crate) extern "win64" fn GetVersionExW(out: Ptr<VersionInfo>) -> Bool {
    version::<u16>(out)
}

extern "win64" fn GetVersionExA(out: Ptr<VersionInfo>) -> Bool {
    version::<u8>(out)
}

/// `PRODUCT_PROFESSIONAL`: what a workstation of this version is.
extern "win64" fn GetProductInfo(
    major: u32,
    _minor: u32,
    _pack: u32,
    _pack_minor: u32,
    out: Ptr<u32>,
) -> Bool {
    const PROFESSIONAL: u32 = 0x30;
    const OLDEST: u32 = 6;
    if out.is_null() || major == 0 {
        return FALSE;
    }
    let known = major >= OLDEST;
    out.set(if known { PROFESSIONAL } else { 0 });
    known.into()
}

/// As `GetVersionEx` says: the low byte is the major version, then the minor, then the build.
extern "win64" fn GetVersion() -> u32 {
    VERSION.0 | VERSION.1 << 8 | VERSION.2 << 16
}

pub(crate) extern "win64" fn VerSetConditionMask(mask: u64, kinds: u32, condition: u8) -> u64 {
    let condition = u64::from(condition & 7);
    // Three bits for each kind that can be compared, the minor version's first.
    (0..8).filter(|kind| kinds >> kind & 1 != 0).fold(mask, |m, kind| m | condition << (kind * 3))
}

/// What a mask asks of one part of a version.
fn condition(mask: u64, kind: u32) -> u8 {
    (mask >> (kind * 3) & 7) as u8
}

const EQUAL: u8 = 1;

/// Compares one part of a version. Without a condition it does not hold.
fn holds(condition: u8, ours: u32, theirs: u32) -> bool {
    match condition {
        EQUAL => ours == theirs,
        2 => ours > theirs,
        3 => ours >= theirs,
        4 => ours < theirs,
        5 => ours <= theirs,
        6 => ours & theirs == theirs,
        7 => theirs == 0 || ours & theirs != 0,
        _ => false,
    }
}

const VER_MINOR: u32 = 0;
const VER_MAJOR: u32 = 1;
const VER_BUILD: u32 = 2;
const VER_PLATFORM: u32 = 3;
const VER_PACK_MINOR: u32 = 4;
const VER_PACK_MAJOR: u32 = 5;
const VER_SUITE: u32 = 6;
const VER_PRODUCT: u32 = 7;

/// Major, minor and service pack are one number with several digits: a lower one counts only where the higher are equal. The
/// condition of the highest holds for all of them; an equality is taken over by the condition of the next, unless one between
/// them has none.
fn version_holds(wanted: &VersionInfo, kinds: u32, mask: u64) -> bool {
    let asked = |kind: u32| kinds >> kind & 1 != 0;
    let single = [
        (VER_BUILD, VERSION.2, wanted.build),
        (VER_PLATFORM, 2, wanted.platform),
        (VER_SUITE, 0x100, wanted.suite.into()),
        (VER_PRODUCT, 1, wanted.product.into()),
    ];
    let mut single = single.into_iter().filter(|s| asked(s.0));
    if !single.all(|(kind, ours, theirs)| holds(condition(mask, kind), ours, theirs)) {
        return false;
    }
    let digits = [
        (VER_MAJOR, VERSION.0, wanted.major),
        (VER_MINOR, VERSION.1, wanted.minor),
        (VER_PACK_MAJOR, 0, wanted.service_pack_major.into()),
        (VER_PACK_MINOR, 0, wanted.service_pack_minor.into()),
    ];
    let (mut leading, mut open) = (None, true);
    for (kind, ours, theirs) in digits.into_iter().filter(|d| asked(d.0)) {
        let own = condition(mask, kind);
        open &= own != 0;
        leading = match leading {
            None => Some(own),
            Some(EQUAL) if open && own < 6 => Some(own),
            kept => kept,
        };
        if ours != theirs {
            return leading.is_some_and(|condition| holds(condition, ours, theirs));
        }
    }
    leading.is_none_or(|condition| holds(condition, 0, 0))
}

extern "win64" fn VerifyVersionInfoW(wanted: Ptr<VersionInfo>, kinds: u32, mask: u64) -> Bool {
    match version_holds(&wanted.get(), kinds, mask) {
        _ if mask == 0 => fail(code::INVALID_PARAMETER), // no condition at all
        true => TRUE,
        false => fail(code::OLD_WIN_VERSION),
    }
}

/// The numbers of `OSVERSIONINFOEXA`, before and after the name of a service pack, are those of the wide one.
extern "win64" fn VerifyVersionInfoA(wanted: Ptr<u8>, kinds: u32, mask: u64) -> Bool {
    let ([size, major, minor, build, platform], after) =
        (wanted.cast::<[u32; 5]>().get(), wanted.at(20 + 128));
    let ([service_pack_major, service_pack_minor, suite], product) =
        (after.cast::<[u16; 3]>().get(), after.at(6).get());
    let mut wide = VersionInfo {
        size,
        major,
        minor,
        build,
        platform,
        service_pack: [0; 128],
        service_pack_major,
        service_pack_minor,
        suite,
        product,
        reserved: 0,
    };
    VerifyVersionInfoW(crate::exception::local(&mut wide), kinds, mask)
}

/// Bytes of memory: all of it, and what is free.
pub(crate) fn memory() -> (u64, u64) {
    let info = rustix::system::sysinfo();
    let unit = u64::from(info.mem_unit.max(1));
    (info.totalram * unit, info.freeram * unit)
}

extern "win64" fn GetPhysicallyInstalledSystemMemory(kilobytes: Ptr<u64>) -> Bool {
    if kilobytes.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    kilobytes.set(memory().0 / 1024);
    TRUE
}

/// `MEMORYSTATUSEX`.
#[repr(C)]
#[derive(Clone, Copy)]
struct MemoryStatus {
    length: u32,
    load: u32,
    total: u64,
    free: u64,
    total_page_file: u64,
    free_page_file: u64,
    total_virtual: u64,
    free_virtual: u64,
    free_extended: u64,
}

fn memory_status() -> MemoryStatus {
    const SPACE: u64 = 0x7fff_fffe_0000;
    let (total, free) = memory();
    MemoryStatus {
        length: size_of::<MemoryStatus>() as u32,
        load: u32::try_from((total - free) * 100 / total.max(1)).unwrap_or(100),
        total,
        free,
        total_page_file: total,
        free_page_file: free,
        total_virtual: SPACE,
        free_virtual: SPACE,
        free_extended: 0,
    }
}

extern "win64" fn GlobalMemoryStatusEx(out: Ptr<MemoryStatus>) -> Bool {
    if out.cast::<u32>().get() as usize != size_of::<MemoryStatus>() {
        return fail(code::INVALID_PARAMETER);
    }
    out.set(memory_status());
    TRUE
}

/// `MEMORYSTATUS`, which has no refusals.
#[repr(C)]
#[derive(Clone, Copy)]
struct OldMemoryStatus {
    length: u32,
    load: u32,
    rest: [u64; 6],
}

extern "win64" fn GlobalMemoryStatus(out: Ptr<OldMemoryStatus>) {
    let status = memory_status();
    let MemoryStatus { total, free, total_page_file, free_page_file, total_virtual, free_virtual, .. } =
        status;
    out.set(OldMemoryStatus {
        length: size_of::<OldMemoryStatus>() as u32,
        load: status.load,
        rest: [total, free, total_page_file, free_page_file, total_virtual, free_virtual],
    });
}

/// That a handle is one of this process.
pub(crate) fn is_this_process(handle: usize) -> Result<(), u32> {
    may(handle, 0)
}

/// That a handle is one of this process, with all these rights.
pub(crate) fn may(handle: usize, wanted: u32) -> Result<(), u32> {
    match process_of(handle, wanted)? {
        None => Ok(()),
        Some(_) => Err(code::NOT_SUPPORTED),
    }
}

/// The child that a handle is of, or none for this process; the handle has all these rights.
pub(crate) fn process_of(handle: usize, wanted: u32) -> Result<Option<Arc<Child>>, u32> {
    match &object(handle)?.kind {
        Kind::Process { access, child } if access & wanted == wanted => Ok(child.clone()),
        Kind::Process { .. } => Err(code::ACCESS_DENIED),
        _ => Err(code::INVALID_HANDLE),
    }
}

/// The rights that a handle of a process is opened with: the generic ones stand for several.
pub(crate) fn process_access(wanted: u32) -> u32 {
    const QUERY_INFORMATION: u32 = 0x400;
    const QUERY_LIMITED_INFORMATION: u32 = 0x1000;
    let generic = [
        (0x8000_0000, 0x2_0410),  // GENERIC_READ: read memory, ask
        (0x4000_0000, 0x2_0bea),  // GENERIC_WRITE: change memory, threads, handles, quotas
        (0x2000_0000, 0x12_1001), // GENERIC_EXECUTE: wait, end
        (0x1000_0000, PROCESS_ALL_ACCESS),
        (0x0200_0000, PROCESS_ALL_ACCESS), // MAXIMUM_ALLOWED
        (QUERY_INFORMATION, QUERY_INFORMATION | QUERY_LIMITED_INFORMATION),
    ];
    let named = generic.iter().filter(|(asked, _)| wanted & asked != 0);
    named.fold(wanted, |all, (_, more)| all | more) & PROCESS_ALL_ACCESS
}

extern "win64" fn OpenProcess(access: u32, _inherit: Bool, id: u32) -> usize {
    if id != std::process::id() {
        return fail(code::INVALID_PARAMETER) as usize; // other processes are not Windows processes
    }
    teb::process().objects.open(Kind::Process { access: process_access(access), child: None })
}

pub(crate) extern "win64" fn ExitProcess(code: u32) {
    teb::process().exit(code)
}

/// No debugger that Windows code could talk to.
extern "win64" fn IsDebuggerPresent() -> Bool {
    FALSE
}

extern "win64" fn CheckRemoteDebuggerPresent(_process: usize, out: Ptr<Bool>) -> Bool {
    out.put(FALSE);
    TRUE
}

extern "win64" fn IsWow64Process(_process: usize, out: Ptr<Bool>) -> Bool {
    out.put(FALSE);
    TRUE
}

pub(crate) fn computer_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The length comes in and goes out through the same place; it does not count the zero on success.
pub(crate) fn name<T: Copy + Default>(text: &[T], to: Ptr<T>, len: Ptr<u32>) -> Bool {
    let room = len.get();
    if text.len() >= room as usize {
        len.set(length(text.len() + 1));
        return fail(111); // ERROR_BUFFER_OVERFLOW
    }
    text::answer(text, to, room);
    len.set(length(text.len()));
    TRUE
}

extern "win64" fn GetComputerNameA(to: Ptr<u8>, len: Ptr<u32>) -> Bool {
    name(computer_name().as_bytes(), to, len)
}

extern "win64" fn GetComputerNameW(to: Ptr<u16>, len: Ptr<u32>) -> Bool {
    name(&text::wide(&computer_name()), to, len)
}

/// The kinds of names: short, of the host, of its domain, and both; then the same of the machine alone. The machine is in no
/// domain. How much room is needed comes back with its zero, how long the name is without.
fn name_of_kind<T: text::Text>(kind: u32, to: Ptr<T>, len: Ptr<u32>) -> Bool {
    let text = match kind {
        0 | 4 => T::of(&computer_name().to_uppercase()),
        1 | 3 | 5 | 7 => T::of(&computer_name()),
        2 | 6 => Vec::new(),
        _ => return fail(code::INVALID_PARAMETER),
    };
    if len.is_null() || to.is_null() && len.get() != 0 {
        return fail(code::INVALID_PARAMETER);
    }
    if text.len() >= len.get() as usize {
        len.set(length(text.len() + 1));
        return fail(code::MORE_DATA);
    }
    len.set(text::answer(&text, to, len.get()));
    TRUE
}

extern "win64" fn GetComputerNameExA(kind: u32, to: Ptr<u8>, len: Ptr<u32>) -> Bool {
    name_of_kind(kind, to, len)
}

extern "win64" fn GetComputerNameExW(kind: u32, to: Ptr<u16>, len: Ptr<u32>) -> Bool {
    name_of_kind(kind, to, len)
}

/// A Windows folder that exists nowhere: nothing of Windows is installed here.
extern "win64" fn GetSystemDirectoryW(to: Ptr<u16>, room: u32) -> u32 {
    text::answer(&text::wide(SYSTEM_FOLDER), to, room)
}

extern "win64" fn GetSystemDirectoryA(to: Ptr<u8>, room: u32) -> u32 {
    text::answer(SYSTEM_FOLDER.as_bytes(), to, room)
}

extern "win64" fn GetWindowsDirectoryW(to: Ptr<u16>, room: u32) -> u32 {
    text::answer(&text::wide(r"C:\windows"), to, room)
}

extern "win64" fn GetWindowsDirectoryA(to: Ptr<u8>, room: u32) -> u32 {
    text::answer(br"C:\windows", to, room)
}

/// The kinds of message boxes that a failure would show: none are shown in any case, the number is kept.
static ERROR_MODE: AtomicU32 = AtomicU32::new(0);

extern "win64" fn SetErrorMode(mode: u32) -> u32 {
    ERROR_MODE.swap(mode, Relaxed)
}

extern "win64" fn GetErrorMode() -> u32 {
    ERROR_MODE.load(Relaxed)
}

/// Always the ordinary one: who wants another has none to set.
extern "win64" fn GetPriorityClass(handle: usize) -> u32 {
    const NORMAL: u32 = 0x20;
    is_this_process(handle).map_or_else(|code| fail(code).cast_unsigned(), |()| NORMAL)
}

/// Hundreds of nanoseconds since the machine started that its processors were idle, in the kernel (idleness counts), and
/// in programs.
extern "win64" fn GetSystemTimes(idle: Ptr<u64>, kernel: Ptr<u64>, user: Ptr<u64>) -> Bool {
    const TICK: u64 = 100_000; // a hundred a second, for every program
    let all = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = all.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().map_while(|n| n.parse().ok()).collect();
    let [programs, nice, system, waiting, input, rest @ ..] = &ticks[..] else {
        return fail(code::GEN_FAILURE);
    };
    let rested = (waiting + input) * TICK;
    idle.put(rested);
    kernel.put((system + rest.iter().take(2).sum::<u64>()) * TICK + rested); // interrupts
    user.put((programs + nice) * TICK);
    TRUE
}

table! {
    /// The machine and the process.
    pub(crate) TABLE:
        GetSystemInfo, GetNativeSystemInfo = GetSystemInfo, IsProcessorFeaturePresent, GetVersionExW, GetVersionExA, GetProductInfo, GetVersion,
        VerSetConditionMask, VerifyVersionInfoA, VerifyVersionInfoW, GetPhysicallyInstalledSystemMemory, GlobalMemoryStatus, GlobalMemoryStatusEx,
        OpenProcess, ExitProcess, GetPriorityClass, IsDebuggerPresent, CheckRemoteDebuggerPresent, IsWow64Process, GetComputerNameA,
        GetComputerNameW, GetComputerNameExA, GetComputerNameExW,
        GetSystemDirectoryW, GetSystemDirectoryA, GetWindowsDirectoryW, GetSystemWindowsDirectoryW = GetWindowsDirectoryW,
        GetWindowsDirectoryA, GetSystemWindowsDirectoryA = GetWindowsDirectoryA, SetErrorMode, GetErrorMode, GetSystemTimes
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: u32 = 0x33; // minor, major, and both of the service pack
    const GREATER_EQUAL: u8 = 3;
    const LESS: u8 = 4;
    const LESS_EQUAL: u8 = 5;

    fn mask(conditions: &[(u32, u8)]) -> u64 {
        conditions.iter().fold(0, |mask, &(kind, condition)| VerSetConditionMask(mask, 1 << kind, condition))
    }

    /// This version with that much more of some parts.
    fn wanted(major: u32, minor: u32, pack: u16) -> VersionInfo {
        let (ours, _, build) = VERSION;
        VersionInfo {
            size: 0,
            major: ours + major,
            minor: VERSION.1 + minor,
            build,
            platform: 2,
            service_pack: [0; 128],
            service_pack_major: pack,
            service_pack_minor: 0,
            suite: 0,
            product: 1,
            reserved: 0,
        }
    }

    /// The lines are what Windows answers.
    #[test]
    fn the_leading_part_says_how_versions_are_compared() {
        let holds =
            |kinds, wanted: VersionInfo, conditions: &[_]| version_holds(&wanted, kinds, mask(conditions));
        let (higher_minor, higher_pack) = (wanted(0, 1, 0), wanted(0, 0, 1));
        assert!(holds(DIGITS, higher_minor, &[(VER_MAJOR, EQUAL), (VER_MINOR, LESS)]));
        assert!(!holds(DIGITS, higher_minor, &[(VER_MAJOR, GREATER_EQUAL), (VER_MINOR, LESS)]));
        assert!(holds(DIGITS, wanted(0, 0, 0), &[(VER_MAJOR, GREATER_EQUAL), (VER_MINOR, LESS)]));
        // A part between them without a condition keeps the first one's.
        assert!(!holds(DIGITS, higher_pack, &[(VER_MAJOR, EQUAL), (VER_PACK_MAJOR, LESS)]));
        assert!(holds(DIGITS, higher_pack, &[(VER_MAJOR, LESS_EQUAL), (VER_PACK_MAJOR, GREATER_EQUAL)]));
        assert!(!holds(DIGITS, higher_pack, &[(VER_PACK_MAJOR, LESS)]));
        // What is asked for without a condition does not hold; of suites that nobody wants there are enough.
        assert!(!holds(1 << VER_BUILD, wanted(0, 0, 0), &[(VER_MAJOR, EQUAL)]));
        assert!(holds(1 << VER_SUITE, wanted(0, 0, 0), &[(VER_SUITE, 7)]));
    }
}
